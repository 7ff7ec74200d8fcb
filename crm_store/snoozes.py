"""Tickets that are put off: a time in a column, swept when it has come."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from crm_store import schema

ticket = schema.ticket


def due(tx: Connection, now: datetime, limit: int = 100) -> list[Any]:
    """Tickets whose time has come, the longest due first."""
    query = select(ticket).where(ticket.c.snoozed_until <= now).order_by(ticket.c.snoozed_until).limit(limit)
    return list(tx.execute(query).all())


def wake(tx: Connection, row: Any) -> bool:
    """End the snooze that was read. False when somebody else did, or changed it."""
    result = tx.execute(
        update(ticket)
        .where(ticket.c.id == row.id, ticket.c.snoozed_until == row.snoozed_until)
        .values(snoozed_until=None)
    )
    return result.rowcount == 1
