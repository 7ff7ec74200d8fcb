"""Tickets: opened by what the bot leaves to people, numbered without gaps, closed, rated, reopened."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, literal_column, or_, select, update

from crm_store import schema
from crm_store.scope import Scope, of_ticket
from crm_store.statement import Statement, update_by_id

ticket = schema.ticket
counter = schema.counter
thread = schema.thread
REOPEN_WITHIN = timedelta(days=7)
CLOSED: Any = literal_column("'closed'")  # as text: a partial index is only used where its condition is
PRIORITIES = ("low", "normal", "high", "urgent")

_insert = Statement(ticket.insert().returning(*ticket.c))
_count_up = Statement(
    lambda insert: (
        insert(counter)
        .on_conflict_do_update(index_elements=["name"], set_={"value": counter.c.value + 1})
        .returning(counter.c.value)
    )
)
_numbers_now = Statement(
    select(counter.c.name, counter.c.value).where(
        or_(*(counter.c.name == bindparam(name) for name in ("name", "second", "third")))
    )
)
_get = Statement(select(ticket).where(ticket.c.id == bindparam("row")))
_by_number = Statement(select(ticket).where(ticket.c.number == bindparam("number")))
_unclosed = Statement(
    select(ticket)
    .where(ticket.c.conversation_id == bindparam("conversation"), ticket.c.status != CLOSED)
    .order_by(ticket.c.id.desc())
    .limit(1)
)
_latest = Statement(
    select(ticket)
    .where(ticket.c.conversation_id == bindparam("conversation"))
    .order_by(ticket.c.id.desc())
    .limit(1)
)
_numbers_open = Statement(
    select(ticket.c.number)
    .where(
        ticket.c.contact_id == bindparam("contact"),
        ticket.c.status != CLOSED,
        ticket.c.id != bindparam("but"),
    )
    .order_by(ticket.c.opened_at)
    .limit(30)
)
_add_thread = Statement(lambda insert: insert(thread).on_conflict_do_nothing().returning(*thread.c))
_threads = Statement(select(thread).where(thread.c.ticket_id == bindparam("ticket")).order_by(thread.c.id))
_thread_of = Statement(
    select(thread).where(
        thread.c.ticket_id == bindparam("ticket"),
        thread.c.channel == bindparam("channel"),
        thread.c.room_id == bindparam("room"),
    )
)
_thread_opened = Statement(
    update(thread)
    .where(
        thread.c.ticket_id == bindparam("ticket"),
        thread.c.channel == bindparam("at_channel"),
        thread.c.room_id == bindparam("at_room"),
    )
    .values(thread_id=bindparam("thread"), card_event_id=bindparam("card"))
)


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
    clock_at: datetime | None = None,
) -> Any:
    """Open a ticket with the next number and return its row."""
    return _insert.one(
        tx,
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
        waiting_since=now,
        clock_at=clock_at,
    )


def next_number(tx: Connection, name: str) -> int:
    """Count without gaps: the counter's row is held until the transaction ends."""
    return int(_count_up.scalar(tx, name=name, value=1))


def numbers_now(tx: Connection, name: str, second: str = "", third: str = "") -> list[int]:
    """What counters stand at, in the order they are named; 0 before one was used."""
    rows = _numbers_now.all(tx, name=name, second=second, third=third)
    found: dict[str, int] = {row.name: row.value for row in rows}
    return [found.get(one, 0) for one in (name, second, third)]


def get(tx: Connection, ticket_id: int) -> Any:
    return _get.first(tx, row=ticket_id)


def by_number(tx: Connection, number: int) -> Any:
    return _by_number.first(tx, number=number)


def unclosed(tx: Connection, conversation_id: int) -> Any:
    """The newest ticket of a conversation that is not closed."""
    return _unclosed.first(tx, conversation=conversation_id)


def unclosed_in_room(tx: Connection, channel: str, room_id: str) -> list[Any]:
    """The tickets that are not closed of all conversations in a room, whatever their thread."""
    table = schema.conversation
    query = (
        select(ticket)
        .join(table, table.c.id == ticket.c.conversation_id)
        .where(table.c.channel == channel, table.c.room_id == room_id, ticket.c.status != CLOSED)
        .order_by(ticket.c.id)
    )
    return list(tx.execute(query).all())


def latest(tx: Connection, conversation_id: int) -> Any:
    return _latest.first(tx, conversation=conversation_id)


def set_values(tx: Connection, ticket_id: int, **values: Any) -> Any:
    """Change columns and return the row as it is now."""
    update_by_id(ticket, tuple(values)).run(tx, row=ticket_id, **{f"to_{k}": v for k, v in values.items()})
    return get(tx, ticket_id)


def can_reopen(row: Any, now: datetime) -> bool:
    return row.status == "closed" and row.closed_at is not None and now - row.closed_at <= REOPEN_WITHIN


def reopen(tx: Connection, row: Any, now: datetime) -> Any:
    """The customer wrote again: as it was, and they wait anew."""
    return set_values(
        tx,
        row.id,
        status="open",
        closed_at=None,
        reopened=row.reopened + 1,
        rating_asked_at=None,
        waiting_since=now,
    )


def answered(tx: Connection, ticket_id: int) -> bool:
    """Whether a person has written to the customer on a ticket."""
    table = schema.message
    query = select(table.c.id).where(
        table.c.ticket_id == ticket_id, table.c.kind == "out", table.c.author_kind == "staff"
    )
    return tx.execute(query.limit(1)).first() is not None


def lock(tx: Connection, row: Any) -> Any:
    """The ticket as it is now, its conversation held until the transaction ends."""
    table = schema.conversation
    tx.execute(select(table.c.id).where(table.c.id == row.conversation_id).with_for_update())
    return get(tx, row.id)


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
    scope: Scope | None = None,
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
    if scope is not None:
        query = query.where(of_ticket(scope))
    return list(tx.execute(query).all())


def numbers_open(tx: Connection, contact_id: int, *, but: int) -> list[int]:
    """The numbers of a contact's tickets that are not closed, except one, oldest first."""
    return [row.number for row in _numbers_open.all(tx, contact=contact_id, but=but)]


def count_unclosed(tx: Connection, contact_id: int) -> int:
    return int(
        tx.execute(
            select(func.count()).where(ticket.c.contact_id == contact_id, ticket.c.status != "closed")
        ).scalar_one()
    )


# --- a ticket's places on the staff sides ---------------------------------------------------------------


def add_thread(tx: Connection, ticket_id: int, channel: str, room_id: str) -> Any:
    """Give a ticket a place on a staff side and return its row."""
    added = _add_thread.first(tx, ticket_id=ticket_id, channel=channel, room_id=room_id)
    return added or thread_of(tx, ticket_id, channel, room_id)


def threads(tx: Connection, ticket_id: int) -> list[Any]:
    return _threads.all(tx, ticket=ticket_id)


def thread_opened(
    tx: Connection, ticket_id: int, channel: str, room_id: str, thread_id: str, card_event_id: str
) -> None:
    """The card was sent: its thread is the ticket's place there."""
    _thread_opened.run(
        tx, ticket=ticket_id, at_channel=channel, at_room=room_id, thread=thread_id, card=card_event_id
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


def by_card(tx: Connection, channel: str, card_event_id: str) -> Any:
    """The ticket whose card this is, or None."""
    query = (
        select(ticket)
        .join(schema.thread, schema.thread.c.ticket_id == ticket.c.id)
        .where(schema.thread.c.channel == channel, schema.thread.c.card_event_id == card_event_id)
    )
    return tx.execute(query.limit(1)).first() if card_event_id else None


def waiting(tx: Connection, *, scope: Scope | None = None, limit: int = 200) -> list[Any]:
    """Tickets whose customer waits for an answer, most urgent and oldest first; as `listing`."""
    rows = listing(tx, scope=scope, limit=limit)
    return [row for row in rows if row.waiting_since is not None and row.snoozed_until is None]


def thread_of(tx: Connection, ticket_id: int, channel: str, room_id: str) -> Any:
    return _thread_of.first(tx, ticket=ticket_id, channel=channel, room=room_id)
