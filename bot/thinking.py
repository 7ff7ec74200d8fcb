"""Thinking: where an answer takes longer than a moment, the one who asked sees that it is being made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from channels.base import Channel, Types
from channels.conversation import Address

AFTER_S = 0.5
AGAIN_S = 4.0  # platforms show it for about five seconds


@asynccontextmanager
async def thinking(channel: Channel, address: Address) -> AsyncIterator[None]:
    """Show it while the body takes long; the body never waits for that."""
    if not isinstance(channel, Types):
        yield
        return
    task = asyncio.create_task(_type(channel, address))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _type(channel: Types, address: Address) -> None:
    await asyncio.sleep(AFTER_S)
    while True:
        await channel.types(address)
        await asyncio.sleep(AGAIN_S)
