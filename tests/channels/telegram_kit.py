"""What the Telegram tests share: a channel that talks to a fake, and messages to send."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from channels.base import Setup
from channels.conversation import Address, Outbound
from channels.rich import Block, Reply
from channels.telegram.channel import TelegramChannel
from tests.fakes.telegram import FakeTelegram

_KEYS = itertools.count(1)


async def shortly(seconds: float) -> None:
    """Sleep in a tenth of the time, so that back-off is seen to happen and costs little."""
    await asyncio.sleep(min(seconds / 10, 0.2))


def channel_for(tg: FakeTelegram, **table: Any) -> TelegramChannel:
    setup = {key: table.pop(key) for key in ("public_url", "commands") if key in table}
    settings = {"kind": "telegram", "token": tg.token, "api_base": tg.url, **table}
    return TelegramChannel(Setup("tg", settings, b"secret", **setup), sleep=shortly)


def outbound(room: str, reply: Reply | Block | str, *, thread: str = "", **more: Any) -> Outbound:
    reply = reply if isinstance(reply, Reply) else Reply.of(reply)
    key = more.pop("key", f"k{next(_KEYS)}")
    return Outbound(Address("tg", room, thread), reply, key, **more)
