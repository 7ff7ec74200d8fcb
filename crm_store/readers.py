"""Reading on SQLite: a function runs wholly in one of a few threads, each read a snapshot of its own.

A statement through aiosqlite costs two changes of thread; a search of twenty statements took 9 to 16 ms, of
which the search itself was 2. Here a read changes threads twice, however much it asks.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import URL

from crm_store import sealing
from crm_store.engines import sqlite_engine

T = TypeVar("T")
READERS = 8  # a slow report holds one of them
ASKED_EVERY = 200_000  # of SQLite's steps, about 2 ms: whether anybody still waits for this


class Readers:
    """The threads that read, and their connections; both are made when they are first needed."""

    def __init__(self, url: URL, seal: sealing.Seal | None = None) -> None:
        self._engine = sqlite_engine(url, read_only=True)
        sealing.give(self._engine, seal)
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._idle: list[Connection] = []  # the last one used is the next: its pages are warm

    async def submit(self, fn: Callable[..., T], args: Any, kwargs: Any) -> T:
        """Run it in a snapshot. When its caller is cancelled, the statement that runs or the next one ends."""
        cancelled = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._read, cancelled, fn, args, kwargs
            )
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def _read(self, cancelled: threading.Event, fn: Callable[..., T], args: Any, kwargs: Any) -> T:
        try:
            tx = self._idle.pop()
        except IndexError:
            tx = self._engine.connect()
        try:
            with tx.begin() as snapshot:
                driver: Any = tx.connection.dbapi_connection
                driver.set_progress_handler(cancelled.is_set, ASKED_EVERY)
                try:
                    return fn(tx, *args, **kwargs)
                finally:
                    snapshot.rollback()
        except (StopIteration, SystemExit, KeyboardInterrupt, GeneratorExit) as error:
            # what a future cannot carry
            raise RuntimeError(f"a store function raised {type(error).__name__}") from error
        finally:
            if tx.closed or tx.invalidated or tx.in_transaction():
                tx.invalidate()
                tx.close()
            else:
                self._idle.append(tx)

    def close(self) -> None:
        """Finish what is being read or waits to be, then disconnect."""
        self._threads.shutdown()
        while self._idle:
            self._idle.pop().close()
        self._engine.dispose()
