"""Room logs of the web chat, which is its own platform."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from crm_store import schema
from crm_store.rows import insert, is_postgresql
from crm_store.wakeups import notify

journal = schema.journal


def append(tx: Connection, now: datetime, channel: str, room: str, key: str, body: str) -> int:
    """Add an entry and return its number, counted per room; the same key again returns the first's."""
    if is_postgresql(tx):  # numbers are counted under a lock, or two writers would take the same
        tx.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"{channel}/{room}"))))
    known = tx.execute(
        select(journal.c.number).where(
            journal.c.channel == channel, journal.c.room == room, journal.c.key == key
        )
    ).scalar()
    if known is not None:
        return int(known)
    number = 1 + int(
        tx.execute(
            select(func.coalesce(func.max(journal.c.number), 0)).where(
                journal.c.channel == channel, journal.c.room == room
            )
        ).scalar_one()
    )
    tx.execute(
        insert(tx, journal).values(channel=channel, room=room, number=number, key=key, body=body, at=now)
    )
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
