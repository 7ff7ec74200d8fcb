"""The record of imports: how far each has come, what it made and what it changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from crm_store import schema
from crm_store.importing.report import Batch, Change, Report
from crm_store.importing.values import Defaults
from crm_store.rows import insert_id
from crm_store.statement import Statement

run, made_rows, change = schema.import_run, schema.import_range, schema.import_change

_advance = Statement(
    update(run)
    .where(run.c.id == bindparam("row"), run.c.position == bindparam("from_"), run.c.finished_at.is_(None))
    .values(position=bindparam("to"), counts=bindparam("counted"))
)


class Busy(Exception):
    """Another process is importing the same file."""


def digest_of(kind: str, path: Path, defaults: Defaults) -> str:
    """What tells an import from others: the file's bytes, and how they are read."""
    found = hashlib.sha256(f"{kind} {defaults!r}".encode())
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def begin(tx: Connection, kind: str, file: str, digest: str, now: datetime) -> tuple[Any, int]:
    """The run to go on with: one of this file that was cut off, or a new one. And the number of the latest
    finished import of the same file, 0 for none."""
    rows = tx.execute(
        select(run).where(run.c.digest == digest, run.c.undone_at.is_(None)).order_by(run.c.id.desc())
    ).all()
    before = next((row.id for row in rows if row.finished_at is not None), 0)
    for row in rows:
        if row.finished_at is None:
            return row, before
    number = insert_id(
        tx, run.insert().values(kind=kind, file=file, digest=digest, counts={}, started_at=now)
    )
    return tx.execute(select(run).where(run.c.id == number)).one(), before


def note(tx: Connection, run_id: int, position: int, count: int, batch: Batch, counted: Report) -> None:
    """Keep what a batch made and changed, and that it is done. Raise Busy."""
    total = counted.counts()
    for name, number in batch.report.counts().items():
        total[name] = total.get(name, 0) + number
    if not _advance.run(tx, row=run_id, from_=position, to=position + count, counted=total):
        raise Busy(run_id)
    for table, spans in batch.made.items():
        for first, last in spans:
            _extend(tx, run_id, table, first, last)
    _keep(tx, run_id, batch.changes)


def _extend(tx: Connection, run_id: int, table: str, first: int, last: int) -> None:
    """Note ids that were made; those that follow the ones before make their range longer."""
    longer = (
        update(made_rows)
        .where(made_rows.c.run_id == run_id, made_rows.c.made == table, made_rows.c.last_id == first - 1)
        .values(last_id=last)
    )
    if not tx.execute(longer).rowcount:
        tx.execute(made_rows.insert().values(run_id=run_id, made=table, first_id=first, last_id=last))


def _keep(tx: Connection, run_id: int, changes: dict[tuple[str, int], Change]) -> None:
    """What was before the run's first change of a row stays; what is after is the latest."""
    for table in {table for table, _ in changes}:
        ids = [row_id for name, row_id in changes if name == table]
        known = {
            row.row_id: row
            for row in tx.execute(
                select(change).where(
                    change.c.run_id == run_id, change.c.changed == table, change.c.row_id.in_(ids)
                )
            )
        }
        fresh = []
        for row_id in ids:
            one = changes[table, row_id]
            if row_id in known:
                values = _joined(known[row_id], one)
                tx.execute(update(change).where(change.c.id == known[row_id].id).values(**values))
                continue
            fresh.append(
                {
                    "run_id": run_id,
                    "changed": table,
                    "row_id": row_id,
                    "contact_id": one.contact_id,
                    "before": one.before,
                    "after": one.after,
                }
            )
        if fresh:
            tx.execute(change.insert(), fresh)


def _joined(known: Any, later: Change) -> dict[str, Any]:
    before, after = {**later.before, **known.before}, {**known.after, **later.after}
    for name in ("identities",):
        if name in known.after and name in later.after:
            after[name] = known.after[name] + later.after[name]
    return {"before": before, "after": after}


def finish(tx: Connection, run_id: int, position: int, now: datetime) -> None:
    tx.execute(update(run).where(run.c.id == run_id, run.c.position == position).values(finished_at=now))


def ranges(tx: Connection, run_id: int, table: str) -> list[tuple[int, int]]:
    """What a run made and is still there, the latest first."""
    query = (
        select(made_rows.c.first_id, made_rows.c.last_id)
        .where(made_rows.c.run_id == run_id, made_rows.c.made == table)
        .order_by(made_rows.c.first_id.desc())
    )
    return [(row.first_id, row.last_id) for row in tx.execute(query)]


def listing(tx: Connection, limit: int = 50) -> list[Any]:
    """The latest imports, the newest first."""
    return list(tx.execute(select(run).order_by(run.c.id.desc()).limit(limit)))


def get(tx: Connection, run_id: int) -> Any:
    """The run's row, or None."""
    return tx.execute(select(run).where(run.c.id == run_id)).first()


def plain(values: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Values as JSON can hold them."""
    return {
        name: value.isoformat() if isinstance(value, date) else json.loads(json.dumps(value))
        for name, value in values
    }
