"""Suggestions of who may be the same person are made behind the line: nobody who writes waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy import Connection

from bot.office import Office, Turn
from bot.service import suggesting
from crm_store import merges, suggestions
from crm_store.db import Store

log = structlog.get_logger()
EVERY_S = 10.0
MESSAGES = 5  # looked at in one snapshot: 5 ms for each name among them; what is found costs the writer 1 ms
REST_S = 0.2


class Suggester:
    """Looks at what was written until cancelled; not while messages crowd in."""

    def __init__(
        self,
        store: Store,
        office: Office,
        clock: Callable[[], datetime],
        *,
        wake_delivery: Callable[[], None] = lambda: None,
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._office = office
        self._clock = clock
        self._wake_delivery = wake_delivery
        self._crowded = crowded

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.tick()
            except Exception:
                log.exception("suggesting_failed")

    async def tick(self) -> int:
        """Look at all that is new, tell staff what was found, and return how many pairs that were."""
        await self._store.write(merges.settle, self._clock())
        made = 0
        while not self._crowded() and (looked := await self._store.read(suggestions.look, MESSAGES)):
            made += len(await self._store.write(suggestions.note, self._clock(), looked))
            await asyncio.sleep(REST_S)
        if await self._store.read(suggestions.untold):
            told = await self._store.write(self._tell)
            if told:
                self._wake_delivery()
        return made

    def _tell(self, tx: Connection) -> bool:
        turn = Turn(tx, self._office, self._clock())
        rows = suggestions.untold(tx)
        if not rows or not suggestions.told(tx, turn.now, rows):
            return False
        return any([suggesting.tell(turn, row) for row in rows])
