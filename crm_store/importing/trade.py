"""Orders with their lines, and articles, become rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update

from crm_store import articles, schema, since_merge
from crm_store.importing import bulk
from crm_store.importing.report import Batch, Change, Seen
from crm_store.importing.rows import ArticleRow, OrderRow, Rejected
from crm_store.importing.runs import plain
from crm_store.importing.write import Contacts, Outcome
from crm_store.search import indexing

order, order_line = schema.order, schema.order_line
VALUES = ("ordered_at", "status", "amount_minor", "currency", "tracking")
LINE = ("sku", "name", "quantity", "amount_minor")


@dataclass(slots=True)
class Orders:
    """What a batch knows of its orders, and what it will write."""

    tx: Connection
    batch: Batch
    seen: Seen
    now: datetime
    people: Contacts
    known: dict[str, dict[str, Any]] = field(default_factory=dict)  # by number; `lines` as in the file
    fresh: list[dict[str, Any]] = field(default_factory=list)
    _next: list[int] = field(default_factory=list)
    _by: dict[int, tuple[str, str]] | None = None  # where somebody was merged: by which account an order came

    def fetch(self, rows: list[OrderRow]) -> None:
        numbers = sorted({row.number for row in rows})
        found = list(self.tx.execute(select(order).where(order.c.number.in_(numbers)))) if numbers else []
        self.known = {row.number: {**row._mapping, "lines": [], "line_ids": []} for row in found}
        by_id = {row["id"]: row for row in self.known.values()}
        for line in bulk.by_ids(self.tx, order_line, by_id, "order_id"):
            by_id[line.order_id]["lines"].append(tuple(getattr(line, name) for name in LINE))
            by_id[line.order_id]["line_ids"].append(line.id)
        self._by = {} if since_merge.any_moved(self.tx) else None
        self._next = list(bulk.draw_ids(self.tx, order, len(set(numbers) - self.known.keys())))[::-1]

    def take(self, row: OrderRow) -> Outcome | None:
        """An order with its lines. None when it is left out, which the report says."""
        report = self.batch.report
        if row.customer.notes:
            report.correct(row.line, row.customer.notes)
        values = {name: getattr(row, name) for name in VALUES}
        lines = [(line.sku, line.name, line.quantity, line.amount_minor) for line in row.lines]
        known = self.known.get(row.number)
        if known is None:
            return self._new(row, values, lines)
        number = known["id"]
        earlier = self.batch.touched.get(number) or self.seen.line(number)
        same = all(known[name] == value for name, value in values.items()) and known["lines"] == lines
        if earlier:
            report.repeat(row.line, earlier, number, "number")
        if not same and earlier:
            report.reject(Rejected(row.line, "order_repeated", {"number": row.number}))
            return None
        if not same:
            self._change(known, values, lines)
        self.batch.touched.setdefault(number, row.line)
        owner = self.people.find(row.customer)
        if owner is not None and owner[0] != known["contact_id"]:  # changes hands by a merge, never by a file
            named = {"number": row.number, "contact": str(known["contact_id"]), "other": str(owner[0])}
            report.reject(Rejected(row.line, "order_owner", named))
        return "unchanged" if same else "updated"

    def _new(self, row: OrderRow, values: dict[str, Any], lines: list[tuple[Any, ...]]) -> Outcome | None:
        found = self.people.find(row.customer)
        if found is None and not row.customer.keys:
            self.batch.report.reject(Rejected(row.line, "no_customer", {"number": row.number}))
            return None
        contact_id = found[0] if found else self.people.create(row.customer)
        made = {"id": self._next.pop(), "number": row.number, "contact_id": contact_id, **values}
        self.known[row.number] = {**made, "lines": lines}
        self.fresh.append(self.known[row.number])
        self.batch.touched[made["id"]] = row.line
        if self._by is not None and (account := self.people.account(row.customer, contact_id)):
            self._by[made["id"]] = account
        return "new"

    def _change(self, known: dict[str, Any], values: dict[str, Any], lines: list[tuple[Any, ...]]) -> None:
        tx, number = self.tx, known["id"]
        before = plain((name, known[name]) for name in (*VALUES, "updated_at"))
        one = Change(known["contact_id"], before, plain(values.items()))
        self.batch.changes["customer_order", number] = one
        tx.execute(update(order).where(order.c.id == number).values(**values, updated_at=self.now))
        if known["lines"] != lines:
            one.before["lines"] = [
                [id_, *line] for id_, line in zip(known["line_ids"], known["lines"], strict=True)
            ]
            one.after["lines"] = [list(line) for line in lines]
            tx.execute(delete(order_line).where(order_line.c.order_id == number))
            ids = bulk.draw_ids(tx, order_line, len(lines))
            _add_lines(tx, [(id_, number, *line) for id_, line in zip(ids, lines, strict=True)])
            known["line_ids"] = list(ids)
        known.update(values, lines=lines)
        indexing.changed(tx, "order", [number])

    def flush(self) -> None:
        """Write the new orders; their contacts must be written."""
        columns = ("id", "number", "contact_id", *VALUES, "updated_at")
        rows = [(*(one[name] for name in columns[:-1]), self.now) for one in self.fresh]
        bulk.insert(self.tx, order, columns, rows)
        lines = [(one["id"], *line) for one in self.fresh for line in one["lines"]]
        ids = bulk.draw_ids(self.tx, order_line, len(lines))
        _add_lines(self.tx, [(id_, *line) for id_, line in zip(ids, lines, strict=True)])
        since_merge.came_by(self.tx, order.name, self._by or {})
        self.batch.made["customer_order"] = bulk.spans(one["id"] for one in self.fresh)


def _add_lines(tx: Connection, rows: list[tuple[Any, ...]]) -> None:
    bulk.insert(tx, order_line, ("id", "order_id", *LINE), rows)


def take_article(tx: Connection, batch: Batch, row: ArticleRow, now: datetime) -> Outcome:
    before = articles.get(tx, row.key, row.language)
    outcome = articles.upsert(
        tx,
        now,
        key=row.key,
        language=row.language,
        title=row.title,
        body=row.body,
        phrasings=row.phrasings,
    )
    if outcome == "unchanged":
        return outcome
    after = articles.get(tx, row.key, row.language)
    columns = ("title", "body", "phrasings")
    if before is None:
        batch.made["article"] = bulk.spans(
            {*(n for first, last in batch.made.get("article", []) for n in range(first, last + 1)), after.id}
        )
    elif not any(first <= after.id <= last for first, last in batch.made.get("article", [])):
        values = plain((name, getattr(before, name)) for name in (*columns, "updated_at"))
        change = batch.changes.setdefault(("article", after.id), Change(None, values, {}))
        change.after = plain((name, getattr(after, name)) for name in columns)
    return outcome
