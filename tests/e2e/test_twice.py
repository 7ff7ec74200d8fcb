"""Every platform event twice has one effect: each recorded payload, and each way the live platforms repeat."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from bot.app import Service
from channels.conversation import Raw
from channels.email.envelope import Transit, pack
from channels.slack.envelope import wrap
from channels.telegram.decode import Me, to_raw
from crm_store import dump, schema
from tests.fakes.mail import send_mail
from tests.fakes.slack import FakeSlack
from tests.fakes.telegram import FakeTelegram
from tests.fakes.web import Visitor
from tests.world import ADDRESS, World, running

FIXTURES = Path(__file__).parent.parent / "fixtures"
NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
COMPLAINT = "my parcel is still not here and I want to know why"
COUNTED = (
    "contact",
    "identity",
    "conversation",
    "participant",
    "message",
    "message_version",
    "attachment",
    "ticket",
    "thread",
    "expectation",
    "event_count",
    "audit",
    "counter",
    "outbox",
    "staff_identity",
)


def _state(tx: Connection) -> dict[str, Any]:
    """Everything that an event can have an effect on, without what merely tells that time has passed."""
    tables = {name: schema.metadata.tables[name] for name in COUNTED if name in schema.metadata.tables}
    rows = {
        name: [
            {
                k: v
                for k, v in row._mapping.items()
                if not k.endswith("_at") and k not in ("fence", "attempts")
            }
            for row in tx.execute(select(table).order_by(*table.primary_key.columns))
        ]
        for name, table in tables.items()
    }
    return rows | {"dump": dump.everything(tx)}


async def _rest(service: Service) -> None:
    async with asyncio.timeout(30):
        while True:
            await service.intake.drain()
            await service.delivery.drain()
            found = await service.store.read(dump.everything)
            if not found["inbox"]["pending"] and not found["outbox"]["pending"]:
                return
            await asyncio.sleep(0.05)  # an album waits for its other pictures


def _fixtures(kind: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in sorted((FIXTURES / kind).glob("*.json"))]


def _telegram(path: Path) -> Raw:
    return to_raw("telegram", json.loads(path.read_text("utf-8")), Me("4242", "desk_bot"), NOW)


def _slack(path: Path) -> Raw:
    fixture = json.loads(path.read_text("utf-8"))
    us = {"bot_user_id": fixture["bot_user_id"], "team_id": fixture["team_id"]}
    return wrap("slack", fixture["type"], fixture["payload"], received_at=NOW, **us)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running(tmp_path, telegram=True, slack=True, mail=True, articles=False) as one:
        async with asyncio.timeout(20):
            while any(door.problem for door in one.service.doors.values()):
                await asyncio.sleep(0.02)
        yield one


async def _same_after(world: World, channel: str, *again: Raw) -> None:
    """Hand in a raw event, then its repeats, and compare."""
    door = world.service.doors[channel]
    first, *repeats = again
    await door.accept(first)
    await _rest(world.service)
    before = await world.store.read(_state)
    for raw in repeats:
        await door.accept(raw)
        await _rest(world.service)
        assert await world.store.read(_state) == before
    assert before["dump"]["inbox"] == {"pending": 0, "shelved": 0}


async def test_every_recorded_payload_twice(world: World) -> None:
    """One world for all: what one leaves behind (a conversation, a ticket) is there for the next."""
    paths = [p for kind in ("telegram", "slack") for p in sorted((FIXTURES / kind).glob("*.json"))]
    assert len(paths) > 80
    for path in paths:
        raw = _telegram(path) if path.parent.name == "telegram" else _slack(path)
        later = replace(raw, received_at=datetime(2026, 3, 2, 11, 0, tzinfo=UTC))
        try:
            await _same_after(world, raw.channel, raw, raw, later)
        except AssertionError as error:
            error.add_note(path.name)
            raise


async def test_the_same_message_by_event_and_by_history_is_one(world: World) -> None:
    """Slack tells of a message as it happens; after a gap we read it again, in another shape."""
    path = FIXTURES / "slack" / "message_direct.json"
    live = _slack(path)
    fixture = json.loads(path.read_text("utf-8"))
    told = fixture["payload"]["event"]
    past = wrap(
        "slack",
        "history",
        {"channel": told["channel"], "message": {k: v for k, v in told.items() if k != "channel"}},
        bot_user_id=fixture["bot_user_id"],
        team_id=fixture["team_id"],
        received_at=NOW,
    )
    await _same_after(world, "slack", live, past)


async def test_the_same_mail_by_another_way_is_one(world: World) -> None:
    """A mail server that did not hear our 250 sends again, from another address and with another trace."""
    mail = _mail("again")
    first = pack("support", Transit("ann@customer.example", (ADDRESS,), "192.0.2.1", "mx"), mail, NOW)
    trace = b"Received: from backup.example by mx.example; Mon, 02 Mar 2026 10:00:09 +0000\r\n"
    other = Transit("ann@customer.example", (ADDRESS,), "192.0.2.9", "backup")
    again = pack("support", other, trace + mail, NOW)
    await _same_after(world, "support", first, again)


def _mail(name: str) -> bytes:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Ann <ann@customer.example>", ADDRESS, "Parcel"
    mail["Message-ID"] = f"<{name}@customer.example>"
    mail["Date"] = "Mon, 02 Mar 2026 10:00:00 +0000"
    mail.set_content(COMPLAINT)
    return mail.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


# --- as the live platforms repeat -----------------------------------------------------------------------------


async def test_telegram_gives_an_update_again_until_it_is_confirmed(world: World) -> None:
    telegram = world.telegram
    assert isinstance(telegram, FakeTelegram)
    message = telegram.user_says(7, COMPLAINT)
    await world.until(lambda d: d["tickets"])
    await telegram.until(lambda: not telegram.pending)
    await _rest(world.service)
    before = await world.store.read(_state)
    confirmed = telegram.confirmed[-1]
    telegram.pending.append({"update_id": confirmed, "message": message})
    telegram._notify()
    await telegram.until(lambda: not telegram.pending)
    await _rest(world.service)
    assert await world.store.read(_state) == before
    assert len(telegram.texts(7)) == 1


async def test_slack_delivers_again_what_was_acknowledged_too_late(world: World) -> None:
    slack = world.slack
    assert isinstance(slack, FakeSlack)
    slack.add_user("U0ANN", name="Ann")
    room = slack.dm("U0ANN")
    await slack.connected()
    ts = await slack.says("U0ANN", room, COMPLAINT)
    await world.until(lambda d: d["tickets"])
    await _rest(world.service)
    before = await world.store.read(_state)
    posted = sum(len(r.messages) for r in slack.rooms.values())
    message = slack.rooms[room].messages[ts]
    await slack.event(slack.as_event(slack.rooms[room], message), event_id="Ev00000001")
    await slack.event(slack.as_event(slack.rooms[room], message))  # under a new event id even
    await slack.idle()
    await _rest(world.service)
    after = await world.store.read(_state)
    assert after == before
    assert sum(len(r.messages) for r in slack.rooms.values()) == posted


async def test_a_mail_sent_again_is_accepted_and_is_one(world: World) -> None:
    mail = _mail("resent")
    for _ in range(2):
        assert (await send_mail(world.smtp_port, "ann@customer.example", ADDRESS, mail)).startswith("2")
        await _rest(world.service)
    found = await world.dump()
    told = [m["event_id"] for t in found["tickets"] for m in t["messages"] if m["kind"] == "in"]
    assert told == ["resent@customer.example"]


async def test_a_page_that_lost_its_line_says_it_again_and_it_is_one(world: World) -> None:
    async with Visitor(world.url) as visitor:
        first = await visitor.says(COMPLAINT, id="same")
        await visitor.drop()
        await visitor.open()
        assert await visitor.says(COMPLAINT, id="same") == first
        await visitor.until(lambda: "#1" in visitor.text)
        await _rest(world.service)
        found = await world.dump()
        assert [m["kind"] for t in found["tickets"] for m in t["messages"]] == ["in", "out"]
        assert len([e for e in visitor.entries if e["from"] == visitor.user]) == 1
