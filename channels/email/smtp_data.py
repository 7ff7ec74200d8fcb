"""The text of a mail as it comes in: where it ends and which dots are not its own."""

from __future__ import annotations

END = b"\r\n.\r\n"


class Incoming:
    """Collects one mail until CR LF . CR LF, however it is cut into pieces.

    No other spelling ends a mail or begins a line: a bare LF or CR is content. So nothing that another server
    took for content can be a command here. Lines may have any length; only the whole is limited.
    """

    __slots__ = ("_carry", "_first", "content", "dropped", "max_size", "received")

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self.content: bytes | bytearray = b""
        self.received = 0  # bytes, kept or not
        self.dropped = False
        self._carry = b"\r\n"  # as if a line had just ended: the first may be the lone dot
        self._first = True

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
        self.dropped, self.content = True, b""

    def take(self) -> bytes:
        """Hand over the content and keep no second copy of it."""
        content, self.content = self.content, b""
        return content if isinstance(content, bytes) else bytes(content)

    @property
    def too_big(self) -> bool:
        return self.received > self.max_size

    def _keep(self, part: bytes) -> None:
        self.received += len(part)
        if self.dropped:
            return
        if self.received > self.max_size:
            self.drop()
        elif not self.content:
            self.content = part
        else:
            if isinstance(self.content, bytes):  # most mails come in one piece and never get here
                self.content = bytearray(self.content)
            self.content += part


def _begun(data: bytes) -> int:
    """How many bytes at the end may be the beginning of the end of the mail."""
    for length in (4, 3, 2, 1):
        if data.endswith(END[:length]):
            return length
    return 0
