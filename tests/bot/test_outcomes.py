"""What becomes of an agent's words when something has changed meanwhile, and who is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from bot import routing
from bot.office import Turn
from channels.base import Capabilities, RetryLater, Undeliverable
from channels.conversation import Address, Author, Inbound, Kind, Outbound
from crm_store import conversations, moves, people, schema, tickets
from tests.bot.line_kit import Clock, Line, running
from tests.stores import open_postgres, open_sqlite


@pytest.fixture(params=["sqlite", "postgresql"])
async def line(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Line]:
    clock = Clock()
    opened = open_sqlite(tmp_path, clock=clock) if request.param == "sqlite" else open_postgres(clock=clock)
    async with opened as store, running(store, clock, hold_s=5.0) as one:
        yield one


async def ticket(line: Line, channel: str, user: str = "ann", **more: Any) -> str:
    """A ticket of a customer, and its thread."""
    await line.says(channel, user, "my parcel is lost", **more)
    await line.rest()
    return await line.card("my parcel is lost")


async def take(line: Line, inbound: Inbound) -> None:
    await line.store.write(lambda tx: routing.take(Turn(tx, line.office, line.clock()), inbound, None))
    await line.rest()


async def test_a_change_that_the_platform_refuses_is_told_and_leaves_nothing_on_the_shelf(line: Line) -> None:
    thread = await ticket(line, "shop")
    line.office.caps = {**line.office.caps, "shop": _with(line.office.caps["shop"], edit=True)}
    raw = await line.agent(thread, "we owe you 1000")
    await line.rest()
    await line.later(6)
    assert line.shop.texts("ann")[-1] == "we owe you 1000"

    async def refuse(message: Outbound) -> None:
        if message.op == "edit":
            raise Undeliverable("message can't be edited")

    line.shop.on_send = refuse
    await line.agent(thread, "we owe you 10", kind="edit", target=raw.event_id)
    await line.rest()
    await line.later(6)
    assert any("Already sent" in t for t in line.desk.texts("staff"))
    assert (await line.dump())["outbox"] | {"sent": 0} == {"pending": 0, "sent": 0, "unknown": 0, "dead": 0}


async def test_a_held_reply_of_somebody_whose_access_ends_does_not_leave(line: Line) -> None:
    thread = await ticket(line, "shop")
    await line.agent(thread, "you are a fool")
    await line.rest()
    await line.store.write(_end)
    await line.later(6)
    assert not any("fool" in t for t in line.shop.texts("ann"))
    assert [r.state for r in await line.outbox(purpose="reply")] == ["withdrawn"]
    assert any("Not sent, because Tom" in t and "you are a fool" in t for t in line.desk.texts("staff"))
    (mark,) = [m.mark for m in line.desk.sent if m.op == "mark" and m.mark != "held"]
    assert mark == "withdrawn"


async def test_what_may_have_been_sent_before_access_ended_is_still_told_as_unknown(line: Line) -> None:
    thread = await ticket(line, "shop")

    async def drop(message: Outbound) -> None:
        raise RetryLater("the line dropped", maybe_sent=True)

    line.shop.on_send = drop
    await line.agent(thread, "we found it")
    await line.rest()
    await line.later(6)
    await line.store.write(_end)
    for _ in range(3):
        await line.later(60)
    assert [r.state for r in await line.outbox(purpose="reply")] == ["unknown"]


async def test_who_was_to_receive_it_is_named_not_who_has_joined_since(line: Line) -> None:
    line.office.caps = {**line.office.caps, "safe": _with(line.office.caps["safe"], subject_threads=True)}
    thread = await ticket(line, "safe", "ann@x.example")

    async def refuse(message: Outbound) -> None:
        raise Undeliverable("no such mailbox")

    line.safe.on_send = refuse
    await line.agent(thread, "we found it")
    await line.rest()

    def join(tx: Connection) -> None:
        one = tx.execute(select(schema.conversation).where(schema.conversation.c.channel == "safe")).one()
        conversations.add_participants(tx, line.clock(), one.id, [("late@x.example", "Late")])

    await line.store.write(join)
    await line.later(6)
    (told,) = [t for t in line.desk.texts("staff") if "Not delivered" in t]
    assert "ann@x.example" in told
    assert "late@x.example" not in told


async def test_a_reply_in_a_room_of_several_says_that_all_of_them_will_read_it(line: Line) -> None:
    line.office.caps = {**line.office.caps, "shop": _with(line.office.caps["shop"], shared_rooms=r"-\d+")}
    await ticket(line, "shop", room="-100")
    assert any("goes to everybody in the group where ann asked (shop)" in t for t in line.desk.texts("staff"))


async def test_being_removed_from_a_room_marks_nobody_and_is_told_on_each_ticket_there(line: Line) -> None:
    await ticket(line, "shop", room="-100", thread="7")
    await line.says("shop", "ben", "mine is lost too, I complain", room="-100")
    await line.rest()
    admin = Author("ann", "ann")
    for kind, words in ((Kind.GONE, "removed from the group"), (Kind.BACK, "in the group on shop again")):
        event = f"-100:member:{kind}"
        await take(line, Inbound(Address("shop", "-100"), event, admin, "", line.clock(), kind))
        assert sum(words in t for t in line.desk.texts("staff")) == 2
        gone = select(schema.identity.c.id).where(schema.identity.c.gone_at.is_not(None))
        assert await line.store.read(lambda tx, gone=gone: tx.execute(gone).all()) == []


async def test_a_staff_room_with_a_new_id_keeps_its_tickets_and_gets_the_next_ones(line: Line) -> None:
    thread = await ticket(line, "shop")
    moved = Inbound(Address("desk", "staff"), "moved", Author("", ""), "hall", line.clock(), Kind.MOVED)
    for _ in range(2):  # told in the old room and in the new one
        await take(line, moved)
    await line.says("desk", "agent", "we found it", room="hall", thread=thread)
    await line.rest()
    await line.later(6)
    assert line.shop.texts("ann")[-1] == "we found it"
    await line.says("shop", "ben", "and mine, I complain")
    await line.rest()
    cards = [m.address.room_id for m in line.desk.sent if m.opens_thread]
    assert cards == ["staff", "hall"]
    table = schema.thread
    places = await line.store.read(lambda tx: tx.execute(select(table.c.ticket_id, table.c.room_id)).all())
    assert sorted(places) == [(1, "hall"), (2, "hall")]


async def test_another_process_learns_of_a_move_from_what_is_said_there(line: Line) -> None:
    thread = await ticket(line, "shop")
    await line.store.write(moves.move, "desk", "staff", "hall")  # none of our doing
    await line.says("desk", "agent", "we found it", room="hall", thread=thread)
    await line.rest()
    await line.later(6)
    assert line.shop.texts("ann")[-1] == "we found it"
    assert line.office.is_staff_room("desk", "hall")


async def test_a_move_that_a_send_tells_of_is_followed_in_order_and_a_ticket_has_one_place(
    line: Line,
) -> None:
    thread = await ticket(line, "shop")

    async def moved(message: Outbound) -> None:
        if message.address.room_id == "staff":
            raise Undeliverable("upgraded", moved_to="hall")

    line.desk.on_send = moved
    for text in ("one", "two", "three"):
        await line.says("shop", "ann", text)
    await line.rest()
    said = [t.split(":")[-1].strip() for t in line.desk.texts("hall")]
    assert [t for t in said if t in ("one", "two", "three")] == ["one", "two", "three"]
    table = schema.thread
    places = await line.store.read(lambda tx: tx.execute(select(table.c.room_id, table.c.thread_id)).all())
    assert places == [("hall", thread)]
    await line.store.write(lambda tx: tickets.add_thread(tx, 1, "desk", "staff"))  # by who did not know yet
    await line.store.write(moves.move, "desk", "staff", "hall")
    places = await line.store.read(lambda tx: tx.execute(select(table.c.room_id, table.c.thread_id)).all())
    assert places == [("hall", thread)]
    await line.store.write(moves.move, "desk", "hall", "staff")  # and back
    assert await line.store.read(moves.known) == {("desk", "hall"): "staff"}


def _end(tx: Connection) -> None:
    people.disable(tx, Clock().now, people.by_name(tx, "Tom").id)


def _with(caps: Capabilities, **more: Any) -> Capabilities:
    return replace(caps, **more)
