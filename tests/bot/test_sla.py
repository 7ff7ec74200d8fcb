"""The response clock: what the card says while a customer waits, and what ends and begins that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.jobs import Jobs
from bot.office import Turn
from bot.service import waiting
from channels.base import Undeliverable
from channels.conversation import Outbound
from channels.rich import to_text
from crm_store import tickets
from tests.bot.line_kit import Clock, Line, running
from tests.stores import open_postgres, open_sqlite


@pytest.fixture(params=["sqlite", "postgresql"])
async def line(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Line]:
    clock = Clock()  # Monday, ten in the morning; the desk is open until six
    opened = open_sqlite(tmp_path, clock=clock) if request.param == "sqlite" else open_postgres(clock=clock)
    async with opened as store, running(store, clock, hold_s=5.0) as one:
        yield one


async def opened(line: Line) -> str:
    await line.says("shop", "ann", "I want to talk to a person about my parcel")
    await line.rest()
    return await line.card("my parcel")


def card_now(line: Line) -> str:
    """The card of the only ticket as it stands."""
    cards = [m for m in line.desk.sent if m.opens_thread or (m.op == "edit" and "Status" in to_text(m.reply))]
    return to_text(cards[-1].reply)


async def at(line: Line, day: int, hour: int, minute: int = 0) -> None:
    """It becomes that time, and the jobs look."""
    line.clock.now = datetime(2026, 3, day, hour, minute, tzinfo=UTC)
    await line.store.write(lambda tx: waiting.sweep(Turn(tx, line.office, line.clock())))
    line.delivery.wake()
    await line.rest()


async def test_a_card_says_until_when_then_that_it_is_soon_then_that_it_is_overdue(line: Line) -> None:
    await opened(line)
    assert "Answer due: 2026-03-02 18:00" in card_now(line)
    posted = len(line.desk.sent)
    await at(line, 2, 17, 29)
    assert len(line.desk.sent) == posted
    await at(line, 2, 17, 30)
    assert "Answer due: ⏳ 2026-03-02 18:00, soon" in card_now(line)
    await at(line, 3, 0)  # it was due when nobody worked
    assert "Answer due: 🔴 overdue since 2026-03-02 18:00" in card_now(line)
    told = [t for t in line.desk.texts("staff") if "has waited for an answer since 2026-03-02 10:00" in t]
    assert len(told) == 1
    posted = len(line.desk.sent)
    await at(line, 9, 12)
    assert len(line.desk.sent) == posted


async def test_an_urgent_one_is_due_sooner_and_hours_are_those_of_business(line: Line) -> None:
    thread = await opened(line)
    await line.agent(thread, "/ticket priority urgent")
    await line.rest()
    due = "Answer due: 2026-03-02 11:00"
    await line.until(lambda: due in card_now(line))
    line.clock.now = datetime(2026, 3, 6, 17, 30, tzinfo=UTC)  # Friday evening
    await line.says("shop", "ben", "I want a person as well")
    await line.rest()
    assert "Answer due: 2026-03-09 16:30" in card_now(line)


async def test_a_reply_ends_it_and_what_the_customer_says_next_begins_it_anew(line: Line) -> None:
    thread = await opened(line)
    await line.agent(thread, "we look")
    await line.rest()
    assert "Answer due" not in card_now(line)
    await line.later(6)
    await at(line, 3, 10)
    assert "Answer due" not in card_now(line)
    await line.says("shop", "ann", "and?")
    await line.says("shop", "ann", "hello?")
    await line.rest()
    assert "Answer due: 2026-03-03 18:00" in card_now(line)
    await line.agent(thread, "/ticket close")
    await line.rest()
    assert "Answer due" not in card_now(line)
    assert (await line.store.read(tickets.get, 1)).clock_at is None


async def test_an_answer_that_was_taken_back_or_did_not_arrive_is_none(line: Line) -> None:
    thread = await opened(line)
    raw = await line.agent(thread, "we look")
    await line.rest()
    await line.agent(thread, "", kind="delete", target=raw.event_id)
    await line.rest()
    assert "Answer due: 2026-03-02 18:00" in card_now(line)

    async def refuse(message: Outbound) -> None:
        raise Undeliverable("blocked")

    line.shop.on_send = refuse
    await line.agent(thread, "we look again")
    await line.rest()
    assert "Answer due" not in card_now(line)
    await line.later(6)
    assert "Answer due: 2026-03-02 18:00" in card_now(line)


async def test_a_ticket_that_is_put_off_has_no_clock_until_it_is_back(line: Line) -> None:
    thread = await opened(line)
    await line.agent(thread, "/ticket snooze tomorrow")
    await line.rest()
    await line.until(lambda: "Snoozed" in card_now(line))
    assert "Answer due" not in card_now(line)
    jobs = Jobs(line.store, line.office, line.clock)
    line.clock.now = datetime(2026, 3, 3, 9, 0, tzinfo=UTC)
    await jobs.tick()
    line.delivery.wake()
    await line.rest()
    assert "overdue since 2026-03-02 18:00" in card_now(line)


async def test_home_shows_first_whose_answer_is_due_first(line: Line) -> None:
    await opened(line)
    line.clock.pass_(60)
    await line.says("shop", "ben", "a person please, mine is broken")
    await line.rest()
    thread = await line.card("mine is broken")
    await line.agent(thread, "/ticket 1 take")
    await line.agent(thread, "/ticket 2 take")
    await line.agent(thread, "/ticket 2 priority high")  # four hours
    await line.rest()
    await line.agent(thread, "/home")
    await line.rest()
    (page,) = [t for t in line.desk.texts() if "My queue" in t]
    first, second = page.index("#2 a person"), page.index("#1 I want")
    assert first < second
    assert "Answer due: 2026-03-02 14:01" in page
    assert "Answer due: 2026-03-02 18:00" in page
