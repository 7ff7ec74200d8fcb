"""One file with everything, taken while the service runs, and brought back into an empty store of either engine.

The file is an SQLite database with our tables. From SQLite it is made by SQLite's own backup, a snapshot;
from PostgreSQL by reading every table in one REPEATABLE READ transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from sqlalchemy import Connection, Integer, Table, create_engine, func, insert, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from crm_store import keyring, migrations, webhooks
from crm_store.db import BUSY_TIMEOUT_MS, StoreError, cause, describe, parse_url, sqlite_engine
from crm_store.schema import metadata
from crm_store.schema.sealed import BYTES

T = TypeVar("T")
ROWS = 500  # read and written at once
FILES = 16  # of rows that may hold a mail of 25 MB
OWN = ("lease", "meta")  # a service that was only started or examined has these: the backup's replace them


def backup(url: str, file: Path) -> int:
    """Write everything into `file`, readable by its owner only, and return its size in bytes.

    The file appears complete or not at all, checked and on the disk. Synchronous: from a loop call it through
    asyncio.to_thread. Raise StoreError.
    """
    parsed = parse_url(url)
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    try:
        if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").exists():
            raise StoreError(f"there is no store at {describe(parsed)}")
        if migrations.current(url) is None:
            raise StoreError(f"there is nothing in {describe(parsed)}: it has no schema yet")
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if parsed.get_backend_name() == "sqlite":
            _copy_sqlite(Path(parsed.database or ""), part)
        else:
            _from_postgresql(url, parsed, part)
        _check(part)
        _to_disk(part)
        part.replace(file)
        _to_disk(file.parent)
        return file.stat().st_size
    except (OSError, DBAPIError, sqlite3.Error) as error:
        raise StoreError(f"{describe(parsed)} cannot be backed up to {file}: {cause(error)}") from error
    finally:
        for leftover in (part, *(part.with_name(part.name + end) for end in ("-wal", "-shm", "-journal"))):
            leftover.unlink(missing_ok=True)


def restore(url: str, file: Path) -> int:
    """Bring a backup back into a store without rows, and return how many rows there were. Raise StoreError.

    A backup of an older version is brought to today's schema first. All or nothing.
    """
    parsed = parse_url(url)
    if not file.is_file():
        raise StoreError(f"there is no backup at {file}")
    room = file.parent if os.access(file.parent, os.W_OK) else None
    try:
        with TemporaryDirectory(prefix=".restore-", dir=room) as directory:
            work = Path(directory) / "copy.db"  # the backup itself is never written to
            address = f"{file.resolve().as_uri()}?mode=ro"
            with contextlib.closing(sqlite3.connect(address, uri=True)) as opened:
                _backup_into(opened, work)
            _check(work)
            if migrations.current(f"sqlite:///{work}") is None:
                raise StoreError(f"{file} is no backup of a store")
            migrations.upgrade(f"sqlite:///{work}")
            migrations.upgrade(url)
            source = create_engine(URL.create("sqlite+pysqlite", database=str(work)))
            try:
                with source.connect() as old:
                    return _run(parsed, lambda tx: _fill(tx, old, parsed))
            finally:
                source.dispose()
    except (OSError, DBAPIError, sqlite3.Error) as error:
        raise StoreError(f"{file} cannot be restored into {describe(parsed)}: {cause(error)}") from error


def key_of(file: Path) -> str:
    """What a backup says about the key it is sealed with; "" when it is not, or is no backup."""
    try:
        with contextlib.closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as opened:
            found = opened.execute("SELECT value FROM meta WHERE name = ?", (keyring.NAME,)).fetchone()
    except sqlite3.Error:  # what it is then, restoring says
        return ""
    return str(found[0]) if found else ""


def _copy_sqlite(source: Path, target: Path) -> None:
    """SQLite's own online backup in one step: a snapshot, and in WAL mode no writer waits for it."""
    address = f"{source.resolve().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_MS / 1000)) as opened:
        _backup_into(opened, target)


def _backup_into(opened: sqlite3.Connection, target: Path) -> None:
    with contextlib.closing(sqlite3.connect(target)) as copy:
        opened.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a -wal beside it


def _check(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as opened:
        found = [str(row[0]) for row in opened.execute("PRAGMA integrity_check")]
        orphan = opened.execute("PRAGMA foreign_key_check").fetchone()
    if found != ["ok"]:
        raise StoreError(f"the copy is damaged: {found[0]}")
    if orphan is not None:
        raise StoreError(f"the copy has a row of {orphan[0]} without its {orphan[2]}")


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _from_postgresql(url: str, parsed: URL, part: Path) -> None:
    if (version := migrations.current(url)) != migrations.HEAD:
        raise StoreError(f"the store has schema {version}: bring it to {migrations.HEAD} first")
    migrations.upgrade(f"sqlite:///{part}")
    engine = sqlite_engine(URL.create("sqlite", database=str(part)))
    try:
        with engine.connect() as copy:
            copy.connection.cursor().execute("PRAGMA foreign_keys=OFF")  # checked at the end
            with copy.begin():
                _run(parsed, lambda tx: _copy(tx, copy), snapshot=True)
        with engine.connect() as copy:
            copy.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            copy.connection.cursor().execute("PRAGMA journal_mode=DELETE")
    finally:
        engine.dispose()


def _run(parsed: URL, fn: Callable[[Connection], T], *, snapshot: bool = False) -> T:
    """Run `fn` in a transaction of its own, on either engine."""
    if parsed.get_backend_name() == "sqlite":
        engine = sqlite_engine(parsed)
        try:
            with engine.begin() as connection:
                return fn(connection)
        finally:
            engine.dispose()

    async def run() -> T:
        remote = create_async_engine(parsed)
        try:
            async with remote.connect() as connection:
                if snapshot:
                    await connection.execution_options(
                        isolation_level="REPEATABLE READ", postgresql_readonly=True
                    )
                async with connection.begin():
                    return await connection.run_sync(fn)
        finally:
            await remote.dispose()

    return asyncio.run(run())


def _fill(tx: Connection, old: Connection, parsed: URL) -> int:
    for table in metadata.sorted_tables:
        if table.name not in OWN and tx.execute(select(table).limit(1)).first() is not None:
            raise StoreError(f"the store {describe(parsed)} is not empty: there are rows in {table.name}")
    for name in OWN:
        tx.execute(metadata.tables[name].delete())
    webhooks.uninstall(tx)  # what comes back is no news; the next start installs them again
    if tx.dialect.name == "sqlite":
        tx.exec_driver_sql("PRAGMA defer_foreign_keys=ON")  # a ticket may be linked to a later one
    rows = _copy(old, tx)
    if tx.dialect.name == "postgresql":
        _set_sequences(tx)
    return rows


def _copy(source: Connection, target: Connection) -> int:
    """All rows of all tables, parents first. What refers to its own table is filled in at the end."""
    copied = 0
    for table in metadata.sorted_tables:
        own = [
            column.name
            for column in table.columns
            if any(key.column.table is table for key in column.foreign_keys)
        ]
        later: list[dict[str, Any]] = []
        for rows in _rows(source, table):
            copied += len(rows)
            for row in rows:
                for name in own:
                    if row[name] is not None:
                        later.append({"id": row["id"], name: row[name]})
                        row[name] = None
            if target.dialect.name == "postgresql":
                rows = _without_nul(rows)
            target.execute(insert(table), rows)
        for values in later:
            key = values.pop("id")
            target.execute(table.update().where(table.c.id == key).values(**values))
    return copied


def _rows(source: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    """A table's rows in the order of its key, some at a time."""
    size = FILES if any(isinstance(column.type, BYTES) for column in table.columns) else ROWS
    query = select(table).order_by(*table.primary_key.columns).execution_options(yield_per=size)
    for rows in source.execute(query).mappings().partitions(size):
        yield [dict(row) for row in rows]


def _without_nul(value: Any) -> Any:
    """PostgreSQL takes no NUL in text, SQLite does."""
    match value:
        case str():
            return value.replace("\x00", "") if "\x00" in value else value
        case list():
            return [_without_nul(part) for part in value]
        case dict():
            return {_without_nul(name): _without_nul(part) for name, part in value.items()}
        case _:
            return value


def _set_sequences(tx: Connection) -> None:
    """The next id is after the highest: rows that came with their ids did not count."""
    for table in metadata.sorted_tables:
        column = table.c.get("id")
        if column is None or not isinstance(column.type, Integer):
            continue
        highest = tx.execute(select(func.max(column))).scalar()
        if highest is not None:
            tx.execute(
                text("SELECT setval(pg_get_serial_sequence(:table, 'id'), :highest)"),
                {"table": table.name, "highest": highest},
            )
