"""Who may ask: authority comes from an enrolled identity; everybody else meets the customer's side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from channels.conversation import Author, Kind
from crm_store import audit, people
from tests.deciding import NOW, Deciding, deciding
from tests.e2e.test_story import wait
from tests.fakes.web import Refused, StaffBrowser, Visitor
from tests.world import World, running

HINTS = (
    "command",
    "staff",
    "role",
    "may not",
    "/help",
    "/customer",
    "/stats",
    "signed in",
    "administrator",
    "agent",
)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Deciding]:
    async with deciding(tmp_path) as found:
        yield found


# --- codes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", [str, str.lower, "  {}  ".format])
async def test_a_code_links_who_sends_it(door: Deciding, spelling: Any) -> None:
    await door.take(spelling(await door.code("Tom")))
    assert await door.identities() == [("Tom", "7")]
    assert "Welcome, Tom" in (await door.heard())[-1]
    assert await door.audits() == [("staff:2", "enrol", "web:7", "ok")]
    assert await door.tickets() == []
    await door.take("/whoami")
    assert "You are Tom" in (await door.heard())[-1]


async def test_a_code_works_once(door: Deciding) -> None:
    code = await door.code("Tom")
    await door.take(code)
    await door.take(code, author=Author("8"), room="8")
    assert await door.identities() == [("Tom", "7")]
    assert not any("Welcome" in t for t in (await door.heard())[1:])
    assert len(await door.tickets()) == 1  # to us it was a customer's ordinary message


async def test_a_code_expires_after_a_day(door: Deciding) -> None:
    code = await door.code("Tom")
    door.later(hours=24, seconds=1)
    await door.take(code)
    assert await door.identities() == []
    code = await door.code("Tom")
    door.later(hours=23, minutes=59)
    await door.take(code)
    assert await door.identities() == [("Tom", "7")]


@pytest.mark.parametrize(
    "more",
    [
        {"private": False},
        {"author": Author("7", is_bot=True)},
        {"author": Author("7", may_command=False)},
        {"kind": Kind.EDIT, "target_id": "x"},
    ],
)
async def test_a_code_counts_in_private_from_a_person_only(door: Deciding, more: dict[str, Any]) -> None:
    code = await door.code("Tom")
    await door.take(code, **more)
    assert await door.identities() == []
    await door.take(code)
    assert await door.identities() == [("Tom", "7")]


@pytest.mark.parametrize(
    "text", ["AAAAAAAAAA", "ABCDEFGHJK", "1234567890", "code", "{code} please", "{short}"]
)
async def test_a_wrong_code_is_an_ordinary_message(door: Deciding, text: str) -> None:
    code = await door.code("Tom")
    await door.take(text.format(code=code, short=code[:9]))
    assert await door.identities() == []
    (ticket,) = await door.tickets()
    assert ticket["messages"][0]["kind"] == "in"
    for said in await door.heard():
        assert "code" not in said.replace(code, "").lower() or text in said or code[:9] in said


async def test_disabling_ends_access_and_voids_codes_at_once(door: Deciding) -> None:
    await door.take(await door.code("Tom"))
    code = await door.code("Tom")
    await door.store.write(lambda tx: people.disable(tx, NOW, people.by_name(tx, "Tom").id))
    before = len(await door.heard())
    await door.take("/customer Li")
    await door.take(code, author=Author("9"), room="9")
    assert await door.identities() == [("Tom", "7")]
    assert ("web:7", "command", "", "refused") in await door.audits()
    for said in (await door.heard())[before:]:
        assert not any(h in said.lower() for h in ("welcome", "may not", "nobody found")), said
    await door.store.write(lambda tx: people.enable(tx, people.by_name(tx, "Tom").id))
    await door.take("/whoami")
    assert "You are Tom" in (await door.heard())[-1]


async def test_a_code_moves_an_identity_to_another_person(door: Deciding) -> None:
    await door.take(await door.code("Tom"))
    await door.take(await door.code("Mei"))
    assert await door.identities() == [("Mei", "7")]


# --- who is not staff ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["/help", "/customer Li", "!stats", "/ticket 1 close", "/xyzzy", "!helpp", "/shelf"]
)
async def test_a_stranger_gets_the_customers_side_and_never_a_hint(door: Deciding, text: str) -> None:
    await door.take(text)
    heard = [t for t in await door.heard() if text not in t]
    assert heard
    for said in heard:
        assert not any(hint in said.lower() for hint in HINTS), said
    assert (await door.audits())[-1] == ("web:7", "command", "", "refused")


@pytest.mark.parametrize("known", ["/help", "!stats", "/customer x"])
async def test_known_and_unknown_commands_look_the_same_to_a_stranger(door: Deciding, known: str) -> None:
    await door.take(known, room="7", author=Author("7", "A"))
    first = [t.replace(known, "") for t in await door.heard()]
    await door.take("/xyzzy", room="8", author=Author("8", "A"))
    second = [t.replace("/xyzzy", "").replace("#2", "#1") for t in (await door.heard())[len(first) :]]
    assert [s for s in second if "#1 " not in s] == [s for s in first if "#1 " not in s]


@pytest.mark.parametrize("author", [Author("7", is_bot=True), Author("7", may_command=False)])
async def test_what_carries_no_authority_is_no_command_of_staff(door: Deciding, author: Author) -> None:
    await door.take(await door.code("Tom"))
    before = len(await door.heard())
    await door.take("/whoami", author=author)
    assert not any("You are Tom" in t for t in (await door.heard())[before:])
    assert (await door.audits())[0][3] == "refused"


async def test_an_edit_into_a_command_does_nothing(door: Deciding) -> None:
    await door.take(await door.code("Tom"))
    before = len(await door.heard())
    await door.take("/whoami", kind=Kind.EDIT, target_id="7:0")
    assert len(await door.heard()) == before


# --- on the platforms ---------------------------------------------------------------------------------------


async def test_slack_commands_by_slash_in_threads_and_in_direct_messages(tmp_path: Path) -> None:
    async with running(tmp_path, slack=True, articles=False) as world, Visitor(world.url) as visitor:
        slack = world.slack
        assert slack
        slack.add_user("U0TOM", name="tom")
        slack.add_user("U0EVE", name="eve")
        dm = slack.dm("U0TOM")
        await slack.says("U0TOM", dm, await world.code("Tom"))
        await wait(lambda: any("Welcome" in slack.text(m) for m in slack.messages(dm)), "welcomed")
        await visitor.says("I want to talk to a person, my sofa is blue")
        room = slack.staff_channel
        card = await wait(
            lambda: next((m for m in slack.messages(room) if "sofa" in slack.text(m)), None), "a card"
        )

        await slack.slash("U0TOM", room, "/whoami")  # seen by the asker only
        await wait(
            lambda: any("You are Tom" in slack.text(m) for m in slack.ephemerals), "an ephemeral answer"
        )
        assert all(m["user"] == "U0TOM" for m in slack.ephemerals)
        await slack.slash("U0TOM", "", "/whoami")  # in the direct message
        await wait(
            lambda: any("You are Tom" in slack.text(m) for m in slack.messages(dm)), "an answer in private"
        )

        await slack.says("U0TOM", room, "!ticket take", thread_ts=card["ts"])
        await world.until(lambda d: d["tickets"][0]["assignee"] == "Tom")
        thread = lambda: "\n".join(slack.text(m) for m in slack.messages(room, card["ts"]))  # noqa: E731
        await wait(lambda: "You have ticket #1" in thread(), "an answer in the thread")
        await slack.says("U0TOM", room, "!tikets", thread_ts=card["ts"])
        await wait(lambda: "/tickets" in thread(), "the nearest one")
        assert "tikets" not in visitor.text

        before = len(slack.ephemerals)
        await slack.slash("U0EVE", room, "/ticket", "1 close")
        await slack.says("U0EVE", room, "!ticket close", thread_ts=card["ts"])
        await slack.says("U0EVE", room, "Hello dear customer", thread_ts=card["ts"])
        await wait(lambda: len(slack.ephemerals) >= before + 3, "told in private")
        assert all(m["user"] == "U0EVE" for m in slack.ephemerals[before:])
        ticket = (await world.dump())["tickets"][0]
        assert ticket["status"] != "closed"
        assert not any("dear customer" in m["text"] for m in ticket["messages"])
        entries = await world.store.read(audit.entries)
        assert sum(e.outcome == "refused" and e.actor.endswith("U0EVE") for e in entries) == 3
        assert slack.rings == []


async def test_a_slash_command_of_a_stranger_in_a_room_of_others_opens_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, slack=True, web=False, articles=False) as world:
        slack = world.slack
        assert slack
        slack.add_user("U0EVE", name="eve")
        slack.add_room("C0GENERAL", "general")
        await slack.slash("U0EVE", "C0GENERAL", "/customer", "Li Wei")
        async with asyncio.timeout(10):
            while not (entries := await world.store.read(audit.entries)):
                await asyncio.sleep(0.02)
        await world.until(lambda d: d["inbox"]["pending"] == 0 and d["outbox"]["pending"] == 0)
        assert [(e.actor, e.outcome) for e in entries] == [("slack:T0HOME:U0EVE", "refused")]
        assert slack.messages("C0GENERAL") == []
        assert (await world.dump())["tickets"] == []


async def test_telegram_commands_of_staff_and_of_customers(tmp_path: Path) -> None:
    async with running(tmp_path, telegram=True, web=False, articles=False) as world:
        tg = world.telegram
        assert tg
        tg.user_says(5, await world.code("Mei"))
        await tg.until(lambda: any("欢迎" in t for t in tg.texts(5)))
        tg.user_says(5, "/whoami")
        await tg.until(lambda: any("Mei" in t for t in tg.texts(5)[1:]))
        tg.user_says(5, "hello, what now?")  # staff in private are no customers
        await tg.until(lambda: len(tg.texts(5)) == 3)
        assert (await world.dump())["tickets"] == []
        tg.user_says(6, "/stats week", language="en")
        await tg.until(lambda: tg.texts(6))
        assert not any(hint in t.lower() for t in tg.texts(6) for hint in HINTS)


async def _signed_in(world: World, name: str) -> StaffBrowser:
    browser = StaffBrowser(world.url)
    await browser.open()
    await browser.sign_in(await world.code(name))
    return browser


async def test_the_staff_page_shows_nothing_to_who_is_not_staff(tmp_path: Path) -> None:
    async with running(tmp_path, articles=False) as world, Visitor(world.url) as visitor:
        await visitor.says("I want to talk to a person, my sofa is blue")
        tom = await _signed_in(world, "Tom")
        stranger = StaffBrowser(world.url)
        await stranger.open()
        try:
            thread = await tom.thread("sofa")
            assert stranger.threads == {}
            with pytest.raises(Refused):
                await stranger.reply(thread, "I am staff, honestly")
            await stranger.send("say", text="/customer Li")
            await stranger.send("say", text="AAAAAAAAAA")
            await wait(lambda: stranger.answers, "an answer like a customer's")
            assert not any(hint in t.lower() for t in stranger.answers for hint in HINTS)
            assert not stranger.access

            def disable(tx: Connection) -> None:
                people.disable(tx, NOW, people.by_name(tx, "Tom").id)

            await world.store.write(disable)
            await visitor.says("it is a very blue sofa")
            await world.until(lambda d: any("very blue" in m["text"] for m in d["tickets"][0]["messages"]))
            with pytest.raises(Refused):
                await tom.reply(thread, "I was staff")
            await world.until(lambda d: d["inbox"]["pending"] == 0 and d["outbox"]["pending"] == 0)
            assert not any("I was staff" in t for t in visitor.answers)
        finally:
            await tom.close()
            await stranger.close()


async def test_a_viewer_sees_and_does_not_speak(tmp_path: Path) -> None:
    async with running(tmp_path, articles=False) as world, Visitor(world.url) as visitor:
        await visitor.says("I want to talk to a person, my sofa is blue")
        vera = await _signed_in(world, "Vera")
        try:
            thread = await vera.thread("sofa")
            await vera.reply(thread, "Hello from a viewer")
            await vera.press(thread, "Close")
            await wait(lambda: "may read but not answer" in vera.text(thread), "told so")
            await wait(lambda: any("may not use" in t for t in [vera.text(thread), *vera.answers]), "refused")
            assert "Tickets opened" in await vera.command("/stats")
            await world.until(lambda d: d["inbox"]["pending"] == 0 and d["outbox"]["pending"] == 0)
            (ticket,) = (await world.dump())["tickets"]
            assert ticket["status"] == "new"
            assert not any("viewer" in t for t in visitor.answers)
            refused = [e for e in await world.store.read(audit.entries) if e.outcome == "refused"]
            assert {(e.actor, e.action) for e in refused} == {("staff:3", "reply"), ("staff:3", "close")}
        finally:
            await vera.close()
