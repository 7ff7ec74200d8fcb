"""Export customers, orders, events, tickets, messages, articles and deals as CSV, JSON or a workbook, a row at a time.

What the importer reads comes back as it was. A cell that a spreadsheet would run as a formula gets a quote
before it, which the importer takes away.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any, Literal, assert_never

from sqlalchemy import Connection, select

from crm_store import consent, deals, schema
from crm_store import workbook as workbooks
from crm_store.contacts import LIVE
from crm_store.money import in_units
from crm_store.scope import Scope, of_contact, of_message, of_ticket

What = Literal["customers", "orders", "events", "tickets", "messages", "articles", "deals"]
Form = Literal["csv", "json", "jsonl"]
PAGE = 500
FORMULA = re.compile(
    r"'*(?:[\t\r\n]|\s*[=+\-@＝＋－＠])"  # some programs skip the spaces before it
    r"|'+\d[\d.,/: -]*\Z"  # others put a quote before a number that is to be text
)
_NOT_BARE = re.compile(r"[,;|\n，；、]|^\s*[\[{]")  # what would be read as several, or as JSON


Shown = Callable[[Any], Any]  # a value as somebody may see it
Rows = Callable[[Connection, Scope | None], Iterator[list[Any]]]


def export(
    tx: Connection,
    what: What,
    form: Form = "csv",
    *,
    scope: Scope | None = None,
    shown: Shown | None = None,
    where: Any = None,
) -> Iterator[str]:
    """The file in pieces of text: of the rows of a scope, each value as it may be shown. Consume it inside the
    read that gave `tx`; memory is a page of rows. `where` is a condition on customers, for those alone."""
    columns, rows = _of(what, where)
    found = _as_shown(rows(tx, scope), shown)
    match form:
        case "csv":
            return _csv(columns, found)
        case "json":
            return _json(columns, found)
        case "jsonl":
            return (json.dumps(one, ensure_ascii=False) + "\n" for one in _objects(columns, found))
        case _:
            assert_never(form)


def workbook(
    tx: Connection,
    what: What,
    out: IO[bytes],
    *,
    scope: Scope | None = None,
    shown: Shown | None = None,
    where: Any = None,
) -> None:
    """The same as a workbook."""
    columns, rows = _of(what, where)
    found = _as_shown(rows(tx, scope), shown)
    workbooks.write(out, columns, ([_in_workbook(value) for value in row] for row in found))


def _of(what: What, where: Any) -> tuple[list[str], Rows]:
    if where is None:
        return EXPORTS[what]
    if what != "customers":
        raise ValueError(what)
    return _CUSTOMERS, partial(_customers, where=where)


def _as_shown(rows: Iterator[list[Any]], shown: Shown | None) -> Iterator[list[Any]]:
    return rows if shown is None else ([shown(value) for value in row] for row in rows)


def _in_workbook(value: Any) -> str | int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return guarded(_cell(value))


def guarded(cell: str) -> str:
    """The text so that no spreadsheet takes it for a formula. A number stays a number."""
    if FORMULA.match(cell) is None or _is_number(cell):
        return cell
    return f"'{cell}"


def unguarded(cell: str) -> str:
    """What `guarded` was given."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def _is_number(cell: str) -> bool:
    return cell[0] in "+-" and cell[1:].replace(".", "", 1).isdecimal() and cell.isascii()


def _csv(columns: list[str], rows: Iterator[list[Any]]) -> Iterator[str]:
    yield _line(columns)
    for row in rows:
        yield _line([guarded(_cell(value)) for value in row])


def _line(cells: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return out.getvalue()


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return _time(value)
        case list() if all(isinstance(part, str) and not _NOT_BARE.search(part) for part in value):
            return "|".join(value)
        case list() | dict():
            return json.dumps(value, ensure_ascii=False) if value else ""
        case _:
            return str(value)


def _json(columns: list[str], rows: Iterator[list[Any]]) -> Iterator[str]:
    before = "[\n"
    for one in _objects(columns, rows):
        yield before + json.dumps(one, ensure_ascii=False)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _objects(columns: list[str], rows: Iterator[list[Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {
            name: _time(value) if isinstance(value, datetime) else value
            for name, value in zip(columns, row, strict=True)
        }


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _pages(tx: Connection, query: Any, key: Any) -> Iterator[list[Any]]:
    """The query's rows in pages by id. The query must select its id as "id"."""
    last = 0
    while True:
        page = list(tx.execute(query.where(key > last).order_by(key).limit(PAGE)))
        if page:
            yield page
        if len(page) < PAGE:
            return
        last = page[-1].id


def _customers(tx: Connection, scope: Scope | None, where: Any = None) -> Iterator[list[Any]]:
    contact, identity = schema.contact, schema.identity
    erased = select(schema.erasure.c.contact_id).where(schema.erasure.c.state == "done")
    wanted = select(contact).where(
        LIVE, contact.c.id.not_in(erased)
    )  # nothing is left of them to be exported
    if where is not None:
        wanted = wanted.where(where)
    if scope is not None:
        wanted = wanted.where(of_contact(scope, contact.c.id))
    for page in _pages(tx, wanted, contact.c.id):
        held: dict[int, dict[str, list[str]]] = {}
        query = (
            select(identity)
            .where(identity.c.contact_id.in_([row.id for row in page]))
            .order_by(identity.c.id)
        )
        for known in tx.execute(query):
            spaces = held.setdefault(known.contact_id, {})
            shown = known.handle and f"@{known.handle}" if known.space == "telegram" else known.user_id
            spaces.setdefault(known.space, []).extend([shown] if shown else [])
        agreed = consent.current_of(tx, [row.id for row in page])
        inferred = _inferred(tx, page)
        for row in page:
            spaces = held.get(row.id, {})
            yield [
                row.id,
                "".join(spaces.get("ref", [])[:1]),
                row.name,
                spaces.get("email", []),
                spaces.get("phone", []),
                "".join(spaces.get("telegram", [])[:1]),
                row.company,
                row.country,
                row.city,
                row.language,
                row.timezone,
                row.tags,
                row.fields,
                consent.in_words(agreed.get(row.id, {})),
                row.source,
                row.created_at,
                inferred.get(row.id, []),
            ]


def _inferred(tx: Connection, page: list[Any]) -> dict[int, list[str]]:
    """Which columns of theirs nobody said: read in again, they are still inferred."""
    mark, known = schema.contact_mark, {row.id: row for row in page}
    guessed = select(mark).where(mark.c.contact_id.in_(list(known)), mark.c.how == "inferred")
    found: dict[int, list[str]] = {}
    for one in tx.execute(guessed.order_by(mark.c.contact_id, mark.c.field)):
        if known[one.contact_id]._mapping.get(one.field) == one.value:
            found.setdefault(one.contact_id, []).append(one.field)
    return found


def _orders(tx: Connection, scope: Scope | None) -> Iterator[list[Any]]:
    order, line = schema.order, schema.order_line
    wanted = select(order)
    if scope is not None:
        wanted = wanted.where(of_contact(scope, order.c.contact_id))
    for page in _pages(tx, wanted, order.c.id):
        lines: dict[int, list[dict[str, Any]]] = {}
        currency = {row.id: row.currency for row in page}
        for item in tx.execute(select(line).where(line.c.order_id.in_(list(currency))).order_by(line.c.id)):
            amount = in_units(item.amount_minor, currency[item.order_id])
            lines.setdefault(item.order_id, []).append(
                {"sku": item.sku, "name": item.name, "quantity": item.quantity, "amount": amount}
            )
        owners = _owners(tx, {row.contact_id for row in page})
        for row in page:
            owner = owners.get(row.contact_id, {})
            yield [
                row.number,
                row.ordered_at,
                row.status,
                in_units(row.amount_minor, row.currency),
                row.currency,
                row.tracking,
                owner.get("email", ""),
                owner.get("phone", ""),
                owner.get("ref", ""),
                lines.get(row.id, []),
            ]


def _events(tx: Connection, scope: Scope | None) -> Iterator[list[Any]]:
    """Without an id of its own an event is known again by who did what and when."""
    event = schema.customer_event
    wanted = select(event)
    if scope is not None:
        wanted = wanted.where(of_contact(scope, event.c.contact_id))
    for page in _pages(tx, wanted, event.c.id):
        owners = _owners(tx, {row.contact_id for row in page})
        for row in page:
            owner = owners.get(row.contact_id, {})
            yield [
                row.key or f"event:{row.id}",
                row.at,
                row.kind,
                row.subject,
                f"C{row.contact_id}",
                owner.get("email", ""),
                owner.get("phone", ""),
                owner.get("ref", ""),
                row.fields,
            ]


def _owners(tx: Connection, contact_ids: Iterable[int]) -> dict[int, dict[str, str]]:
    """By what another system knows these customers: the first of each."""
    identity = schema.identity
    found: dict[int, dict[str, str]] = {}
    held = select(identity).where(
        identity.c.contact_id.in_(sorted(contact_ids)), identity.c.space.in_(["email", "phone", "ref"])
    )
    for known in tx.execute(held.order_by(identity.c.id)):
        found.setdefault(known.contact_id, {}).setdefault(known.space, known.user_id)
    return found


def _tickets(tx: Connection, scope: Scope | None) -> Iterator[list[Any]]:
    ticket, contact, staff = schema.ticket, schema.contact, schema.staff
    query = (
        select(ticket, contact.c.name.label("customer"), staff.c.name.label("assignee"))
        .join(contact, contact.c.id == ticket.c.contact_id)
        .join(staff, staff.c.id == ticket.c.assignee_id, isouter=True)
    )
    if scope is not None:
        query = query.where(of_ticket(scope))
    names = _TICKETS
    for page in _pages(tx, query, ticket.c.id):
        for row in page:
            yield [getattr(row, name) for name in names]


def _messages(tx: Connection, scope: Scope | None) -> Iterator[list[Any]]:
    message, ticket = schema.message, schema.ticket
    query = select(message, ticket.c.number.label("ticket")).join(
        ticket, ticket.c.id == message.c.ticket_id, isouter=True
    )
    if scope is not None:
        query = query.where(of_message(scope))
    for page in _pages(tx, query, message.c.id):
        for row in page:
            yield [getattr(row, name) for name in _MESSAGES]


def _deals(tx: Connection, scope: Scope | None) -> Iterator[list[Any]]:
    """By our number where no other system has given one; read in again, it is the same deal."""
    last = 0
    while page := deals.listing(tx, scope=scope, after=last, limit=PAGE):
        owners = _owners(tx, {row.contact_id for row in page})
        for row in page:
            owner = owners.get(row.contact_id, {})
            yield [
                row.key or f"D{row.number}",
                row.title,
                row.stage,
                in_units(row.amount_minor, row.currency),
                row.currency,
                row.expected_on.isoformat() if row.expected_on else "",
                row.owner or "",
                row.lost_reason,
                row.contact_name,
                owner.get("email", ""),
                owner.get("phone", ""),
                owner.get("ref", ""),
            ]
        last = page[-1].id


def _articles(tx: Connection, scope: Scope | None) -> Iterator[list[Any]]:
    for page in _pages(tx, select(schema.article), schema.article.c.id):
        for row in page:
            yield [getattr(row, name) for name in _ARTICLES]


_CUSTOMERS = [
    *(
        "id",
        "ref",
        "name",
        "email",
        "phone",
        "telegram",
        "company",
        "country",
        "city",
        "language",
        "timezone",
    ),
    *("tags", "fields", "consent", "source", "created_at", "inferred"),
]
_ORDERS = [
    *("number", "ordered_at", "status", "amount", "currency", "tracking", "email", "phone", "ref", "lines"),
]
_EVENTS = ["key", "at", "kind", "subject", "wellheard_id", "email", "phone", "customer_ref", "fields"]
_TICKETS = [
    *("number", "kind", "status", "priority", "subject", "channel", "customer", "assignee", "opened_at"),
    *("first_response_at", "closed_at", "reopened", "rating", "rating_comment"),
]
_MESSAGES = [
    *("id", "conversation_id", "ticket", "kind", "channel", "author_kind", "author", "subject", "text"),
    *("sent_at", "edited_at"),
]
_DEALS = [
    *("key", "title", "stage", "amount", "currency", "expected_on", "owner", "lost_reason", "customer"),
    *("email", "phone", "customer_ref"),
]
_ARTICLES = ["key", "language", "title", "body", "phrasings", "helped", "not_helped"]

EXPORTS: dict[What, tuple[list[str], Rows]] = {
    "customers": (_CUSTOMERS, _customers),
    "orders": (_ORDERS, _orders),
    "events": (_EVENTS, _events),
    "tickets": (_TICKETS, _tickets),
    "messages": (_MESSAGES, _messages),
    "articles": (_ARTICLES, _articles),
    "deals": (_DEALS, _deals),
}
