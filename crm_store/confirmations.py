"""What somebody was asked to confirm: for one person, for exactly these words, once, for a short while."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from crm_store import schema
from crm_store.people import CODE_LETTERS

LIFE = timedelta(minutes=5)
KEPT = timedelta(days=1)  # afterwards nobody needs to be told that theirs is used or too old
confirmation = schema.confirmation


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a code: "ok", "unknown", "somebody_else", "used" or "late"."""

    outcome: str
    command: str = ""
    args: str = ""
    seen: str = ""


def put(tx: Connection, now: datetime, staff_id: int, command: str, args: str, seen: str = "") -> str:
    """Note what is to be confirmed and return the code for it, 10 letters (50 bits); its hash is kept."""
    tx.execute(confirmation.delete().where(confirmation.c.expires_at < now - KEPT))
    code = "".join(secrets.choice(CODE_LETTERS) for _ in range(10))
    tx.execute(
        confirmation.insert().values(
            digest=_digest(code),
            staff_id=staff_id,
            command=command,
            args=args,
            seen=seen,
            created_at=now,
            expires_at=now + LIFE,
        )
    )
    return code


def take(tx: Connection, now: datetime, staff_id: int, code: str) -> Taken:
    """Use up a code, whether to confirm or to cancel. Only "ok" uses it; what was asked is forgotten then."""
    at = confirmation.c.digest == _digest(code)
    row = tx.execute(select(confirmation).where(at).with_for_update()).first()
    if row is None:
        return Taken("unknown")
    if row.staff_id != staff_id:
        return Taken("somebody_else", row.command)
    if row.used_at is not None:
        return Taken("used", row.command)
    if row.expires_at <= now:
        return Taken("late", row.command)
    tx.execute(update(confirmation).where(at).values(used_at=now, args="", seen=""))
    return Taken("ok", row.command, row.args, row.seen)


def _digest(code: str) -> str:
    return hashlib.sha256(f"confirm {code.strip().upper()}".encode()).hexdigest()
