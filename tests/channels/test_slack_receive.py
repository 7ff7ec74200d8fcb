"""Slack, inwards: stored before acknowledged, over both transports, and read back after an outage."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from channels.base import ConfigError, Setup
from channels.conversation import Address, Kind, Op, Outbound
from channels.rich import Button, Buttons, Form, Input, Reply
from channels.slack import build
from channels.slack.adapter import Slack
from channels.slack.manifest import SCOPES
from tests.fakes.door import FakeDoor
from tests.fakes.slack import FakeSlack


class NoLimit:
    def reserve(self, room: str) -> float:
        del room
        return 0.0


class App:
    """The adapter, running against a Slack, with a door to look at."""

    def __init__(self, slack: FakeSlack, channel: Slack, door: FakeDoor) -> None:
        self.slack = slack
        self.channel = channel
        self.door = door

    def inbound(self) -> list[Any]:
        return [i for raw in self.door.raws for i in self.channel.decode(raw)]

    def said(self) -> list[str]:
        """Messages in order of arrival; one that also came by history counts once, as in intake."""
        said = {i.event_id: i.text for i in self.inbound() if i.kind is Kind.MESSAGE}
        return list(said.values())

    async def heard(self, *texts: str) -> None:
        await self.slack.until(lambda: set(texts) <= set(self.said()))


@contextlib.asynccontextmanager
async def running(slack: FakeSlack, door: FakeDoor, **more: Any) -> AsyncIterator[App]:
    channel = Slack(Setup("slack", slack.settings(**more), b"s"), limiter=NoLimit())
    async with contextlib.AsyncExitStack() as stack:
        if slack.mode == "http":
            app = web.Application()
            app.router.add_routes(channel.routes(door))
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            slack.deliver_to(f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events")
        task = asyncio.create_task(channel.run(door))
        try:
            await door.until(lambda: door.problem is None or task.done())
            if task.done():
                task.result()
            yield App(slack, channel, door)
        finally:
            task.cancel()
            await asyncio.wait([task])
            await channel.close()


@pytest.fixture(params=["socket", "http"])
async def slack(request: pytest.FixtureRequest) -> AsyncIterator[FakeSlack]:
    async with FakeSlack(mode=request.param) as far:
        far.scopes = set(SCOPES)
        far.retry_after_s = (0.0, 0.05, 0.1)
        yield far


@pytest.fixture
async def socket() -> AsyncIterator[FakeSlack]:
    async with FakeSlack(mode="socket", ack_s=0.5) as far:
        far.scopes = set(SCOPES)
        far.retry_after_s = (0.0, 0.05, 0.1)
        yield far


@pytest.fixture
async def app(slack: FakeSlack) -> AsyncIterator[App]:
    async with running(slack, FakeDoor()) as started:
        yield started


async def test_a_message_is_stored_and_then_acknowledged(app: App) -> None:
    ts = await app.slack.says("U0ANNA", "", "hello & <b>")
    await app.slack.idle()
    (got,) = app.inbound()
    room = app.slack.dm("U0ANNA")
    assert (got.text, got.event_id, got.address) == ("hello & <b>", f"{room}:{ts}", Address("slack", room))
    assert got.author.user_id == "T0HOME:U0ANNA"
    assert len(app.slack.acks) == 1


async def test_what_was_not_stored_is_not_acknowledged_and_comes_again(slack: FakeSlack) -> None:
    door = FakeDoor()
    failures = 2

    async def fail() -> None:
        nonlocal failures
        if door.problem is None and failures:
            failures -= 1
            raise OSError("disk full")

    slack.ack_s = 0.3
    async with running(slack, door) as app:
        await door.until(lambda: door.stored_cursor is not None)
        door.before = fail
        await slack.says("U0ANNA", "", "hello")
        await slack.idle()
        assert app.said() == ["hello"]
        assert len(slack.acks) == 1


async def test_nothing_is_acknowledged_while_the_store_is_busy(slack: FakeSlack) -> None:
    door, gate = FakeDoor(), asyncio.Event()
    async with running(slack, door):
        await door.until(lambda: door.stored_cursor is not None)
        door.before = gate.wait  # type: ignore[assignment]
        await slack.says("U0ANNA", "", "hello")
        await asyncio.sleep(0.05)
        assert slack.acks == []
        gate.set()
        await slack.idle()
        assert len(slack.acks) == 1


async def test_the_same_event_twice_is_accepted_once(app: App) -> None:
    room = app.slack.dm("U0ANNA")
    event = {
        "type": "message",
        "channel": room,
        "channel_type": "im",
        "user": "U0ANNA",
        "text": "x",
        "ts": "1.1",
    }
    payload = await app.slack.event(event)
    await app.slack.again(payload)
    await app.slack.idle()
    assert app.said() == ["x"]
    assert app.door.repeats == 1


async def test_a_mention_is_one_message(app: App) -> None:
    await app.slack.says("U0ANNA", app.slack.staff_channel, f"{app.slack.mention()} /help me")
    await app.slack.idle()
    got = app.inbound()
    assert len({i.event_id for i in got}) == 1
    assert {i.text for i in got} == {"/help me"}
    assert all(i.addressed for i in got)


async def test_our_own_posts_are_not_stored(app: App) -> None:
    message = Outbound(Address("slack", app.slack.staff_channel), Reply.of("card"), "1", opens_thread=True)
    sent = await app.channel.send(message)
    edit = Outbound(sent.address, Reply.of("card 2"), "2", Op.EDIT, target_id=sent.event_id)
    await app.channel.send(edit)
    await app.slack.idle()
    assert app.door.raws == []


async def test_a_press_a_form_and_a_command_arrive(app: App) -> None:
    staff = app.slack.staff_channel
    card = Reply.of("card", Buttons((Button("Reply", "reply:12"),)))
    sent = await app.channel.send(Outbound(Address("slack", staff), card, "1", opens_thread=True))
    ts = sent.address.thread_id
    await app.slack.press("U0ANNA", ts, "Reply")
    await app.slack.until(lambda: app.inbound())
    (press,) = app.inbound()
    assert (press.kind, press.action, press.target_id) == (Kind.ACTION, "reply:12", f"{staff}:{ts}")
    assert press.address == Address("slack", staff, ts)
    form = Form(
        "Reply",
        "reply!:12",
        "Send",
        (Input("text", "Words"), Input("to", "To", options=(("a", "A"), ("b", "B")))),
    )
    await app.channel.send(Outbound(press.address, Reply.of(form), "2", Op.FORM, trigger=press.trigger))
    await app.slack.submits("U0ANNA", app.slack.views[-1], {"Words": "hi <!channel>", "to": "B"})
    await app.slack.until(lambda: len(app.inbound()) == 2)
    submitted = app.inbound()[1]
    assert submitted.action == "reply!:12"
    assert submitted.values == {"text": "hi <!channel>", "to": "b"}
    assert submitted.address == press.address
    await app.slack.slash("U0ANNA", staff, "/customer", "the payload of <@U0BOB> & co")
    await app.slack.idle()
    command = app.inbound()[2]
    assert (command.kind, command.text) == (Kind.COMMAND, "/customer the payload of @U0BOB & co")
    assert command.mentions == ("T0HOME:U0BOB",)
    await app.slack.slash("U0ANNA", staff, "/customer", "the payload of <@U0BOB> & co")
    await app.slack.idle()
    assert app.inbound()[3].event_id != command.event_id


async def test_shortcuts_home_reactions_edits_and_deletions_arrive(app: App) -> None:
    staff = app.slack.staff_channel
    ts = await app.slack.says("U0ANNA", staff, "first")
    await app.slack.shortcut("U0ANNA", ts, "ticket")
    await app.slack.opens_home("U0ANNA")
    await app.slack.reacts("U0ANNA", ts, "eyes")
    await app.slack.reacts("U0ANNA", ts, "eyes", take_back=True)
    await app.slack.unfurls(ts)
    await app.slack.edits("U0ANNA", ts, "second")
    await app.slack.deletes("U0ANNA", ts)
    await app.slack.idle()
    got = {(i.kind, i.action, i.text) for i in app.inbound()}
    assert got == {
        (Kind.MESSAGE, "", "first"),
        (Kind.ACTION, "ticket", ""),
        (Kind.ACTION, "home", ""),
        (Kind.REACTION, "+eyes", ""),
        (Kind.REACTION, "-eyes", ""),
        (Kind.EDIT, "", "second"),
        (Kind.DELETE, "", ""),
    }
    about = {i.target_id for i in app.inbound() if i.kind in (Kind.REACTION, Kind.EDIT, Kind.DELETE)}
    assert about == {f"{staff}:{ts}"}


async def test_a_deleted_parent_of_a_thread_is_a_deletion(app: App) -> None:
    staff = app.slack.staff_channel
    ts = await app.slack.says("U0ANNA", staff, "parent")
    await app.slack.says("U0BOB", staff, "reply", ts)
    await app.slack.deletes("U0ANNA", ts)
    await app.slack.until(lambda: [i for i in app.inbound() if i.kind is Kind.DELETE])
    (gone,) = (i for i in app.inbound() if i.kind is Kind.DELETE)
    assert (gone.target_id, gone.author.user_id) == (f"{staff}:{ts}", "T0HOME:U0ANNA")


async def test_a_file_of_a_person_can_be_fetched(app: App) -> None:
    await app.slack.says("U0ANNA", "", "see", files=[("a.png", "image/png", b"PNG")])
    await app.slack.until(lambda: app.inbound())
    (got,) = app.inbound()
    (file,) = got.attachments
    assert (file.filename, file.kind, file.size) == ("a.png", "photo", 3)
    assert await app.channel.fetch(file) == b"PNG"


async def test_a_burst_is_stored_in_order_and_nothing_is_lost(app: App) -> None:
    for number in range(300):
        await app.slack.says("U0ANNA", "", f"n{number}")
    await app.slack.idle()
    assert app.said() == [f"n{n}" for n in range(300)]
    assert len(app.slack.acks) == 300
    waits = sorted(s for _, s in app.slack.acks)
    assert waits[int(len(waits) * 0.99)] < 1


# ---- HTTP


async def test_only_what_slack_signed_is_taken() -> None:
    async with FakeSlack(mode="http") as slack, running(slack, FakeDoor()) as app:
        body, kind = slack.body("events_api", {"type": "event_callback", "event_id": "Ev1", "event": {}})
        old = slack.sign(body, time.time() - 600)
        for headers in (
            {"X-Slack-Signature": "v0=" + "0" * 64},
            {"X-Slack-Signature": "v0=\u00e9"},
            {"X-Slack-Request-Timestamp": "soon"},
            {"X-Slack-Request-Timestamp": ""},
            old,
        ):
            assert (await slack.post(body, kind, **headers))[0] == 401, headers
        assert (await slack.post(b"\xff\xfe", kind))[0] == 401
        assert (await slack.post(b"[1]", kind))[0] == 400
        assert app.door.raws == []
        assert (await slack.post(body, kind))[0] == 200
        assert len(app.door.raws) == 1


async def test_the_address_is_verified_by_its_challenge() -> None:
    async with FakeSlack(mode="http") as slack, running(slack, FakeDoor()) as app:
        body, kind = slack.body("events_api", {"type": "url_verification", "challenge": "3eZbrw"})
        status, text = await slack.post(body, kind)
        assert (status, json.loads(text)) == (200, {"challenge": "3eZbrw"})
        assert app.door.raws == []


async def test_a_store_that_fails_is_a_503() -> None:
    async with FakeSlack(mode="http") as slack:
        door = FakeDoor()
        async with running(slack, door):
            await door.until(lambda: door.stored_cursor is not None)

            async def fail() -> None:
                raise OSError("disk full")

            door.before = fail
            payload = {"type": "event_callback", "event_id": "Ev1", "event": {"type": "x"}}
            assert (await slack.post(*slack.body("events_api", payload)))[0] == 503


# ---- Socket Mode


async def test_a_socket_that_is_cut_is_opened_again(socket: FakeSlack) -> None:
    async with running(socket, FakeDoor()) as app:
        for number in range(3):
            await socket.drop_socket()
            await socket.says("U0ANNA", "", f"after {number}")
        await app.heard("after 0", "after 1", "after 2")
        assert socket.connections >= 2
        await app.door.until(lambda: app.door.problem is None)


async def test_a_refresh_loses_nothing(socket: FakeSlack) -> None:
    async with running(socket, FakeDoor()) as app:
        for number in range(5):
            await socket.says("U0ANNA", "", f"n{number}")
            await socket.disconnect()
        await app.heard(*(f"n{n}" for n in range(5)))
        assert socket.connections >= 3
        await socket.idle()
        assert socket.dropped == []


async def test_a_socket_that_cannot_be_had_is_said_and_tried_again(socket: FakeSlack) -> None:
    socket.fault("apps.connections.open", "500", 2)
    door = FakeDoor()
    seen: list[str | None] = []
    report = door.report
    door.report = lambda p: (seen.append(p), report(p))[1]  # type: ignore[method-assign]
    async with running(socket, door):
        assert seen[-1] is None
        assert any(p and "Socket Mode cannot connect" in p for p in seen)


async def test_a_wrong_token_is_a_configuration_error(slack: FakeSlack) -> None:
    with pytest.raises(ConfigError, match=r"bot_token.*invalid_auth"):
        async with running(slack, FakeDoor(), bot_token="xoxb-wrong"):
            pass


async def test_a_start_call_that_fails_is_only_logged(slack: FakeSlack) -> None:
    slack.fault("auth.test", "500")
    async with running(slack, FakeDoor()) as app:
        await slack.says("U0ANNA", slack.staff_channel, f"{slack.mention()} hi")
        await app.heard("hi")


async def test_a_revoked_token_is_reported(app: App) -> None:
    await app.slack.event({"type": "tokens_revoked", "tokens": {"bot": ["U0BOT"]}})
    await app.door.until(lambda: "revoked" in (app.door.problem or ""))
    (got,) = app.inbound()
    assert got.kind is Kind.UNKNOWN


# ---- what was missed


async def test_what_was_said_during_an_outage_is_read_back_once(slack: FakeSlack) -> None:
    door = FakeDoor()
    staff = slack.staff_channel
    slack.add_room("C0SHOP", "shop")
    rooms = {"customer_channels": ["C0SHOP"]}
    async with running(slack, door, **rooms) as app:
        await door.until(lambda: door.stored_cursor is not None)
        old = await slack.says("U0ANNA", staff, "thread")
        await slack.says("U0CUST", "", "direct")
        await app.heard("thread", "direct")
        card = Outbound(Address("slack", staff), Reply.of("card"), "1", opens_thread=True)
        ours = (await app.channel.send(card)).address.thread_id
        await slack.idle()
    await slack.says("U0ANNA", staff, "missed below our card", ours, deliver=False)
    await slack.says("U0ANNA", staff, "missed top", deliver=False)
    await slack.says("U0ANNA", staff, "missed reply", old, deliver=False)
    await slack.says("U0CUST", "C0SHOP", "missed customer", deliver=False)
    await slack.says("U0CUST", "", "missed direct", deliver=False)
    missed = {"missed below our card", "missed top", "missed reply", "missed customer", "missed direct"}
    async with running(slack, door, **rooms) as app:
        await app.heard(*missed)
        by_id: dict[str, list[str]] = {}
        for item in app.inbound():
            by_id.setdefault(item.event_id, []).append(item.text)
        assert all(len(set(texts)) == 1 for texts in by_id.values())  # a repeat has the same id
        reply = next(i for i in app.inbound() if i.text == "missed reply")
        assert reply.address == Address("slack", staff, old)
        await door.until(lambda: "C0SHOP" in (door.stored_cursor or ""))
    before = len(door.raws)
    async with running(slack, door, **rooms):
        await slack.until(lambda: len(slack.calls_of("conversations.history")) >= 3)
    assert len(door.raws) == before


async def test_a_first_start_reads_no_past(slack: FakeSlack) -> None:
    await slack.says("U0ANNA", slack.staff_channel, "long ago", deliver=False)
    door = FakeDoor()
    async with running(slack, door) as app:
        await door.until(lambda: door.stored_cursor is not None)
        assert app.said() == []


async def test_a_reconnect_reads_what_the_socket_missed(socket: FakeSlack) -> None:
    async with running(socket, FakeDoor()) as app:
        await app.door.until(lambda: app.door.stored_cursor is not None)
        await socket.drop_socket()
        await socket.says("U0ANNA", socket.staff_channel, "missed", deliver=False)
        await app.heard("missed")


def test_importing_the_package_loads_no_sdk() -> None:
    import subprocess
    import sys

    code = (
        "import sys, channels.slack, channels.slack.settings, channels.slack.manifest as m; m.manifest({});"
    )
    code += "sys.exit(any(n.startswith(('slack_', 'aiohttp')) for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"bot_token": "x"}, "signing_secret is required"),
        ({"bot_token": "", "app_token": "x"}, "channels.slack.bot_token"),
        ({"bot_token": "x", "app_token": "x", "colour": "red"}, "channels.slack.colour"),
    ],
)
def test_settings_that_cannot_work_name_what_is_wrong(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build(Setup("slack", {"kind": "slack", **settings}, b"s"))
