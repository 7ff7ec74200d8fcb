"""Jobs: what falls due without anybody writing. Time is a column; each tick sweeps what is past it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from bot.office import Office
from crm_store import upkeep
from crm_store.db import Store

log = structlog.get_logger()
EVERY_S = 30.0


class Jobs:
    """Sweeps until cancelled."""

    def __init__(self, store: Store, office: Office, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._office = office
        self._clock = clock

    async def run(self) -> None:
        while True:
            try:
                await self.tick()
            except Exception:
                log.exception("jobs_failed")
            await asyncio.sleep(EVERY_S)

    async def tick(self) -> None:
        """Forget expired questions and the raw bodies of what was processed long ago."""
        await self._store.write(self._sweep)

    def _sweep(self, tx: Connection) -> None:
        now = self._clock()
        upkeep.forget_expectations(tx, now)
        upkeep.forget_raw(tx, now - timedelta(days=self._office.config.line.keep_raw_days))
