"""What a customer's card says, counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from crm_store import schema


@dataclass(frozen=True, slots=True)
class Summary:
    """Numbers about one contact. `value` is what they bought by currency, in minor units, returns left out."""

    orders: int
    value: tuple[tuple[str, int], ...]
    last_order: Any
    recent: tuple[Any, ...]
    last_contact: datetime | None
    rating: float | None
    ratings: int


def summary(tx: Connection, contact_id: int, *, recent: int = 5) -> Summary:
    order = schema.order
    ticket = schema.ticket
    kept = order.c.status.not_in(["returned", "cancelled"])
    value = tx.execute(
        select(order.c.currency, func.sum(order.c.amount_minor))
        .where(order.c.contact_id == contact_id, kept)
        .group_by(order.c.currency)
        .order_by(func.sum(order.c.amount_minor).desc())
    ).all()
    count = tx.execute(select(func.count()).where(order.c.contact_id == contact_id)).scalar_one()
    latest = tx.execute(
        select(order)
        .where(order.c.contact_id == contact_id)
        .order_by(order.c.ordered_at.desc())
        .limit(recent)
    ).all()
    last_contact = tx.execute(
        select(func.max(schema.message.c.created_at))
        .join(schema.conversation, schema.conversation.c.id == schema.message.c.conversation_id)
        .where(schema.conversation.c.contact_id == contact_id, schema.message.c.kind.in_(["in", "out"]))
    ).scalar()
    rating, ratings = tx.execute(
        select(func.avg(ticket.c.rating), func.count(ticket.c.rating)).where(
            ticket.c.contact_id == contact_id
        )
    ).one()
    return Summary(
        orders=int(count),
        value=tuple((currency, int(amount)) for currency, amount in value),
        last_order=latest[0] if latest else None,
        recent=tuple(latest),
        last_contact=last_contact,
        rating=float(rating) if rating is not None else None,
        ratings=int(ratings),
    )
