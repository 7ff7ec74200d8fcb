"""Room logs of the web chat, kept in the store and shared by all processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from bot.office import Office
from crm_store import journal, people
from crm_store.db import Store

POLL_S = 1.0  # how soon an entry written by another process is seen


class StoreJournal:
    """One channel's journal: channels.base.Journal over the store."""

    def __init__(self, store: Store, channel: str, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._channel = channel
        self._clock = clock
        self._waiting: dict[str, set[asyncio.Event]] = {}  # by room: a visitor's words wake no other visitor
        self.office: Office | None = None  # set once the channels are built

    async def append(self, room: str, key: str, body: str) -> int:
        number = await self._store.write(journal.append, self._clock(), self._channel, room, key, body)
        self.wake(room)
        return number

    def wake(self, room: str = "") -> None:
        """Somebody wrote in a room, here; or, without a room, in another process."""
        woken = self._waiting.get(room, ()) if room else set().union(*self._waiting.values())
        for event in tuple(woken):
            event.set()

    async def since(self, room: str, after: int, limit: int = 500) -> Sequence[tuple[int, str]]:
        return await self._store.read(journal.since, self._channel, room, after, limit)

    async def may_read(self, room: str, user_id: str) -> bool:
        office = self.office
        if office is None:
            return False
        if room == user_id:  # one's own: what somebody was answered while they were staff stays among staff

            def ended(tx: Connection) -> bool:
                return people.was_somebody(tx, office.space(self._channel), user_id)

            return not await self._store.read(ended)
        if not office.is_staff_room(self._channel, room):
            return True

        def enrolled(tx: Connection) -> bool:
            return people.by_identity(tx, office.space(self._channel), user_id) is not None

        return await self._store.read(enrolled)

    async def changed(self, rooms: Sequence[str], timeout_s: float) -> None:
        event = asyncio.Event()
        for room in rooms:
            self._waiting.setdefault(room, set()).add(event)
        # entries of this process wake at once; those of others are seen at the next look
        wait = timeout_s if self._store.dialect == "sqlite" else min(timeout_s, POLL_S)
        try:
            async with asyncio.timeout(wait):
                await event.wait()
        except TimeoutError:
            return
        finally:
            for room in rooms:
                self._waiting[room].discard(event)
                if not self._waiting[room]:
                    del self._waiting[room]
