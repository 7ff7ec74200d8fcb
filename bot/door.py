"""The door: makes every raw message durable before the platform hears that we have it."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from bot.cleaning import storable
from channels.base import Clock
from channels.conversation import Raw
from crm_store import inbox
from crm_store.db import Store

log = structlog.get_logger()


class Closed(Exception):
    """The service is stopping: the platform keeps what it has and gives it to whoever comes next."""


class ChannelDoor:
    """One channel's door. `accept` returns after the commit; many that wait share one."""

    def __init__(self, store: Store, channel: str, clock: Clock, wake: Callable[[], None]) -> None:
        self._store = store
        self._channel = channel
        self._clock = clock
        self._wake = wake
        self.problem: str | None = "starting"
        self._closed = False

    async def accept(self, *raws: Raw, cursor: str | None = None) -> None:
        if self._closed:
            raise Closed
        rows = [
            inbox.Accepted(
                channel=self._channel,
                event_id=storable(raw.event_id),
                lane=storable(raw.lane),
                body=raw.body,
                received_at=raw.received_at,
                wait_s=raw.wait_s,
            )
            for raw in raws
        ]
        cursors = [(self._channel, cursor)] if cursor is not None else []
        await self._store.write_first(inbox.accept, rows, cursors, self._clock())
        if rows:
            self._wake()

    async def cursor(self) -> str | None:
        return await self._store.read(inbox.cursor, self._channel)

    def close(self) -> None:
        """Accept nothing more, and say so on /ready."""
        self.report("stopping")
        self._closed = True

    def report(self, problem: str | None) -> None:
        if self._closed:
            return
        if problem != self.problem:
            log.info("channel_state", channel=self._channel, up=problem is None)
        self.problem = problem
