"""Contact data under a key that lies outside the store: AES-SIV, bound to the column it stands in.

    seal = Seal(new_key())
    seal.shut("identity.user_id", "li@example.com")   # "s1:…", the same each time: it can be looked up
    seal.shut("contact_note.text", "calls at noon", fresh=True)   # another each time: it can only be read

AES-SIV needs no nonce to be safe: the same text in the same column is the same ciphertext and tells nothing
else. Where equality is not needed a random part is bound in, and not even that is told. Which columns are
sealed stands in the schema (schema/sealed.py). An engine that was given a seal seals and opens by itself; one
without moves the rows as they are.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Any

MARK = "s1:"
RAW_MARK = b"\x00s1:"
FRESH = 12  # bytes that are drawn for a text that is never looked up
_ATTRIBUTE = "_wellheard_seal"


class BadKey(ValueError):
    """Not a key, or not the one this was sealed with. The message is the end of a sentence."""


class Seal:
    """A key, ready to use."""

    __slots__ = ("_siv", "_tokens", "id")

    def __init__(self, key: str) -> None:
        raw = read_key(key)
        # only who has a key pays for it
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        self._siv = AESSIV(hmac.digest(raw, b"wellheard seal 1", "sha512"))
        self._tokens = hmac.digest(raw, b"wellheard tokens 1", "sha256")
        self.id = hmac.digest(raw, b"wellheard check 1", "sha256").hex()[
            :16
        ]  # says which key, never what it is

    def shut(self, label: str, said: str, *, fresh: bool = False) -> str:
        """A text as it is stored; nothing stays nothing."""
        if not said:
            return said
        sealed = self._shut(label, said.encode("utf-8", "surrogatepass"), fresh)
        return MARK + base64.urlsafe_b64encode(sealed).decode("ascii").rstrip("=")

    def open(self, label: str, stored: str, *, fresh: bool = False) -> str:
        """What a stored text says. What was never sealed is what it is. Raise BadKey."""
        if not stored.startswith(MARK):
            return stored
        packed = stored[len(MARK) :]
        try:
            sealed = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
        except (binascii.Error, ValueError) as error:
            raise BadKey("does not open what is stored") from error
        return self._open(label, sealed, fresh).decode("utf-8", "surrogatepass")

    def shut_bytes(self, label: str, content: bytes) -> bytes:
        return RAW_MARK + self._shut(label, content, True) if content else content

    def open_bytes(self, label: str, stored: bytes) -> bytes:
        if not stored.startswith(RAW_MARK):
            return stored
        return self._open(label, stored[len(RAW_MARK) :], True)

    def token(self, word: str) -> str:
        """What stands for a word in an index: 40 bits, letters and digits."""
        found = hashlib.blake2b(word.encode("utf-8", "replace"), key=self._tokens, digest_size=5).digest()
        return base64.b32encode(found).decode("ascii").lower()

    def number(self, said: str) -> int:
        """The same as a number of 62 bits."""
        found = hashlib.blake2b(said.encode(), key=self._tokens, digest_size=8, person=b"number").digest()
        return int.from_bytes(found, "big") >> 2

    def _shut(self, label: str, content: bytes, fresh: bool) -> bytes:
        if not fresh:
            return self._siv.encrypt(content, [label.encode()])
        drawn = secrets.token_bytes(FRESH)
        return drawn + self._siv.encrypt(content, [label.encode(), drawn])

    def _open(self, label: str, sealed: bytes, fresh: bool) -> bytes:
        from cryptography.exceptions import InvalidTag

        try:
            if not fresh:
                return self._siv.decrypt(sealed, [label.encode()])
            return self._siv.decrypt(sealed[FRESH:], [label.encode(), sealed[:FRESH]])
        except (InvalidTag, ValueError) as error:
            raise BadKey("does not open what is stored") from error


def new_key() -> str:
    return secrets.token_urlsafe(32)


def read_key(key: str) -> bytes:
    """A key's bytes. Raise BadKey."""
    try:
        raw = base64.b64decode(key + "=" * (-len(key) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadKey("is not a key: `wellheard key` prints a new one") from error
    if len(raw) != 32:
        raise BadKey("is not a key of 32 bytes: `wellheard key` prints a new one")
    return raw


def give(engine: Any, seal: Seal | None) -> None:
    """Let an engine seal and open from now on; before its first statement."""
    setattr(engine.dialect, _ATTRIBUTE, seal)


def of(dialect: Any) -> Seal | None:
    """The seal of a dialect's engine."""
    found: Seal | None = getattr(dialect, _ATTRIBUTE, None)
    return found
