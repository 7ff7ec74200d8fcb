"""What a store's URL may be, and engines for SQLite with our pragmas: one for the thread that writes, one for those
that read, and aiosqlite's."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from crm_store import sealing
from crm_store.errors import StoreError

BUSY_TIMEOUT_MS = 10_000  # another process (a command line) may hold the write lock for a moment


def sqlite_engine(url: URL, *, read_only: bool = False) -> Engine:
    """A synchronous engine: for the writer, for readers, for migrations and for backups."""
    path = Path(url.database or "")
    if not read_only:
        _private_directory(path)
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        hide_parameters=True,
        connect_args={
            "check_same_thread": False,
            "timeout": BUSY_TIMEOUT_MS / 1000,
            "cached_statements": 512,
        },
    )

    def connect(dbapi: sqlite3.Connection, _: object) -> None:
        dbapi.isolation_level = None
        _functions(dbapi)
        _pragmas(dbapi.execute)
        if read_only:
            dbapi.execute("PRAGMA query_only=ON")

    statement = "BEGIN" if read_only else "BEGIN IMMEDIATE"

    def begin(connection: Connection) -> None:
        raw: Any = connection.connection.dbapi_connection
        try:  # by the driver: it is for every transaction, and SQLAlchemy's way costs more than the statement
            raw.execute(statement)
        except sqlite3.Error as error:
            raise DBAPIError.instance(
                statement, None, error, sqlite3.Error, hide_parameters=True, dialect=connection.dialect
            ) from error

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", begin)
    return engine


def aiosqlite_engine(url: URL) -> AsyncEngine:
    """An asynchronous engine for reading: each statement is a hop to its connection's thread and back."""
    engine = create_async_engine(
        url.set(drivername="sqlite+aiosqlite"), pool_size=1, max_overflow=3, hide_parameters=True
    )

    def connect(dbapi: Any, _: object) -> None:
        dbapi.isolation_level = None
        _functions(dbapi)
        cursor = dbapi.cursor()
        _pragmas(cursor.execute)
        cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    event.listen(engine.sync_engine, "connect", connect)
    event.listen(engine.sync_engine, "begin", begin)
    return engine


def _pragmas(execute: Callable[[str], Any]) -> None:
    execute("PRAGMA journal_mode=WAL")
    execute("PRAGMA synchronous=FULL")  # NORMAL loses acknowledged messages at a power cut
    execute("PRAGMA foreign_keys=ON")
    execute("PRAGMA secure_delete=ON")  # erased text must not stay in free pages
    execute("PRAGMA cache_size=-32000")
    execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")


def _functions(dbapi: Any) -> None:
    """What PostgreSQL has and SQLite lacks, or has only where it was built so."""
    dbapi.create_function("lower", 1, _lower, deterministic=True)
    dbapi.create_function("power", 2, _power, deterministic=True)


def _power(base: float | None, exponent: float | None) -> float | None:
    return None if base is None or exponent is None else float(base) ** exponent


def _lower(value: Any) -> Any:
    """Small letters of every script, as on PostgreSQL; SQLite's own lower() knows A to Z, and finds no Łódź."""
    return str(value).lower() if isinstance(value, str | int | float) else value


def _private_directory(path: Path) -> None:
    """All state lives in one directory that only its owner may enter, and a database only its owner reads."""
    directory = path.parent
    if not directory.exists():
        directory.mkdir(parents=True, mode=0o700)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def parse_url(url: str) -> URL:
    """Read a store URL. Raise StoreError for what is neither SQLite nor PostgreSQL."""
    try:
        parsed = make_url(url)
    except Exception as error:
        raise StoreError("store.url is not a database URL") from error
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise StoreError("store.url names no file: write sqlite:///wellheard.db")
        return parsed.set(drivername="sqlite")
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(drivername="postgresql+asyncpg")
    raise StoreError(f"store.url: {parsed.get_backend_name()} is not supported, only sqlite and postgresql")


def seal_of(key: str) -> sealing.Seal | None:
    """The seal of a key, None without one. Raise StoreError."""
    if not key:
        return None
    try:
        return sealing.Seal(key)
    except sealing.BadKey as error:
        raise StoreError(f"privacy.key {error}") from error
    except ImportError as error:
        raise StoreError("privacy.key needs the extra `sealed`: pip install 'wellheard[sealed]'") from error


def describe(url: URL) -> str:
    """The URL without its password."""
    return url.render_as_string(hide_password=True)
