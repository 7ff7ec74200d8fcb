"""The search index is kept up behind the line: a little at a time, so that no message waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from crm_store.db import Store
from crm_store.search import indexing

log = structlog.get_logger()
EVERY_S = 3.0  # what is newer than that is looked at row by row, and found all the same
LATE = 5  # rounds left out at most while messages crowd in
ROWS = 250  # in one write: 25 ms of the writer's time
REST_S = 0.02
TELL = 20_000  # rows after which a first run says how far it is


class Indexer:
    """Indexes what is new or changed until cancelled; the first run over an old store reports its progress."""

    def __init__(self, store: Store, *, crowded: Callable[[], bool] = lambda: False) -> None:
        self._store = store
        self._crowded = crowded  # whether messages come in faster than they are understood

    async def run(self) -> None:
        late = 0
        while True:
            late = late + 1 if self._crowded() and late < LATE else 0
            try:
                if not late:
                    await self.tick()
            except Exception:
                log.exception("indexing_failed")
            await asyncio.sleep(EVERY_S)

    async def tick(self) -> int:
        """Index all that waits, and return how many rows that were."""
        done = 0
        while found := await self._store.write(indexing.step, limit=ROWS):
            done += found
            if done // TELL != (done - found) // TELL:
                log.info("indexed", rows=done, waiting=await self._store.read(indexing.waiting))
            await asyncio.sleep(REST_S)
        return done
