"""Leadership: a poller runs in one process at a time, and in another one when that process is gone.

The lease stands in the store. Its holder renews it three times before it ends and stops by itself when it
could not, so that the next holder finds the platform free.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from crm_store import leases
from crm_store.db import Store

log = structlog.get_logger()
T = TypeVar("T")
TTL_S = 10.0  # after a holder's death somebody else takes over within this and a fifth of it


class Leader:
    """One process's claim to leases by name. On SQLite there is one process, which always leads."""

    def __init__(self, store: Store, *, ttl_s: float = TTL_S) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._holder = secrets.token_hex(8)

    async def lead(
        self, name: str, work: Callable[[], Awaitable[None]], standby: Callable[[], None] = lambda: None
    ) -> None:
        """Run `work` whenever this process holds the lease, until it returns or raises, or we are cancelled.
        `standby` is called when somebody else holds it."""
        if self._store.dialect == "sqlite":
            await work()
            return
        while True:
            begun = time.monotonic()
            fence = await self._take(name)
            if fence is None:
                standby()
                await asyncio.sleep(self._ttl_s / 5 * random.uniform(0.8, 1.2))
                continue
            log.info("leads", lease=name, fence=fence)
            if await self._work(name, fence, work, begun + self._ttl_s):
                return
            log.warning("lease_lost", lease=name, fence=fence)

    async def _work(self, name: str, fence: int, work: Callable[[], Awaitable[None]], until: float) -> bool:
        """Work while the lease lasts. True when the work ended by itself, False when the lease is lost."""
        working = asyncio.ensure_future(work())
        try:
            while not working.done():
                wait_s = min(self._ttl_s / 3, until - self._ttl_s / 5 - time.monotonic())
                if wait_s <= 0:
                    return False
                await asyncio.wait([working], timeout=wait_s)
                begun = time.monotonic()
                match await self._ask(leases.renew, name, fence, self._ttl_s):
                    case True:
                        until = begun + self._ttl_s
                    case False:
                        return False
            working.result()
            return True
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            with contextlib.suppress(asyncio.CancelledError):
                await self._ask(leases.release, name, fence)

    async def _take(self, name: str) -> int | None:
        return await self._ask(leases.take, name, self._holder, self._ttl_s)

    async def _ask(self, fn: Callable[..., T], name: str, *args: object) -> T | None:
        """Ask the store, but not for longer than makes sense. None when there is no answer."""

        def at_its_time(tx: Connection) -> T:
            return fn(tx, self._store.now(tx), name, *args)

        try:
            async with asyncio.timeout(self._ttl_s / 4):
                return await self._store.write(at_its_time)
        except Exception as error:
            log.warning("lease_not_asked", lease=name, error=type(error).__name__)
            return None
