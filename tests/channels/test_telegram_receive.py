"""Telegram, receiving: nothing is confirmed before it is durable, and nothing ends the loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, web
from pydantic import ValidationError

from channels.base import ConfigError, Setup
from channels.conversation import Kind, Op
from channels.rich import Button, Buttons, Reply
from channels.telegram import build
from channels.telegram.channel import TelegramChannel
from tests.channels.telegram_kit import channel_for, outbound
from tests.fakes.door import FakeDoor
from tests.fakes.telegram import FakeTelegram


@contextlib.asynccontextmanager
async def running(channel: TelegramChannel, door: FakeDoor) -> AsyncIterator[None]:
    task = asyncio.create_task(channel.run(door))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await channel.close()


def texts(channel: TelegramChannel, door: FakeDoor) -> list[str]:
    return [i.text for raw in door.raws for i in channel.decode(raw)]


async def test_a_message_is_stored_then_confirmed() -> None:
    async with FakeTelegram() as tg:
        channel, door = channel_for(tg), FakeDoor()
        tg.user_says(7, "hello")
        async with running(channel, door):
            await tg.until(lambda: tg.confirmed)
        assert texts(channel, door) == ["hello"]
        assert door.stored_cursor == str(tg.confirmed[0] + 1)
        assert door.problem is None


async def test_what_the_door_does_not_take_is_not_confirmed_and_comes_again() -> None:
    async with FakeTelegram() as tg:
        channel, door = channel_for(tg), FakeDoor()
        refusals = 3

        async def refuse() -> None:
            nonlocal refusals
            refusals -= 1
            if refusals >= 0:
                assert not tg.confirmed
                raise OSError("disk full")

        door.before = refuse
        tg.user_says(7, "hello")
        async with running(channel, door):
            await tg.until(lambda: tg.confirmed)
        assert texts(channel, door) == ["hello"]


async def test_a_restart_begins_with_what_was_not_confirmed_and_doubles_nothing() -> None:
    async with FakeTelegram() as tg:
        door = FakeDoor()
        tg.user_says(7, "one")
        async with running(channel_for(tg), door):
            await door.until(lambda: len(door.raws) == 1)
        tg.user_says(7, "two")
        channel = channel_for(tg)
        async with running(channel, door):
            await tg.until(lambda: len(tg.confirmed) == 2)
        assert texts(channel, door) == ["one", "two"]


async def test_a_webhook_is_removed_before_polling_and_nothing_that_waits_is_dropped() -> None:
    async with FakeTelegram() as tg:
        tg.webhook = {"url": "http://127.0.0.1:9/gone", "secret": "x"}
        channel, door = channel_for(tg), FakeDoor()
        tg.user_says(7, "hello")
        async with running(channel, door):
            await door.until(lambda: len(door.raws) == 1)
        assert tg.violations == []


@pytest.mark.parametrize("fault", ["5xx", "502", "html", "html200", "reset_before", "reset_after", "429"])
async def test_faults_of_the_poll_are_survived(fault: str) -> None:
    async with FakeTelegram() as tg:
        channel, door = channel_for(tg), FakeDoor()
        tg.fail("getUpdates", fault, times=2, retry_after=0)
        tg.user_says(7, "hello")
        async with running(channel, door):
            await tg.until(lambda: tg.confirmed)
        assert texts(channel, door) == ["hello"]
        assert door.problem is None


async def test_a_poll_that_hangs_is_given_up() -> None:
    async with FakeTelegram() as tg:
        channel, door = channel_for(tg, request_timeout_s=0.1, poll_timeout_s=0), FakeDoor()
        tg.fail("getUpdates", "hang")
        tg.user_says(7, "hello")
        async with running(channel, door):
            await tg.until(lambda: tg.confirmed)


async def test_a_second_consumer_is_named_and_we_go_on() -> None:
    async with FakeTelegram() as tg:
        channel, door = channel_for(tg), FakeDoor()
        fault = tg.fail("getUpdates", "409", times=-1)
        async with running(channel, door):
            await door.until(lambda: bool(door.problem) and "409" in str(door.problem))
            fault.times = 0
            tg.user_says(7, "hello")
            await tg.until(lambda: tg.confirmed)
        assert door.problem is None


async def test_only_a_refused_token_ends_the_channel() -> None:
    async with FakeTelegram() as tg:
        tg.fail("getMe", "5xx", times=2)
        tg.fail("deleteWebhook", "400:nothing doing")
        tg.fail("setMyCommands", "html", times=9)
        channel, door = channel_for(tg, staff_channel="-1001"), FakeDoor()
        async with running(channel, door):
            await door.until(lambda: door.problem is None)
        stranger = channel_for(tg, token="1:other")
        with pytest.raises(ConfigError, match="token"):
            await stranger.run(FakeDoor())
        await stranger.close()


async def test_an_update_of_a_kind_nobody_knows_is_stored() -> None:
    async with FakeTelegram() as tg:
        channel, door = channel_for(tg), FakeDoor()
        tg.update(hologram={"from": {"id": 7}, "depth": 3})
        async with running(channel, door):
            await tg.until(lambda: tg.confirmed)
        assert [i.kind for i in channel.decode(door.raws[0])] == [Kind.UNKNOWN]
        assert b"hologram" in door.raws[0].body


async def test_a_pressed_button_is_answered_and_its_keyboard_goes() -> None:
    async with FakeTelegram() as tg:
        channel, door = channel_for(tg), FakeDoor()
        tg.user_says(7, "hello")
        async with running(channel, door):
            buttons = Buttons((Button("Yes", "ok:1"), Button("Site", url="https://example.com")))
            await channel.send(outbound("7", Reply.of("Did it help?", buttons)))
            tg.press(7, tg.sent(7)[0], "Yes")
            await tg.until(lambda: tg.answered and tg.sent(7)[0].buttons == ["Site"])
        action = [i for raw in door.raws for i in channel.decode(raw)][-1]
        assert (action.kind, action.action, action.target_id) == (Kind.ACTION, "ok:1", tg.sent(7)[0].id)


async def test_an_edit_of_the_desk_wins_over_the_removal_of_a_used_keyboard() -> None:
    async with FakeTelegram() as tg:
        channel, door = channel_for(tg), FakeDoor()
        tg.user_says(7, "hello")
        async with running(channel, door):
            sent = await channel.send(outbound("7", Reply.of("page 1", Buttons((Button("Next", "p:2"),)))))
            tg.fail("answerCallbackQuery", "slow", seconds=0.2)
            tg.press(7, tg.sent(7)[0], "Next")
            await door.until(lambda: len(door.raws) == 2)
            page = Reply.of("page 2", Buttons((Button("Back", "p:1"),)))
            await channel.send(outbound("7", page, op=Op.EDIT, target_id=sent.event_id))
            await tg.until(lambda: tg.answered)
            await channel.send(outbound("7", "later"))
            assert tg.sent(7)[0].buttons == ["Back"]
        assert not tg.called("editMessageReplyMarkup")


def test_naming_the_channel_does_not_load_its_sdk() -> None:
    code = (
        "import sys, channels.telegram, channels.telegram.settings;"
        "print({'aiogram', 'aiohttp'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


async def test_the_commands_are_shown_in_the_staff_group_only() -> None:
    async with FakeTelegram() as tg:
        tg.add_group(-1001, "Staff", forum=True)
        commands = {"en": {"help": "Help", "Bad Name": "x"}, "zh-CN": {"help": "帮助"}}
        channel, door = channel_for(tg, staff_channel="-1001", commands=commands), FakeDoor()
        async with running(channel, door):
            await tg.until(lambda: len(tg.commands) == 2)
        scope = json.dumps({"chat_id": "-1001", "type": "chat"})
        assert tg.commands == {
            (scope, ""): [{"command": "help", "description": "Help"}],
            (scope, "zh"): [{"command": "help", "description": "帮助"}],
        }


async def test_a_server_that_answers_at_once_with_nothing_is_not_asked_without_a_pause() -> None:
    async with FakeTelegram() as tg:
        channel, door = channel_for(tg, poll_timeout_s=0), FakeDoor()
        async with running(channel, door):
            await door.until(lambda: door.problem is None)
            before = len(tg.called("getUpdates"))
            await asyncio.sleep(0.3)
            assert len(tg.called("getUpdates")) - before < 20
            tg.user_says(7, "hello")
            await tg.until(lambda: tg.confirmed)


async def test_order_per_chat_is_kept_and_none_is_lost_under_load() -> None:
    async with FakeTelegram() as tg:
        channel, door = channel_for(tg), FakeDoor()
        async with running(channel, door):
            for number in range(300):
                tg.user_says(number % 3 + 7, f"{number}")
                if number % 40 == 0:
                    tg.fail("getUpdates", "reset_after")
                    await asyncio.sleep(0)
            await tg.until(lambda: len(tg.confirmed) == 300)
        for chat in range(3):
            lane = [i.text for r in door.raws if r.lane == str(chat + 7) for i in channel.decode(r)]
            assert lane == [str(n) for n in range(chat, 300, 3)]


# --- the webhook -------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def served(tg: FakeTelegram, door: FakeDoor) -> AsyncIterator[tuple[TelegramChannel, str]]:
    runner_app = web.Application()
    runner = web.AppRunner(runner_app, shutdown_timeout=0.1)
    holder: list[TelegramChannel] = []

    async def relay(request: web.Request) -> web.StreamResponse:
        route = holder[0].routes(door)[0]
        assert request.path == route.path
        answer: Any = await route.handler(request)  # type: ignore[misc,arg-type]
        return answer  # type: ignore[no-any-return]

    runner_app.router.add_post("/telegram/{name}", relay)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server: Any = site._server
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    channel = channel_for(tg, public_url=url, mode="webhook", webhook_secret="s3cret")
    holder.append(channel)
    try:
        async with running(channel, door):
            yield channel, f"{url}/telegram/tg"
    finally:
        await runner.cleanup()


async def test_the_webhook_is_set_and_updates_arrive_by_it() -> None:
    async with FakeTelegram() as tg:
        door = FakeDoor()
        async with served(tg, door) as (channel, _):
            tg.user_says(7, "hello")
            await tg.until(lambda: tg.confirmed)
            assert texts(channel, door) == ["hello"]
            assert tg.called("setWebhook")[0]["secret_token"] == "s3cret"


async def test_the_webhook_says_200_only_for_what_is_stored() -> None:
    async with FakeTelegram() as tg:
        door = FakeDoor()
        async with served(tg, door) as (channel, _):
            failing = True

            async def refuse() -> None:
                if failing:
                    raise OSError("disk full")

            door.before = refuse
            tg.user_says(7, "hello")
            await asyncio.sleep(0.2)
            assert not tg.confirmed
            failing = False
            await tg.until(lambda: tg.confirmed)
            assert texts(channel, door) == ["hello"]


@pytest.mark.parametrize(
    ("secret", "body", "status"),
    [
        (None, b'{"update_id": 1}', 401),
        ("wrong", b'{"update_id": 1}', 401),
        ("s3cr\u00e9t", b'{"update_id": 1}', 401),
        ("s3cret", b"not json", 400),
        ("s3cret", b"[1]", 400),
        ("s3cret", b'{"update_id": "x"}', 400),
        ("s3cret", b'{"update_id": 1}', 200),
    ],
)
async def test_the_webhook_takes_only_what_telegram_sends(
    secret: str | None, body: bytes, status: int
) -> None:
    async with FakeTelegram() as tg:
        door = FakeDoor()
        async with served(tg, door) as (_, url), ClientSession() as http:
            headers = {"X-Telegram-Bot-Api-Secret-Token": secret} if secret else {}
            async with http.post(url, data=body, headers=headers) as answer:
                assert answer.status == status
        assert len(door.raws) == (1 if status == 200 else 0)


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "telegram", "token": "1:x", "mode": "webhook"},
        {"kind": "telegram", "token": "1:x", "webhook_secret": "has space"},
        {"kind": "telegram", "token": "two words"},
        {"kind": "telegram", "token": "1:x", "api_base": "ftp://x"},
        {"kind": "telegram", "token": "1:secret-part", "colour": "red"},
    ],
)
def test_settings_that_cannot_work_are_refused_without_telling_the_token(table: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        build(Setup("tg", table, b"k"))
    assert "secret-part" not in str(caught.value)


async def test_doctor_tells_what_is_wrong() -> None:
    async with FakeTelegram() as tg:
        tg.add_group(-1001234567890, "Staff", forum=True)
        channel = channel_for(tg, staff_channel="-1001234567890")
        assert {c.state for c in await channel.check()} == {"ok"}
        tg.fail("getUpdates", "409")
        assert "409" in next(c for c in await channel.check() if c.state == "fail").detail
        tg.webhook = {"url": "https://elsewhere.example/hook", "secret": "x"}
        assert next(c for c in await channel.check() if c.state == "warn").what == "Telegram polling"
        tg.chats[-1001234567890].pop("is_forum")
        assert "topics" in next(c for c in await channel.check() if c.state == "fail").detail
        tg.fail("getMe", "401")
        assert [c.state for c in await channel.check()] == ["fail"]
        await channel.close()
