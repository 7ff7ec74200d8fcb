"""Leases: which process does what only one may do. Time is the database's, so that hosts need not agree."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, or_, update

from crm_store import schema
from crm_store.rows import insert

lease = schema.lease


def take(tx: Connection, now: datetime, name: str, holder: str, ttl_s: float) -> int | None:
    """Take a lease that nobody holds; return its fence, None while another holder's lasts."""
    until = now + timedelta(seconds=ttl_s)
    fence = tx.execute(
        insert(tx, lease)
        .values(name=name, holder=holder, fence=1, until=until)
        .on_conflict_do_update(
            index_elements=["name"],
            set_={"holder": holder, "fence": lease.c.fence + 1, "until": until},
            where=or_(lease.c.until < now, lease.c.holder == holder),
        )
        .returning(lease.c.fence)
    ).scalar()
    return None if fence is None else int(fence)


def renew(tx: Connection, now: datetime, name: str, fence: int, ttl_s: float) -> bool:
    """Hold on to a lease. False when somebody else has taken it."""
    return _own(tx, name, fence, now + timedelta(seconds=ttl_s))


def release(tx: Connection, now: datetime, name: str, fence: int) -> None:
    """Let the next one have it at once."""
    _own(tx, name, fence, now - timedelta(seconds=1))


def _own(tx: Connection, name: str, fence: int, until: datetime) -> bool:
    result = tx.execute(update(lease).where(lease.c.name == name, lease.c.fence == fence).values(until=until))
    return result.rowcount == 1
