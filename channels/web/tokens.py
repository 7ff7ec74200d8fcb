"""Signed tokens: who a browser is, and which file it may fetch."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass


def new_id() -> str:
    """A random 128-bit id in hexadecimal."""
    return secrets.token_hex(16)


def sign(secret: bytes, purpose: str, payload: str) -> str:
    """Return `payload.signature`; `open_token` with the same purpose gives the payload back."""
    return f"{payload}.{_signature(secret, purpose, payload)}"


def open_token(secret: bytes, purpose: str, token: str) -> str | None:
    """Return the payload of a token that we signed for this purpose, else None."""
    payload, dot, signature = token.rpartition(".")
    expected = _signature(secret, purpose, payload)
    if not dot or not hmac.compare_digest(signature.encode("utf-8", "replace"), expected.encode()):
        return None
    return payload


def _signature(secret: bytes, purpose: str, payload: str) -> str:
    message = f"web\n{purpose}\n{payload}".encode("utf-8", "replace")
    return _b64(hmac.new(secret, message, hashlib.sha256).digest())


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file as a signed address names it; `until` is a Unix time."""

    sha: str
    filename: str
    content_type: str
    until: int


def file_token(secret: bytes, channel: str, file: FileRef) -> str:
    """Sign the right to fetch one file until its time."""
    plain = json.dumps([file.sha, file.filename, file.content_type, file.until], ensure_ascii=False)
    return sign(secret, f"file:{channel}", _b64(plain.encode("utf-8", "replace")))


def open_file_token(secret: bytes, channel: str, token: str, now: float) -> FileRef | None:
    """Return what a file token allows, None when it is not ours or its time is over."""
    payload = open_token(secret, f"file:{channel}", token)
    if payload is None:
        return None
    sha, filename, content_type, until = json.loads(
        base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    )
    return FileRef(sha, filename, content_type, until) if now <= until else None


def _b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")
