"""Room logs of the web chat, which is its own platform."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, func, select

from crm_store import schema
from crm_store.privacy import tombstones
from crm_store.rows import is_postgresql
from crm_store.statement import Statement
from crm_store.wakeups import notify

journal = schema.journal
SINCE = 1_700_000_000  # seconds after 1970: numbers stay small

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
    last = _last.scalar(tx, channel=channel, room=room)
    number = _begin(tx, room, now) if last is None else 1 + int(last)
    _append.run(tx, channel=channel, room=room, number=number, key=key, body=body, at=now)
    notify(tx, "journal")
    return number


def _begin(tx: Connection, room: str, now: datetime) -> int:
    """The number of a room's first entry. A visitor's room may have been erased while their page is open: what
    comes then must have numbers the page has not seen, and seconds are more than anybody writes entries."""
    if room.startswith("v:") and tombstones.any_erased(tx):
        return max(1, int(now.timestamp()) - SINCE)
    return 1


def since(tx: Connection, channel: str, room: str, after: int, limit: int) -> list[tuple[int, str]]:
    """Entries numbered above `after`, in order."""
    rows = tx.execute(
        select(journal.c.number, journal.c.body)
        .where(journal.c.channel == channel, journal.c.room == room, journal.c.number > after)
        .order_by(journal.c.number)
        .limit(limit)
    ).all()
    return [(int(number), body) for number, body in rows]
