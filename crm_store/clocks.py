"""The response clock of tickets: since when a customer waits, and when the card must say more about it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from crm_store import schema
from crm_store.statement import Statement

ticket = schema.ticket

_set_alarm = Statement(update(ticket).where(ticket.c.id == bindparam("row")).values(clock_at=bindparam("at")))


def set_alarm(tx: Connection, ticket_id: int, at: datetime | None) -> None:
    """When the card must next be looked at; None for never."""
    _set_alarm.run(tx, row=ticket_id, at=at)


def due(tx: Connection, now: datetime, limit: int = 100) -> list[Any]:
    """Tickets whose card must say more about the clock, the longest due first."""
    query = select(ticket).where(ticket.c.clock_at <= now).order_by(ticket.c.clock_at).limit(limit)
    return list(tx.execute(query).all())


def take(tx: Connection, row: Any) -> bool:
    """Stop the alarm that was read. False when somebody else did, or set another."""
    result = tx.execute(
        update(ticket).where(ticket.c.id == row.id, ticket.c.clock_at == row.clock_at).values(clock_at=None)
    )
    return result.rowcount == 1
