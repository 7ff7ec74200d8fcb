"""What Telegram shows besides messages: that somebody is writing, and to staff alone the commands of their role."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, update

from bot import thinking
from bot.commands import everything
from bot.service import menus
from crm_store import people, schema
from tests.e2e.test_bad_input import PERSON, settled
from tests.e2e.test_story import wait
from tests.fakes.telegram import FakeTelegram
from tests.fakes.web import StaffBrowser
from tests.world import running


def menu(tg: FakeTelegram, chat: int) -> dict[str, str]:
    """The commands that a person sees in their own chat."""
    scope = json.dumps({"chat_id": chat, "type": "chat"}, sort_keys=True)
    return {c["command"]: c["description"] for c in tg.commands.get((scope, ""), [])}


async def test_staff_see_the_commands_of_their_role_in_their_language_and_nobody_else_does(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, telegram=True, articles=False) as world:
        tg = world.telegram
        assert tg

        async def sync(change: Any = None) -> None:
            def work(tx: Connection) -> None:
                if change is not None:
                    change(tx)
                from bot.office import Turn

                menus.sync(Turn(tx, world.service.office, world.service.clock()))

            await world.store.write(work)
            world.service.delivery.wake()
            await settled(world)

        tg.user_says(7, PERSON)
        for user, name in ((9001, "Tom"), (9002, "Mei"), (9003, "Vera")):
            tg.user_says(user, await world.code(name), name=name)
        await wait(lambda: menu(tg, 9001) and menu(tg, 9002) and menu(tg, 9003), "the lists")
        await settled(world)
        assert set(menu(tg, 9003)) < set(menu(tg, 9001)) < set(menu(tg, 9002))
        for user, role in ((9001, "agent"), (9002, "manager"), (9003, "viewer")):
            may = {n for n, c in everything().items() if world.service.office.access.allows(role, n, c.roles)}
            assert set(menu(tg, user)) == may
        assert menu(tg, 9001)["help"] != menu(tg, 9002)["help"]  # Mei reads Chinese
        assert menu(tg, 7) == {}
        assert len(tg.commands) == 3

        asked = len(tg.called("setMyCommands"))
        await sync()
        assert len(tg.called("setMyCommands")) == asked  # nothing changed, nothing is said

        staff = schema.staff
        await sync(lambda tx: tx.execute(update(staff).where(staff.c.name == "Tom").values(role="viewer")))
        assert menu(tg, 9001).keys() == menu(tg, 9003).keys()
        now = world.service.clock()
        await sync(lambda tx: people.disable(tx, now, people.by_name(tx, "Tom").id))
        assert menu(tg, 9001) == {}


async def test_while_a_reply_is_held_the_customer_sees_that_somebody_is_writing(tmp_path: Path) -> None:
    async with (
        running(tmp_path, telegram=True, articles=False, hold_s=1.0) as world,
        StaffBrowser(world.url) as tom,
    ):
        tg = world.telegram
        assert tg
        await tom.sign_in(await world.code("Tom"))
        tg.user_says(7, PERSON)
        thread = await tom.thread("talk to a person")
        await settled(world)
        assert not tg.called("sendChatAction")
        await tom.reply(thread, "// a note first")
        await settled(world)
        assert not tg.called("sendChatAction")
        tg.fail("sendChatAction", "html")  # it is for now or never, and holds up nothing
        await tom.reply(thread, "it is on its way")
        await tg.until(lambda: any("on its way" in t for t in tg.texts(7)))
        (call,) = tg.called("sendChatAction")
        assert (str(call["chat_id"]), call["action"]) == ("7", "typing")
        await settled(world)


async def test_a_command_that_takes_long_shows_that_it_is_worked_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thinking, "AFTER_S", 0.05)
    async with running(tmp_path, telegram=True, articles=False) as world:
        tg = world.telegram
        assert tg
        tg.user_says(9001, await world.code("Tom"), name="Tom")
        await wait(lambda: menu(tg, 9001), "signed in")
        await settled(world)
        read = world.store.read

        async def slowly(fn: Any, *args: Any, **kwargs: Any) -> Any:
            if getattr(fn, "__name__", "") == "_perform":
                await wait(lambda: tg.called("sendChatAction"), "typing")
            return await read(fn, *args, **kwargs)

        monkeypatch.setattr(world.store, "read", slowly)
        tg.user_says(9001, "/stats")
        await wait(lambda: tg.called("sendChatAction"), "typing")
        await settled(world)
        before = len(tg.called("sendChatAction"))
        await asyncio.sleep(0.2)
        assert len(tg.called("sendChatAction")) == before == 1
