"""Import customers, orders, events, articles and deals: files of any make in, twice is once.

    report = await importer.run(store, "customers", path, defaults, now)
    await importing.undo.undo(store, report.run_id, now)

A run that was cut off goes on where it was when the same file comes again. How rows are understood is in
crm_store/importing; another kind of row is a table of columns, a parser and a branch of `write`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, select

from crm_store import consent, schema
from crm_store.db import Store
from crm_store.importing import bulk, deals, events, habits, runs
from crm_store.importing.columns import Kind, field_of
from crm_store.importing.deals import DealRow, Deals, Stages
from crm_store.importing.events import EventRow, Events
from crm_store.importing.files import NoTable, read
from crm_store.importing.kinds import About, Parsed, parsed, people
from crm_store.importing.report import Batch, Corrected, Duplicate, Report, Seen
from crm_store.importing.rows import ArticleRow, CustomerRow, OrderRow, Rejected
from crm_store.importing.runs import Busy
from crm_store.importing.trade import Orders, take_article
from crm_store.importing.values import Defaults
from crm_store.importing.write import Contacts, Outcome
from crm_store.privacy import tombstones

__all__ = [
    "Busy",
    "Corrected",
    "Defaults",
    "Duplicate",
    "Kind",
    "NoTable",
    "Rejected",
    "Report",
    "Seen",
    "Stages",
    "run",
    "write",
]

BATCH = 1000  # rows a transaction: the writer is free again after about 50 ms
LEAST = 100  # … and fewer, down to this, where the machine takes longer for them
LONG_S, SHORT_S = 0.15, 0.06


class _DryRun(Exception):
    def __init__(self, batch: Batch) -> None:
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
    stages: Stages | None = None,
) -> Report:
    """Import a file. Rows that cannot be read are in the report with their line, all others are in the store.

    A dry run writes nothing; rows about one customer more than BATCH apart then count as new each.
    Raise OSError, ValueError for a workbook that is none, Busy when another process does the same.
    `progress` is told how many rows are done; `stages` are the desk's, for deals.
    """
    report, seen, done = Report(), Seen(), 0
    stages = stages or Stages()
    rows_of_file = read(path, lambda name: field_of(kind, name) is not None)
    rows_of_file, reading, report.read_as = await asyncio.to_thread(
        habits.learned, kind, rows_of_file, defaults
    )
    found = parsed(kind, rows_of_file, reading, stages)
    written, run_id, source = 0, 0, f"import:{path.name}"
    last = 0  # the line of the latest: what is wrong with a row may be in another batch than the row
    size = deals.BATCH if kind == "deals" else BATCH

    def take(count: int) -> list[Parsed]:
        return list(itertools.islice(found, count))

    if not dry_run:
        digest = await asyncio.to_thread(runs.digest_of, kind, path, defaults)
        record, report.seen_before = await store.write(runs.begin, kind, path.name, digest, now)
        run_id, written, now = record.id, record.position, record.started_at
        report.run_id = run_id
        while done < written and (rows := await asyncio.to_thread(take, min(BATCH, written - done))):
            await store.read(_recall, rows, seen, report)
            done, last = done + len(rows), rows[-1].line
        if written:
            seen.update({}, await store.read(runs.ranges, run_id, "contact"))
            report.resumed = written
            report.restore(record.counts)
    rows = await asyncio.to_thread(take, size)
    while rows:
        following = asyncio.create_task(asyncio.to_thread(take, size))  # read beside the writer
        try:
            batch = await store.write(
                _write,
                rows,
                seen,
                now,
                source=source,
                dry_run=dry_run,
                record=(run_id, done, report),
                of_deals=(stages, defaults.currency),
                after=last,
            )
        except _DryRun as dry:
            batch = dry.batch
        except BaseException:
            await following
            raise
        else:
            seen.update(batch.touched, batch.made.get("contact"))
        report.add(batch.report)
        if batch.took_s > LONG_S:
            size = min(BATCH, max(LEAST, size // 2))
        elif batch.took_s < SHORT_S:
            size = min(BATCH, size * 2)
        done, last = done + len(rows), rows[-1].line
        if progress is not None:
            progress(done)
        rows = await following
    if not dry_run:
        await store.write(runs.finish, run_id, done, now)
    return report


def write(
    tx: Connection, rows: Iterable[Parsed], seen: Seen, now: datetime, *, source: str = "import"
) -> Batch:
    """Write rows of one kind in this transaction. `seen` is read, not changed."""
    return _write(tx, list(rows), seen, now, source=source)


def _write(
    tx: Connection,
    rows: list[Parsed],
    seen: Seen,
    now: datetime,
    *,
    source: str = "import",
    dry_run: bool = False,
    record: tuple[int, int, Report] | None = None,
    of_deals: tuple[Stages, str] = (Stages(), ""),
    after: int = 0,
) -> Batch:
    batch, began = Batch(), time.perf_counter()
    rows = _without_erased(tx, rows)
    customers = Contacts(tx, batch, seen, now, source)
    orders = Orders(tx, batch, seen, now, customers)
    happened = Events(tx, batch, seen, now, customers, source)
    offered = Deals(tx, batch, seen, now, customers, source, *of_deals)
    customers.fetch(people(rows), whole=any(isinstance(row, CustomerRow) for row in rows))
    orders.fetch([row for row in rows if isinstance(row, OrderRow)])
    happened.fetch([row for row in rows if isinstance(row, EventRow)])
    report = batch.report
    outcome: Outcome | None
    as_before: set[int] = set()  # places of rows that said nothing new but perhaps of consent
    for place, row in enumerate(rows):
        match row:
            case CustomerRow():
                outcome = customers.take(row)
            case Rejected():
                report.reject(row)
                continue
            case OrderRow():
                outcome = orders.take(row)
            case EventRow():
                outcome = happened.take(row)
            case ArticleRow():
                outcome = take_article(tx, batch, row, now)
            case DealRow():
                outcome = offered.take(row)
        if outcome == "new":
            report.new += 1
        elif outcome == "updated":
            report.updated += 1
        elif outcome == "unchanged":
            report.unchanged += 1
            as_before.add(place)
    customers.flush()
    orders.flush()
    happened.flush()
    offered.flush()
    for place, row in enumerate(rows):
        if isinstance(row, CustomerRow) and row.consents and (found := customers.find(row)):
            news = consent.said_by_file(tx, now, found[0], row.consents, source)
            if news and place in as_before:
                report.unchanged -= 1
                report.updated += 1
    report.measure({row.line for row in rows} - {after})
    if dry_run:
        raise _DryRun(batch)
    if record is not None:
        run_id, position, counted = record
        runs.note(tx, run_id, position, len(rows), batch, counted)
    batch.took_s = time.perf_counter() - began
    return batch


def _without_erased(tx: Connection, rows: list[Parsed]) -> list[Parsed]:
    """The rows, but those about somebody who was erased and has not come back by themselves: refused."""
    gone = tombstones.identities_erased(tx, {key for person in people(rows) for key in person.keys})
    gone -= bulk.owners(tx, gone).keys()
    things = {thing for row in rows if (thing := _named(row))}
    erased = {
        (kind, name)
        for kind in {kind for kind, _ in things}
        for (name,) in tombstones.erased_of(tx, kind, [(name,) for of, name in things if of == kind])
    }
    if not gone and not erased:
        return rows

    def allowed(row: Parsed) -> Parsed:
        person = row.customer if isinstance(row, About) else row
        known = isinstance(person, CustomerRow) and not gone.isdisjoint(person.keys)
        if (known or _named(row) in erased) and not isinstance(row, Rejected):
            return Rejected(row.line, "erased")
        return row

    return [allowed(row) for row in rows]


def _named(row: Parsed) -> tuple[str, str] | None:
    """A row's thing, as what was erased is remembered."""
    match row:
        case OrderRow():
            return "order", row.number
        case EventRow() if row.key:
            return "customer_event", row.key
        case DealRow():
            return "deal", row.key
    return None


def _recall(tx: Connection, rows: list[Parsed], seen: Seen, report: Report) -> None:
    """What a run remembers of rows that it wrote before it was cut off."""
    owners = bulk.owners(tx, {key for person in people(rows) for key in person.keys})
    numbers = [row.number for row in rows if isinstance(row, OrderRow)]
    order = schema.order
    query = select(order.c.number, order.c.id).where(order.c.number.in_(numbers))
    orders: dict[str, int] = dict(tx.execute(query).all()) if numbers else {}

    def find(customer: CustomerRow) -> int | None:
        return next((owners[key] for key in customer.keys if key in owners), None)

    happened = events.look(tx, [row for row in rows if isinstance(row, EventRow)], find)
    touched: dict[int, int] = {}
    for row in rows:
        match row:
            case Rejected():
                report.reject(row)
            case OrderRow() if row.number in orders:
                touched.setdefault(orders[row.number], row.line)
            case EventRow() if number := happened.find(row, happened.whose(row, find)):
                touched.setdefault(number, row.line)
            case DealRow() if known := deals.find(tx, row.key):
                touched.setdefault(known.id, row.line)
            case CustomerRow():
                owner = next((owners[key] for key in row.keys if key in owners), None)
                if owner is not None:
                    touched.setdefault(owner, row.line)
    seen.update(touched)
