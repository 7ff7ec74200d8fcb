"""The signed reply address: a customer's answer says itself which conversation it belongs to.

`support@example.com` and key `c41` give `support+c41.k3v9a0q2xz@example.com`. Mail systems change the case
of local parts, so everything is compared in lower case.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

SIGNATURE_LENGTH = 10  # base32 characters: 50 bits, tried over SMTP only
LOCAL_PART_LIMIT = 64  # RFC 5321, 4.5.3.1.1
_PLAIN = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,39})\Z")
_TAG = re.compile(r"([a-z0-9][a-z0-9_-]{0,59})\.([a-z2-7]{10})\Z")
_MARKER = re.compile(r"\[ref:([a-z0-9][a-z0-9_-]{0,59}\.[a-z2-7]{10})\]", re.IGNORECASE)


def sign(address: str, key: str, secret: bytes) -> str:
    """Return `address` with the key and its signature, or `address` itself where that would be too long."""
    local, _, domain = address.rpartition("@")
    tagged = f"{local}+{token(key, secret)}"
    return f"{tagged}@{domain}" if len(tagged.encode()) <= LOCAL_PART_LIMIT else address


def token(key: str, secret: bytes) -> str:
    """The key with its signature: what stands behind the plus, and in the marker."""
    word = _word(key)
    return f"{word}.{_signature(word, secret)}"


def verify(address: str, ours: tuple[str, ...], secret: bytes) -> str | None:
    """Return the key that one of our addresses was signed with; None when it was not, or not by us."""
    local, _, domain = address.strip().strip("<>").lower().rpartition("@")
    base, plus, tag = local.rpartition("+")
    if not plus or f"{base}@{domain}" not in ours:
        return None
    return verify_token(tag, secret)


def verify_token(text: str, secret: bytes) -> str | None:
    """Return the key of a token that we signed."""
    match = _TAG.match(text.lower())
    if match is None or not hmac.compare_digest(_signature(match[1], secret), match[2]):
        return None
    return _key(match[1])


def marker(key: str, secret: bytes) -> str:
    """A line for the foot of our mail: quoted back, it names the conversation where ids were rewritten."""
    return f"[ref:{token(key, secret)}]"


def markers(text: str, secret: bytes, *, limit: int = 20) -> tuple[str, ...]:
    """The keys of our markers found in a text, in order, each once."""
    found = (m[1] for _, m in zip(range(limit), _MARKER.finditer(text), strict=False))
    return tuple(dict.fromkeys(key for tag in found if (key := verify_token(tag, secret)) is not None))


def accepts(address: str, ours: tuple[str, ...]) -> bool:
    """Whether mail to this address is for us: a configured address or a plus-address of one."""
    address = address.strip().lower()
    if address in ours:
        return True
    local, _, domain = address.rpartition("@")
    while "+" in local:
        local = local.rpartition("+")[0]
        if f"{local}@{domain}" in ours:
            return True
    return False


def _word(key: str) -> str:
    """The key in characters that survive as a local part; unusual ones become x-<base32>."""
    if _PLAIN.match(key) and not key.startswith("x-"):
        return key
    return "x-" + base64.b32encode(key.encode()).decode("ascii").rstrip("=").lower()


def _key(word: str) -> str | None:
    if not word.startswith("x-"):
        return word
    packed = word[2:].upper()
    try:
        return base64.b32decode(packed + "=" * (-len(packed) % 8)).decode()
    except ValueError:
        return None


def _signature(word: str, secret: bytes) -> str:
    digest = hmac.new(secret, b"reply-address\0" + word.encode("ascii"), hashlib.sha256).digest()
    return base64.b32encode(digest).decode("ascii")[:SIGNATURE_LENGTH].lower()
