"""A door for adapter tests: keeps what was accepted, recognises repeats, can fail or be slow on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from channels.conversation import Raw


class FakeDoor:
    """Accepts like the real one. `before` runs before each acceptance and may raise or wait."""

    def __init__(self, cursor: str | None = None) -> None:
        self.raws: list[Raw] = []
        self.keys: set[tuple[str, str]] = set()
        self.repeats = 0
        self.problem: str | None = "not started"
        self.stored_cursor = cursor
        self.before: Callable[[], Awaitable[None]] | None = None
        self._changed = asyncio.Event()

    async def accept(self, *raws: Raw, cursor: str | None = None) -> None:
        if self.before is not None:
            await self.before()
        for raw in raws:
            key = (raw.channel, raw.event_id)
            if key in self.keys:
                self.repeats += 1
                continue
            self.keys.add(key)
            self.raws.append(raw)
        if cursor is not None:
            self.stored_cursor = cursor
        self._changed.set()

    async def cursor(self) -> str | None:
        return self.stored_cursor

    def report(self, problem: str | None) -> None:
        self.problem = problem
        self._changed.set()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Wait until the condition holds; it is looked at whenever something arrives, or each 20 ms."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                try:
                    async with asyncio.timeout(0.02):
                        await self._changed.wait()
                except TimeoutError:
                    continue
