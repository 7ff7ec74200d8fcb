"""What a customer's card says, counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from crm_store import schema


@dataclass(frozen=True, slots=True)
class Contacted:
    """When we last spoke with a contact, over all channels, and how they rated us (mean of 1–5)."""

    last_at: datetime | None
    rating: float | None
    ratings: int


def contacted(tx: Connection, contact_id: int) -> Contacted:
    ticket = schema.ticket
    last_at = tx.execute(
        select(func.max(schema.message.c.created_at))
        .join(schema.conversation, schema.conversation.c.id == schema.message.c.conversation_id)
        .where(schema.conversation.c.contact_id == contact_id, schema.message.c.kind.in_(["in", "out"]))
    ).scalar()
    rating, ratings = tx.execute(
        select(func.avg(ticket.c.rating), func.count(ticket.c.rating)).where(
            ticket.c.contact_id == contact_id
        )
    ).one()
    return Contacted(last_at, float(rating) if rating is not None else None, int(ratings))
