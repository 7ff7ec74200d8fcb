"""Two of us change keyboards: the desk edits its messages, and a pressed button's keyboard is taken away.
The desk wins: its edit may bring new buttons, and a late removal would take those."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

KEEP = 2000  # edits remembered; a press is answered within seconds


class Keyboards:
    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._edited: OrderedDict[str, float] = OrderedDict()

    @asynccontextmanager
    async def editing(self, target: str) -> AsyncIterator[None]:
        """Around the desk's edit of a message ("chat:message")."""
        async with self._lock(target):
            self._edited[target] = time.monotonic()
            self._edited.move_to_end(target)
            while len(self._edited) > KEEP:
                self._edited.popitem(last=False)
            yield

    @asynccontextmanager
    async def removing(self, target: str, pressed_at: float) -> AsyncIterator[bool]:
        """Around the removal; False when the desk has edited the message since the press."""
        async with self._lock(target):
            yield self._edited.get(target, float("-inf")) < pressed_at

    def _lock(self, target: str) -> asyncio.Lock:
        return self._locks.setdefault(target, asyncio.Lock())
