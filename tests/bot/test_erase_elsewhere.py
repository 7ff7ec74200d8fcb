"""Whoever is erased goes from others' conversations too, and others' words, raw mails and cards stay theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from bot import routing
from bot.office import Turn
from bot.privacy import Eraser
from channels.conversation import Address, Author, Inbound
from crm_store import erase, schema
from tests.bot.test_roles import run
from tests.deciding import Deciding, deciding

CUSTOMERS = "name,email\nZqname Zqsur,zqlocal@zqdom.example\nBob Other,bob@example.com\n"
ANN = Author("zqlocal@zqdom.example", name="Zqshown", verified_email="zqlocal@zqdom.example")
BOB = Author("bob@example.com", name="Bob", verified_email="bob@example.com")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Deciding]:
    """Bob wrote with the other one in copy, who answered; staff wrote to both."""
    async with deciding(tmp_path) as found:
        await found.bring(tmp_path, "customers", CUSTOMERS)
        named = {"participants": (Author(ANN.user_id, name="Zqcopy"),), "subject": "Sofa", "private": False}
        await found.take("A person please: my sofa", channel="support", room=BOB.user_id, author=BOB, **named)
        await run(found, "/reply 1 We will see", "Mei")
        key = (await found.store.read(lambda tx: tx.execute(select(schema.conversation.c.key)).scalar_one()),)
        answer = Inbound(
            Address("support", ANN.user_id),
            "zqmsgid@zqdom.example",
            ANN,
            "I am zqelsewhere and I second that",
            found.now,
            private=False,
            thread_hints=(f"key:{key[0]}",),
            subject="Re: Sofa",
        )
        await found.store.write(lambda tx: routing.take(Turn(tx, found.office, found.now), answer, None))
        await run(found, "/reply 1 Thanks both", "Mei")
        yield found


async def erased(desk: Deciding) -> None:
    number = await desk.store.write(erase.ask, desk.now, 1, "cli")
    await erase.carry_out(desk.store, number, lambda: desk.now)


def said(tx: Connection) -> list[tuple[str, str]]:
    """Everything the tables say of who was erased."""
    return [
        (table.name, repr(tuple(row)))
        for table in schema.metadata.sorted_tables
        for row in tx.execute(select(table))
        if "zq" in repr(tuple(row)).lower()
    ]


async def test_nothing_of_them_is_left_in_somebody_elses_conversation(desk: Deciding) -> None:
    left = {table for table, _ in await desk.store.read(said)}
    assert {"thread_ref", "participant", "outbox", "message"} <= left
    await erased(desk)
    assert await desk.store.read(said) == []


async def test_the_card_says_who_receives_a_reply_by_now(desk: Deciding) -> None:
    number = await desk.store.write(erase.ask, desk.now, 1, "cli")
    done = await erase.carry_out(desk.store, number, lambda: desk.now)
    assert done.touched == (1,)
    eraser = Eraser(desk.store, desk.office, lambda: desk.now, lambda: None)
    await desk.store.write(eraser._redraw, done.touched)
    desk._seen = 0
    cards = [one.text for one in await desk.new() if one.purpose == "card" and "#1 Sofa" in one.text]
    assert any("bob@example.com" in one and "–" not in one.split("bob@example.com")[-1] for one in cards)


async def test_what_waits_goes_to_the_other_one_alone(desk: Deciding) -> None:
    await erased(desk)

    def waits(tx: Connection) -> list[Any]:
        o = schema.outbox
        query = select(o.c.room_id, o.c.state, o.c.options, o.c.body).where(o.c.purpose == "reply")
        return list(tx.execute(query.order_by(o.c.id)).all())

    rows = await desk.store.read(waits)
    assert [(row.room_id, row.state, row.options["cc"]) for row in rows] == [
        ("bob@example.com", "pending", []),
        ("bob@example.com", "pending", []),
    ]
    assert "Thanks both" in rows[1].body
    assert rows[1].options["references"] == ["bob@example.com:1"]


async def test_a_code_for_their_address_that_somebody_else_waits_for_is_gone(desk: Deciding) -> None:
    await desk.take("my email is zqlocal@zqdom.example", room="8")
    await erased(desk)
    assert await desk.store.read(lambda tx: tx.execute(select(schema.expectation)).all()) == []


async def test_others_raw_mails_and_what_is_on_the_shelf_stay(desk: Deciding) -> None:
    """They say the same as the one who is erased: "I second that" is nobody's name."""
    same = b"From: bob@example.com\n\nI second that, I second that again"

    def lay(tx: Connection) -> None:
        row = {"channel": "support", "body": same, "received_at": desk.now, "due_at": desk.now}
        shelved = {"event_id": "shelved", "lane": "bob@example.com", "state": "shelved"}
        done = {"event_id": "bob@example.com:1", "lane": "bob@example.com", "state": "done"}
        theirs = {"event_id": "their own", "lane": ANN.user_id, "state": "shelved"}
        for one in (shelved, done, theirs):
            tx.execute(schema.inbox.insert().values(**row, **one))

    await desk.store.write(lay)
    await erased(desk)
    inbox = schema.inbox
    query = select(inbox.c.event_id, inbox.c.state, inbox.c.body).order_by(inbox.c.id)
    kept = await desk.store.read(lambda tx: [tuple(row) for row in tx.execute(query)])
    assert kept[:2] == [("shelved", "shelved", same), ("bob@example.com:1", "done", same)]
    assert [row[1:] for row in kept[2:]] == [("discarded", b"")]
