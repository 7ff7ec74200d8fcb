"""DKIM on outgoing mail."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from channels.email.settings import Settings

SIGNED = (
    b"from", b"to", b"cc", b"subject", b"date", b"message-id", b"in-reply-to", b"references", b"reply-to",
    b"mime-version", b"content-type", b"content-transfer-encoding", b"auto-submitted",
)  # fmt: skip
OVERSIGNED = (b"from", b"to", b"subject", b"date", b"message-id", b"reply-to")  # nobody may add a second one


@dataclass(frozen=True, slots=True)
class Signer:
    """A loaded key."""

    selector: bytes
    domain: bytes
    key: bytes = field(repr=False)

    @classmethod
    def load(cls, settings: Settings) -> Signer:
        """Read and try the key. Raise OSError or ValueError."""
        import dkim

        domain = settings.dkim_domain or settings.address.rpartition("@")[2]
        key = Path(settings.dkim_key_file).read_bytes()
        signer = cls(settings.dkim_selector.encode("ascii"), domain.encode("idna"), key)
        try:
            signer.sign(b"From: a@example.com\r\n\r\n\r\n")
        except (dkim.DKIMException, TypeError) as error:
            raise ValueError("not an RSA private key in PEM") from error
        return signer

    def sign(self, content: bytes) -> bytes:
        """Return the message with its signature in front: about 15 ms of CPU with a 2,048-bit key."""
        import dkim

        mail = dkim.DKIM(content)
        present = {name.lower() for name, _ in mail.headers}
        names = [name for name in SIGNED if name in present]
        header = mail.sign(
            self.selector,
            self.domain,
            self.key,
            canonicalize=(b"relaxed", b"relaxed"),
            include_headers=[*names, *OVERSIGNED],
        )
        return bytes(header) + content
