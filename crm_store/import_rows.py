"""Rows of a file become clean values. Pure: no database, no file; what cannot be read is Rejected."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from crm_store import import_values as values
from crm_store import places
from crm_store.import_columns import Kind, field_of, is_ignored
from crm_store.import_files import Row
from crm_store.import_values import Defaults, Wrong


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row, or a value of it, that was left out: the reason is a key, `values` what to show with it."""

    line: int
    reason_key: str
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """A customer. `keys` are (space, user_id), most telling first; texts that are empty say nothing."""

    line: int
    keys: tuple[tuple[str, str], ...]
    name: str = ""
    company: str = ""
    country: str = ""
    city: str = ""
    language: str = ""
    timezone: str = ""
    tags: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class LineRow:
    sku: str
    name: str
    quantity: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order with its lines. `customer` tells whose it is."""

    line: int
    number: str
    ordered_at: datetime
    status: str
    amount_minor: int
    currency: str
    tracking: str
    lines: tuple[LineRow, ...]
    customer: CustomerRow


@dataclass(frozen=True, slots=True)
class ArticleRow:
    line: int
    key: str
    language: str
    title: str
    body: str
    phrasings: tuple[str, ...]


Parsed = CustomerRow | OrderRow | ArticleRow | Rejected

_STATUSES = {
    "pending": "pending new created open unpaid 新建 待处理 待付款 未付款",
    "paid": "paid confirmed 已付款 已支付",
    "processing": "processing packing 待发货 处理中 备货中",
    "shipped": "shipped sent dispatched in_transit 已发货 运输中 待收货",
    "delivered": "delivered complete completed done fulfilled 已签收 已完成 已送达 已收货 完成",
    "cancelled": "cancelled canceled void 已取消 取消",
    "returned": "returned 已退货",
    "refunded": "refunded 已退款",
}
_COUNTED = re.compile(r"(?P<n>\d{1,6})\s*[x×*]\s*(?P<after>.+)|(?P<before>.+?)\s*[x×*]\s*(?P<m>\d{1,6})")
_STATUS = {alias: status for status, aliases in _STATUSES.items() for alias in aliases.split()}


def customers(rows: Iterable[Row], defaults: Defaults) -> Iterator[CustomerRow | Rejected]:
    """A customer a row. What cannot be read is reported and left out; so is a row without identity."""
    for row in rows:
        if row.broken:
            yield Rejected(row.line, row.broken)
            continue
        said = _said("customers", row)
        rejected: list[Rejected] = []
        customer = _customer(row.line, said, defaults, rejected, extra=_extra("customers", row))
        yield from rejected
        if customer.keys:
            yield customer
        elif not rejected:
            yield Rejected(row.line, "no_identity", {"name": customer.name})


def orders(rows: Iterable[Row], defaults: Defaults) -> Iterator[OrderRow | Rejected]:
    """An order a row, or one from several rows in succession that share a number: a row a line of it."""
    group: list[tuple[Row, dict[str, Any]]] = []
    for row in rows:
        if row.broken:
            yield Rejected(row.line, row.broken)
            continue
        said = _said("orders", row)
        if group and values.clean(said.get("number")) != values.clean(group[0][1].get("number")):
            yield from _order(group, defaults)
            group = []
        group.append((row, said))
    if group:
        yield from _order(group, defaults)


def articles(rows: Iterable[Row], defaults: Defaults) -> Iterator[ArticleRow | Rejected]:
    for row in rows:
        if row.broken:
            yield Rejected(row.line, row.broken)
            continue
        said = _said("articles", row)
        key, title = values.clean(said.get("key")), values.clean(said.get("title"))
        body = values.multiline(said.get("body"))
        language = places.language(values.clean(said.get("language")) or defaults.language)
        missing = [
            name
            for name, value in (("key", key), ("title", title), ("body", body), ("language", language))
            if not value
        ]
        if missing:
            yield Rejected(row.line, f"no_{missing[0]}")
            continue
        listed = values.listed(said.get("phrasings"))
        if not isinstance(listed, list):
            listed = values.multiline(listed).replace("|", "\n").split("\n")
        phrasings = tuple(dict.fromkeys(filter(None, map(values.clean, listed))))
        yield ArticleRow(row.line, key, language, title, body, phrasings)


PARSERS: dict[Kind, Callable[[Iterable[Row], Defaults], Iterator[Any]]] = {
    "customers": customers,
    "orders": orders,
    "articles": articles,
}


def _said(kind: Kind, row: Row) -> dict[str, Any]:
    """What the row says, by our names; of two columns with one meaning the first that is filled counts."""
    said: dict[str, Any] = {}
    for column, value in row.cells.items():
        name = field_of(kind, column)
        if name and not said.get(name) and value not in (None, "", [], {}):
            said[name] = value
    return said


def _extra(kind: Kind, row: Row) -> tuple[tuple[str, str], ...]:
    """The columns that are none of ours: custom fields under their own names."""
    found: dict[str, str] = {}
    for column, value in row.cells.items():
        if field_of(kind, column) or is_ignored(kind, column):
            continue
        if column == "fields":
            value = values.listed(value)
        parts = value.items() if column == "fields" and isinstance(value, dict) else [(column, value)]
        for name, part in parts:
            text = json.dumps(part, ensure_ascii=False) if isinstance(part, list | dict) else part
            if values.clean(name) and values.multiline(text):
                found[values.clean(name)] = values.multiline(text)
    return tuple(found.items())


def _customer(
    line: int,
    said: dict[str, Any],
    defaults: Defaults,
    rejected: list[Rejected],
    extra: tuple[tuple[str, str], ...] = (),
) -> CustomerRow:
    country = places.country(values.clean(said.get("country")))
    region = places.region(country) or defaults.region
    keys: list[tuple[str, str]] = []
    with _noting(line, rejected):
        keys += [("email", address) for address in values.emails(said.get("email"))]
    with _noting(line, rejected):
        keys += [("phone", number) for number in values.phones(said.get("phone"), region)]
    if ref := values.clean(said.get("ref")):
        keys.append(("ref", ref))
    with _noting(line, rejected):
        if known_as := values.handle(said.get("telegram")):
            keys.append(("telegram", f"@{known_as}"))
    name = values.clean(said.get("name")) or _whole_name(said)
    spoken = values.clean(said.get("language"))
    return CustomerRow(
        line,
        tuple(keys),
        name=name,
        company=values.clean(said.get("company")),
        country=country,
        city=values.clean(said.get("city")),
        language=places.language(spoken) if spoken else "",
        timezone=values.timezone(said.get("timezone")),
        tags=tuple(values.several(said.get("tags"))),
        fields=extra,
    )


def _whole_name(said: dict[str, Any]) -> str:
    first, last = values.clean(said.get("first_name")), values.clean(said.get("last_name"))
    if any("\u4e00" <= character <= "\u9fff" for character in last + first):
        return last + first
    return f"{first} {last}".strip()


def _order(group: list[tuple[Row, dict[str, Any]]], defaults: Defaults) -> Iterator[OrderRow | Rejected]:
    line, said = group[0][0].line, group[0][1]
    number = values.clean(said.get("number"))
    if not number:
        yield from (Rejected(row.line, "no_number") for row, _ in group)
        return
    rejected: list[Rejected] = []
    customer = _customer(line, said, defaults, rejected)
    yield from rejected
    try:
        currency = values.clean(said.get("currency"))
        total, currency, lines = _amounts(group, currency, defaults)
        if not said.get("ordered_at"):
            raise Wrong("no_date", "")
        status = values.clean(said.get("status")).lower()
        yield OrderRow(
            line,
            number,
            values.moment(said["ordered_at"], defaults),
            _STATUS.get(status.replace(" ", "_").replace("-", "_"), status) or "pending",
            total,
            currency,
            values.clean(said.get("tracking")),
            tuple(lines),
            customer,
        )
    except Wrong as wrong:
        yield Rejected(line, wrong.reason, {"value": wrong.value, "number": number})


def _amounts(
    group: list[tuple[Row, dict[str, Any]]], currency: str, defaults: Defaults
) -> tuple[int, str, list[LineRow]]:
    """The order's total, its currency and lines. Without a total it is the sum of the lines; amounts that
    differ from row to row are the lines' own."""
    totals = [values.money(said["amount"], currency, defaults) for _, said in group if "amount" in said]
    each_its_own = len(group) > 1 and len(totals) == len(group) and len(set(totals)) > 1
    lines: list[LineRow] = []
    used = {found for _, found in totals}
    for position, (_, said) in enumerate(group):
        for item in _items(said):
            quantity = values.whole(item.get("quantity"))
            if each_its_own:
                amount = totals[position][0]
            elif "price" in item:
                price, found = values.money(item["price"], currency, defaults)
                amount, used = price * quantity, used | {found}
            elif "amount" in item and item is not said:
                amount, found = values.money(item["amount"], currency, defaults)
                used = used | {found}
            else:
                amount = totals[0][0] if totals and len(group) == 1 and item is said else 0
            name = values.clean(item.get("product")) or values.clean(item.get("sku"))
            lines.append(LineRow(values.clean(item.get("sku")), name, quantity, amount))
    if len(used) > 1:
        raise Wrong("currency", " ".join(sorted(used)))
    if not used:
        raise Wrong("no_amount", "")
    if totals and not each_its_own:
        return totals[0][0], used.pop(), lines
    return sum(line.amount_minor for line in lines), used.pop(), lines


def _items(said: dict[str, Any]) -> list[dict[str, Any]]:
    listed = values.listed(said.get("lines"))
    if isinstance(listed, str):
        return [_spoken(part) for part in re.split(r"[;；|\n]", listed) if part.strip()]
    if isinstance(listed, list):
        if not all(isinstance(item, dict) for item in listed):
            raise Wrong("lines", listed)
        return [{"product": item.get("name"), **_said("orders", Row(0, item))} for item in listed]
    return [said] if said.get("product") or said.get("sku") else []


def _spoken(part: str) -> dict[str, Any]:
    """A line in words: "2x Table lamp", "茶 × 3", "Lamp"."""
    found = _COUNTED.fullmatch(part.strip())
    if found is None:
        return {"product": part}
    return {"product": found["before"] or found["after"], "quantity": found["n"] or found["m"]}


@contextmanager
def _noting(line: int, rejected: list[Rejected]) -> Iterator[None]:
    try:
        yield
    except Wrong as wrong:
        rejected.append(Rejected(line, wrong.reason, {"value": wrong.value}))
