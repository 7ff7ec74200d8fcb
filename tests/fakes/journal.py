"""A journal for tests of the web chat: room logs in memory, and in a file when one is named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path


class FakeJournal:
    """Numbers entries per room, knows a repeated key; `staff` are the user ids that may read staff rooms."""

    def __init__(self, path: Path | None = None, staff: Sequence[str] = ()) -> None:
        self.rooms: dict[str, list[str]] = {}
        self.staff = set(staff)
        self._keys: dict[tuple[str, str], int] = {}
        self._changed = asyncio.Event()
        self._path = path
        if path is not None and path.exists():
            for line in path.read_text("utf-8").splitlines():
                self._add(*json.loads(line))

    def _add(self, room: str, key: str, body: str) -> int:
        log = self.rooms.setdefault(room, [])
        log.append(body)
        self._keys[(room, key)] = len(log)
        return len(log)

    async def append(self, room: str, key: str, body: str) -> int:
        if (room, key) in self._keys:
            return self._keys[(room, key)]
        number = self._add(room, key, body)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([room, key, body]) + "\n")
        self.wake()
        return number

    async def since(self, room: str, after: int, limit: int = 500) -> Sequence[tuple[int, str]]:
        log = self.rooms.get(room, [])
        return [(n, log[n - 1]) for n in range(after + 1, min(after + limit, len(log)) + 1)]

    async def may_read(self, room: str, user_id: str) -> bool:
        return room == user_id if room[:2] in ("v:", "s:") else user_id in self.staff

    async def changed(self, rooms: Sequence[str], timeout_s: float) -> None:
        event = self._changed
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return

    def wake(self) -> None:
        """Let everybody look again, as when somebody was enrolled."""
        self._changed.set()
        self._changed = asyncio.Event()

    def entries(self, room: str) -> list[dict[str, object]]:
        return [json.loads(body) for body in self.rooms.get(room, [])]
