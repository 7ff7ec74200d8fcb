"""Sealing a store that is there already, opening it for good, or giving it another key: with the service stopped.

Some rows a transaction; when it is cut off, the same command goes on, and until then nothing else opens the
store. Which rows are done is seen in them: only what was sealed with a key opens with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Connection, Table, bindparam, create_engine, event, func, literal, select, text, tuple_
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from crm_store import webhooks
from crm_store.db import StoreError, cause, describe, parse_url
from crm_store.keyring import BUSY, NAME, problem, said, sealed_columns
from crm_store.schema.sealed import SealedBytes
from crm_store.sealing import BadKey, Seal
from crm_store.search import tables as index

ROWS = 500
LARGE_ROWS = 16  # where each may hold a mail of 25 MB


def convert(
    url: str, old: Seal | None, new: Seal | None, progress: Callable[[int], None] | None = None
) -> int:
    """Seal with `new` what is sealed with `old` or not at all; open it when `new` is None. Return how many rows
    were changed. Nothing of what was there before stays in the file. Raise StoreError.

    Synchronous, with a loop of its own on PostgreSQL. The search index is derived and is built anew by the
    service.
    """
    parsed = parse_url(url)
    try:
        if parsed.get_backend_name() == "sqlite":
            return _convert_sqlite(parsed, old, new, progress)
        return asyncio.run(_convert_postgresql(parsed, old, new, progress))
    except (OSError, DBAPIError, sqlite3.Error) as error:
        if "locked" in cause(error):
            raise StoreError(f"{describe(parsed)} is in use: stop the service first") from error
        raise StoreError(f"{describe(parsed)}: {cause(error)}") from error
    except BadKey as error:
        raise StoreError(f"{describe(parsed)}: the key {error}") from error


def _convert_sqlite(
    url: URL, old: Seal | None, new: Seal | None, progress: Callable[[int], None] | None
) -> int:
    engine = create_engine(url.set(drivername="sqlite+pysqlite"), hide_parameters=True)

    def connect(dbapi: sqlite3.Connection, _: object) -> None:
        dbapi.isolation_level = None
        # first of all: nobody else has the file open, and nobody opens it meanwhile
        for pragma in ("locking_mode=EXCLUSIVE", "busy_timeout=1000", "secure_delete=ON", "synchronous=FULL"):
            dbapi.execute(f"PRAGMA {pragma}")
        dbapi.execute("BEGIN EXCLUSIVE")
        dbapi.execute("COMMIT")

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.connect() as tx:
            changed = _convert(tx, old, new, progress)
            raw: Any = tx.connection.dbapi_connection
            raw.execute("VACUUM")  # old rows stay in the gaps of pages that were moved about
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            _settled(tx, new)
            return changed
    finally:
        engine.dispose()


async def _convert_postgresql(
    url: URL, old: Seal | None, new: Seal | None, progress: Callable[[int], None] | None
) -> int:
    engine = create_async_engine(url, hide_parameters=True)
    try:
        async with engine.connect() as connection:
            others = await connection.execute(
                text(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
            )
            if others.scalar_one():
                raise StoreError(f"{describe(url)} is in use: stop the service first")
            await connection.rollback()
            changed = await connection.run_sync(_convert, old, new, progress)
            tables = ", ".join(f'"{table.name}"' for table in sealed_columns())
            free = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await free.execute(text(f"VACUUM FULL {tables}"))
            await free.run_sync(_settled, new)
            return changed
    finally:
        await engine.dispose()


def _convert(
    tx: Connection, old: Seal | None, new: Seal | None, progress: Callable[[int], None] | None
) -> int:
    """All rows, some a transaction. The engine has no seal: what it reads and writes is what is stored."""
    busy = f"{BUSY} {old.id if old else '-'} {new.id if new else '-'}"
    with tx.begin():
        told = said(tx)
        if new is not None and told == new.id:
            return 0
        if told.startswith(BUSY) and told != busy:
            raise StoreError("another change of the key was cut off: finish that one first, with its keys")
        if not told.startswith(BUSY) and (wrong := problem(told, old)):
            raise StoreError(wrong)
        _note(tx, busy)
        webhooks.uninstall(tx)  # nothing changes for anybody outside; the next start installs them again
        index.clear(tx)
    changed = 0
    for table, columns in sealed_columns().items():
        for rows in _pages(tx, table, columns):
            changed += _rewrite(tx, table, columns, rows, old, new)
            if progress is not None:
                progress(changed)
    return changed


def _settled(tx: Connection, new: Seal | None) -> None:
    """It is done, and no old rows are left: the store opens again."""
    with contextlib.nullcontext() if tx.in_transaction() else tx.begin():
        if new is None:
            tx.execute(text("DELETE FROM meta WHERE name = :name"), {"name": NAME})
        else:
            _note(tx, new.id)


def _note(tx: Connection, value: str) -> None:
    tx.execute(
        text(
            "INSERT INTO meta (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = :value"
        ),
        {"name": NAME, "value": value},
    )


def _pages(tx: Connection, table: Table, columns: list[Any]) -> Iterator[list[Any]]:
    """A table's rows by its key, some at a time."""
    keys = list(table.primary_key.columns)
    query = select(*keys, *(c for c in columns if c not in keys)).order_by(*keys)
    if any(key in columns for key in keys):
        yield from _whole_pages(tx, table, query)
        return
    size = LARGE_ROWS if any(isinstance(c.type, SealedBytes) for c in columns) else ROWS
    last: tuple[Any, ...] | None = None
    while True:
        page = query if last is None else query.where(tuple_(*keys) > tuple_(*map(_bound, keys, last)))
        with tx.begin():
            rows = list(tx.execute(page.limit(size)))
        if not rows:
            return
        yield rows
        last = tuple(rows[-1][: len(keys)])


def _whole_pages(tx: Connection, table: Table, query: Any) -> Iterator[list[Any]]:
    """The same of a table whose key is sealed itself: some conversations at a time, or all, where those are few."""
    whose = table.c.get("conversation_id")
    if whose is None:
        with tx.begin():
            rows = list(tx.execute(query))
        yield rows
        return
    with tx.begin():
        highest = tx.execute(select(func.max(whose))).scalar() or 0
    for first in range(0, highest + 1, ROWS):
        with tx.begin():
            rows = list(tx.execute(query.where(whose.between(first, first + ROWS - 1))))
        yield rows


def _bound(key: Any, value: Any) -> Any:
    return literal(value, key.type)


def _rewrite(
    tx: Connection, table: Table, columns: list[Any], rows: list[Any], old: Seal | None, new: Seal | None
) -> int:
    keys = list(table.primary_key.columns)
    changes = []
    for row in rows:
        if table.name == "meta" and row.name == NAME:
            continue
        values = row._mapping
        after = {c.name: _changed(c.type, values[c], old, new) for c in columns}
        if any(after[c.name] != values[c] for c in columns):
            changes.append(
                {f"at_{key.name}": values[key] for key in keys}
                | {f"to_{name}": v for name, v in after.items()}
            )
    if changes:
        there = [key == bindparam(f"at_{key.name}", type_=key.type) for key in keys]
        to = {c.name: bindparam(f"to_{c.name}", type_=c.type) for c in columns}
        with tx.begin():
            tx.execute(table.update().where(*there).values(to), changes)
    return len(changes)


def _changed(kind: Any, stored: Any, old: Seal | None, new: Seal | None) -> Any:
    """How a value is to be stored from now on. What opens with the new key is done already; and so is, where
    there is none from now on, what only looks as if it were sealed: somebody wrote it so."""
    if new is None:
        with contextlib.suppress(BadKey):
            return kind.open(old, stored) if kind.is_shut(stored) else stored
        return stored
    if kind.is_shut(stored):
        with contextlib.suppress(BadKey):
            kind.open(new, stored)
            return stored
        stored = kind.open(old, stored) if old is not None else stored
    return kind.shut(new, stored)
