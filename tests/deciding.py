"""Messages decided one by one: a store and an office, no network, no service, and a clock that is passed in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from bot import decisions, routing
from bot.answers.index import ArticleIndex
from bot.cli.common import office_for
from bot.config import parse
from bot.office import Office, Turn
from channels import rich
from channels.conversation import Address, Author, Inbound, Kind
from crm_store import audit, dump, importer, people
from crm_store import schema as tables
from crm_store.db import Store
from crm_store.importing.values import Defaults
from tests.stores import sqlite_url
from tests.world import seed, settings

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
CHANNELS = """
[channels.support]
kind = "email"
address = "support@desk.example"
authentication = "none"
smtp_send = "smtp://127.0.0.1:1"
[channels.telegram]
kind = "telegram"
token = "123:abc"
"""


_index: ArticleIndex | None = None  # the sample's, the same for every test: it takes a second to build


@dataclass
class Said:
    """Something that would go out."""

    channel: str
    room: str
    purpose: str
    reply: rich.Reply

    @property
    def text(self) -> str:
        return rich.to_text(self.reply, numbered_buttons=False)

    @property
    def actions(self) -> list[str]:
        found = (b for b in self.reply.blocks if isinstance(b, rich.Buttons))
        return [button.action for block in found for button in block.buttons]


@dataclass
class Deciding:
    """Takes what arrives and tells what would go out. `now` stands still until it is moved."""

    store: Store
    office: Office
    now: datetime = NOW
    count: int = 0
    _seen: int = field(default=0, repr=False)

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)

    async def take(self, text: str, **how: Any) -> list[Said]:
        """Take a message, of user and room 7 on the web unless said otherwise; return what goes out."""
        self.count += 1
        room, channel = str(how.pop("room", "7")), how.pop("channel", "web")
        author = how.pop("author", None) or Author(room, name=f"Customer {room}")
        event = f"{room}:{self.count}"
        one = Inbound(Address(channel, room), event, author, text, self.now, **({"private": True} | how))
        decision = None
        if one.kind is Kind.MESSAGE:
            decision = decisions.decide_for(self.office, one)
        await self.store.write(lambda tx: routing.take(Turn(tx, self.office, self.now), one, decision))
        return await self.new()

    async def press(self, action: str, **how: Any) -> list[Said]:
        """Press a button, forged or not."""
        return await self.take("", kind=Kind.ACTION, action=action, **how)

    async def staff(self, text: str, name: str = "Tom") -> list[Said]:
        """Run a command as a person."""
        from bot import commands
        from bot.access import member

        def work(tx: Connection) -> None:
            turn = Turn(tx, self.office, self.now)
            who = member(people.by_name(tx, name))
            commands.audited(turn, who, commands.perform(turn, who, text))

        await self.store.write(work)
        return await self.new()

    async def new(self) -> list[Said]:
        """What was written into the outbox since the last look."""

        def read(tx: Connection) -> list[Any]:
            query = tables.outbox.select().where(tables.outbox.c.id > self._seen).order_by(tables.outbox.c.id)
            return list(tx.execute(query).all())

        rows = await self.store.read(read)
        self._seen = rows[-1].id if rows else self._seen
        return [Said(r.channel, r.room_id, r.purpose, rich.load(r.body)) for r in rows]

    async def heard(self) -> list[str]:
        """All that was ever said to anybody."""
        self._seen = 0
        return [s.text for s in await self.new()]

    async def code(self, name: str) -> str:
        return await self.store.write(lambda tx: people.new_code(tx, self.now, people.by_name(tx, name).id))

    async def identities(self) -> list[tuple[str, str]]:
        def read(tx: Connection) -> list[tuple[str, str]]:
            return [(p.name, i.user_id) for p in people.everyone(tx) for i in people.identities(tx, p.id)]

        return await self.store.read(read)

    async def audits(self) -> list[tuple[str, str, str, str]]:
        """The newest first."""
        entries = await self.store.read(audit.entries)
        return [(e.actor, e.action, e.object, e.outcome) for e in entries]

    async def tickets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.store.read(dump.everything))["tickets"]
        return found

    async def bring(self, directory: Path, kind: Any, text: str) -> None:
        """Import a file."""
        path = directory / f"{kind}.csv"
        path.write_text(text)
        report = await importer.run(self.store, kind, path, Defaults(region="GB"), self.now)
        assert not report.rejected, report


@asynccontextmanager
async def deciding(
    directory: Path, *, articles: bool = False, more: str = CHANNELS
) -> AsyncIterator[Deciding]:
    """With Mei (manager, Chinese), Tom (agent) and Vera (viewer)."""
    url = sqlite_url(directory)
    await seed(url, articles=articles)
    text = settings(url, more=more)
    config = parse(text, path=directory / "wellheard.toml", environ={})
    async with Store(url) as store:
        office = await office_for(config, store)
        if articles:
            global _index
            _index = _index or await store.read(decisions.load_index)
            office.index = _index
        yield Deciding(store, office)
