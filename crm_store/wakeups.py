"""Wake-ups between processes on PostgreSQL: LISTEN and NOTIFY. They only save waiting: whoever misses one
finds the work at the next look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, func, select

from crm_store.db import Store
from crm_store.rows import is_postgresql

CHANNEL = "wellheard"
LOOK_S = 20.0  # how soon a dead connection is noticed


def notify(tx: Connection, what: str) -> None:
    """Tell every process, once this transaction is committed. On SQLite there is nobody to tell."""
    if is_postgresql(tx):
        tx.execute(select(func.pg_notify(CHANNEL, what)))


async def listen(store: Store, heard: Callable[[str], None]) -> None:
    """Call `heard(what)` for every wake-up, until cancelled or the connection is lost (then it raises)."""
    async with store.dedicated() as connection:

        def receive(_connection: Any, _pid: int, _channel: str, what: str) -> None:
            heard(what)

        await connection.add_listener(CHANNEL, receive)
        try:
            while True:
                await asyncio.sleep(LOOK_S)
                async with asyncio.timeout(LOOK_S):
                    await connection.execute("SELECT 1")
        finally:
            if not connection.is_closed():
                async with asyncio.timeout(LOOK_S):
                    await connection.remove_listener(CHANNEL, receive)
