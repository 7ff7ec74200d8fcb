"""Yielding: a burst is received first, then understood, then answered; a flood stops nothing.

Receiving a mail costs 0.3 ms of CPU, all that follows about ten times that. Ten sessions were accepted at
least twice as fast when the rest let them first (docs/performance.md). In the same way what is sent lets first
what still has to be understood: its answer is queued sooner, and platforms take no more than a few messages a
second anyway.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from crm_store.db import Store

YIELD_S = 0.1  # while many outside wait to be received, so long between claims …
CROWDED_S = 0.25  # the same while others are many: at most sixteen a second of each channel
FEW = 4  # … of so many lanes
BURST_S = 5.0  # after that work has its turn for as long

T = TypeVar("T")


def few_of_each(
    claim: Callable[[list[str]], list[T]], channel: Callable[[T], str], room: int, skip: Iterable[str]
) -> list[T]:
    """Claim the oldest that may be had; when they are few, few of each channel: a chat does not wait for the
    thousand mails before it. `claim` takes the channels that it is to leave alone."""
    skipped = sorted(skip)
    found = claim(skipped)
    while found and room <= FEW and (more := claim(skipped := sorted({*skipped, *map(channel, found)}))):
        found += more
    return found


class Yielding:
    """Asked by whoever claims work, before each claim."""

    def __init__(self, store: Store, *, crowded: Callable[[], bool] = lambda: False) -> None:
        self._store = store
        self._crowded = crowded  # whether others are to go first for as long as they are many
        self._burst_at = -2 * BURST_S  # when the latest burst began, by the monotonic clock

    async def limit(self, usual: int) -> int:
        """How many lanes to claim now: the usual number, or few after a pause while many outside wait."""
        if self._crowded():
            await asyncio.sleep(CROWDED_S)
            return FEW if self._crowded() else usual
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
