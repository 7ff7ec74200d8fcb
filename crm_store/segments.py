"""Segments: which customers, in a small language that is parsed here and never reaches the database as text.

    country:DE,FR spent>1000 last_order<30d rating<=2 tag:vip -tag:test (city:berlin or city:münchen)

Terms side by side must all hold; `or` gives a choice, `-` or `not` the opposite, brackets group. A date is
2026-03-01 or how long ago: `last_order<30d` is within the last 30 days, `last_order<2026-03-01` before that
day. Money is in units of a currency (`spent>1000`, `spent>1000EUR`); without one in the desk's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

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

from crm_store import money, places, schema, sealed_scan
from crm_store.contacts import LIVE
from crm_store.importing.events import kind_of
from crm_store.sales import VOID
from crm_store.scope import Scope, of_contact
from crm_store.search.fold import fold
from crm_store.search.syntax import QUOTES, Moment, QueryError, moment, quoted
from crm_store.search.text import has_tag

__all__ = ["FIELDS", "QueryError", "Segment", "condition", "count", "parse", "select_ids"]

LIMIT = 1000  # characters
DEPTH = 20  # brackets inside one another
TERMS = 50

Operator = Literal[":", "=", "!=", "<", "<=", ">", ">="]
Kind = Literal["text", "word", "tag", "date", "number", "money", "custom"]
_OPERATORS = ("<=", ">=", "!=", "≤", "≥", "≠", "：", ":", "=", "<", ">", "＜", "＞", "＝")
_SAME = {"≤": "<=", "≥": ">=", "≠": "!=", "：": ":", "＜": "<", "＞": ">", "＝": "="}

# What may be asked for: name → kind, and other spellings of it
FIELDS: dict[str, Kind] = {
    "name": "text", "company": "text", "city": "text", "email": "text", "phone": "text", "note": "text",
    "country": "word", "language": "word", "source": "word", "channel": "word", "tag": "tag", "id": "number",
    "orders": "number", "spent": "money", "last_order": "date", "first_order": "date", "rating": "number",
    "tickets": "number", "open_tickets": "number", "complaints": "number", "last_contact": "date",
    "last_message": "date", "created": "date", "field": "custom", "event": "word", "events": "number",
    "last_event": "date",
}  # fmt: skip
_ALSO = {
    "姓名": "name", "公司": "company", "城市": "city", "邮箱": "email", "电话": "phone", "手机": "phone",
    "国家": "country", "语言": "language", "来源": "source", "渠道": "channel", "标签": "tag", "订单数": "orders",
    "消费": "spent", "最近下单": "last_order", "首次下单": "first_order", "评分": "rating", "工单": "tickets",
    "未结工单": "open_tickets", "投诉": "complaints", "最近联系": "last_contact", "最近来信": "last_message",
    "事件": "event", "行为": "event", "事件数": "events", "最近事件": "last_event",
    "创建": "created", "tags": "tag", "since": "created", "lang": "language", "mail": "email", "e-mail": "email",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison. `value` is str, Decimal, (Decimal, currency) or Moment, of a list each."""

    field: str
    operator: Operator
    values: tuple[Any, ...]
    part: str = ""  # of a custom field its name


@dataclass(frozen=True, slots=True)
class Group:
    how: Literal["all", "any", "not"]
    inner: tuple[Segment, ...]


Segment = Term | Group


def parse(text: str, *, zone: tzinfo = UTC) -> Segment:
    """Read a segment. Raise QueryError, which says where and what is wrong, and nothing else."""
    if len(text) > LIMIT:
        raise QueryError("long", LIMIT)
    return _Parser(text, zone).whole()


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


class _Parser:
    """One pass over the text; `at` is where it stands."""

    def __init__(self, text: str, zone: tzinfo) -> None:
        self.text = text
        self.zone = zone
        self.at = 0
        self.terms = 0

    def whole(self) -> Segment:
        self.space()
        if self.at == len(self.text):
            raise QueryError("empty", 0)
        found = self.any(0)
        if self.at < len(self.text):
            raise QueryError("bracket", self.at, self.text[self.at])
        return found

    def space(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def word(self, *words: str) -> bool:
        """Step over one of the words, when one stands here by itself."""
        for word in words:
            end = self.at + len(word)
            here = self.text[self.at : end].lower() == word
            if here and (end == len(self.text) or self.text[end].isspace() or self.text[end] in "(（"):
                self.at = end
                self.space()
                return True
        return False

    def any(self, depth: int) -> Segment:
        found = [self.all(depth)]
        while self.word("or", "||", "|", "或"):
            found.append(self.all(depth))
        return found[0] if len(found) == 1 else Group("any", tuple(found))

    def all(self, depth: int) -> Segment:
        found = [self.one(depth)]
        while self.at < len(self.text) and self.text[self.at] not in ")）":
            place = self.at
            if self.word("or", "||", "|", "或"):
                self.at = place
                break
            self.word("and", "&&", "&", "且")
            found.append(self.one(depth))
        return found[0] if len(found) == 1 else Group("all", tuple(found))

    def one(self, depth: int) -> Segment:
        if depth > DEPTH:
            raise QueryError("deep", self.at)
        if self.at >= len(self.text):
            raise QueryError("end", self.at)
        if self.word("not", "非", "!"):
            return Group("not", (self.one(depth + 1),))
        if self.text[self.at] in "-!":
            self.at += 1
            return Group("not", (self.one(depth + 1),))
        if self.text[self.at] in "(（":
            opened = self.at
            self.at += 1
            self.space()
            found = self.any(depth + 1)
            if self.at >= len(self.text):
                raise QueryError("bracket", opened, self.text[opened])
            self.at += 1
            self.space()
            return found
        return self.term()

    def term(self) -> Term:
        self.terms += 1
        if self.terms > TERMS:
            raise QueryError("long", self.at)
        start = self.at
        while self.at < len(self.text) and (self.text[self.at].isalnum() or self.text[self.at] in "_.-"):
            self.at += 1
        named = self.text[start : self.at].lower()
        name, _, part = named.partition(".")
        name = _ALSO.get(name, name)
        if name not in FIELDS or (FIELDS[name] == "custom") != bool(part):
            raise QueryError("field", start, self.text[start : self.at] or self.text[start : start + 1])
        part = self.text[start : self.at].partition(".")[2]
        place = self.at
        sign = next((one for one in _OPERATORS if self.text.startswith(one, self.at)), "")
        if not sign:
            raise QueryError("operator", place, self.text[start : self.at])
        self.at += len(sign)
        operator: Any = _SAME.get(sign, sign)
        kind = FIELDS[name]
        if operator not in (":", "=", "!=") and kind in ("text", "word", "tag", "custom"):
            raise QueryError("operator", place, sign)
        values = [self.value(name, kind)]
        while self.at < len(self.text) and self.text[self.at] in ",，、":
            self.at += 1
            values.append(self.value(name, kind))
        if len(values) > 1 and operator not in (":", "=", "!="):
            raise QueryError("value", place, sign)
        self.space()
        return Term(name, operator, tuple(values), part)

    def value(self, name: str, kind: Kind) -> Any:
        start = self.at
        if self.at < len(self.text) and self.text[self.at] in QUOTES:
            said, self.at = quoted(self.text, self.at)
        else:
            while self.at < len(self.text) and not (
                self.text[self.at].isspace() or self.text[self.at] in ",，、()（）"
            ):
                self.at += 1
            said = self.text[start : self.at]
        said = said.replace("\x00", "").encode("utf-8", "ignore").decode().strip()
        if not said:
            raise QueryError("value", start)
        match kind:
            case "date":
                found = moment(said, self.zone)
                if found is None:
                    raise QueryError("date", start, said)
                return found
            case "number":
                return _number(said, start)
            case "money":
                return _money(said, start)
            case "word":
                return places.country(said) if name == "country" else said
        return said


def _number(said: str, at: int) -> Decimal:
    try:
        found = Decimal(said)
    except InvalidOperation:
        raise QueryError("number", at, said) from None
    if not found.is_finite() or abs(found) > 10**12 or -found.as_tuple().exponent > 6:  # type: ignore[operator]
        raise QueryError("number", at, said)
    return found


def _money(said: str, at: int) -> tuple[Decimal, str]:
    digits = said.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz€$¥£元")
    unit = said[len(digits) :].upper()
    named = money.symbols(unit) if unit else ("",)
    if not named:
        raise QueryError("number", at, said)
    return _number(digits, at), named[0]


# --- to SQL -------------------------------------------------------------------------------------------


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
