"""A tiny SMTP server on loopback that keeps what it gets: the demo's outbox, and a far side for tests.

async with Sink() as sink:
    ...                        # send to sink.port
    [mail] = sink.mails
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self

from channels.email.smtp_server import Envelope, Limits, Server

KEPT = 500  # mails; the oldest go first
KEPT_BYTES = 64 << 20


class Sink:
    """Accepts every mail for anybody and delivers none of them. For loopback only."""

    def __init__(self, listen: str = "127.0.0.1:0", *, accepts: Callable[[str], bool] | None = None) -> None:
        self._server = Server(
            listen=listen,
            accepts=accepts or (lambda _: True),
            deliver=self._keep,
            limits=Limits(max_size=KEPT_BYTES // 2),
            hostname="sink.localhost",
        )
        self._mails: deque[Envelope] = deque(maxlen=KEPT)
        self._bytes = 0
        self._arrived = asyncio.Condition()
        self.count = 0  # of all mails ever kept

    @property
    def mails(self) -> list[Envelope]:
        """What is kept, oldest first."""
        return list(self._mails)

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def clear(self) -> None:
        self._mails.clear()
        self._bytes = 0

    async def until(self, count: int, timeout_s: float = 10.0) -> list[Envelope]:
        """Wait until `count` mails came in all."""
        async with asyncio.timeout(timeout_s), self._arrived:
            await self._arrived.wait_for(lambda: self.count >= count)
        return self.mails

    async def start(self) -> None:
        await self._server.start()

    async def close(self) -> None:
        await self._server.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _keep(self, mail: Envelope) -> None:
        if len(self._mails) == KEPT:
            self._bytes -= len(self._mails.popleft().content)
        self._mails.append(mail)
        self._bytes += len(mail.content)
        while self._bytes > KEPT_BYTES:
            self._bytes -= len(self._mails.popleft().content)
        self.count += 1
        async with self._arrived:
            self._arrived.notify_all()
