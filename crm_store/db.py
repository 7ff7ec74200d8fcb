"""The store: who runs the synchronous store functions, in which transaction, on SQLite and on PostgreSQL.

On SQLite one writer thread with one connection takes everything that waits, runs each in a savepoint of one
transaction and commits once (group commit: an fsync costs 4.5 ms, a realistic write 0.1). What somebody
outside waits for, such as a mail server for its 250, goes first. Reads have threads of their own
(readers.py), each a snapshot, so that a slow report never holds a writer. On PostgreSQL the same functions run
through asyncpg's connection, each in a transaction of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from crm_store import sealing
from crm_store.engines import BUSY_TIMEOUT_MS as BUSY_TIMEOUT_MS
from crm_store.engines import aiosqlite_engine
from crm_store.engines import describe as describe
from crm_store.engines import parse_url as parse_url
from crm_store.engines import seal_of as seal_of
from crm_store.engines import sqlite_engine as sqlite_engine
from crm_store.errors import Conflict as Conflict
from crm_store.errors import StoreError as StoreError
from crm_store.errors import cause as cause
from crm_store.errors import is_conflict as is_conflict
from crm_store.errors import worth_repeating
from crm_store.readers import Readers
from crm_store.statement import driver_of

P = ParamSpec("P")
T = TypeVar("T")
Write = Callable[Concatenate[Connection, P], T]

GROUP_LIMIT = 256  # writes that share one transaction at most: bounds how long a reader of the result waits
GROUP_S = 0.01  # … and for how long others may join: whoever comes next waits as long for the commit
LONG_GROUP_S = 0.03  # … where nobody outside waits: a commit costs as much as two mails
PRESS, PRESS_S = 3, 0.05  # so many writes that go first in that time: many are waiting outside
PATIENCE_S = 0.04  # how long other writes let those first that somebody outside waits for
PG_POOL = 10
PG_ATTEMPTS = 16  # twenty writers of one row under SERIALIZABLE: each got through within 12

_jitter = random.SystemRandom()


class Store:
    """A database, open. `await store.write(fn, …)` and `await store.read(fn, …)` run `fn(tx, …)`. With a key
    contact data is sealed (sealing.py)."""

    def __init__(self, url: str, *, clock: Callable[[], datetime] | None = None, key: str = "") -> None:
        self.url = parse_url(url)
        self.dialect = self.url.get_backend_name()
        self._clock = clock
        self._seal = seal_of(key)
        self._readers: Readers | None = None
        self._apart: AsyncEngine | None = None
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
                self._writer = _SqliteWriter(self.url, self._seal)
                self._writer.start()
                self._readers = Readers(self.url, self._seal)
            else:
                self._engine = create_async_engine(
                    self.url.set(drivername="postgresql+asyncpg"),
                    pool_size=PG_POOL,
                    max_overflow=10,
                    hide_parameters=True,  # an error is logged, and what customers write is not
                    pool_pre_ping=True,  # a server that was restarted costs a moment, not a failed write
                )
                sealing.give(self._engine, self._seal)
            if wrong := await self._key_problem():
                await self.close()
                raise StoreError(f"{describe(self.url)}: {wrong}")
        except (OSError, DBAPIError, sqlite3.Error) as error:
            await self.close()
            raise StoreError(f"the store {describe(self.url)} cannot be opened: {cause(error)}") from error

    async def _key_problem(self) -> str:
        """Whether the key is the store's; also whether it can be read at all."""
        from crm_store import keyring  # it knows every table, and they know what a store is

        told = await self.read(keyring.said)
        if self._seal is not None and not told:
            told = await self.write(keyring.adopt, self._seal)
        return keyring.problem(told, self._seal)

    async def close(self) -> None:
        """Finish what waits to be written, then disconnect. Safe to call twice."""
        if self._writer is not None:
            await asyncio.to_thread(self._writer.stop)
        readers, self._readers = self._readers, None
        if readers is not None:
            await asyncio.to_thread(readers.close)
        for engine in (self._apart, self._engine):
            if engine is not None:
                await engine.dispose()
        self._writer = self._apart = self._engine = None

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
        return await self._write_postgresql(fn, *args, **kwargs)

    async def write_first(
        self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same, before whatever else waits: for what somebody outside is waiting for."""
        if self._writer is not None:
            return await self._writer.submit(fn, args, kwargs, first=True)
        return await self._write_postgresql(fn, *args, **kwargs)

    async def _write_postgresql(
        self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        if self._engine is None:
            raise StoreError("the store is not open")
        for attempt in itertools.count(1):
            try:
                async with self._engine.begin() as connection:
                    return await connection.run_sync(fn, *args, **kwargs)
            except (DBAPIError, Conflict) as error:
                if attempt == PG_ATTEMPTS or not worth_repeating(error, attempt):
                    raise
            await asyncio.sleep(_jitter.uniform(0, min(0.2, 0.002 * 2**attempt)))
        raise AssertionError("unreachable")

    async def read(self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn` in a read-only snapshot; on SQLite in a thread that reads."""
        if self._readers is not None:
            return await self._readers.submit(fn, args, kwargs)
        return await self._read_by(self._engine, fn, *args, **kwargs)

    async def read_apart(
        self, fn: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same for what nobody waits a moment for, such as a dump of everything: on SQLite through
        aiosqlite, which holds none of the threads that read and may be cancelled between any two statements."""
        if self._readers is not None and self._apart is None:
            self._apart = aiosqlite_engine(self.url)
            sealing.give(self._apart, self._seal)
        return await self._read_by(self._apart or self._engine, fn, *args, **kwargs)

    async def _read_by(
        self,
        engine: AsyncEngine | None,
        fn: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
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

    @contextlib.asynccontextmanager
    async def dedicated(self) -> AsyncIterator[Any]:
        """A connection of PostgreSQL's driver for oneself, outside of any transaction: for LISTEN."""
        if self._engine is None:
            raise StoreError("the store is not an open PostgreSQL store")
        async with self._engine.connect() as connection:
            yield (await connection.get_raw_connection()).driver_connection

    @property
    def pressed(self) -> bool:
        """Whether many outside wait for writes just now: what can wait should."""
        writer = self._writer
        if writer is None or len(writer.hurried) < PRESS:
            return False
        return time.monotonic() - writer.hurried[0] < PRESS_S

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
    driver = driver_of(tx)
    if driver is None:
        with tx.begin_nested():
            yield
        return
    driver.execute("SAVEPOINT inside")  # by itself, without SQLAlchemy's bookkeeping
    try:
        yield
    except BaseException:
        if driver.in_transaction:  # else SQLite has undone everything by itself, and the writer will see it
            driver.execute("ROLLBACK TO inside")  # the innermost of that name
            driver.execute("RELEASE inside")
        raise
    driver.execute("RELEASE inside")


@dataclass(slots=True, eq=False)
class _Job:
    """A write that waits, and who waits for it."""

    fn: Callable[..., Any]
    args: Any
    kwargs: Any
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    since: float
    result: Any = None
    failure: BaseException | None = None


class _SqliteWriter(threading.Thread):
    """The one thread that writes."""

    def __init__(self, url: URL, seal: sealing.Seal | None = None) -> None:
        super().__init__(name="store-writer", daemon=True)
        self._first: deque[_Job] = deque()
        self._others: deque[_Job] = deque()
        self._engine = sqlite_engine(url)
        sealing.give(self._engine, seal)
        event.listen(self._engine, "connect", _undo_in_memory)
        self._connection = self._engine.connect()
        self._closing = False
        self._news = threading.Condition()
        self.hurried: deque[float] = deque(
            maxlen=PRESS
        )  # when the latest of those that go first were written
        self.groups = 0
        self.writes = 0

    async def submit(self, fn: Callable[..., T], args: Any, kwargs: Any, *, first: bool = False) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        job = _Job(fn, args, kwargs, loop, future, time.monotonic())
        with self._news:
            if self._closing:
                raise StoreError("the store is not open")
            (self._first if first else self._others).append(job)
            self._news.notify()
        return await future

    def stop(self) -> None:
        """Write what waits, then end."""
        with self._news:
            self._closing = True
            self._news.notify()
        self.join()

    def run(self) -> None:
        while True:
            with self._news:
                while not (self._first or self._others or self._closing):
                    self._news.wait()
                if not (self._first or self._others):
                    break
            self._write()
        self._connection.close()
        self._engine.dispose()

    def _group(self) -> Iterator[_Job]:
        """The writes of one transaction: those that go first, also when they came late, then others that
        waited already, for as long as nobody is kept waiting by them. Each is run before the next is asked
        for."""
        began = time.monotonic()
        hurried = False
        for _ in range(GROUP_LIMIT):
            if self._first:
                hurried = True
                self.hurried.append(time.monotonic())
                yield self._first.popleft()
                continue
            if not self._others or (since := self._others[0].since) > began:
                return
            now = time.monotonic()
            if now - began > (GROUP_S if hurried else LONG_GROUP_S):
                return
            if hurried and now - since < PATIENCE_S:
                return
            yield self._others.popleft()

    def _write(self) -> None:
        group: list[_Job] = []
        try:
            if self._connection.closed:
                self._connection = self._engine.connect()
            with self._connection.begin():
                for job in self._group():
                    group.append(job)
                    self._attempt(job)
        except Exception as error:  # the transaction is gone (disk full): nobody may believe that it happened
            for job in group:
                job.failure = error
            # After a failed commit SQLite may still be inside the transaction that SQLAlchemy believes ended.
            if not self._connection.closed:
                self._connection.invalidate()
                self._connection.close()
            if not group:  # it could not even begin
                group = self._refused(error)
        self.groups += 1
        self.writes += len(group)
        by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
        for job in group:
            by_loop.setdefault(job.loop, []).append(job)
        for loop, settled in by_loop.items():
            with contextlib.suppress(RuntimeError):  # that loop is gone, and with it whoever asked
                loop.call_soon_threadsafe(_settle, settled)

    def _refused(self, error: Exception) -> list[_Job]:
        group = []
        while waiting := self._first or self._others:
            group.append(waiting.popleft())
            group[-1].failure = error
        return group

    def _attempt(self, job: _Job) -> None:
        try:
            with savepoint(self._connection):
                job.result = job.fn(self._connection, *job.args, **job.kwargs)
        except BaseException as error:
            # SQLite undoes the whole transaction by itself on a full disk or an I/O error. SQLAlchemy does
            # not notice, and what follows would be committed one by one or, worse, confirmed and lost.
            if not self._in_transaction():
                raise _first(error) from error
            if isinstance(error, Exception) and not isinstance(error, StopIteration):
                job.failure = error
                return
            job.failure = RuntimeError(f"a store function raised {type(error).__name__}")
            job.failure.__cause__ = error

    def _in_transaction(self) -> bool:
        raw = self._connection.connection.dbapi_connection
        return isinstance(raw, sqlite3.Connection) and raw.in_transaction


def _undo_in_memory(dbapi: sqlite3.Connection, _: object) -> None:
    """What a savepoint needs to be undone is kept in memory. In a temporary file it was 92 of the 117 writes that
    a mail cost, and customers' words outside the store."""
    dbapi.execute("PRAGMA temp_store=MEMORY")


def _settle(settled: list[_Job]) -> None:
    for job in settled:
        if job.future.done():
            continue
        if job.failure is None:
            job.future.set_result(job.result)
        else:
            job.future.set_exception(job.failure)


def _first(error: BaseException) -> Exception:
    """The exception that began it: undoing a savepoint that is gone raises over it."""
    while isinstance(error.__context__, DBAPIError):
        error = error.__context__
    return error if isinstance(error, Exception) else RuntimeError("a store function ended its transaction")
