"""Take an import back: what it made is removed, what it changed is as before.

What somebody has used or changed since stays as it is and is named: a contact that has written, was verified,
merged or edited; an order whose state moved on; a single value that is another one by now.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Date, Table, delete, select, update

from crm_store import schema
from crm_store.db import Store
from crm_store.importing import bulk, runs
from crm_store.importing.deals import ACTOR
from crm_store.importing.trade import LINE
from crm_store.schema.base import UtcDateTime
from crm_store.search import indexing

BATCH = 500
KEPT_LIMIT = 10_000  # named one by one; the rest is counted
_NAMED = {"contact": "name", "customer_order": "number", "article": "title", "deal": "title"}
TABLES = {table.name: table for table in (schema.contact, schema.order, schema.article, schema.deal)}
contact, identity, order, order_line = schema.contact, schema.identity, schema.order, schema.order_line
deal, stages, products = schema.deal, schema.deal_stage, schema.deal_product
mark, made_rows, change = schema.contact_mark, schema.import_range, schema.import_change


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that stays: `why` is used, changed or verified; `what` the field, "" for all of it."""

    kind: str
    row_id: int
    name: str
    why: str
    what: str = ""


@dataclass(slots=True)
class Undone:
    """What undoing did."""

    removed: int = 0  # contacts, orders, events, articles, deals
    restored: int = 0  # rows that are as before
    kept: list[Kept] = field(default_factory=list)
    unnamed: int = 0  # kept beyond KEPT_LIMIT

    def add(self, other: Undone) -> None:
        self.removed += other.removed
        self.restored += other.restored
        room = max(0, KEPT_LIMIT - len(self.kept))
        self.kept += other.kept[:room]
        self.unnamed += len(other.kept[room:]) + other.unnamed


class Unknown(Exception):
    """There is no such import, or it was undone already."""


async def undo(store: Store, run_id: int, now: datetime) -> Undone:
    """Undo an import, some hundred rows a transaction; cut off, the same call goes on. Raise Unknown."""
    run = await store.read(runs.get, run_id)
    if run is None or run.undone_at is not None:
        raise Unknown(run_id)
    done = Undone()
    while (some := await store.write(_restore_some, run_id, run.started_at)) is not None:
        done.add(some)
    for table in ("customer_order", "customer_event", "deal", "contact", "article"):
        while (some := await store.write(_remove_some, run_id, table, run.started_at)) is not None:
            done.add(some)
    last: int | None = 0
    while last is not None:
        last = await store.write(_unsay_some, run.started_at, last)
    await store.write(_end, run_id, now)
    return done


def _end(tx: Connection, run_id: int, now: datetime) -> None:
    tx.execute(delete(made_rows).where(made_rows.c.run_id == run_id))
    tx.execute(update(schema.import_run).where(schema.import_run.c.id == run_id).values(undone_at=now))


def _unsay_some(tx: Connection, at: datetime, after: int) -> int | None:
    """Take back what the file said of the consent of customers who stay; None when there is no more."""
    said = schema.consent
    ours = said.c.id > after, said.c.actor == ACTOR, said.c.created_at == at
    found = list(tx.execute(select(said.c.id).where(*ours).order_by(said.c.id).limit(BATCH)).scalars())
    bulk.delete_ids(tx, said, found)
    return found[-1] if found else None


# --- what was changed ---------------------------------------------------------------------------------


def _restore_some(tx: Connection, run_id: int, at: datetime) -> Undone | None:
    """The latest changes first; None when there are no more."""
    query = select(change).where(change.c.run_id == run_id).order_by(change.c.id.desc()).limit(BATCH)
    rows = list(tx.execute(query))
    if not rows:
        return None
    done = Undone()
    for row in rows:
        table = TABLES[row.changed]
        current = tx.execute(select(table).where(table.c.id == row.row_id)).first()
        if current is None:
            continue
        _hand_down(tx, row, at)
        kept = _restore(tx, table, row, current, at)
        if table is deal:
            _forget_stages(tx, current.id, at)
        done.kept += kept
        done.restored += not kept
    bulk.delete_ids(tx, change, [row.id for row in rows])
    return done


def _hand_down(tx: Connection, row: Any, at: datetime) -> None:
    """What an import that came later found is what this one found, once this one was not."""
    query = (
        select(change)
        .where(change.c.contact_id == row.contact_id)  # which has an index; None is IS NULL: articles, few
        .where(change.c.changed == row.changed, change.c.row_id == row.row_id, change.c.id > row.id)
        .order_by(change.c.id)
    )
    ours = {**row.after, **runs.plain([("updated_at", at)])}
    left = {name: value for name, value in row.before.items() if name in ours}
    for later in tx.execute(query):
        found = {name: left.pop(name) for name in list(left) if later.before.get(name) == ours[name]}
        if found:
            before = {**later.before, **found}
            tx.execute(update(change).where(change.c.id == later.id).values(before=before))


def _restore(tx: Connection, table: Table, row: Any, current: Any, at: datetime) -> list[Kept]:
    name = str(current._mapping[_NAMED[table.name]])
    kept: list[Kept] = []
    values: dict[str, Any] = {}
    is_now = runs.plain((column, current._mapping[column]) for column in row.after if column in table.c)
    for column, after in row.after.items():
        if column in table.c:
            if column == "fields":
                values[column], moved = _fields(row.before[column], after, current.fields)
                kept += [Kept(table.name, current.id, name, "changed", one) for one in moved]
            elif column == "tags":
                values[column] = _tags(row.before[column], after, current.tags)
            elif is_now[column] == after:
                values[column] = _typed(table, column, row.before[column])
            else:
                kept.append(Kept(table.name, current.id, name, "changed", column))
    if table is contact:
        kept += _restore_identities(tx, current, row.after.get("identities", []), at)
        _restore_marks(tx, current.id, row.before)
        indexing.changed(tx, "contact", [current.id])
    if table is order and "lines" in row.after:
        if not _restore_lines(tx, current.id, row.before["lines"], row.after["lines"]):
            kept.append(Kept(table.name, current.id, name, "changed", "lines"))
        indexing.changed(tx, "order", [current.id])
    if table is schema.article:
        indexing.changed(tx, "article", [current.id])
    if "updated_at" in row.before and current.updated_at == at and not kept:
        values["updated_at"] = _typed(table, "updated_at", row.before["updated_at"])
    if values:
        tx.execute(update(table).where(table.c.id == current.id).values(**values))
    return kept


def _typed(table: Table, column: str, value: Any) -> Any:
    if value is None:
        return None
    kind = table.c[column].type
    if isinstance(kind, UtcDateTime):
        return datetime.fromisoformat(value)
    return date.fromisoformat(value) if isinstance(kind, Date) else value


def _tags(before: list[str], after: list[str], now: list[str]) -> list[str]:
    """The tags without those that were put on."""
    if now == after:
        return before
    ours = set(after) - set(before)
    return [tag for tag in now if tag not in ours]


def _fields(
    before: dict[str, Any], after: dict[str, Any], now: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The custom fields as they were, and the names of those that are others by now."""
    if now == after:
        return before, []
    found, moved = dict(now), []
    for name, value in after.items():
        if before.get(name) == value or before.get(name) == now.get(name):
            continue  # it was so before, or is again
        if now.get(name) != value:
            moved.append(name)
        elif name in before:
            found[name] = before[name]
        else:
            found.pop(name, None)
    return found, moved


def _restore_identities(tx: Connection, person: Any, added: list[int], at: datetime) -> list[Kept]:
    """Take away the identities that were added, unless they were verified or went to somebody else."""
    kept: list[Kept] = []
    gone = []
    for row in bulk.by_ids(tx, identity, added):
        if row.created_at != at:
            continue  # ours is gone, and its number is another one's
        if row.contact_id != person.id or row.verified_at is not None:
            why = "verified" if row.contact_id == person.id else "used"
            kept.append(Kept("contact", person.id, person.name, why, row.space))
        else:
            gone.append(row.id)
    bulk.delete_ids(tx, identity, gone)
    return kept


def _restore_marks(tx: Connection, contact_id: int, before: dict[str, Any]) -> None:
    if "marks" in before:
        tx.execute(delete(mark).where(mark.c.contact_id == contact_id))
        columns = ("contact_id", "field", "value", "how", "was")
        bulk.insert(tx, mark, columns, [(contact_id, *one) for one in before["marks"]])


def _restore_lines(tx: Connection, order_id: int, before: list[list[Any]], after: list[list[Any]]) -> bool:
    now = bulk.by_ids(tx, order_line, [order_id], "order_id")
    if [[getattr(row, name) for name in LINE] for row in now] != after:
        return False
    bulk.delete_ids(tx, order_line, [row.id for row in now])
    taken = {row.id for row in bulk.by_ids(tx, order_line, [line[0] for line in before])}
    fresh = list(bulk.draw_ids(tx, order_line, len(before))) if taken else [line[0] for line in before]
    rows = [(number, order_id, *line[1:]) for number, line in zip(fresh, before, strict=True)]
    bulk.insert(tx, order_line, ("id", "order_id", *LINE), rows)
    return True


# --- what was made ------------------------------------------------------------------------------------


def _remove_some(tx: Connection, run_id: int, made: str, at: datetime) -> Undone | None:
    """The end of the latest range; None when there are no more. The range gets shorter with it."""
    first, last = next(iter(runs.ranges(tx, run_id, made)), (0, 0))
    if not last:
        return None
    begin = max(first, last - 2 * BATCH + 1)
    done = _REMOVERS[made](tx, run_id, begin, last, at)
    this = (made_rows.c.run_id == run_id, made_rows.c.made == made, made_rows.c.first_id == first)
    if begin == first:
        tx.execute(delete(made_rows).where(*this))
    else:
        tx.execute(update(made_rows).where(*this).values(last_id=begin - 1))
    return done


def _remove_contacts(tx: Connection, run_id: int, first: int, last: int, at: datetime) -> Undone:
    done = Undone()
    here = contact.c.id.between(first, last)
    rows = list(
        tx.execute(
            select(contact.c.id, contact.c.name, contact.c.updated_at, contact.c.merged_into_id).where(here)
        )
    )
    consent = schema.consent
    tx.execute(
        delete(consent)
        .where(consent.c.contact_id.between(first, last))
        .where(consent.c.actor == ACTOR, consent.c.created_at == at)
    )
    used = _used(tx, first, last)
    ours = runs.ranges(tx, run_id, "identity")
    low, high = min((r[0] for r in ours), default=0), max((r[1] for r in ours), default=0)
    whole = len(ours) == 1
    changed: set[int] = set()
    verified: set[int] = set()
    query = select(identity.c.id, identity.c.contact_id, identity.c.verified_at, identity.c.gone_at)
    for number, contact_id, *proofs in tx.execute(query.where(identity.c.contact_id.between(first, last))):
        if not (low <= number <= high and (whole or any(a <= number <= b for a, b in ours))):
            changed.add(contact_id)
        if any(proof is not None for proof in proofs):
            verified.add(contact_id)
    gone = []
    for row in rows:
        if row.id in used or row.merged_into_id is not None:  # a merge can be taken back: both are needed
            why = "used"
        elif row.id in verified:
            why = "verified"
        elif row.id in changed or row.updated_at != at:
            why = "changed"
        else:
            gone.append(row.id)
            continue
        done.kept.append(Kept("contact", row.id, row.name, why))
    indexing.forget_contacts(tx, gone)
    for table, column in ((identity, "contact_id"), (mark, "contact_id"), (contact, "id")):
        bulk.delete_ids(tx, table, gone, column)
    indexing.lowered(tx, "contact")
    done.removed = len(gone)
    return done


def _used(tx: Connection, first: int, last: int) -> set[int]:
    """Which contacts of a range anything else speaks of: conversations, orders, consents, whatever there is."""
    found: set[int] = set()
    for table in schema.metadata.tables.values():
        if table in (identity, mark, change):
            continue
        for column in table.c:
            if any(key.column is contact.c.id for key in column.foreign_keys):
                found.update(
                    tx.execute(select(column).distinct().where(column.between(first, last))).scalars()
                )
    return found


def _remove_orders(tx: Connection, run_id: int, first: int, last: int, at: datetime) -> Undone:
    done, gone = Undone(), []
    for row in tx.execute(select(order).where(order.c.id.between(first, last))):
        if row.updated_at == at:
            gone.append(row.id)
        else:
            done.kept.append(Kept("customer_order", row.id, row.number, "changed"))
    indexing.changed(tx, "order", gone)
    bulk.delete_ids(tx, order_line, gone, "order_id")
    bulk.delete_ids(tx, order, gone)
    _forget_moves(tx, order, gone)
    indexing.lowered(tx, "order")
    done.removed = len(gone)
    return done


def _remove_articles(tx: Connection, run_id: int, first: int, last: int, at: datetime) -> Undone:
    done, gone = Undone(), []
    table = schema.article
    for row in tx.execute(select(table).where(table.c.id.between(first, last))):
        if row.updated_at == at and not row.helped and not row.not_helped:
            gone.append(row.id)
        else:
            done.kept.append(Kept("article", row.id, row.title, "changed"))
    indexing.changed(tx, "article", gone)
    bulk.delete_ids(tx, table, gone)
    indexing.lowered(tx, "article")
    done.removed = len(gone)
    return done


def _remove_events(tx: Connection, run_id: int, first: int, last: int, at: datetime) -> Undone:
    """Nobody changes an event: all of them go. Where one was forgotten since, SQLite may have given its number to
    another."""
    table = schema.customer_event
    ours = table.c.id.between(first, last) & (table.c.created_at == at)
    gone = list(tx.execute(select(table.c.id).where(ours)).scalars())
    bulk.delete_ids(tx, table, gone)
    _forget_moves(tx, table, gone)
    return Undone(removed=len(gone))


def _remove_deals(tx: Connection, run_id: int, first: int, last: int, at: datetime) -> Undone:
    done, gone = Undone(), []
    for row in tx.execute(select(deal).where(deal.c.id.between(first, last))):
        if row.updated_at == at:
            gone.append(row.id)
        else:
            done.kept.append(Kept("deal", row.id, row.title, "changed"))
    for table, column in ((stages, "deal_id"), (products, "deal_id"), (deal, "id")):
        bulk.delete_ids(tx, table, gone, column)
    _forget_moves(tx, deal, gone)
    done.removed = len(gone)
    return done


def _forget_stages(tx: Connection, deal_id: int, at: datetime) -> None:
    """The steps that the import took."""
    ours = stages.c.deal_id == deal_id, stages.c.at == at, stages.c.actor == ACTOR
    tx.execute(delete(stages).where(*ours))


def _forget_moves(tx: Connection, table: Table, ids: list[int]) -> None:
    """No merge gives back what is gone: SQLite may give its number to another row."""
    moved = schema.merge_row
    for start in range(0, len(ids), BATCH):
        some = ids[start : start + BATCH]
        tx.execute(delete(moved).where(moved.c.kind == table.name, moved.c.row_id.in_(some)))


_REMOVERS = {
    "contact": _remove_contacts,
    "customer_order": _remove_orders,
    "customer_event": _remove_events,
    "deal": _remove_deals,
    "article": _remove_articles,
}
