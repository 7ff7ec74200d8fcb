"""Token rotation: a bot token that lives for twelve hours, and the refresh token that gets the next one.

A refresh token works once: what it brought is kept before it is used, and only one process exchanges it at a
time. The configuration names the first pair; a newer pair there replaces what is kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from channels.base import Clock, Vault

KEPT_AS = "slack-tokens"
BEFORE_S = 1800.0  # so long before a token ends the next one is fetched

Exchange = Callable[[str], Awaitable[tuple[str, str, float]]]  # refresh token → token, refresh token, seconds


@dataclass(frozen=True, slots=True)
class Pair:
    """`until` is 0 while nobody told us; `origin` names the configured refresh token it comes from."""

    token: str
    refresh: str
    until: float
    origin: str


class Rotation:
    """The pair we use now. `exchange` asks Slack; it raises what api.Api raises."""

    def __init__(self, token: str, refresh: str, vault: Vault, clock: Clock, exchange: Exchange) -> None:
        origin = hashlib.sha256(refresh.encode()).hexdigest()[:16]
        self._first = Pair(token, refresh, 0.0, origin)
        self._now = self._first
        self._vault = vault
        self._clock = clock
        self._exchange = exchange
        self._lock = asyncio.Lock()
        self._read = False

    async def current(self) -> str:
        """The token to use: the next one when this one is about to end."""
        if not self._read:
            self._now = self._kept(await self._vault.get(KEPT_AS))
            self._read = True
        if self._now.until and self._clock().timestamp() > self._now.until - BEFORE_S:
            return await self.renewed(self._now.token)
        return self._now.token

    async def renewed(self, used: str) -> str:
        """The token after one that has ended, whoever fetched it."""
        async with self._lock:
            if self._now.token == used:
                self._now = self._kept(
                    await self._vault.exchange(KEPT_AS, lambda kept: self._next(kept, used))
                )
        return self._now.token

    async def _next(self, kept: str, used: str) -> str:
        pair = self._kept(kept)
        if pair.token == used:  # else another process was faster
            token, refresh, seconds = await self._exchange(pair.refresh)
            pair = Pair(token, refresh, self._clock().timestamp() + seconds, pair.origin)
        return json.dumps([pair.token, pair.refresh, pair.until, pair.origin])

    def _kept(self, text: str) -> Pair:
        if not text:
            return self._first
        token, refresh, until, origin = json.loads(text)
        return Pair(token, refresh, until, origin) if origin == self._first.origin else self._first
