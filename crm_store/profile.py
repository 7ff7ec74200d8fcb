"""What a customer's card says, counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Connection, func, select

from crm_store import schema
from crm_store.sales import VOID

HALF_LIFE_DAYS = 180  # what a customer is worth halves in this time without an order


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


# --- what they are worth ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Worth:
    """R × N × P of one currency: how recently they bought, how often, for how much.

    R = 2^(−days since the last order / HALF_LIFE_DAYS), between 0 and 1; N = how many orders; P = their mean
    amount. So the worth is what they ever paid, halved for every half year without an order. What was
    cancelled, refunded or returned counts for nothing.
    """

    currency: str
    recency: float
    number: int
    price_minor: int
    last_at: datetime

    @property
    def value_minor(self) -> int:
        return round(self.recency * self.number * self.price_minor)


def worth(tx: Connection, contact_id: int, now: datetime) -> list[Worth]:
    """By currency, the most first."""
    order = schema.order
    rows = tx.execute(
        select(
            order.c.currency,
            func.count().label("orders"),
            func.sum(order.c.amount_minor).label("amount"),
            func.max(order.c.ordered_at).label("last"),
        )
        .where(order.c.contact_id == contact_id, order.c.status.not_in(VOID))
        .group_by(order.c.currency)
    ).all()
    found = [
        Worth(
            currency=row.currency,
            recency=2 ** (-max(0.0, (now - row.last).total_seconds() / 86400) / HALF_LIFE_DAYS),
            number=int(row.orders),
            price_minor=round(int(row.amount) / int(row.orders)),
            last_at=row.last,
        )
        for row in rows
    ]
    return sorted(found, key=lambda one: (-one.value_minor, one.currency))


# --- what was said, agreed and is to be done ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation and how it ended: the status of its last ticket; "bot" where the bot's answer was enough,
    "told" where we wrote last, "unanswered" where they did."""

    at: datetime
    channel: str
    subject: str
    outcome: str
    ticket: int | None = None
    rating: int | None = None
    received: int = 0  # messages of theirs
    sent: int = 0  # … and of ours


def talks(tx: Connection, contact_id: int, *, limit: int = 3) -> list[Talk]:
    """The last conversations, newest first."""
    conversation, message, ticket = schema.conversation, schema.message, schema.ticket
    at = func.coalesce(conversation.c.last_in_at, conversation.c.last_out_at, conversation.c.created_at)
    rows = tx.execute(
        select(conversation.c.id, conversation.c.channel, conversation.c.subject, at.label("at"))
        .where(conversation.c.contact_id == contact_id)
        .order_by(at.desc(), conversation.c.id.desc())
        .limit(limit)
    ).all()
    counts: dict[tuple[int, str], int] = {}
    for number, kind, count in tx.execute(
        select(message.c.conversation_id, message.c.kind, func.count())
        .where(message.c.conversation_id.in_([row.id for row in rows]), message.c.kind.in_(["in", "out"]))
        .group_by(message.c.conversation_id, message.c.kind)
    ):
        counts[number, kind] = count
    found = []
    for row in rows:
        both = {"received": counts.get((row.id, "in"), 0), "sent": counts.get((row.id, "out"), 0)}
        last = tx.execute(
            select(ticket).where(ticket.c.conversation_id == row.id).order_by(ticket.c.id.desc()).limit(1)
        ).first()
        if last is not None:
            found.append(
                Talk(_when(row.at), row.channel, last.subject, last.status, last.number, last.rating, **both)
            )
            continue
        said = tx.execute(
            select(message.c.kind, message.c.author_kind)
            .where(message.c.conversation_id == row.id, message.c.kind.in_(["in", "out"]))
            .order_by(message.c.seq.desc())
            .limit(1)
        ).first()
        outcome = "unanswered" if said is None or said.kind == "in" else "told"
        if said is not None and said.author_kind == "bot":
            outcome = "bot"
        found.append(Talk(_when(row.at), row.channel, row.subject, outcome, **both))
    return found


def events(tx: Connection, contact_id: int, *, limit: int = 3) -> list[Any]:
    """What they did last, as files and other systems tell it, newest first."""
    event = schema.customer_event
    query = select(event).where(event.c.contact_id == contact_id)
    return list(tx.execute(query.order_by(event.c.at.desc(), event.c.id.desc()).limit(limit)).all())


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done next: an answer on a "ticket", the end of its "snooze", or a "deal" expected."""

    kind: str
    number: int
    at: datetime | date


def next_due(tx: Connection, contact_id: int) -> Due | None:
    """The first of what is due; who waits for an answer comes before everything else."""
    ticket, deal = schema.ticket, schema.deal
    opened = ticket.c.contact_id == contact_id, ticket.c.status != "closed"
    waiting = tx.execute(
        select(ticket.c.number, ticket.c.waiting_since)
        .where(*opened, ticket.c.waiting_since.is_not(None), ticket.c.snoozed_until.is_(None))
        .order_by(ticket.c.waiting_since)
        .limit(1)
    ).first()
    if waiting is not None:
        return Due("ticket", waiting.number, waiting.waiting_since)
    snoozed = tx.execute(
        select(ticket.c.number, ticket.c.snoozed_until)
        .where(*opened, ticket.c.snoozed_until.is_not(None))
        .order_by(ticket.c.snoozed_until)
        .limit(1)
    ).first()
    expected = tx.execute(
        select(deal.c.number, deal.c.expected_on)
        .where(deal.c.contact_id == contact_id, deal.c.closed_at.is_(None), deal.c.expected_on.is_not(None))
        .order_by(deal.c.expected_on)
        .limit(1)
    ).first()
    if snoozed is not None and (expected is None or snoozed.snoozed_until.date() <= expected.expected_on):
        return Due("snooze", snoozed.number, snoozed.snoozed_until)
    return Due("deal", expected.number, expected.expected_on) if expected is not None else None


def _when(value: Any) -> datetime:
    """A time that went through coalesce, where SQLite forgets what it is."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    found: datetime = value
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
