"""What Telegram and Slack do wrong, one thing at a time, under a conversation that goes on.

Three replies, three marks and three posts into the thread are under way when it happens. Afterwards nothing is
lost, everything is in order, and what may be there twice is there at most twice and says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import Connection

import bot.delivery
import channels.slack.api
import channels.telegram.sender
from crm_store import people
from tests.world import FORUM, World, running

TIMEOUT_S = 1.0  # of one call; 20 s in earnest, and the pauses after it as many times longer
AFTER_S = 2  # Retry-After
CUSTOMER, AGENT = 7001, 5001  # on Telegram
SLACK_CUSTOMER, SLACK_AGENT = "U0CUSTOMER", "U0AGENT"
COMPLAINT = "My parcel arrived broken and nobody answers. This is the third time I write!"
REPLIES = ("first answer", "second answer", "third answer")
FOLLOW_UPS = ("one more thing", "and another thing", "a last thing")
REPEATED, DOUBLED = "sent a second time", "may stand here twice"


@dataclass(frozen=True)
class Trouble:
    """One kind of trouble, in the words of both fakes; `unsure` when its outcome cannot be known."""

    telegram: str
    slack: str
    unsure: bool = False
    seconds: float = 0.3


TROUBLES = {
    "429": Trouble("429", "ratelimited"),
    "5xx": Trouble("5xx", "500"),
    "an HTML error page": Trouble("html", "html"),
    "an HTML page with 200": Trouble("html200", "html", unsure=True),
    "half an answer": Trouble("502", "json"),
    "reset before it took effect": Trouble("reset_before", "reset_before", unsure=True),
    "reset after it took effect": Trouble("reset_after", "reset_after", unsure=True),
    "slow": Trouble("slow", "slow", unsure=True, seconds=1.1 * TIMEOUT_S),
    "hanging": Trouble("hang", "hang", unsure=True),
    "a token that expired": Trouble("401", "error"),
}


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot.delivery, "FIRST_RETRY_S", 0.8)
    monkeypatch.setattr(channels.slack.api, "AUTH_RETRY_S", 1.0)
    monkeypatch.setattr(channels.telegram.sender, "AUTH_RETRY_S", 1.0)


async def enrol(world: World, space: str, user_id: str, name: str = "Tom") -> None:
    code = await world.code(name)

    def link(tx: Connection) -> None:
        assert people.redeem(tx, world.service.clock(), code, space, user_id, name) is not None

    await world.store.write(link)


async def wait(condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
    try:
        async with asyncio.timeout(timeout_s):
            while not (found := condition()):
                await asyncio.sleep(0.02)
            return found
    except TimeoutError:
        raise AssertionError(f"never: {what}") from None


def in_order(seen: list[str], wanted: tuple[str, ...]) -> int:
    """Check that all that is wanted was seen, in order, each at most twice; return how many were repeated."""
    found = [w for text in seen for w in wanted if w in text]
    once = list(dict.fromkeys(found))
    assert once == list(wanted), f"lost or out of order: {found}"
    assert sorted(found, key=wanted.index) == found, f"a repeat overtook another message: {found}"
    assert all(found.count(w) <= 2 for w in wanted), f"more than one repeat: {found}"
    return len(found) - len(wanted)


async def settled(world: World) -> dict[str, Any]:
    found = await world.until(
        lambda d: d["outbox"]["pending"] == 0 and d["inbox"]["pending"] == 0 and d, timeout_s=60
    )
    assert found["outbox"]["dead"] == found["outbox"]["unknown"] == found["inbox"]["shelved"] == 0, found
    assert found["integrity"] == "ok"
    return dict(found)


def quiet_after(calls: list[float], refused_at: float, what: str) -> None:
    """Check that nothing was sent between a refusal and the end of its Retry-After."""
    early = [at - refused_at for at in calls if 0.005 < at - refused_at < AFTER_S - 0.02]
    assert not early, f"{what} was called {early} s after a 429 that asked for {AFTER_S} s"


@pytest.mark.parametrize("name", list(TROUBLES))
async def test_trouble_between_a_customer_on_telegram_and_agents_in_slack(tmp_path: Path, name: str) -> None:
    trouble = TROUBLES[name]
    more = f"request_timeout_s = {TIMEOUT_S}"
    slower = f"call_timeout_s = {TIMEOUT_S}"
    async with running(
        tmp_path, telegram=True, slack=True, web=False, telegram_more=more, slack_more=slower
    ) as world:
        tg, slack = world.telegram, world.slack
        assert tg is not None
        assert slack is not None
        await enrol(world, "slack", f"{slack.team}:{SLACK_AGENT}")
        await slack.connected()
        slack.add_user(SLACK_AGENT, name="Tom")
        tg.user_says(CUSTOMER, COMPLAINT)
        card = await wait(lambda: slack.messages(slack.staff_channel), "a card")
        card = card[0]
        await settled(world)

        tg.fail("sendMessage", trouble.telegram, retry_after=AFTER_S, seconds=trouble.seconds)
        for method in ("chat.postMessage", "reactions.add"):
            after_s = AFTER_S if trouble.slack == "ratelimited" else trouble.seconds
            slack.fault(method, trouble.slack, after_s=after_s, code="token_expired")
        begun = time.monotonic()
        written = []

        def in_thread() -> list[str]:
            return [slack.text(m) for m in slack.messages(slack.staff_channel, card["ts"])]

        for answer, more_words in zip(REPLIES, FOLLOW_UPS, strict=True):
            written.append(await slack.says(SLACK_AGENT, slack.staff_channel, answer, thread_ts=card["ts"]))
            tg.user_says(CUSTOMER, more_words)
        await wait(lambda: REPLIES[-1] in "\n".join(tg.texts(CUSTOMER)), "the last answer")
        await wait(lambda: FOLLOW_UPS[-1] in "\n".join(in_thread()), "the last question in the thread")
        await settled(world)

        repeats = in_order(tg.texts(CUSTOMER), REPLIES)
        thread = in_thread()
        assert in_order(thread, FOLLOW_UPS) == 0, "Slack is read back before a repeat"
        assert not repeats or trouble.unsure
        assert not repeats or REPEATED in "\n".join(thread), "a repeat is not marked as such"
        for ts in written:
            assert slack.reactions(slack.staff_channel, ts) == ["white_check_mark"], thread
        assert not tg.violations
        if trouble.telegram == "429":
            sends = [c.at for c in tg.calls if c.method == "sendMessage" and c.at >= begun]
            quiet_after(sends, sends[0], "sendMessage")
            for method in ("chat.postMessage", "reactions.add"):
                at = [at for called, _, at in slack.calls if called == method and at >= begun]
                quiet_after(at, at[0], method)


@pytest.mark.parametrize("name", list(TROUBLES))
async def test_trouble_between_a_customer_on_slack_and_agents_in_telegram(tmp_path: Path, name: str) -> None:
    trouble = TROUBLES[name]
    more = f"request_timeout_s = {TIMEOUT_S}"
    slower = f"call_timeout_s = {TIMEOUT_S}"
    async with running(
        tmp_path,
        telegram=True,
        slack=True,
        web=False,
        telegram_staff=True,
        slack_staff=False,
        telegram_more=more,
        slack_more=slower,
    ) as world:
        tg, slack = world.telegram, world.slack
        assert tg is not None
        assert slack is not None
        await enrol(world, "telegram", str(AGENT))
        slack.add_user(SLACK_CUSTOMER, name="Li Wei")
        await slack.connected()
        room = slack.dm(SLACK_CUSTOMER)
        await slack.says(SLACK_CUSTOMER, room, COMPLAINT)
        card = (await wait(lambda: tg.sent(FORUM), "a card"))[0]
        await settled(world)

        for method in ("sendMessage", "setMessageReaction"):
            tg.fail(method, trouble.telegram, retry_after=AFTER_S, seconds=trouble.seconds)
        after_s = AFTER_S if trouble.slack == "ratelimited" else trouble.seconds
        slack.fault("chat.postMessage", trouble.slack, after_s=after_s, code="token_expired")
        begun = time.monotonic()
        written = []

        def heard() -> list[str]:
            return [slack.text(m) for m in slack.messages(room) if m.get("bot_id")]

        for answer, more_words in zip(REPLIES, FOLLOW_UPS, strict=True):
            said = tg.user_says(AGENT, answer, chat_id=FORUM, thread_id=card.thread_id)
            written.append(said["message_id"])
            await slack.says(SLACK_CUSTOMER, room, more_words)
        await wait(lambda: REPLIES[-1] in "\n".join(heard()), "the last answer")
        await wait(lambda: FOLLOW_UPS[-1] in "\n".join(tg.texts(FORUM)), "the last question in the topic")
        await settled(world)

        assert in_order(heard(), REPLIES) == 0, "Slack is read back before a repeat"
        thread = tg.texts(FORUM, card.thread_id)
        repeats = in_order(thread, FOLLOW_UPS)
        assert not repeats or trouble.unsure
        assert not repeats or DOUBLED in "\n".join(thread), "a repeat is not marked as such"
        for number in written:
            assert tg.reactions[FORUM, number] == ["👌"]
        assert not tg.violations
        if trouble.telegram == "429":
            at = [at for called, _, at in slack.calls if called == "chat.postMessage" and at >= begun]
            quiet_after(at, at[0], "chat.postMessage")
            for method in ("sendMessage", "setMessageReaction"):
                sends = [c.at for c in tg.calls if c.method == method and c.at >= begun]
                quiet_after(sends, sends[0], method)


@asynccontextmanager
async def away(runner: web.AppRunner) -> AsyncIterator[None]:
    """Nobody listens where a platform was, and every connection to it is cut."""
    host, port = runner.addresses[0][:2]
    for site in tuple(runner.sites):
        await site.stop()
    assert runner.server is not None
    for connection in tuple(runner.server.connections):
        if connection.transport is not None:
            connection.transport.abort()
    try:
        yield
    finally:
        await web.TCPSite(runner, host, port).start()


async def test_both_platforms_go_away_and_come_back(tmp_path: Path) -> None:
    more = f"request_timeout_s = {TIMEOUT_S}"
    slower = f"call_timeout_s = {TIMEOUT_S}"
    async with running(
        tmp_path, telegram=True, slack=True, web=False, telegram_more=more, slack_more=slower
    ) as world:
        tg, slack = world.telegram, world.slack
        assert tg is not None
        assert slack is not None
        assert tg._runner is not None
        await enrol(world, "slack", f"{slack.team}:{SLACK_AGENT}")
        await slack.connected()
        tg.user_says(CUSTOMER, COMPLAINT)
        card = (await wait(lambda: slack.messages(slack.staff_channel), "a card"))[0]
        await settled(world)

        async with away(slack._runner), away(tg._runner):
            said = [(tg.user_says(CUSTOMER, w), w)[1] for w in FOLLOW_UPS]
            await wait(lambda: not slack.sockets, "the socket is cut")
            writing = [
                asyncio.create_task(
                    slack.says(SLACK_AGENT, slack.staff_channel, answer, thread_ts=card["ts"])
                )
                for answer in REPLIES
            ]
            await asyncio.gather(*writing)  # Slack holds on to them until there is a socket again
            await wait(lambda: world.service.doors["slack"].problem, "the channel says that it is down")
            await wait(lambda: world.service.doors["telegram"].problem, "and so does the other")

        await wait(lambda: REPLIES[-1] in "\n".join(tg.texts(CUSTOMER)), "the last answer")

        def in_thread() -> list[str]:
            return [slack.text(m) for m in slack.messages(slack.staff_channel, card["ts"])]

        await wait(lambda: FOLLOW_UPS[-1] in "\n".join(in_thread()), "the last question in the thread")
        await settled(world)
        assert in_order(in_thread(), tuple(said)) == 0
        assert in_order(tg.texts(CUSTOMER), REPLIES) == 0
        doors = world.service.doors
        await wait(lambda: not doors["slack"].problem and not doors["telegram"].problem, "both are up")
