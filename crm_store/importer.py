"""Import customers, orders and articles: files of any make in, 500 rows a transaction, twice is once.

A customer is found by e-mail, then phone, then the file's own reference, then a Telegram handle. An imported
address says who wrote it down, not who holds it: it is an identity that is not verified. What a file says
replaces what was there, what it leaves empty changes nothing; when one file speaks of a customer twice, the
first row counts and later ones only add.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, select, update

from crm_store import articles, schema
from crm_store.db import Store
from crm_store.importing.columns import Kind, field_of
from crm_store.importing.files import read
from crm_store.importing.rows import PARSERS, ArticleRow, CustomerRow, OrderRow, Parsed, Rejected
from crm_store.importing.values import Defaults
from crm_store.rows import insert_id
from crm_store.search import indexing

__all__ = ["Defaults", "Kind", "Rejected", "Report", "run", "write"]

BATCH = 500  # rows a transaction: the writer is free again after about 50 ms
REJECTED_LIMIT = 10_000  # reported one by one; the rest is counted

contact, identity, order, order_line = schema.contact, schema.identity, schema.order, schema.order_line
_TEXTS = ("name", "company", "country", "city", "language", "timezone")


@dataclass(slots=True)
class Report:
    """What an import did, or would do. `rejected` holds rows, and single values of imported rows."""

    new: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    unreported: int = 0  # rejected beyond REJECTED_LIMIT

    def add(self, other: Report) -> None:
        self.new += other.new
        self.updated += other.updated
        self.unchanged += other.unchanged
        room = max(0, REJECTED_LIMIT - len(self.rejected))
        self.rejected += other.rejected[:room]
        self.unreported += other.unreported + len(other.rejected[room:])


class Seen:
    """Which ids the run has touched, a bit each: a million customers are 125 KB."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def __contains__(self, number: int) -> bool:
        return number // 8 < len(self._bits) and bool(self._bits[number // 8] >> number % 8 & 1)

    def update(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if number // 8 >= len(self._bits):
                self._bits.extend(bytes(number // 8 + 1024 - len(self._bits)))
            self._bits[number // 8] |= 1 << number % 8


@dataclass(slots=True)
class _Batch:
    """One transaction's work: what it counts and touches, thrown away when the transaction is repeated."""

    report: Report = field(default_factory=Report)
    touched: set[int] = field(default_factory=set)  # contacts, or orders
    contacts: dict[int, dict[str, Any]] = field(default_factory=dict)
    owners: dict[tuple[str, str], int] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)
    identities: list[dict[str, Any]] = field(default_factory=list)


class _DryRun(Exception):
    def __init__(self, batch: _Batch) -> None:
        self.batch = batch


async def run(
    store: Store,
    kind: Kind,
    path: Path,
    defaults: Defaults,
    now: datetime,
    *,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Import a file. Rows that cannot be read are in the report with their line, all others are in the store.

    A dry run writes nothing; rows about one customer more than BATCH apart then count as new each.
    Raise OSError. `progress` is told how many rows are done.
    """
    report, seen, done = Report(), Seen(), 0
    parsed: Iterator[Parsed] = PARSERS[kind](
        read(path, lambda name: field_of(kind, name) is not None), defaults
    )
    while rows := await asyncio.to_thread(lambda: list(itertools.islice(parsed, BATCH))):
        try:
            batch = await store.write(write, rows, seen, now, source=f"import:{path.name}", dry_run=dry_run)
        except _DryRun as dry:
            batch = dry.batch
        else:
            seen.update(batch.touched)
        report.add(batch.report)
        done += len(rows)
        if progress is not None:
            progress(done)
    return report


def write(
    tx: Connection,
    rows: Iterable[Parsed],
    seen: Seen,
    now: datetime,
    *,
    source: str = "import",
    dry_run: bool = False,
) -> _Batch:
    """Write rows of one kind in this transaction. `seen` is read, not changed: the caller adds `touched`."""
    rows = list(rows)
    batch = _Batch()
    people = [
        row.customer if isinstance(row, OrderRow) else row for row in rows if not isinstance(row, Rejected)
    ]
    _fetch(tx, batch, [person for person in people if isinstance(person, CustomerRow)])
    known_orders = _fetch_orders(tx, [row.number for row in rows if isinstance(row, OrderRow)])
    for row in rows:
        match row:
            case Rejected():
                batch.report.rejected.append(row)
            case CustomerRow():
                _count(batch, _customer(tx, batch, row, seen, now, source))
            case OrderRow():
                _order(tx, batch, row, known_orders, seen, now, source)
            case ArticleRow():
                _count(batch, _article(tx, row, now))
    _flush(tx, batch, now)
    if dry_run:
        raise _DryRun(batch)
    return batch


def _count(batch: _Batch, change: articles.Change) -> None:
    setattr(batch.report, change, getattr(batch.report, change) + 1)


def _fetch(tx: Connection, batch: _Batch, people: list[CustomerRow]) -> None:
    """What the store knows of everyone in the batch, in two queries."""
    wanted = {key for person in people for key in person.keys}
    spaces = sorted({space for space, _ in wanted})  # the index is over both
    for some in _slices(sorted({user_id for _, user_id in wanted})):
        found = select(identity.c.space, identity.c.user_id, identity.c.contact_id).where(
            identity.c.space.in_(spaces), identity.c.user_id.in_(some)
        )
        batch.owners |= {
            (space, user_id): owner
            for space, user_id, owner in tx.execute(found)
            if (space, user_id) in wanted
        }
    for ids in _slices(sorted(set(batch.owners.values()))):
        rows = tx.execute(select(contact).where(contact.c.id.in_(ids)))
        batch.contacts |= {row.id: dict(row._mapping) for row in rows}


def _slices(items: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), 1000):
        yield items[start : start + 1000]


def _customer(
    tx: Connection, batch: _Batch, row: CustomerRow, seen: Seen, now: datetime, source: str
) -> articles.Change:
    contact_id = next((batch.owners[key] for key in row.keys if key in batch.owners), None)
    if contact_id is None:
        contact_id = _create(tx, batch, row, now, source)
        _claim(batch, contact_id, row)
        batch.touched.add(contact_id)
        return "new"
    known = batch.contacts[contact_id]
    first = contact_id not in seen and contact_id not in batch.touched
    batch.touched.add(contact_id)
    changes: dict[str, Any] = {}
    for column in _TEXTS:
        said = getattr(row, column)
        if said and said != known[column] and (first or not known[column]):
            changes[column] = said
    if fresh := [tag for tag in row.tags if tag not in known["tags"]]:
        changes["tags"] = [*known["tags"], *fresh]
    fields = {
        name: value
        for name, value in row.fields
        if known["fields"].get(name) != value and (first or name not in known["fields"])
    }
    if fields:
        changes["fields"] = {**known["fields"], **fields}
    known.update(changes)
    if changes:
        batch.changed.add(contact_id)
    return "updated" if _claim(batch, contact_id, row) or changes else "unchanged"


def _create(tx: Connection, batch: _Batch, row: CustomerRow, now: datetime, source: str) -> int:
    created = {
        **{column: getattr(row, column) for column in _TEXTS},
        "language": row.language or None,
        "timezone": row.timezone or None,
        "tags": list(row.tags),
        "fields": dict(row.fields),
    }
    contact_id = insert_id(
        tx, contact.insert().values(**created, source=source, created_at=now, updated_at=now)
    )
    batch.contacts[contact_id] = {"id": contact_id, **created}
    return contact_id


def _claim(batch: _Batch, contact_id: int, row: CustomerRow) -> bool:
    """Give the contact the row's identities that nobody holds; tell whether there were any. One that another
    contact holds stays there and is reported: whose it is, people say."""
    fresh = False
    for space, user_id in row.keys:
        owner = batch.owners.get((space, user_id))
        if owner is None:
            batch.owners[space, user_id] = contact_id
            handle = user_id[1:] if space == "telegram" else ""
            batch.identities.append(
                {
                    "contact_id": contact_id,
                    "space": space,
                    "user_id": user_id,
                    "name": row.name,
                    "handle": handle,
                }
            )
            fresh = True
        elif owner != contact_id:
            values = {"value": user_id, "contact": str(contact_id), "other": str(owner)}
            batch.report.rejected.append(Rejected(row.line, "identity_taken", values))
    return fresh


def _flush(tx: Connection, batch: _Batch, now: datetime) -> None:
    """Write what the rows of the batch said of known customers, and all new identities."""
    for contact_id in sorted(batch.changed):
        said = batch.contacts[contact_id]
        changes = {column: said[column] for column in (*_TEXTS, "tags", "fields")}
        tx.execute(update(contact).where(contact.c.id == contact_id).values(**changes, updated_at=now))
    if batch.identities:
        tx.execute(identity.insert(), [{**values, "created_at": now} for values in batch.identities])
    indexing.changed(tx, "contact", batch.changed | {values["contact_id"] for values in batch.identities})


def _fetch_orders(tx: Connection, numbers: list[str]) -> dict[str, tuple[Any, list[tuple[Any, ...]]]]:
    """The orders of these numbers with their lines."""
    rows: dict[str, Any] = {}
    lines: dict[int, list[tuple[Any, ...]]] = {}
    for some in _slices(sorted(set(numbers))):
        rows |= {row.number: row for row in tx.execute(select(order).where(order.c.number.in_(some)))}
    for ids in _slices(sorted(row.id for row in rows.values())):
        found = select(order_line).where(order_line.c.order_id.in_(ids)).order_by(order_line.c.id)
        for line in tx.execute(found):
            parts = (line.sku, line.name, line.quantity, line.amount_minor)
            lines.setdefault(line.order_id, []).append(parts)
    return {number: (row, lines.get(row.id, [])) for number, row in rows.items()}


def _order(
    tx: Connection,
    batch: _Batch,
    row: OrderRow,
    known_orders: dict[str, tuple[Any, list[tuple[Any, ...]]]],
    seen: Seen,
    now: datetime,
    source: str,
) -> None:
    lines = [(line.sku, line.name, line.quantity, line.amount_minor) for line in row.lines]
    values = {
        "ordered_at": row.ordered_at,
        "status": row.status,
        "amount_minor": row.amount_minor,
        "currency": row.currency,
        "tracking": row.tracking,
    }
    if row.number in known_orders:
        known, known_lines = known_orders[row.number]
        same = all(getattr(known, name) == value for name, value in values.items()) and known_lines == lines
        if same:
            _count(batch, "unchanged")
        elif known.id in batch.touched or known.id in seen:
            batch.report.rejected.append(Rejected(row.line, "order_repeated", {"number": row.number}))
            return
        else:
            tx.execute(update(order).where(order.c.id == known.id).values(**values, updated_at=now))
            indexing.changed(tx, "order", [known.id])
            _count(batch, "updated")
        batch.touched.add(known.id)
        if known_lines != lines:
            tx.execute(delete(order_line).where(order_line.c.order_id == known.id))
            _add_lines(tx, known.id, lines)
        owner = next(
            (batch.owners[key] for key in row.customer.keys if key in batch.owners), known.contact_id
        )
        if owner != known.contact_id:  # an order changes hands by a merge, never by a file
            named = {"number": row.number, "contact": str(known.contact_id), "other": str(owner)}
            batch.report.rejected.append(Rejected(row.line, "order_owner", named))
        return
    contact_id = _whose(tx, batch, row.customer, now, source)
    if contact_id is None:
        batch.report.rejected.append(Rejected(row.line, "no_customer", {"number": row.number}))
        return
    order_id = insert_id(
        tx, order.insert().values(number=row.number, contact_id=contact_id, **values, updated_at=now)
    )
    _add_lines(tx, order_id, lines)
    batch.touched.add(order_id)
    fetched = tx.execute(select(order).where(order.c.id == order_id)).one()
    known_orders[row.number] = (fetched, lines)
    _count(batch, "new")


def _add_lines(tx: Connection, order_id: int, lines: list[tuple[Any, ...]]) -> None:
    names = ("sku", "name", "quantity", "amount_minor")
    if lines:
        tx.execute(
            order_line.insert(),
            [{"order_id": order_id, **dict(zip(names, line, strict=True))} for line in lines],
        )


def _whose(tx: Connection, batch: _Batch, customer: CustomerRow, now: datetime, source: str) -> int | None:
    """The contact an order names, created when it is identified but unknown; None when nobody is named."""
    for key in customer.keys:
        if key in batch.owners:
            return batch.owners[key]
    if not customer.keys:
        return None
    contact_id = _create(tx, batch, customer, now, source)
    _claim(batch, contact_id, customer)
    return contact_id


def _article(tx: Connection, row: ArticleRow, now: datetime) -> articles.Change:
    return articles.upsert(
        tx,
        now,
        key=row.key,
        language=row.language,
        title=row.title,
        body=row.body,
        phrasings=row.phrasings,
    )
