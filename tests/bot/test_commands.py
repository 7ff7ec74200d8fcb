"""Each staff command on a real store, as those who may use it, and what it writes into the audit log."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from bot import commands, routing
from bot.access import member
from bot.cli.common import office_for
from bot.commands import Ask
from bot.config import parse
from bot.office import Office, Turn
from bot.roles import EVERYONE, ROLES
from channels import rich
from channels.conversation import Address, Author, Inbound
from channels.rich import Buttons, Reply
from crm_store import audit, dump, importer, people, schema
from crm_store.db import Store
from crm_store.importing.values import Defaults
from tests.fakes.web import Visitor
from tests.stores import sqlite_url
from tests.world import World, running, seed, settings

NOW = datetime(2026, 3, 2, 10, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
CUSTOMERS = """name,email,phone,telegram,city,tags
Li Wei,li@example.com,+447700900123,@liwei,London,vip
Wang Fang,fang@example.com,+8613800138000,,Shanghai,
Wang Wei,wangwei@example.com,,,Beijing,
Ann O'Neil,ann@example.com,,,Dublin,
"""
ORDERS = """number,date,email,status,total,currency,tracking
A-1001,2026-02-01,li@example.com,shipped,19.90,EUR,T1
A-1002,2026-02-03,li@example.com,refunded,5.00,EUR,
"""


@dataclass
class Desk:
    """Staff who ask, on a store; `world` where the service runs as well."""

    store: Store
    office: Office
    world: World | None = None

    async def perform(self, name: str, text: str, ticket: Any = None) -> Reply:
        def work(tx: Connection) -> Reply:
            who = member(people.by_name(tx, name))
            turn = Turn(tx, self.office, datetime.now(UTC))
            done = commands.perform(turn, who, text, ticket)
            commands.audited(turn, who, done)
            return done.reply

        return await self.store.write(work)

    async def ask(self, name: str, text: str) -> str:
        return rich.to_text(await self.perform(name, text))

    async def audits(self) -> list[tuple[str, str, str, str]]:
        entries = await self.store.read(audit.entries)
        return [(e.actor, e.action, e.object, e.outcome) for e in entries]

    async def ticket(self, number: int) -> dict[str, Any]:
        return next(t for t in (await self.store.read(dump.everything))["tickets"] if t["number"] == number)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    url = sqlite_url(tmp_path)
    await seed(url, articles=False)
    config = parse(settings(url), path=tmp_path / "wellheard.toml", environ={})
    async with Store(url) as store:
        for kind, text in (("customers", CUSTOMERS), ("orders", ORDERS)):
            path = tmp_path / f"{kind}.csv"
            path.write_text(text)
            now = datetime.now(UTC)
            report = await importer.run(store, kind, path, Defaults(region="GB"), now)  # type: ignore[arg-type]
            assert not report.rejected
        yield Desk(store, await office_for(config, store))


@pytest.fixture
async def open_desk(desk: Desk) -> Desk:
    """With ticket #1 of a visitor."""

    def write(tx: Connection) -> None:
        asked = Inbound(
            Address("web", "v:1"),
            "v:1:1",
            Author("v:1", handle="v1"),
            "I want to talk to a person about the sofa, please",
            datetime.now(UTC),
            subject="The sofa",
            private=True,
        )
        routing.take(Turn(tx, desk.office, datetime.now(UTC)), asked, None)

    await desk.store.write(write)
    return desk


@pytest.fixture
async def running_desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """With ticket #1 of a visitor, and the service running."""
    async with running(tmp_path, articles=False) as world, Visitor(world.url) as visitor:
        await visitor.says("I want to talk to a person about the sofa, please")
        await world.until(lambda d: d["tickets"])
        yield Desk(world.store, world.service.office, world)


# --- /customer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Li Wei", "li wei", "LI WEI", "Wei Li", "Li Wie", "li@example.com", "LI@Example.COM", "@liwei", "@LiWei",
        "+447700900123", "+44 7700 900123", "+44-7700-900-123", "07700 900123", "0044 7700 900123", "7700900123",
        "(07700) 900 123", "A-1001", "#A-1001", "a-1001",
    ],
)  # fmt: skip
async def test_a_customer_is_found_by_what_is_known_of_them(desk: Desk, text: str) -> None:
    found = await desk.ask("Tom", f"/customer {text}")
    for words in ("Li Wei", "li@example.com", "London", "vip", "A-1001", "2 orders"):
        assert words in found, found
    assert "on its way" in found
    assert "refunded" in found
    assert "Which one" not in found
    actor = ("staff:2", "profile", "contact:1", "ok")
    assert actor in await desk.audits()


async def test_several_that_fit_are_buttons_that_show_them(desk: Desk) -> None:
    reply = await desk.perform("Tom", "/customer Wang")
    (buttons,) = (b for b in reply.blocks if isinstance(b, Buttons))
    labels = [b.label for b in buttons.buttons]
    assert len(labels) == 2
    assert any("Wang Fang" in label and "fang@example.com" in label for label in labels)
    assert all(b.action.startswith("profile:") for b in buttons.buttons)


@pytest.mark.parametrize(
    "text", ["Zeb Quux", "nobody@example.com", "@nobody", "+15551234567", "Z-9", "%", "' OR 1=1 --"]
)
async def test_nobody_is_said_to_be_nobody(desk: Desk, text: str) -> None:
    assert "Nobody found" in await desk.ask("Tom", f"/customer {text}")


async def test_in_a_tickets_thread_the_customer_is_its_own(open_desk: Desk) -> None:
    from crm_store import tickets

    row = await open_desk.store.read(tickets.by_number, 1)
    reply = await open_desk.perform("Tom", "!customer", row)
    assert "#1" in rich.to_text(reply)
    assert "Usage: /customer" in await open_desk.ask("Tom", "/customer")


# --- /tickets, /ticket, /note, /reply -----------------------------------------------------------------------


async def test_a_ticket_is_shown_taken_assigned_closed_and_reopened(open_desk: Desk) -> None:
    desk = open_desk
    assert "v1" in await desk.ask("Tom", "/tickets")
    assert "sofa" in await desk.ask("Vera", "/tickets open")
    assert "No tickets" in await desk.ask("Tom", "/tickets mine")
    shown = await desk.ask("Tom", "/ticket 1")
    assert "about the sofa" in shown
    assert "You have ticket #1" in await desk.ask("Tom", "/ticket #1 take")
    assert (await desk.ticket(1))["assignee"] == "Tom"
    assert "sofa" in await desk.ask("Tom", "/tickets mine")
    assert "Mei" in await desk.ask("Tom", "/ticket 1 assign @mei")
    assert (await desk.ticket(1))["assignee"] == "Mei"
    assert "urgent" in await desk.ask("Tom", "/ticket 1 priority urgent")
    assert (await desk.ticket(1))["priority"] == "urgent"
    assert "closed" in await desk.ask("Tom", "/ticket 1 close")
    assert (await desk.ticket(1))["status"] == "closed"
    assert "closed already" in await desk.ask("Tom", "/ticket 1 CLOSE")
    assert "sofa" in await desk.ask("Tom", "/tickets closed")
    assert "open again" in await desk.ask("Tom", "/ticket 1 reopen")
    assert (await desk.ticket(1))["status"] == "open"
    done = {(action, object) for _, action, object, outcome in await desk.audits() if outcome == "ok"}
    assert {
        ("assign", "ticket:1"),
        ("close", "ticket:1"),
        ("priority", "ticket:1"),
        ("command", "ticket"),
    } <= done


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/ticket", "Which ticket"),
        ("/ticket 99", "no ticket #99"),
        ("/ticket 99999999999999999999", "Which ticket"),
        ("/ticket 1 dance", "Usage: /ticket"),
        ("/ticket 1 assign", "Usage: /ticket"),
        ("/ticket 1 assign Zoe", "nobody called Zoe"),
        ("/ticket 1 priority highest", "low, normal, high"),
        ("/tickets his", "Usage: /tickets"),
        ("/note", "Which ticket"),
        ("/note 1", "Usage: /note"),
        ("/reply 1", "Usage: /reply"),
        ("/stats decade", "Usage: /stats"),
    ],
)
async def test_a_mistake_is_explained_and_changes_nothing(open_desk: Desk, text: str, words: str) -> None:
    before = await open_desk.ticket(1)
    assert words in await open_desk.ask("Tom", text)
    assert await open_desk.ticket(1) == before
    assert (await open_desk.audits())[0][3] == "failed"


async def test_a_note_stays_inside_and_a_reply_goes_out(running_desk: Desk) -> None:
    desk = running_desk
    assert "does not see it" in await desk.ask("Tom", "/note 1 the sofa is sold out")
    assert "on its way" in await desk.ask("Tom", "/reply 1 We have another one.\nIn green.")
    assert desk.world
    await desk.world.until(lambda d: d["outbox"]["pending"] == 0)
    messages = (await desk.ticket(1))["messages"]
    by_tom = [(m["kind"], m["text"], m["delivery"]) for m in messages if m["author"] == "Tom"]
    assert by_tom == [
        ("note", "the sofa is sold out", None),
        ("out", "We have another one.\nIn green.", "sent"),
    ]


# --- /stats, /shelf, /help, /whoami -------------------------------------------------------------------------


async def test_stats_tell_the_truth(running_desk: Desk) -> None:
    await running_desk.ask("Tom", "/reply 1 Yes")
    assert running_desk.world
    await running_desk.world.until(lambda d: d["outbox"]["pending"] == 0)
    await running_desk.ask("Tom", "/ticket 1 close")
    for text in ("/stats", "/stats today", "/stats WEEK", "/stats month"):
        found = await running_desk.ask("Vera", text)
        for pair in ("Tickets opened: 1", "Tickets closed: 1", "Open now: 0", "First response"):
            assert pair in found, found
        assert "0 min" in found
        assert "web" in found


async def test_the_shelf_is_for_managers(desk: Desk) -> None:
    assert "空" in await desk.ask("Mei", "/shelf") or "没有" in await desk.ask("Mei", "/shelf")
    assert "may not use /shelf" in await desk.ask("Tom", "/shelf")
    secret = "https://shop.example/in?key=sesame"
    dead = {"key": "k", "url": secret, "lane": "order:1", "type": "order.changed", "object_id": 1}
    dead |= {"created_at": NOW, "due_at": NOW, "settled_at": NOW, "state": "dead", "error": "answered 410"}
    await desk.store.write(lambda tx: tx.execute(schema.webhook_event.insert().values(dead)) and None)
    shown = await desk.ask("Mei", "/shelf")
    assert "hook:1" in shown
    assert "shop.example" in shown
    assert "order.changed: answered 410" in shown
    assert "sesame" not in shown


async def test_help_lists_what_the_role_may_do(desk: Desk) -> None:
    for name, role in (("Mei", "manager"), ("Tom", "agent"), ("Vera", "viewer")):
        listed = {line.split()[0] for line in (await desk.ask(name, "/help")).splitlines() if line[:1] == "/"}
        assert listed == {f"/{n}" for n, record in commands.everything().items() if role in record.roles}
    assert "/ticket N" not in await desk.ask("Vera", "/help")


async def test_whoami_says_as_whom(desk: Desk) -> None:
    assert await desk.ask("Tom", "/whoami") == "You are Tom, role agent."
    assert "Mei" in await desk.ask("Mei", "/whoami")


# --- rights and mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [("custmer Li", "customer"), ("tikets", "tickets"), ("hlep", "help"), ("stat", "stats"), ("who", "whoami"),
     ("noet 1 x", "note")],
)  # fmt: skip
async def test_an_unknown_command_suggests_the_nearest(desk: Desk, typed: str, nearest: str) -> None:
    found = await desk.ask("Tom", f"/{typed}")
    assert f"/{nearest}" in found
    assert f"no command /{typed.split()[0]}" in found
    assert (await desk.audits())[0] == ("staff:2", "command", typed.split()[0], "unknown")


@pytest.mark.parametrize("typed", ["xyzzy", "q", "12", "…", ""])
async def test_a_command_that_is_near_to_none_points_to_help(desk: Desk, typed: str) -> None:
    assert "/help" in await desk.ask("Tom", f"/{typed}")


@pytest.mark.parametrize("name", sorted(commands.everything()))
async def test_a_role_that_may_not_is_refused_and_audited(desk: Desk, name: str) -> None:
    record = commands.everything()[name]
    for person, role in (("Vera", "viewer"), ("Tom", "agent")):
        if role not in record.roles:
            found = await desk.ask(person, f"/{name} 1 take")
            assert f"may not use /{name}" in found
            assert role in found
            assert (await desk.audits())[0][1:] == ("command", name, "refused")


async def test_a_command_that_breaks_is_said_and_undone(
    open_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(ask: Ask) -> Reply:
        from bot.service import verbs
        from crm_store import tickets

        verbs.take(ask.turn, ask.member, tickets.by_number(ask.turn.tx, 1))
        raise RuntimeError("secret details")

    everything = {**commands.everything(), "break": commands.Command("break", EVERYONE, broken, False)}
    monkeypatch.setattr(commands, "everything", lambda: everything)
    found = await open_desk.ask("Tom", "/break")
    assert "did not work" in found
    assert "secret" not in found
    assert (await open_desk.ticket(1))["assignee"] is None
    assert (await open_desk.audits())[0] == ("staff:2", "command", "break", "error")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("/help", ("help", "")),
        ("!help", ("help", "")),
        ("！help", ("help", "")),
        ("／customer 王", ("customer", "王")),
        ("  /CUSTOMER   Li Wei ", ("customer", "Li Wei")),
        ("/note 1 a\nb", ("note", "1 a\nb")),
        ("/ help", None),
        ("!", None),
        ("!!! help me", None),
        ("/usr/bin/env", None),
        ("what /help", None),
        ("!important: broken", None),
    ],
)
def test_what_a_command_is(text: str, parsed: tuple[str, str] | None) -> None:
    assert commands.parse(text) == parsed


def test_every_command_has_words_and_known_roles() -> None:
    for name, record in commands.everything().items():
        assert record.roles <= set(ROLES)
        for texts in commands.descriptions().values():
            assert texts[name]


def test_the_documentation_of_commands_is_what_there_is() -> None:
    render = importlib.import_module("bot.commands.__main__").render
    assert (ROOT / "docs" / "commands.md").read_text("utf-8") == render()
