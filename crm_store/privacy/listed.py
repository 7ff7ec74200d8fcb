"""The list outside the store: who was erased, in keyed hashes, so that a restored backup is erased again.

One line of JSON an erasure. The first line carries the store's key of the hashes, sealed with the
configuration's secret: a backup from before the first erasure does not know it. Without that secret the list
says nothing, and with another it is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


class Unreadable(Exception):
    """The list is another desk's, or damaged. The message is one sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One erasure: `contact` and `identities` find the person in a backup, `rest` is what may not come back."""

    uid: str
    at: datetime
    contacts: tuple[str, ...]
    identities: tuple[str, ...]
    rest: tuple[str, ...]


def add(path: Path, secret: bytes, key: bytes, entry: Entry) -> None:
    """Append an entry and see it to the disk."""
    lines: list[dict[str, Any]] = []
    if _opened(path, secret) != key:
        lines.append({"list": 1, "key": _mask(secret, key).hex(), "check": _check(key)})
    lines.append(
        {
            "uid": entry.uid,
            "at": entry.at.isoformat(),
            "contacts": entry.contacts,
            "identities": entry.identities,
            "rest": entry.rest,
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "a", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
        file.flush()
        os.fsync(file.fileno())


def uids(path: Path) -> list[str]:
    """Which erasures it lists."""
    return [line["uid"] for line in _lines(path) if "uid" in line]


def read(path: Path, secret: bytes) -> tuple[bytes, Sequence[Entry]]:
    """The key and the entries. Raise Unreadable."""
    lines = _lines(path)
    key = _opened(path, secret)
    if lines and key is None:
        raise Unreadable(f"{path} was written with another desk.secret: nobody of it can be erased again")
    return key or b"", [
        Entry(
            line["uid"],
            datetime.fromisoformat(line["at"]),
            tuple(line["contacts"]),
            tuple(line["identities"]),
            tuple(line["rest"]),
        )
        for line in lines
        if "uid" in line
    ]


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    found = []
    for line in path.read_text("utf-8").splitlines():
        try:
            value = json.loads(line)
        except ValueError:  # the machine stopped while it was written: the next start writes it again
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def _opened(path: Path, secret: bytes) -> bytes | None:
    """The key of the newest header that this secret opens."""
    for line in reversed(_lines(path)):
        if "key" in line:
            key = _mask(secret, bytes.fromhex(line["key"]))
            if hmac.compare_digest(_check(key), str(line["check"])):
                return key
    return None


def _mask(secret: bytes, key: bytes) -> bytes:
    """Seal or open: 32 random bytes, and a pad of as many that serves for nothing else."""
    pad = hmac.new(secret, b"the key of the list of the erased", hashlib.sha256).digest()
    return bytes(a ^ b for a, b in zip(key, pad, strict=True))


def _check(key: bytes) -> str:
    return hashlib.sha256(b"check" + key).hexdigest()[:16]
