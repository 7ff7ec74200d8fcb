"""The web chat served on loopback with a journal and a door of the tests, without the rest of the product."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from channels import rich
from channels.base import Setup
from channels.conversation import Address, Inbound, Outbound
from channels.web.channel import WebChannel
from tests.fakes.door import FakeDoor
from tests.fakes.journal import FakeJournal

SECRET = b"a secret of thirty-two bytes....."
COMMANDS = {
    "en": {"help": "what I can do", "customer": "a customer's profile", "stats": "volumes and times"},
    "zh": {"help": "我能做什么", "customer": "客户资料", "stats": "工作量与时长"},
}


@dataclass
class Site:
    url: str
    channel: WebChannel
    door: FakeDoor
    journal: FakeJournal

    def inbound(self) -> list[Inbound]:
        return [value for raw in self.door.raws for value in self.channel.decode(raw)]

    async def says(self, room: str, *parts: rich.Block | str, key: str = "", **more: Any) -> str:
        address = Address("web", room, more.pop("thread", ""))
        reply = rich.Reply.of(*parts)
        message = Outbound(address, reply, key or f"k{len(self.journal.rooms.get(room, []))}", **more)
        return (await self.channel.send(message)).event_id


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Site]:
    journal, door = FakeJournal(), FakeDoor()
    table = {"kind": "web", "staff_channel": "staff", "messages_per_minute": 6000, **settings}
    setup = Setup("web", table, SECRET, journal=journal, desk_name="Example Ltd", commands=COMMANDS)
    channel = WebChannel(setup)
    app = web.Application()
    app.add_routes(channel.routes(door))
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield Site(f"http://127.0.0.1:{runner.addresses[0][1]}", channel, door, journal)
    finally:
        await channel.close()
        await runner.cleanup()
