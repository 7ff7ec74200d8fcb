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
from crm_store.rows import is_postgresql
from crm_store.scope import Scope, of_contact
from crm_store.search.fold import fold
from crm_store.search.syntax import Moment
from crm_store.search.text import has_tag
from crm_store.segments import facts
from crm_store.segments.language import ANY, FIELDS, Operator, Segment, Term


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
    kind = FIELDS[term.field]
    if value == ANY and kind in ("text", "word", "tag", "custom"):
        return _any(tx, term)
    match kind:
        case "tag":
            return has_tag(tx, value)  # type: ignore[no-any-return]
        case "custom":
            if sealed_scan.is_sealed(tx):
                return sealed_scan.has_field(tx, term.part, value)
            return facts.custom(tx, term.part, value)
        case "date":
            return _dated(facts.DATES[term.field](), term.operator, value, now)
        case "money":
            amount, unit = value[0], value[1] or currency
            left = facts.spent(unit) if term.field == "spent" else facts.worth(tx, unit, now)
            return _number_is(left, term.operator, _minor(amount, unit))
        case "number":
            plain = int(value) if value == value.to_integral_value() else float(value)
            if term.field == "rating":  # no rating is not a low one
                return _known(facts.rating(), _number_is(facts.rating(), term.operator, plain))
            return _number_is(facts.NUMBERS[term.field](), term.operator, plain)
        case "word" if term.field in facts.WORDS:
            return facts.WORDS[term.field](value)
        case "word":
            return _is(func.lower(func.coalesce(schema.contact.c[term.field], "")), value.lower())
        case "text":
            return _text(tx, term, value)


def _text(tx: Connection, term: Term, value: str) -> ColumnElement[bool]:
    contact, identity = schema.contact, schema.identity
    if term.field == "product":
        return facts.bought(value, whole=term.operator == "=")
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
        return facts.noted(value)
    column = func.lower(contact.c[term.field])
    if term.operator == "=":
        return _is(column, value.lower())
    return or_(
        *(column.contains(one, autoescape=True) for one in dict.fromkeys((value.lower(), fold(value))))
    )


def _any(tx: Connection, term: Term) -> ColumnElement[bool]:
    """That there is something at all."""
    contact, identity = schema.contact, schema.identity
    if term.field == "tag":
        length = func.jsonb_array_length if is_postgresql(tx) else func.json_array_length
        return _number_is(length(contact.c.tags), ">", 0)
    if term.field == "custom" or FIELDS[term.field] == "custom":
        if sealed_scan.is_sealed(tx):
            return sealed_scan.has_field(tx, term.part, None)
        return facts.custom(tx, term.part, None)
    if term.field in ("email", "phone"):
        return exists().where(identity.c.contact_id == contact.c.id, identity.c.space == term.field)
    if term.field == "note":
        return or_(exists(facts.notes()), exists(facts.contact_notes()))
    if term.field == "owner":
        return contact.c.owner_id.is_not(None)
    if term.field == "product":
        return facts.bought(None)
    if term.field in facts.WORDS:
        return facts.WORDS[term.field](None)
    return func.coalesce(contact.c[term.field], "") != ""


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


def _minor(amount: Decimal, currency: str) -> int | float:
    found = amount * 10 ** money.exponent(currency)
    return int(found) if found == found.to_integral_value() else float(found)
