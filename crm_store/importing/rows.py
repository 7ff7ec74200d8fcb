"""Rows of a file become clean values. Pure: no database, no file; what cannot be read is Rejected."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from crm_store import places
from crm_store.importing import guesses, phones, times, values
from crm_store.importing.columns import MANY, Kind, meaning, plan
from crm_store.importing.files import Row
from crm_store.importing.values import Defaults, Note, Wrong

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row, or a value of it, that was left out: the reason is a key, `values` what to show with it."""

    line: int
    reason_key: str
    values: dict[str, str] = field(default_factory=dict)


class CustomerRow(NamedTuple):
    """A customer. `keys` are (space, user_id), most telling first; texts that are empty say nothing. `guessed`
    holds (column, value, told from) for what the file leaves empty; `notes` what was corrected."""

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
    guessed: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[Note, ...] = ()
    consents: tuple[tuple[str, str], ...] = ()  # (purpose, granted or withdrawn)


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


_STATUSES = {
    "pending": "pending new created open unpaid on_hold awaiting_payment payment_pending pending_payment authorized "
    "新建 待处理 待付款 未付款 等待买家付款 待支付 未支付 等待付款 待付款",
    "paid": "paid confirmed partially_paid payment_received 已付款 已支付 买家已付款 已付款待发货",
    "processing": "processing packing in_progress ready_to_ship awaiting_fulfillment awaiting_shipment unshipped "
    "待发货 处理中 备货中 等待卖家发货 等待发货 待出库",
    "shipped": "shipped sent dispatched in_transit partially_shipped out_for_delivery "
    "已发货 运输中 待收货 卖家已发货 等待买家确认收货 等待收货 配送中 商家已发货",
    "delivered": "delivered complete completed done fulfilled closed_complete "
    "已签收 已完成 已送达 已收货 完成 交易成功 交易完成 订单完成",
    "cancelled": "cancelled canceled void voided failed expired 已取消 取消 交易关闭 已关闭 订单关闭 交易取消",
    "returned": "returned 已退货",
    "refunded": "refunded partially_refunded 已退款 退款成功 退款完成",
}
_SENT = frozenset(("fulfilled", "shipped", "sent", "dispatched", "已发货", "运输中"))
_COUNTED = re.compile(r"(?P<n>\d{1,6})\s*[x×*]\s*(?P<after>.+)|(?P<before>.+?)\s*[x×*]\s*(?P<m>\d{1,6})")
_STATUS = {alias: status for status, aliases in _STATUSES.items() for alias in aliases.split()}


def one_by_one(rows: Iterable[Row], make: Callable[[Row, list[Rejected]], T]) -> Iterator[T | Rejected]:
    """What each row makes, after what of it was left out; a row that raises Wrong is left out as a whole."""
    for row in rows:
        if row.broken:
            yield Rejected(row.line, row.broken)
            continue
        rejected: list[Rejected] = []
        try:
            made = make(row, rejected)
        except Wrong as wrong:
            yield from rejected
            yield Rejected(row.line, wrong.reason, {"value": wrong.value})
        else:
            yield from rejected
            yield made


def customers(rows: Iterable[Row], defaults: Defaults) -> Iterator[CustomerRow | Rejected]:
    """A customer a row. What cannot be read is reported and left out; so is a row without identity."""
    for row in rows:
        if row.broken:
            yield Rejected(row.line, row.broken)
            continue
        said, others = said_in("customers", row)
        rejected: list[Rejected] = []
        extra = extra_of(others) if others else ()
        customer = customer_of(row.line, said, defaults, rejected, extra)
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
        said, _ = said_in("orders", row)
        number = values.clean(said.get("number"))
        if group and (not number or number != values.clean(group[0][1].get("number"))):
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
        said, _ = said_in("articles", row)
        key, title = values.clean(said.get("key")), values.clean(said.get("title"))
        body = values.multiline(said.get("body"))
        language = places.language(values.clean(said.get("language")) or defaults.language)
        needed = {"no_key": key, "no_title": title, "no_body": body, "no_language": language}
        if missing := [why for why, value in needed.items() if not value]:
            yield Rejected(row.line, missing[0])
            continue
        if max(len(key), len(title)) > values.LONGEST:
            yield Rejected(row.line, "too_long", {"value": key[:80]})
            continue
        listed = values.listed(said.get("phrasings"))
        if not isinstance(listed, list):
            listed = values.multiline(listed).replace("|", "\n").split("\n")
        phrasings = tuple(dict.fromkeys(filter(None, map(values.clean, listed))))
        yield ArticleRow(row.line, key, language, title, body, phrasings)


def said_in(kind: Kind, row: Row) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """What the row says, by our names, and what its other columns say. Of two columns with one meaning the
    surest that is filled counts, then the first; addresses, numbers and tags of all of them."""
    cells = flat(kind, row.cells)
    said: dict[str, Any] = {}
    others: list[tuple[str, Any]] = []
    ranks: dict[str, int] = {}
    columns = plan(kind, tuple(cells))
    for (name, rank, column), value in zip(columns, cells.values(), strict=True):
        if type(value) is str:
            if not value or (len(value) < 8 and value.strip() in _BLANK and kind != "articles"):
                continue
        elif value in _NOTHING:
            continue
        if name:
            if name not in said or rank < ranks[name]:
                said[name], ranks[name] = value, rank
            elif name in MANY and rank == ranks[name]:
                said[name] = values.several([*values.several(said[name]), *values.several(value)])
        elif column:
            others.append((column, value))
    return said, others


_NOTHING: tuple[Any, ...] = (None, [], {})
# what systems and people write where they have nothing
_BLANK = frozenset(
    (
        *("-", "--", "—", "/", "\\N", "null", "NULL", "None", "NaN", "nan", "N/A", "n/a", "#N/A"),
        *("无", "暂无", "無", "未填写", "未知"),
    )
)


def flat(kind: Kind, cells: dict[str, Any]) -> dict[str, Any]:
    """{"customer": {"email": …}} as a column "customer email", where that means something."""
    if dict not in map(type, cells.values()):
        return cells
    found: dict[str, Any] = {}
    for name, value in cells.items():
        if isinstance(value, dict) and name != "fields":
            parts = {f"{name} {part}": one for part, one in value.items()}
            if any(meaning(kind, column) for column in parts):
                found |= {column: one for column, one in parts.items() if column not in cells}
                continue
        found[name] = value
    return found


def extra_of(others: list[tuple[str, Any]]) -> tuple[tuple[str, str], ...]:
    """The columns that are none of ours: custom fields under their own names."""
    found: dict[str, str] = {}
    for column, value in others:
        if column == "fields":
            value = values.listed(value)
        parts = value.items() if column == "fields" and isinstance(value, dict) else [(column, value)]
        for name, part in parts:
            text = json.dumps(part, ensure_ascii=False) if isinstance(part, list | dict) else part
            if values.clean(name) and values.multiline(text):
                found[values.clean(name)] = values.multiline(text)
    return tuple(found.items())


def customer_of(
    line: int,
    said: dict[str, Any],
    defaults: Defaults,
    rejected: list[Rejected],
    extra: tuple[tuple[str, str], ...] = (),
) -> CustomerRow:
    guessed: list[tuple[str, str, str]] = []
    if "inferred" in said:  # as our own exports say it
        said = dict(said)
        guessed += [
            (column, told, _TOLD_FROM[column])
            for column in values.several(said["inferred"])
            if column in _TOLD_FROM and (told := values.clean(said.pop(column, "")))
        ]
    get = said.get
    notes: list[Note] = []
    wrong: list[Wrong] = []
    country = _country(values.clean(said["country"])) if "country" in said else ""
    keys: list[tuple[str, str]] = []
    if "email" in said:
        keys = [("email", address) for address in values.emails(said["email"], notes, wrong)]
    mail = keys[0][1] if keys else ""
    known = {column for column, _, _ in guessed}
    if "phone" in said:
        region = places.region(country) if country else ""
        numbers = _phones(said["phone"], region, mail, defaults, notes, wrong)
        keys += [("phone", number) for number in numbers]
        if not country and "country" not in known and numbers and (told := phones.country_of(numbers[0])):
            guessed.append(("country", told, "phone"))
    if "ref" in said:
        try:
            if ref := values.key(said["ref"]):
                keys.append(("ref", ref))
        except Wrong as error:
            wrong.append(error)
    if "telegram" in said:
        try:
            if known_as := values.handle(said["telegram"]):
                keys.append(("telegram", f"@{known_as}"))
        except Wrong as error:
            wrong.append(error)
    rejected += [Rejected(line, one.reason, {"value": one.value}) for one in wrong]
    name = values.name(get("name", ""), notes) or _whole_name(said)
    if not name and "name" not in known and mail and (told := guesses.name_from(mail)):
        guessed.append(("name", told, "email"))
    company = values.name(said["company"], notes, "company") if "company" in said else ""
    city = values.name(said["city"], notes, "city") if "city" in said else ""
    if max(len(name), len(company), len(country), len(city)) > values.LONGEST:
        texts = {"name": name, "company": company, "country": country, "city": city}
        long = {column: text for column, text in texts.items() if len(text) > values.LONGEST}
        rejected += [
            Rejected(line, "too_long", {"field": column, "value": text[:80]}) for column, text in long.items()
        ]
        name, company, country, city = ("" if column in long else text for column, text in texts.items())
    return CustomerRow(
        line,
        tuple(keys),
        name,
        company,
        country,
        city,
        _language(values.clean(said["language"])) if "language" in said else "",
        values.timezone(said["timezone"]) if "timezone" in said else "",
        tuple(values.several(said["tags"])) if "tags" in said else (),
        extra,
        tuple(guessed),
        tuple(notes),
        values.consents(said["consent"]) if "consent" in said else (),
    )


_TOLD_FROM = {"name": "email", "country": "phone"}
_country = lru_cache(maxsize=4096)(places.country)
_language = lru_cache(maxsize=4096)(places.language)


def _phones(
    said: Any, region: str, mail: str, defaults: Defaults, notes: list[Note], wrong: list[Wrong]
) -> list[str]:
    """By the country the row names; else by that of its address, if the number is one there; else by the
    desk's."""
    if not region and mail and (told := guesses.region_from(mail)) and told != defaults.region:
        try:
            found = values.phones(said, told)
        except Wrong:
            found = []
        if found and not values.clean(said).startswith("+") and all(map(phones.is_valid, found)):
            return values.phones(said, told, notes)
    return values.phones(said, region or defaults.region, notes, wrong)


def _whole_name(said: dict[str, Any]) -> str:
    first, last = values.clean(said.get("first_name")), values.clean(said.get("last_name"))
    if any("\u4e00" <= character <= "\u9fff" for character in last + first):
        return last + first
    return f"{first} {last}".strip()


def _order(group: list[tuple[Row, dict[str, Any]]], defaults: Defaults) -> Iterator[OrderRow | Rejected]:
    line, said = group[0][0].line, group[0][1]
    number = values.clean(said.get("number"))
    if not number or len(number) > values.LONGEST:
        why = "too_long" if number else "no_number"
        yield from (Rejected(row.line, why, {"value": number[:80]} if number else {}) for row, _ in group)
        return
    rejected: list[Rejected] = []
    customer = customer_of(line, said, defaults, rejected)
    yield from rejected
    try:
        currency = values.clean(said.get("currency"))
        total, currency, lines = _amounts(group, currency, defaults)
        if not said.get("ordered_at"):
            raise Wrong("no_date", "")
        yield OrderRow(
            line,
            number,
            times.moment(said["ordered_at"], defaults),
            _status(said),
            total,
            currency,
            values.clean(said.get("tracking")).removeprefix("No:"),
            tuple(lines),
            customer,
        )
    except Wrong as wrong:
        yield Rejected(line, wrong.reason, {"value": wrong.value, "number": number})


def _status(said: dict[str, Any]) -> str:
    """The order's; where a shop says apart what is paid and what is sent (Shopify), sent is further."""
    status = values.clean(said.get("status")).lower()
    plain = re.sub(r"[\s-]+", "_", status).removeprefix("wc_")
    found = _STATUS.get(plain, status)
    sent = values.clean(said.get("fulfilment")).lower()
    if found in ("", "paid", "processing") and sent in _SENT:
        return "shipped"
    return found or _STATUS.get(sent, "pending")


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
    if len(used) > 1 and not currency and (named := _named_currency(group, defaults)):
        return _amounts(group, named, defaults)  # "€5.00" in one column, 5.00 in the other
    if len(used) > 1:
        raise Wrong("currency", " ".join(sorted(used)))
    if not used:
        raise Wrong("no_amount", "")
    total = totals[0][0] if totals and not each_its_own else sum(line.amount_minor for line in lines)
    if max(map(abs, (total, *(line.amount_minor for line in lines)))) > values.LARGEST:
        raise Wrong("amount", total)
    return total, used.pop(), lines


def _named_currency(group: list[tuple[Row, dict[str, Any]]], defaults: Defaults) -> str:
    """The one that amounts of the order name themselves, "" for several."""
    named: set[str] = set()
    for _, said in group:
        for value in (said[name] for name in ("amount", "price") if name in said):
            with contextlib.suppress(Wrong):  # a bare number
                values.money(value, "", replace(defaults, currency=""))
                named.add(values.money(value, "", defaults)[1])
    return named.pop() if len(named) == 1 else ""


def _items(said: dict[str, Any]) -> list[dict[str, Any]]:
    listed = values.listed(said.get("lines"))
    if isinstance(listed, str):
        return [_spoken(part) for part in re.split(r"[;；|\n]", listed) if part.strip()]
    if isinstance(listed, list):
        if not all(isinstance(item, dict) for item in listed):
            raise Wrong("lines", listed)
        return [{"product": item.get("name"), **said_in("orders", Row(0, item))[0]} for item in listed]
    return [said] if said.get("product") or said.get("sku") else []


def _spoken(part: str) -> dict[str, Any]:
    """A line in words: "2x Table lamp", "茶 × 3", "Lamp"."""
    found = _COUNTED.fullmatch(part.strip())
    if found is None:
        return {"product": part}
    return {"product": found["before"] or found["after"], "quantity": found["n"] or found["m"]}
