"""Room logs of the web chat, which is its own platform."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, func, select

from crm_store import schema
from crm_store.rows import is_postgresql
from crm_store.statement import Statement
from crm_store.wakeups import notify

journal = schema.journal

_known = Statement(
    select(journal.c.number).where(
        journal.c.channel == bindparam("channel"),
        journal.c.room == bindparam("room"),
        journal.c.key == bindparam("key"),
    )
)
_last = Statement(
    select(func.max(journal.c.number)).where(
        journal.c.channel == bindparam("channel"), journal.c.room == bindparam("room")
    )
)
_append = Statement(journal.insert())


def append(tx: Connection, now: datetime, channel: str, room: str, key: str, body: str) -> int:
    """Add an entry and return its number, counted per room; the same key again returns the first's."""
    if is_postgresql(tx):  # numbers are counted under a lock, or two writers would take the same
        tx.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"{channel}/{room}"))))
    known = _known.scalar(tx, channel=channel, room=room, key=key)
    if known is not None:
        return int(known)
    number = 1 + int(_last.scalar(tx, channel=channel, room=room) or 0)
    _append.run(tx, channel=channel, room=room, number=number, key=key, body=body, at=now)
    notify(tx, "journal")
    return number


def since(tx: Connection, channel: str, room: str, after: int, limit: int) -> list[tuple[int, str]]:
    """Entries numbered above `after`, in order."""
    rows = tx.execute(
        select(journal.c.number, journal.c.body)
        .where(journal.c.channel == channel, journal.c.room == room, journal.c.number > after)
        .order_by(journal.c.number)
        .limit(limit)
    ).all()
    return [(int(number), body) for number, body in rows]
