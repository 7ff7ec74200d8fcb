"""The store: who runs the synchronous store functions, in which transaction, on SQLite and on PostgreSQL.

On SQLite one writer thread with one connection takes everything that waits, runs each in a savepoint of one
transaction and commits once (group commit: an fsync costs 4.5 ms, a realistic write 0.1). Reads have an
engine of their own, each a snapshot, so that a slow report never holds a writer. On PostgreSQL the same
functions run through asyncpg's connection, each in a transaction of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import queue
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

P = ParamSpec("P")
T = TypeVar("T")
Write = Callable[Concatenate[Connection, P], T]

GROUP_LIMIT = 256  # writes that share one transaction at most: bounds how long a reader of the result waits
PG_POOL = 10
PG_ATTEMPTS = 16  # twenty writers of one row under SERIALIZABLE: each got through within 12
BUSY_TIMEOUT_MS = 10_000  # another process (a command line) may hold the write lock for a moment

_jitter = random.SystemRandom()


class StoreError(Exception):
    """The store cannot be opened or used. The message is one sentence for the operator."""


class Conflict(Exception):
    """Raised by a store function that met another process's row: on PostgreSQL the transaction is repeated."""


class Store:
    """A database, open. `await store.write(fn, …)` and `await store.read(fn, …)` run `fn(tx, …)`."""

    def __init__(self, url: str, *, clock: Callable[[], datetime] | None = None) -> None:
        self.url = parse_url(url)
        self.dialect = self.url.get_backend_name()
        self._clock = clock
        self._reader: AsyncEngine | None = None
        self._writer: _SqliteWriter | None = None
        self._engine: AsyncEngine | None = None

    @property
    def path(self) -> Path | None:
        """The database file on SQLite, None on PostgreSQL."""
        return Path(self.url.database or "") if self.dialect == "sqlite" else None

    async def open(self) -> None:
        """Connect. The schema must be there: see crm_store.migrations.upgrade. Raise StoreError."""
        try:
            if self.dialect == "sqlite":
                self._writer = _SqliteWriter(self.url)
                self._writer.start()
                self._reader = _sqlite_reader(self.url)
            else:
                self._engine = create_async_engine(
                    self.url.set(drivername="postgresql+asyncpg"),
                    pool_size=PG_POOL,
                    max_overflow=10,
                    pool_pre_ping=True,  # a server that was restarted costs a moment, not a failed write
                )
                async with self._engine.connect() as connection:
                    await connection.execute(text("SELECT 1"))
        except (OSError, DBAPIError, sqlite3.Error) as error:
            await self.close()
            raise StoreError(f"the store {describe(self.url)} cannot be opened: {cause(error)}") from error

    async def close(self) -> None:
        """Finish what waits to be written, then disconnect. Safe to call twice."""
        if self._writer is not None:
            await asyncio.to_thread(self._writer.stop)
        for engine in (self._reader, self._engine):
            if engine is not None:
                await engine.dispose()
        self._writer = self._reader = self._engine = None

    async def __aenter__(self) -> Store:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def write(
        self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `fn` in a write transaction; return after the commit. An exception undoes only this one."""
        if self._writer is not None:
            return await self._writer.submit(fn, args, kwargs)
        if self._engine is None:
            raise StoreError("the store is not open")
        for attempt in itertools.count(1):
            try:
                async with self._engine.begin() as connection:
                    return await connection.run_sync(fn, *args, **kwargs)
            except (DBAPIError, Conflict) as error:
                if attempt == PG_ATTEMPTS or not _worth_repeating(error, attempt):
                    raise
            await asyncio.sleep(_jitter.uniform(0, min(0.2, 0.002 * 2**attempt)))
        raise AssertionError("unreachable")

    async def read(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` in a read-only snapshot."""
        engine = self._reader or self._engine
        if engine is None:
            raise StoreError("the store is not open")
        async with engine.connect() as connection:
            if self._engine is not None:
                await connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            try:
                return await connection.run_sync(fn, *args, **kwargs)
            finally:
                await connection.rollback()

    def now(self, tx: Connection) -> datetime:
        """The time that leases and due times are compared with: on PostgreSQL the database's own, so that
        hosts with drifting clocks agree; the clock given to the store where there is one."""
        if self._clock is not None:
            return self._clock()
        if self.dialect == "postgresql":
            value: datetime = tx.execute(text("SELECT clock_timestamp()")).scalar_one()
            return value.astimezone(UTC)
        return datetime.now(UTC)


@contextlib.contextmanager
def savepoint(tx: Connection) -> Iterator[None]:
    """Undo only what is inside when it raises."""
    with tx.begin_nested():
        yield


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


def describe(url: URL) -> str:
    """The URL without its password."""
    return url.render_as_string(hide_password=True)


def sqlite_engine(url: URL, *, read_only: bool = False) -> Any:
    """A synchronous engine with our pragmas: for the writer, for migrations and for backups."""
    path = Path(url.database or "")
    if not read_only:
        _private_directory(path)
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
    )

    def connect(dbapi: sqlite3.Connection, _: object) -> None:
        dbapi.isolation_level = None
        _pragmas(dbapi.execute)

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", begin)
    return engine


def _sqlite_reader(url: URL) -> AsyncEngine:
    engine = create_async_engine(url.set(drivername="sqlite+aiosqlite"), pool_size=4, max_overflow=4)

    def connect(dbapi: Any, _: object) -> None:
        dbapi.isolation_level = None
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


def _private_directory(path: Path) -> None:
    """All state lives in one directory that only its owner may enter, and a database only its owner reads."""
    directory = path.parent
    if not directory.exists():
        directory.mkdir(parents=True, mode=0o700)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


class _SqliteWriter(threading.Thread):
    """The one thread that writes. Jobs are (fn, args, kwargs, loop, future)."""

    def __init__(self, url: URL) -> None:
        super().__init__(name="store-writer", daemon=True)
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._engine = sqlite_engine(url)
        self._connection = self._engine.connect()
        self._closing = False
        self._door = threading.Lock()  # nothing may queue behind the mark that ends the queue
        self.groups = 0
        self.writes = 0

    async def submit(self, fn: Callable[..., T], args: Any, kwargs: Any) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._door:
            if self._closing:
                raise StoreError("the store is not open")
            self._jobs.put((fn, args, kwargs, loop, future))
        return await future

    def stop(self) -> None:
        with self._door:
            if not self._closing:
                self._closing = True
                self._jobs.put(None)
        self.join()

    def run(self) -> None:
        stopping = False
        while not stopping:
            group = [self._jobs.get()]
            while len(group) < GROUP_LIMIT:
                try:
                    group.append(self._jobs.get_nowait())
                except queue.Empty:
                    break
            if None in group:
                stopping = True
                group = [job for job in group if job is not None]
            if group:
                self._write(group)
        self._connection.close()
        self._engine.dispose()

    def _write(self, group: list[Any]) -> None:
        self.groups += 1
        self.writes += len(group)
        outcomes: list[_Outcome]
        try:
            if self._connection.closed:
                self._connection = self._engine.connect()
            with self._connection.begin():
                outcomes = [self._attempt(*job) for job in group]
        except Exception as error:  # the transaction is gone (disk full): nobody may believe that it happened
            outcomes = [(loop, future, None, error) for *_, loop, future in group]
            # After a failed commit SQLite may still be inside the transaction that SQLAlchemy believes ended.
            if not self._connection.closed:
                self._connection.invalidate()
                self._connection.close()
        by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
        for outcome in outcomes:
            by_loop.setdefault(outcome[0], []).append(outcome)
        for loop, settled in by_loop.items():
            with contextlib.suppress(RuntimeError):  # that loop is gone, and with it whoever asked
                loop.call_soon_threadsafe(_settle, settled)

    def _attempt(self, fn: Callable[..., Any], args: Any, kwargs: Any, loop: Any, future: Any) -> _Outcome:
        try:
            with self._connection.begin_nested():
                return loop, future, fn(self._connection, *args, **kwargs), None
        except BaseException as error:
            # SQLite undoes the whole transaction by itself on a full disk or an I/O error. SQLAlchemy does
            # not notice, and what follows would be committed one by one or, worse, confirmed and lost.
            if not self._in_transaction():
                raise _first(error) from error
            if isinstance(error, Exception) and not isinstance(error, StopIteration):
                return loop, future, None, error
            carried = RuntimeError(f"a store function raised {type(error).__name__}")
            carried.__cause__ = error
            return loop, future, None, carried

    def _in_transaction(self) -> bool:
        raw = self._connection.connection.dbapi_connection
        return isinstance(raw, sqlite3.Connection) and raw.in_transaction


_Outcome = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Any, BaseException | None]


def _settle(settled: list[_Outcome]) -> None:
    for _, future, result, failure in settled:
        if future.done():
            continue
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)


def _first(error: BaseException) -> Exception:
    """The exception that began it: undoing a savepoint that is gone raises over it."""
    while isinstance(error.__context__, DBAPIError):
        error = error.__context__
    return error if isinstance(error, Exception) else RuntimeError("a store function ended its transaction")


def _worth_repeating(error: DBAPIError | Conflict, attempt: int) -> bool:
    """Two processes met: a serialisation failure, a deadlock, or both inserted the same key."""
    if isinstance(error, Conflict):
        return True
    code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or ""
    return code in {"40001", "40P01"} or (code == "23505" and attempt < 3)


def cause(error: BaseException) -> str:
    """What the driver said, in one line."""
    orig = getattr(error, "orig", None)
    return str(orig or error).splitlines()[0]
