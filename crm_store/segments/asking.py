"""A segment as a condition over contacts: values are bound, never text of a statement."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
)

from crm_store import money, schema, sealed_scan
from crm_store.contacts import LIVE
from crm_store.importing.events import kind_of
from crm_store.sales import VOID
from crm_store.scope import Scope, of_contact
from crm_store.search.fold import fold
from crm_store.search.syntax import Moment
from crm_store.search.text import has_tag
from crm_store.segments.language import FIELDS, Operator, Segment, Term


def condition(
    tx: Connection, segment: Segment, now: datetime, *, currency: str = "", scope: Scope | None = None
) -> ColumnElement[bool]:
    """For a query over contacts: who is in it. `currency` is what amounts are in that name none; with a scope
    only whom its people see. Of whoever was erased nothing is left that could be asked for."""
    erased = select(schema.erasure.c.contact_id).where(schema.erasure.c.state == "done")
    found = and_(LIVE, schema.contact.c.id.not_in(erased), _condition(tx, segment, now, currency))
    return found if scope is None else and_(found, of_contact(scope, schema.contact.c.id))


def count(
    tx: Connection, segment: Segment, now: datetime, *, currency: str = "", scope: Scope | None = None
) -> int:
    """How many contacts are in it."""
    where = condition(tx, segment, now, currency=currency, scope=scope)
    return int(tx.execute(select(func.count()).select_from(schema.contact).where(where)).scalar_one())


def select_ids(
    tx: Connection,
    segment: Segment,
    now: datetime,
    *,
    currency: str = "",
    after: int = 0,
    limit: int | None = None,
    scope: Scope | None = None,
) -> list[int]:
    """The ids of the contacts in it, in order, those after `after`: page by page, for as many as there are."""
    contact = schema.contact
    where = and_(contact.c.id > after, condition(tx, segment, now, currency=currency, scope=scope))
    return list(tx.execute(select(contact.c.id).where(where).order_by(contact.c.id).limit(limit)).scalars())


def _condition(tx: Connection, segment: Segment, now: datetime, currency: str) -> ColumnElement[bool]:
    if isinstance(segment, Term):
        return _of_term(tx, segment, now, currency)
    inner = [_condition(tx, one, now, currency) for one in segment.inner]
    match segment.how:
        case "all":
            return and_(*inner)
        case "any":
            return or_(*inner)
        case "not":
            return not_(inner[0])


def _of_term(tx: Connection, term: Term, now: datetime, currency: str) -> ColumnElement[bool]:
    any_of = [_compared(tx, term, value, now, currency) for value in term.values]
    found = any_of[0] if len(any_of) == 1 else or_(*any_of)
    return not_(found) if term.operator == "!=" else found


def _compared(tx: Connection, term: Term, value: Any, now: datetime, currency: str) -> ColumnElement[bool]:
    contact, identity = schema.contact, schema.identity
    match FIELDS[term.field]:
        case "tag":
            return has_tag(tx, value)  # type: ignore[no-any-return]
        case "custom":
            if sealed_scan.is_sealed(tx):
                return sealed_scan.has_field(tx, term.part, value)
            return _custom(term, value)
        case "date":
            return _dated(_DATES[term.field](), term.operator, value, now)
        case "money":
            amount, named = value
            return _number_is(_spent(named or currency), term.operator, _minor(amount, named or currency))
        case "number":
            plain = int(value) if value == value.to_integral_value() else float(value)
            if term.field == "rating":  # no rating is not a low one
                return _known(_rating(), _number_is(_rating(), term.operator, plain))
            return _number_is(_NUMBERS[term.field](), term.operator, plain)
        case "word" if term.field == "channel":
            return exists().where(
                identity.c.contact_id == contact.c.id, func.lower(identity.c.space) == value.lower()
            )
        case "word" if term.field == "event":
            return _did(kind_of(value))
        case "word":
            return _is(func.lower(func.coalesce(contact.c[term.field], "")), value.lower())
    if term.field in ("email", "phone"):
        sought = value.lower() if term.field == "email" else "".join(c for c in value if c.isdigit()) or value
        if sealed_scan.is_sealed(tx):
            return sealed_scan.reached_by(tx, term.field, sought)
        return exists().where(
            identity.c.contact_id == contact.c.id,
            identity.c.space == term.field,
            identity.c.user_id.contains(sought, autoescape=True),
        )
    if sealed_scan.is_sealed(tx):
        if term.field == "note":
            return sealed_scan.noted(tx, value)
        return sealed_scan.text_is(tx, term.field, value, whole=term.operator == "=")
    if term.field == "note":
        return _noted(value)
    column = func.lower(contact.c[term.field])
    if term.operator == "=":
        return _is(column, value.lower())
    return or_(
        *(column.contains(one, autoescape=True) for one in dict.fromkeys((value.lower(), fold(value))))
    )


def _is(left: Any, right: Any) -> ColumnElement[bool]:
    return left == right  # type: ignore[no-any-return]


def _number_is(left: Any, operator: Operator, right: Any) -> ColumnElement[bool]:
    if isinstance(right, int):  # PostgreSQL's driver takes no large number for a small column
        right = literal(right, BigInteger)
    compare: dict[str, Callable[[], Any]] = {
        "<": lambda: left < right,
        "<=": lambda: left <= right,
        ">": lambda: left > right,
        ">=": lambda: left >= right,
    }
    return compare.get(operator, lambda: left == right)()  # type: ignore[no-any-return]


def _dated(left: Any, operator: Operator, value: Moment, now: datetime) -> ColumnElement[bool]:
    """Of how long ago less is later; a day is the whole day."""
    try:
        edge = value.before(now)
        if value.ago is not None:
            turned: dict[str, Operator] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
            return _known(left, _number_is(left, turned.get(operator, ">="), edge))
        after = edge + timedelta(days=1)
    except OverflowError:
        return false()
    match operator:
        case "<" | ">=":
            return _known(left, _number_is(left, operator, edge))
        case "<=":
            return _known(left, left < after)
        case ">":
            return _known(left, left >= after)
    return _known(left, and_(left >= edge, left < after))


def _known(left: Any, found: ColumnElement[bool]) -> ColumnElement[bool]:
    """NULL is no, so that `not` of it is yes."""
    return and_(left.is_not(None), found)


def _of_orders(what: Any, *where: Any) -> Any:
    order = schema.order
    return (
        select(what)
        .where(order.c.contact_id == schema.contact.c.id, order.c.status.not_in(VOID), *where)
        .correlate(schema.contact)
        .scalar_subquery()
    )


def _spent(currency: str) -> Any:
    order = schema.order
    where = [order.c.currency == currency] if currency else []
    return _of_orders(func.coalesce(func.sum(order.c.amount_minor), 0), *where)


def _minor(amount: Decimal, currency: str) -> int | float:
    found = amount * 10 ** money.exponent(currency)
    return int(found) if found == found.to_integral_value() else float(found)


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


def _rating() -> Any:
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


def _did(kind: str) -> ColumnElement[bool]:
    event = schema.customer_event
    return exists().where(event.c.contact_id == schema.contact.c.id, event.c.kind == kind)


_DATES: dict[str, Callable[[], Any]] = {
    "last_order": lambda: _of_orders(func.max(schema.order.c.ordered_at)),
    "first_order": lambda: _of_orders(func.min(schema.order.c.ordered_at)),
    "last_contact": lambda: _of_messages("in", "out"),
    "last_message": lambda: _of_messages("in"),
    "last_event": lambda: _of_events(func.max(schema.customer_event.c.at)),
    "created": lambda: schema.contact.c.created_at,
}
_NUMBERS: dict[str, Callable[[], Any]] = {
    "id": lambda: schema.contact.c.id,
    "orders": lambda: _of_orders(func.count()),
    "events": lambda: _of_events(func.count()),
    "tickets": lambda: _of_tickets(func.count()),
    "open_tickets": lambda: _of_tickets(func.count(), schema.ticket.c.status != "closed"),
    "complaints": lambda: _of_tickets(func.count(), schema.ticket.c.kind == "complaint"),
}


def _noted(value: str) -> ColumnElement[bool]:
    message, conversation = schema.message, schema.conversation
    return exists(
        select(1)
        .select_from(message)
        .join(conversation, conversation.c.id == message.c.conversation_id)
        .where(
            conversation.c.contact_id == schema.contact.c.id,
            message.c.kind == "note",
            func.lower(message.c.text).contains(value.lower(), autoescape=True),
        )
        .correlate(schema.contact)
    )


def _custom(term: Term, value: str) -> ColumnElement[bool]:
    """A custom field, which is text: in whatever case."""
    field: Any = schema.contact.c.fields[term.part].as_string()
    return _known(field, func.lower(field) == value.lower())
