"""Tickets: opened by what the bot leaves to people, numbered without gaps, closed, rated, reopened."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, func, select, update

from crm_store import schema
from crm_store.rows import insert, insert_id

ticket = schema.ticket
REOPEN_WITHIN = timedelta(days=7)
PRIORITIES = ("low", "normal", "high", "urgent")


def open_new(
    tx: Connection,
    now: datetime,
    *,
    conversation_id: int,
    contact_id: int,
    kind: str,
    subject: str,
    channel: str,
    priority: str = "normal",
    linked_to_id: int | None = None,
) -> Any:
    """Open a ticket with the next number and return its row."""
    row_id = insert_id(
        tx,
        ticket.insert().values(
            number=next_number(tx, "ticket"),
            conversation_id=conversation_id,
            contact_id=contact_id,
            kind=kind,
            status="new",
            priority=priority,
            subject=subject,
            channel=channel,
            linked_to_id=linked_to_id,
            opened_at=now,
        ),
    )
    return get(tx, row_id)


def next_number(tx: Connection, name: str) -> int:
    """Count without gaps: the counter's row is held until the transaction ends."""
    table = schema.counter
    return int(
        tx.execute(
            insert(tx, table)
            .values(name=name, value=1)
            .on_conflict_do_update(index_elements=["name"], set_={"value": table.c.value + 1})
            .returning(table.c.value)
        ).scalar_one()
    )


def number_now(tx: Connection, name: str) -> int:
    """What a counter stands at; 0 before it was used."""
    table = schema.counter
    return int(tx.execute(select(table.c.value).where(table.c.name == name)).scalar() or 0)


def get(tx: Connection, ticket_id: int) -> Any:
    return tx.execute(select(ticket).where(ticket.c.id == ticket_id)).first()


def by_number(tx: Connection, number: int) -> Any:
    return tx.execute(select(ticket).where(ticket.c.number == number)).first()


def unclosed(tx: Connection, conversation_id: int) -> Any:
    """The newest ticket of a conversation that is not closed."""
    return tx.execute(
        select(ticket)
        .where(ticket.c.conversation_id == conversation_id, ticket.c.status != "closed")
        .order_by(ticket.c.id.desc())
        .limit(1)
    ).first()


def latest(tx: Connection, conversation_id: int) -> Any:
    return tx.execute(
        select(ticket)
        .where(ticket.c.conversation_id == conversation_id)
        .order_by(ticket.c.id.desc())
        .limit(1)
    ).first()


def set_values(tx: Connection, ticket_id: int, **values: Any) -> Any:
    """Change columns and return the row as it is now."""
    tx.execute(update(ticket).where(ticket.c.id == ticket_id).values(**values))
    return get(tx, ticket_id)


def can_reopen(row: Any, now: datetime) -> bool:
    return row.status == "closed" and row.closed_at is not None and now - row.closed_at <= REOPEN_WITHIN


def reopen(tx: Connection, row: Any) -> Any:
    return set_values(
        tx, row.id, status="open", closed_at=None, reopened=row.reopened + 1, rating_asked_at=None
    )


def responded(tx: Connection, ticket_id: int, now: datetime) -> None:
    """An agent's reply has gone out: the first-response clock stops at the first."""
    tx.execute(
        update(ticket)
        .where(ticket.c.id == ticket_id, ticket.c.first_response_at.is_(None))
        .values(first_response_at=now)
    )


def listing(
    tx: Connection,
    *,
    statuses: Sequence[str] = ("new", "open", "pending"),
    assignee_id: int | None = None,
    contact_id: int | None = None,
    limit: int = 30,
) -> list[Any]:
    """Tickets with the contact's and assignee's names, most urgent and oldest first."""
    rank = case({p: i for i, p in enumerate(reversed(PRIORITIES))}, value=ticket.c.priority, else_=9)
    query = (
        select(
            ticket,
            schema.contact.c.name.label("contact_name"),
            schema.staff.c.name.label("assignee"),
        )
        .join(schema.contact, schema.contact.c.id == ticket.c.contact_id)
        .join(schema.staff, schema.staff.c.id == ticket.c.assignee_id, isouter=True)
        .where(ticket.c.status.in_(list(statuses)))
        .order_by(rank, ticket.c.opened_at)
        .limit(limit)
    )
    if assignee_id is not None:
        query = query.where(ticket.c.assignee_id == assignee_id)
    if contact_id is not None:
        query = query.where(ticket.c.contact_id == contact_id)
    return list(tx.execute(query).all())


def count_unclosed(tx: Connection, contact_id: int) -> int:
    return int(
        tx.execute(
            select(func.count()).where(ticket.c.contact_id == contact_id, ticket.c.status != "closed")
        ).scalar_one()
    )


# --- a ticket's places on the staff sides ---------------------------------------------------------------


def add_thread(tx: Connection, ticket_id: int, channel: str, room_id: str) -> None:
    tx.execute(
        insert(tx, schema.thread)
        .values(ticket_id=ticket_id, channel=channel, room_id=room_id)
        .on_conflict_do_nothing()
    )


def threads(tx: Connection, ticket_id: int) -> list[Any]:
    return list(
        tx.execute(
            select(schema.thread).where(schema.thread.c.ticket_id == ticket_id).order_by(schema.thread.c.id)
        ).all()
    )


def thread_opened(
    tx: Connection, ticket_id: int, channel: str, room_id: str, thread_id: str, card_event_id: str
) -> None:
    """The card was sent: its thread is the ticket's place there."""
    tx.execute(
        update(schema.thread)
        .where(
            schema.thread.c.ticket_id == ticket_id,
            schema.thread.c.channel == channel,
            schema.thread.c.room_id == room_id,
        )
        .values(thread_id=thread_id, card_event_id=card_event_id)
    )


def in_thread(tx: Connection, channel: str, room_id: str, thread_id: str) -> Any:
    """The ticket whose thread this is, or None."""
    if not thread_id:
        return None
    return tx.execute(
        select(ticket)
        .join(schema.thread, schema.thread.c.ticket_id == ticket.c.id)
        .where(
            schema.thread.c.channel == channel,
            schema.thread.c.room_id == room_id,
            schema.thread.c.thread_id == thread_id,
        )
        .order_by(ticket.c.id.desc())
        .limit(1)
    ).first()


def thread_of(tx: Connection, ticket_id: int, channel: str, room_id: str) -> Any:
    return tx.execute(
        select(schema.thread).where(
            schema.thread.c.ticket_id == ticket_id,
            schema.thread.c.channel == channel,
            schema.thread.c.room_id == room_id,
        )
    ).first()
