"""Secrets that a platform exchanges while we run (Slack's tokens): kept in the store, sealed, replaced by one
process at a time."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime

from sqlalchemy import Connection, select

from crm_store import leases, schema
from crm_store.db import Store
from crm_store.rows import insert

TTL_S = 60.0  # an exchange takes a call; who died over it holds the others up for so long
AGAIN_S = 0.2


class StoreVault:
    """One channel's secrets: channels.base.Vault over the store."""

    def __init__(self, store: Store, channel: str, secret: bytes, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._prefix = f"vault:{channel}:"
        self._secret = secret
        self._clock = clock
        self._holder = secrets.token_hex(8)

    async def get(self, name: str) -> str:
        table = schema.meta
        query = select(table.c.value).where(table.c.name == self._prefix + name)
        kept = await self._store.read(lambda tx: tx.execute(query).scalar())
        return opened(self._secret, kept) if kept else ""

    async def exchange(self, name: str, make: Callable[[str], Awaitable[str]]) -> str:
        key = self._prefix + name
        holder = f"{self._holder}:{secrets.token_hex(4)}"

        def take(tx: Connection) -> int | None:
            return leases.take(tx, self._store.now(tx), key, holder, TTL_S)

        def put(tx: Connection, value: str) -> None:
            table = schema.meta
            row = insert(tx, table).values(name=key, value=value)
            tx.execute(row.on_conflict_do_update(index_elements=["name"], set_={"value": value}))

        while (fence := await self._store.write(take)) is None:  # noqa: ASYNC110 - another process has it
            await asyncio.sleep(AGAIN_S)
        try:
            made = await make(await self.get(name))
            await self._store.write(put, sealed(self._secret, made))
        finally:
            await self._store.write(lambda tx: leases.release(tx, self._store.now(tx), key, fence))
        return made


def sealed(secret: bytes, text: str) -> str:
    """Encrypted under a key of ours and authenticated: a stolen database or backup alone opens nothing, where
    desk.secret is configured and not kept in the store."""
    nonce, plain = secrets.token_bytes(16), text.encode()
    body = nonce + bytes(a ^ b for a, b in zip(plain, _stream(secret, nonce, len(plain)), strict=True))
    return (body + _tag(secret, body)).hex()


def opened(secret: bytes, kept: str) -> str:
    """What `sealed` was given; "" when it was sealed with another secret."""
    try:
        whole = bytes.fromhex(kept)
    except ValueError:
        return ""
    body, tag = whole[:-32], whole[-32:]
    if len(body) < 16 or not hmac.compare_digest(tag, _tag(secret, body)):
        return ""
    nonce, hidden = body[:16], body[16:]
    return bytes(a ^ b for a, b in zip(hidden, _stream(secret, nonce, len(hidden)), strict=True)).decode()


def _tag(secret: bytes, body: bytes) -> bytes:
    return hmac.new(_key(secret, b"tag"), body, hashlib.sha256).digest()


def _stream(secret: bytes, nonce: bytes, length: int) -> bytes:
    """HMAC-SHA256 in counter mode: a block for each 32 bytes, of a key and a nonce that are never used twice."""
    key = _key(secret, b"stream")
    blocks = [
        hmac.new(key, nonce + n.to_bytes(8, "big"), hashlib.sha256).digest() for n in range(length // 32 + 1)
    ]
    return b"".join(blocks)[:length]


def _key(secret: bytes, use: bytes) -> bytes:
    return hmac.new(secret, b"vault\0" + use, hashlib.sha256).digest()
