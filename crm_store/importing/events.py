"""What customers did, from a file: read and cleaned, then written a thousand rows a statement.

An event is a fact: one that is there is never changed. It is found again by the file's own id of it, else by who
did what, when and of what, so that the same file twice is once. Who is our number of them, also of those they
were merged from: a hash of an address would tell the address to whoever guesses it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from crm_store import merges, money, schema
from crm_store.importing import bulk, times, values
from crm_store.importing.files import Row
from crm_store.importing.report import Batch, Seen
from crm_store.importing.rows import CustomerRow, Rejected, customer_of, extra_of, one_by_one, said_in
from crm_store.importing.values import Defaults, Wrong
from crm_store.importing.write import Contacts, Outcome

SUBJECT, WORDS, FIELDS = 200, 2000, 100  # characters, characters of a field, fields: as the API takes them
AHEAD = timedelta(days=1)  # clocks and time zones differ; what lies further ahead has not happened
KIND = re.compile(r"[a-z][a-z0-9_.]{0,39}")
_OURS = re.compile(r"event:(\d{1,9})")
KEY = re.compile(r"[\x21-\x7e]{1,200}")
_KINDS = {
    "visit": "访问 到访 进店 登陆页面 打开 pageview page_view",
    "view": "浏览 查看 看商品 浏览商品 viewed product_view product_viewed",
    "like": "点赞 喜欢 赞 liked",
    "favourite": "收藏 收藏商品 关注 favorite wishlist add_to_wishlist",
    "cart": "加购 加购物车 加入购物车 添加购物车 add_to_cart added_to_cart",
    "checkout": "结算 提交订单 去结算 begin_checkout",
    "purchase": "购买 下单 付款 支付 purchased bought",
    "search": "搜索 检索 searched",
    "signup": "注册 sign_up registered register",
    "login": "登录 登陆 log_in signin sign_in",
    "share": "分享 转发 shared",
    "comment": "评论 评价 留言",
    "download": "下载",
    "subscribe": "订阅",
    "unsubscribe": "退订",
    "open": "打开邮件 opened",
    "click": "点击 clicked",
}
_KIND = {alias: kind for kind, aliases in _KINDS.items() for alias in aliases.split()}
_COLUMNS = ("id", "contact_id", "kind", "subject", "at", "key", "fields", "source", "created_at")
event = schema.customer_event
Find = Callable[[CustomerRow], int | None]  # whom a row is about


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something a customer did. `key` is "" where the file has no id of it; `contact_id` is our own number of
    them where the file has it, else 0."""

    line: int
    key: str
    kind: str
    at: datetime
    subject: str
    fields: tuple[tuple[str, str], ...]
    customer: CustomerRow
    contact_id: int = 0


def events(rows: Iterable[Row], defaults: Defaults) -> Iterator[EventRow | Rejected]:
    """An event a row. What cannot be read is reported and left out."""
    return one_by_one(rows, lambda row, rejected: _event(row, defaults, rejected))


def _event(row: Row, defaults: Defaults, rejected: list[Rejected]) -> EventRow:
    said, others = said_in("events", row)
    customer = customer_of(row.line, said, defaults, rejected)
    known_as = values.clean(said.get("wellheard_id")).upper().removeprefix("C")
    contact_id = int(known_as) if known_as.isascii() and known_as.isdecimal() and len(known_as) < 10 else 0
    kind = _kind(values.clean(said.get("kind")))
    if not said.get("at"):
        raise Wrong("no_date", "")
    at = times.moment(said["at"], defaults)
    subject, fields = _about(row.line, said, others, defaults, rejected)
    key = values.clean(said.get("key"))
    if key and not KEY.fullmatch(key):
        raise Wrong("event_id", key)
    return EventRow(row.line, key, kind, at, subject, fields, customer, contact_id)


def kind_of(said: str) -> str:
    """An event's kind by any of its names: add_to_cart, AddToCart and 加购 are cart."""
    word = re.sub(r"[\s-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", said)).lower()
    return _KIND.get(word, word)


def _kind(said: str) -> str:
    if not said:
        raise Wrong("no_event", "")
    kind = kind_of(said)
    if not KIND.fullmatch(kind):
        raise Wrong("event", said)
    return kind


def _about(
    line: int,
    said: dict[str, Any],
    others: list[tuple[str, Any]],
    defaults: Defaults,
    rejected: list[Rejected],
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Of what it was, and what else the row says."""
    named = [(name, values.clean(said[name])) for name in ("subject", "product", "page") if said.get(name)]
    subject = named[0][1] if named else ""
    found = dict(named[1:])
    if len(subject) > SUBJECT:
        found[named[0][0]], subject = subject, subject[:SUBJECT]
    if said.get("amount"):
        try:
            minor, currency = values.money(said["amount"], values.clean(said.get("currency")), defaults)
            found |= {"amount": str(money.in_units(minor, currency)), "currency": currency}
        except Wrong as wrong:
            rejected.append(Rejected(line, wrong.reason, {"value": wrong.value}))
    if said.get("quantity"):
        found["quantity"] = values.clean(said["quantity"])
    for name, value in extra_of(others) if others else ():
        found.setdefault(name, value)
    return subject, tuple((name[:80], value[:WORDS]) for name, value in list(found.items())[:FIELDS])


@dataclass(slots=True)
class Known:
    """Which events are there. `ours`: our number of a customer → who that is now; `parts`: who was merged into
    them."""

    ids: dict[str, int] = field(default_factory=dict)  # by key
    ours: dict[int, int] = field(default_factory=dict)
    parts: dict[int, list[int]] = field(default_factory=dict)

    def keys(self, row: EventRow, contact_id: int | None) -> list[str]:
        """How an event may be called, first as a new one is."""
        if row.key or contact_id is None:
            return [row.key]
        return [_own_key(number, row) for number in (contact_id, *self.parts.get(contact_id, ()))]

    def find(self, row: EventRow, contact_id: int | None) -> int | None:
        return next((self.ids[key] for key in self.keys(row, contact_id) if key in self.ids), None)

    def whose(self, row: EventRow, find: Find) -> int | None:
        """Of those whom we know."""
        found = find(row.customer)
        return found if found is not None else self.ours.get(row.contact_id)


def look(tx: Connection, rows: list[EventRow], find: Find) -> Known:
    """What is there of the rows."""
    known = Known()
    if not rows:
        return known
    known.ours = _living(tx, {row.contact_id for row in rows if row.contact_id})
    unnamed = {row.line: known.whose(row, find) for row in rows if not row.key}
    known.parts = merges.inside_each(
        tx, sorted({number for number in unnamed.values() if number is not None})
    )
    keys = {key for row in rows for key in known.keys(row, unnamed.get(row.line)) if key}
    known.ids = _ids_of(tx, keys) | _by_our_number(tx, rows)
    return known


def _own_key(contact_id: int, row: EventRow) -> str:
    said = "\0".join((str(contact_id), row.kind, row.at.isoformat(), row.subject))
    return f"file:{hashlib.sha256(said.encode()).hexdigest()[:40]}"


@dataclass(slots=True)
class Events:
    """What a batch knows of its events, and what it will write."""

    tx: Connection
    batch: Batch
    seen: Seen
    now: datetime
    people: Contacts
    source: str
    known: Known = field(default_factory=Known)
    fresh: list[tuple[Any, ...]] = field(default_factory=list)
    _next: list[int] = field(default_factory=list)

    def fetch(self, rows: list[EventRow]) -> None:
        """The customers must be known."""
        self.known = look(self.tx, rows, self._find)
        if rows:
            self._next = list(bulk.draw_ids(self.tx, event, len(rows)))[::-1]

    def _find(self, customer: CustomerRow) -> int | None:
        found = self.people.find(customer)
        return found[0] if found else None

    def take(self, row: EventRow) -> Outcome | None:
        """None when it is left out, which the report says."""
        report = self.batch.report
        if row.customer.notes:
            report.correct(row.line, row.customer.notes)
        contact_id = self.known.whose(row, self._find)
        number = self.known.find(row, contact_id)
        if number is not None:
            if earlier := self.seen.line(number) or self.batch.touched.get(number, 0):
                report.repeat(row.line, earlier, number, "event")
            self.batch.touched.setdefault(number, row.line)
            return "unchanged"
        if row.at > self.now + AHEAD:
            report.reject(Rejected(row.line, "future", {"value": row.at.isoformat()}))
            return None
        if contact_id is None:
            if not row.customer.keys:
                report.reject(Rejected(row.line, "no_customer"))
                return None
            contact_id = self.people.create(row.customer)
        number, key = self._next.pop(), self.known.keys(row, contact_id)[0]
        self.known.ids[key] = number
        self.batch.touched[number] = row.line
        about = (row.subject, row.at, key, dict(row.fields), self.source, self.now)
        self.fresh.append((number, contact_id, row.kind, *about))
        return "new"

    def flush(self) -> None:
        """Write the new events; their contacts must be written."""
        bulk.insert(self.tx, event, _COLUMNS, self.fresh)
        self.batch.made["customer_event"] = bulk.spans(one[0] for one in self.fresh)


def _ids_of(tx: Connection, keys: Iterable[str]) -> dict[str, int]:
    """Which of these events are there: key → id."""
    wanted = sorted(keys)
    found: dict[str, int] = {}
    for start in range(0, len(wanted), 500):
        query = select(event.c.key, event.c.id).where(event.c.key.in_(wanted[start : start + 500]))
        found |= dict(tx.execute(query).all())
    return found


def _by_our_number(tx: Connection, rows: list[EventRow]) -> dict[str, int]:
    """Events without an id of their own, as our exports name them."""
    named = {int(ours[1]): row for row in rows if (ours := _OURS.fullmatch(row.key))}
    there = bulk.by_ids(tx, event, named, only=("id", "key", "kind", "at"))
    return {
        named[one.id].key: one.id
        for one in there
        if one.key is None and (one.kind, one.at) == (named[one.id].kind, named[one.id].at)
    }


def _living(tx: Connection, ids: set[int]) -> dict[int, int]:
    """Who these customers are by now; not those who were erased, or never were."""
    if not ids:
        return {}
    contact = schema.contact
    erased = select(schema.erasure.c.contact_id)
    query = select(contact.c.id, contact.c.merged_into_id).where(
        contact.c.id.in_(sorted(ids)), contact.c.id.not_in(erased)
    )
    return {
        number: number if into is None else merges.current(tx, number) for number, into in tx.execute(query)
    }
