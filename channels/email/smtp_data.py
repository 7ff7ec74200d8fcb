"""The text of a mail as it comes in: where it ends and which dots are not its own."""

from __future__ import annotations

from io import BytesIO

END = b"\r\n.\r\n"


class Incoming:
    """Collects one mail until CR LF . CR LF, however it is cut into pieces.

    No other spelling ends a mail or begins a line: a bare LF or CR is content. So nothing that another server
    took for content can be a command here. Lines may have any length; only the whole is limited.
    """

    __slots__ = ("_carry", "_first", "_one", "_pieces", "dropped", "max_size", "received")

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self.received = 0  # bytes, kept or not
        self.dropped = False
        self._carry = b"\r\n"  # as if a line had just ended: the first may be the lone dot
        self._first = True
        self._one = b""  # most mails come in one piece and never need the buffer
        self._pieces: BytesIO | None = None

    def feed(self, data: bytes) -> bytes | None:
        """Take a piece. Return what comes after the end of the mail, or None while it goes on."""
        data = self._carry + data
        end = data.find(END)
        if end >= 0:
            part, rest = data[: end + 2], data[end + 5 :]
        else:
            keep = _begun(data)
            part, self._carry, rest = data[: len(data) - keep], data[len(data) - keep :], None
        if part:
            # What may be half of CR LF . stays in the carry, so no dot is missed between two pieces.
            part = part.replace(b"\r\n.", b"\r\n")
            if self._first:
                part, self._first = part[2:], False
            self._keep(part)
        return rest

    def drop(self) -> None:
        """Keep nothing of it any more, but go on listening for its end."""
        self.dropped, self._one, self._pieces = True, b"", None

    def take(self) -> bytes:
        """Hand over the content, without a second copy of it: BytesIO gives away its own bytes."""
        content = self._one if self._pieces is None else self._pieces.getvalue()
        self._one, self._pieces = b"", None
        return content

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return 0 if self.dropped else self.received

    @property
    def too_big(self) -> bool:
        return self.received > self.max_size

    def _keep(self, part: bytes) -> None:
        self.received += len(part)
        if self.dropped:
            return
        if self.received > self.max_size:
            self.drop()
        elif self._pieces is not None:
            self._pieces.write(part)
        elif self._one:
            self._pieces = BytesIO()
            self._pieces.write(self._one)
            self._pieces.write(part)
            self._one = b""
        else:
            self._one = part


def _begun(data: bytes) -> int:
    """How many bytes at the end may be the beginning of the end of the mail."""
    for length in (4, 3, 2, 1):
        if data.endswith(END[:length]):
            return length
    return 0
