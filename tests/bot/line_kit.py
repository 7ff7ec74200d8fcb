"""A line without platforms: intake and delivery over a real store, between channels that a test scripts."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import Connection, select

from bot import routing
from bot.config import parse
from bot.delivery import Delivery
from bot.door import ChannelDoor
from bot.intake import Intake
from bot.office import Office
from channels.base import Capabilities, Channel, Quiet
from channels.conversation import Address, Author, Inbound, Kind, Outbound, Raw, Sent
from channels.rich import to_text
from crm_store import dump, people, schema
from crm_store.db import Store

CONFIG = """
[desk]
secret = "test"
[line]
intake_attempts = {attempts}
lease_s = {lease_s}
[channels.shop]
kind = "console"
[channels.safe]
kind = "console"
[channels.desk]
kind = "web"
staff_channel = "staff"
hold_s = {hold_s}
reply_mode = "{reply_mode}"
"""


class Clock:
    """The time, which a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Probe(Quiet):
    """A channel that a test scripts: `on_send` may raise or wait; what it lets through is in `sent`."""

    kind: ClassVar[str] = "console"

    def __init__(self, name: str, caps: Capabilities) -> None:
        self.name = name
        self.caps = caps
        self.sent: list[Outbound] = []
        self.on_send: Callable[[Outbound], Awaitable[None]] | None = None
        self.on_decode: Callable[[Raw], None] = lambda raw: None

    async def run(self, door: Any) -> None:
        await asyncio.Event().wait()

    def decode(self, raw: Raw) -> Sequence[Inbound]:
        self.on_decode(raw)
        said = json.loads(raw.body)
        return [
            Inbound(
                address=Address(self.name, said["room"], said.get("thread", "")),
                event_id=raw.event_id,
                author=Author(said["user"], said["user"]),
                text=said["text"],
                sent_at=raw.received_at,
                kind=Kind(said.get("kind", "message")),
                target_id=said.get("target", ""),
                album=said.get("album", ""),
                private=not said.get("thread"),
                mentions=tuple(said.get("mentions", ())),
            )
        ]

    async def send(self, message: Outbound) -> Sent:
        if self.on_send is not None:
            await self.on_send(message)
        self.sent.append(message)
        event_id = f"{message.address.room_id}:{len(self.sent)}"
        thread = event_id if message.opens_thread else message.address.thread_id
        return Sent(event_id, Address(self.name, message.address.room_id, thread))

    def texts(self, room_id: str = "") -> list[str]:
        return [to_text(m.reply) for m in self.sent if m.op == "send" and room_id in ("", m.address.room_id)]


@dataclass
class Line:
    """The parts of a line; `running` starts the two workers."""

    store: Store
    clock: Clock
    office: Office
    shop: Probe
    safe: Probe
    desk: Probe
    intake: Intake
    delivery: Delivery
    doors: dict[str, ChannelDoor]
    number: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def channels(self) -> dict[str, Channel]:
        return {c.name: c for c in (self.shop, self.safe, self.desk)}

    def raw(self, channel: str, user: str, text: str, *, wait_s: float = 0.0, **more: Any) -> Raw:
        """What a platform would hand in. `event` names it, else it is a new one."""
        self.number += 1
        said = {"user": user, "room": more.pop("room", user), "text": text} | more
        event = more.get("event") or f"e{self.number}"
        lane = said["room"] + said.get("thread", "")
        return Raw(channel, event, lane, json.dumps(said).encode(), self.clock(), wait_s=wait_s)

    async def says(self, channel: str, user: str, text: str, **more: Any) -> Raw:
        raw = self.raw(channel, user, text, **more)
        await self.doors[channel].accept(raw)
        return raw

    async def agent(self, thread: str, text: str, **more: Any) -> Raw:
        """The agent writes in a ticket's thread."""
        return await self.says("desk", "agent", text, room="staff", thread=thread, **more)

    async def card(self, words: str) -> str:
        """The thread of the ticket whose card has these words, once it is there."""

        def found() -> str:
            for at, m in enumerate(self.desk.sent, 1):
                if m.opens_thread and words in to_text(m.reply):
                    return f"{m.address.room_id}:{at}"
            return ""

        return str(await self.until(found))

    async def until(self, condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    found = condition()
                    if asyncio.iscoroutine(found):
                        found = await found
                    if found:
                        return found
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"never: {condition}; {await self.dump()}") from None

    async def rest(self) -> None:
        """Until nothing that is due waits."""
        async with asyncio.timeout(30):
            await self.intake.drain()
            await self.delivery.drain()

    async def later(self, seconds: float) -> None:
        """Let time pass, and what falls due happen."""
        self.clock.pass_(seconds)
        self.intake.wake()
        self.delivery.wake()
        await self.rest()

    async def dump(self) -> dict[str, Any]:
        return await self.store.read(dump.everything)

    async def inbox(self, *states: str) -> list[Any]:
        table = schema.inbox
        query = select(table).where(table.c.state.in_(states)).order_by(table.c.id)
        return await self.store.read(lambda tx: list(tx.execute(query).all()))

    async def outbox(self, **where: Any) -> list[Any]:
        table = schema.outbox
        query = select(table).order_by(table.c.id)
        for name, value in where.items():
            query = query.where(table.c[name] == value)
        return await self.store.read(lambda tx: list(tx.execute(query).all()))

    async def messages(self) -> list[Any]:
        """(kind, text) of all messages, as they were written."""
        table = schema.message
        query = select(table.c.kind, table.c.text).order_by(table.c.id)
        return await self.store.read(lambda tx: [tuple(r) for r in tx.execute(query).all()])

    async def work(self) -> None:
        self.tasks = [asyncio.create_task(self.intake.run()), asyncio.create_task(self.delivery.run())]

    async def die(self) -> None:
        """Stop at once, wherever it stands."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks = []


def build(
    store: Store,
    clock: Clock,
    *,
    hold_s: float = 0.0,
    reply_mode: str = "direct",
    attempts: int = 3,
    lease_s: float = 60.0,
) -> Line:
    """A line that does not run yet."""
    text = CONFIG.format(hold_s=hold_s, reply_mode=reply_mode, attempts=attempts, lease_s=lease_s)
    shop = Probe("shop", Capabilities(private=True, buttons=True))
    safe = Probe("safe", Capabilities(private=True, buttons=True, safe_repeat=True))
    desk = Probe("desk", Capabilities(threads=True, edit=True, marks=True, private=True, safe_repeat=True))
    channels: dict[str, Channel] = {c.name: c for c in (shop, safe, desk)}
    office = Office(
        parse(text, path=Path("wellheard.toml")), {n: c.caps for n, c in channels.items()}, b"test"
    )
    delivery = Delivery(store, office, channels, clock=clock, jitter=lambda: 0.5)
    intake = Intake(store, office, channels, wake_delivery=delivery.wake, clock=clock)
    doors = {n: ChannelDoor(store, n, clock, intake.wake) for n in channels}
    return Line(store, clock, office, shop, safe, desk, intake, delivery, doors)


@asynccontextmanager
async def running(store: Store, clock: Clock, **how: Any) -> AsyncIterator[Line]:
    """A line at work, with an enrolled agent."""
    await store.write(enrol)
    line = build(store, clock, **how)
    await line.work()
    try:
        yield line
    finally:
        await line.die()


def enrol(tx: Connection) -> None:
    now = datetime(2026, 3, 2, tzinfo=UTC)
    if people.by_name(tx, "Tom") is None:
        row = people.add(tx, now, "Tom", "agent", "en")
        assert row is not None
        code = people.new_code(tx, now, row)
        assert people.redeem(tx, now, code, "web", "agent", "Tom")


@contextlib.contextmanager
def poison(word: str) -> Any:
    """Make deciding about messages with this word fail. Yields the list of those that did."""
    real = routing.take
    failed: list[str] = []

    def take(turn: Any, inbound: Inbound, decision: Any) -> None:
        real(turn, inbound, decision)
        if word in inbound.text:  # after it has written: nothing of that may stay
            failed.append(inbound.text)
            raise RuntimeError("poison")

    routing.take = take
    try:
        yield failed
    finally:
        routing.take = real
