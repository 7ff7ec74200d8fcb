"""Yielding: a burst is received first and worked off after; a flood stops nothing.

Receiving a mail costs 0.3 ms of CPU, all that follows about twenty times that. Ten sessions were accepted at
least twice as fast when the rest let them first (docs/performance.md).
"""

from __future__ import annotations

import asyncio
import time

from crm_store.db import Store

YIELD_S = 0.1  # while many outside wait to be received, so long between claims …
FEW = 4  # … of so many lanes
BURST_S = 3.0  # after that work has its turn for as long


class Yielding:
    """Asked by whoever claims work, before each claim."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._burst_at = -2 * BURST_S  # when the latest burst began, by the monotonic clock

    async def limit(self, usual: int) -> int:
        """How many lanes to claim now: the usual number, or few after a pause while many outside wait."""
        now = time.monotonic()
        if not self._store.pressed:
            return usual
        if now - self._burst_at > 2 * BURST_S:
            self._burst_at = now
        if now - self._burst_at > BURST_S:
            return usual
        for _ in range(10):
            await asyncio.sleep(YIELD_S / 10)
            if not self._store.pressed:
                return usual
        return FEW
