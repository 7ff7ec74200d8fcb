"""What a segment may ask of a contact, each a subquery over the contact's row: orders, tickets, talks, events, deals,
consent, notes, custom fields. What is None as a value is whatever there is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
    type_coerce,
)

from crm_store import schema
from crm_store.consent import GRANTED
from crm_store.importing.events import kind_of
from crm_store.profile import HALF_LIFE_DAYS
from crm_store.rows import is_postgresql
from crm_store.sales import VOID


def _of_orders(what: Any, *where: Any) -> Any:
    order = schema.order
    return (
        select(what)
        .where(order.c.contact_id == schema.contact.c.id, order.c.status.not_in(VOID), *where)
        .correlate(schema.contact)
        .scalar_subquery()
    )


def spent(currency: str) -> Any:
    order = schema.order
    where = [order.c.currency == currency] if currency else []
    return _of_orders(func.coalesce(func.sum(order.c.amount_minor), 0), *where)


def worth(tx: Connection, currency: str, now: datetime) -> Any:
    """R × N × P of a currency, as profile.worth has it: what they ever paid, halved for every half year since."""
    last = func.max(schema.order.c.ordered_at)
    at = literal(now, schema.UtcDateTime)
    days = func.julianday(at) - func.julianday(last)
    if is_postgresql(tx):
        days = func.extract("epoch", at - last) / 86400
    halved = func.power(2.0, case((days > 0, -days / float(HALF_LIFE_DAYS)), else_=0.0))
    worth = func.sum(schema.order.c.amount_minor) * halved
    return func.coalesce(_of_orders(worth, schema.order.c.currency == currency), 0)


def _of_tickets(what: Any, *where: Any) -> Any:
    return (
        select(what)
        .where(schema.ticket.c.contact_id == schema.contact.c.id, *where)
        .correlate(schema.contact)
        .scalar_subquery()
    )


def _of_messages(*kinds: str) -> Any:
    message, conversation = schema.message, schema.conversation
    return (
        select(func.max(message.c.created_at))
        .join(conversation, conversation.c.id == message.c.conversation_id)
        .where(conversation.c.contact_id == schema.contact.c.id, message.c.kind.in_(kinds))
        .correlate(schema.contact)
        .scalar_subquery()
    )


def rating() -> Any:
    """The latest one."""
    ticket = schema.ticket
    return (
        select(ticket.c.rating)
        .where(ticket.c.contact_id == schema.contact.c.id, ticket.c.rating.is_not(None))
        .order_by(ticket.c.rated_at.desc(), ticket.c.id.desc())
        .limit(1)
        .correlate(schema.contact)
        .scalar_subquery()
    )


def _of_events(what: Any) -> Any:
    event = schema.customer_event
    return (
        select(what)
        .where(event.c.contact_id == schema.contact.c.id)
        .correlate(schema.contact)
        .scalar_subquery()
    )


def _did(kind: str | None) -> ColumnElement[bool]:
    event = schema.customer_event
    where = [event.c.kind == kind_of(kind)] if kind is not None else []
    return exists().where(event.c.contact_id == schema.contact.c.id, *where)


def _on(channel: str | None) -> ColumnElement[bool]:
    identity = schema.identity
    where = [func.lower(identity.c.space) == channel.lower()] if channel is not None else []
    return exists().where(identity.c.contact_id == schema.contact.c.id, *where)


def _owned(name: str | None) -> ColumnElement[bool]:
    staff = schema.staff
    return exists().where(
        staff.c.id == schema.contact.c.owner_id, func.lower(staff.c.name) == (name or "").lower()
    )


def _consents(purpose: str | None) -> ColumnElement[bool]:
    """What counts is the newest row of a purpose; "email" is marketing by it."""
    said, newer = schema.consent, schema.consent.alias()
    where = []
    if purpose is not None:
        named = "_".join(purpose.lower().split())
        where = [said.c.purpose.in_([named, f"marketing_{named}"])]
    later = select(newer.c.id).where(
        newer.c.contact_id == said.c.contact_id,
        newer.c.purpose == said.c.purpose,
        or_(newer.c.at > said.c.at, and_(newer.c.at == said.c.at, newer.c.id > said.c.id)),
    )
    return exists(
        select(1)
        .select_from(said)
        .where(said.c.contact_id == schema.contact.c.id, said.c.state == GRANTED, ~later.exists(), *where)
        .correlate(schema.contact)
    )


def _in_stage(stage: str | None) -> ColumnElement[bool]:
    """A deal in that stage; "open" is any that is not closed yet."""
    deal = schema.deal
    where: list[Any] = [] if stage is None else [func.lower(deal.c.stage) == stage.lower()]
    if stage is not None and stage.lower() == "open":
        where = [deal.c.closed_at.is_(None)]
    return exists().where(deal.c.contact_id == schema.contact.c.id, *where)


WORDS: dict[str, Callable[[str | None], ColumnElement[bool]]] = {
    "channel": _on,
    "event": _did,
    "owner": _owned,
    "consent": _consents,
    "stage": _in_stage,
}


def bought(value: str | None, *, whole: bool = False) -> ColumnElement[bool]:
    """A product of an order that counts: by its article number, or what its name has in it."""
    order, line = schema.order, schema.order_line
    where: list[Any] = [order.c.contact_id == schema.contact.c.id, order.c.status.not_in(VOID)]
    if value is not None:
        name, sought = func.lower(line.c.name), value.lower()
        called = name == sought if whole else name.contains(sought, autoescape=True)
        where.append(or_(called, func.lower(line.c.sku) == sought))
    return exists(
        select(1)
        .select_from(line)
        .join(order, order.c.id == line.c.order_id)
        .where(*where)
        .correlate(schema.contact)
    )


DATES: dict[str, Callable[[], Any]] = {
    "last_order": lambda: _of_orders(func.max(schema.order.c.ordered_at)),
    "first_order": lambda: _of_orders(func.min(schema.order.c.ordered_at)),
    "last_contact": lambda: _of_messages("in", "out"),
    "last_message": lambda: _of_messages("in"),
    "last_event": lambda: _of_events(func.max(schema.customer_event.c.at)),
    "created": lambda: schema.contact.c.created_at,
}
NUMBERS: dict[str, Callable[[], Any]] = {
    "id": lambda: schema.contact.c.id,
    "orders": lambda: _of_orders(func.count()),
    "events": lambda: _of_events(func.count()),
    "deals": lambda: _open_deals(),
    "tickets": lambda: _of_tickets(func.count()),
    "open_tickets": lambda: _of_tickets(func.count(), schema.ticket.c.status != "closed"),
    "complaints": lambda: _of_tickets(func.count(), schema.ticket.c.kind == "complaint"),
}


def _open_deals() -> Any:
    deal = schema.deal
    return (
        select(func.count())
        .where(deal.c.contact_id == schema.contact.c.id, deal.c.closed_at.is_(None))
        .correlate(schema.contact)
        .scalar_subquery()
    )


def notes() -> Any:
    message, conversation = schema.message, schema.conversation
    return (
        select(1)
        .select_from(message)
        .join(conversation, conversation.c.id == message.c.conversation_id)
        .where(conversation.c.contact_id == schema.contact.c.id, message.c.kind == "note")
        .correlate(schema.contact)
    )


def contact_notes() -> Any:
    note = schema.contact_note
    return select(1).where(note.c.contact_id == schema.contact.c.id).correlate(schema.contact)


def noted(value: str) -> ColumnElement[bool]:
    """In a conversation of theirs, or about them."""
    return or_(
        *(
            exists(notes.where(func.lower(text).contains(value.lower(), autoescape=True)))
            for notes, text in (
                (notes(), schema.message.c.text),
                (contact_notes(), schema.contact_note.c.text),
            )
        )
    )


def custom(tx: Connection, name: str, value: str | None) -> ColumnElement[bool]:
    """A custom field, which is text: its name and its value in whatever case."""
    fields = schema.contact.c.fields
    each_of = func.jsonb_each_text if is_postgresql(tx) else func.json_each
    each = each_of(type_coerce(fields, schema.Json)).table_valued("key", "value").alias("field")
    said = cast(each.c.value, String)
    held = said != "" if value is None else func.lower(said) == value.lower()
    return exists(select(1).select_from(each).where(func.lower(each.c.key) == name.lower(), held))
