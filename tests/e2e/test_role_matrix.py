"""Who may not command gets nothing by it: every command, in every guise, on Slack and on Telegram.

What an outsider sees of a real command is what they see of one that does not exist; nothing happens; and the
audit log knows of the attempt."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from bot import commands
from crm_store import people, schema
from tests.e2e.test_story import wait
from tests.fakes.slack import TEAM
from tests.world import FORUM, World, running

MADE_UP = "frobnicate"
ARGUMENTS = {"ticket": "1 close", "note": "1 a note", "reply": "1 hello there", "undo": "1", "customer": "Li"}
HINTS = ("/help", "command", "ticket #", "refused", "role")


def spelled(name: str, sign: str) -> str:
    return f"{sign}{name} {ARGUMENTS.get(name, '1')}"


class Outsider(ABC):
    """Somebody who writes commands without the right to; `seen` is what they can read of ours."""

    audited = True
    spared: frozenset[str] = frozenset()  # what may be edited: the agent's own words

    def __init__(self, world: World, thread: Any) -> None:
        self.world = world
        self.thread = thread

    async def begin(self) -> None:
        return None

    @abstractmethod
    async def commands(self, name: str) -> None: ...

    @abstractmethod
    def seen(self) -> list[str]: ...


class OnSlack(Outsider):
    user = "U0OUT"
    deleted = guest = bot = False
    team = TEAM
    enrolled = ""

    @property
    def slack(self) -> Any:
        return self.world.slack

    @property
    def room(self) -> str:
        return str(self.slack.staff_channel)

    async def begin(self) -> None:
        how = {"guest": self.guest, "deleted": self.deleted, "bot": self.bot, "team": self.team}
        self.slack.add_user(self.user, name="Out Sider", **how)
        if self.enrolled:
            await self.world.store.write(
                _enrol, self.world, self.enrolled, "slack", f"{self.team}:{self.user}"
            )

    async def commands(self, name: str) -> None:
        await self.slack.says(self.user, self.room, spelled(name, "!"), thread_ts=self.thread)

    def seen(self) -> list[str]:
        own = [m for m in self.slack.ephemerals if m["user"] == self.user]
        dm = self.slack.rooms.get("D" + self.user[1:])
        own += [m for m in (dm.messages.values() if dm else ()) if m.get("bot_id")]
        return [self.slack.text(m) for m in own]


class SlackStranger(OnSlack):
    user = "U0STRANGER"


class SlackCustomer(OnSlack):
    user = "U0CUSTOMER"

    @property
    def room(self) -> str:
        return str(self.slack.dm(self.user))

    async def begin(self) -> None:
        await super().begin()
        await self.slack.says(self.user, self.room, "I want to talk to a person, please")
        await wait(lambda: any("#2" in t for t in self.seen()), "a ticket of their own")

    async def commands(self, name: str) -> None:
        await self.slack.says(self.user, self.room, spelled(name, "!"))


class SlackSlash(SlackCustomer):
    user = "U0SLASH"

    async def commands(self, name: str) -> None:
        await self.slack.slash(self.user, self.room, f"/{name}", ARGUMENTS.get(name, "1"))


class SlackGuest(OnSlack):
    user, guest, enrolled = "U0GUEST", True, "Mei"


class SlackConnect(OnSlack):
    user, team, enrolled = "U0CONNECT", "T0OTHER", ""


class SlackDeactivated(OnSlack):
    user, deleted, enrolled = "U0GONE", True, "Mei"


class SlackDisabled(OnSlack):
    """Disabled with us, still there in Slack."""

    user, enrolled = "U0DISABLED", "Vera"

    async def begin(self) -> None:
        await super().begin()
        await self.world.store.write(_disable, self.world, "Vera")


class SlackBot(OnSlack):
    """Other apps' messages are not even read: there is nobody to refuse."""

    user, bot, audited = "U0BOTTOM", True, False

    async def commands(self, name: str) -> None:
        room = self.slack.rooms[self.room]
        ts = self.slack.next_ts()
        message = {
            "type": "message",
            "user": self.user,
            "bot_id": "B0OTHER",
            "text": spelled(name, "!"),
            "ts": ts,
        }
        message["thread_ts"] = self.thread
        self.slack.put(room, message)
        await self.slack.event(self.slack.as_event(room, message))


class SlackEdited(OnSlack):
    """Enrolled, but the command was edited into a message."""

    user, enrolled, spared = "U0EDITOR", "Mei", frozenset({"reply", "note"})

    async def commands(self, name: str) -> None:
        ts = await self.slack.says(self.user, self.room, "// just a note", thread_ts=self.thread)
        await self.slack.edits(self.user, ts, spelled(name, "!"))


class SlackForwarded(OnSlack):
    """Enrolled, but the command is somebody else's message, passed on."""

    user, enrolled, audited = "U0PASSER", "Mei", False

    async def commands(self, name: str) -> None:
        ts = await self.slack.says(self.user, self.room, "", thread_ts=self.thread, deliver=False)
        room, message = self.slack._find(ts)
        message["attachments"] = [{"is_share": True, "text": spelled(name, "!"), "author_id": "U0X"}]
        await self.slack.event(self.slack.as_event(room, message))


class OnTelegram(Outsider):
    user = 5001
    enrolled = ""
    extra: dict[str, Any] = {}  # noqa: RUF012
    in_topic = True

    @property
    def tg(self) -> Any:
        return self.world.telegram

    async def begin(self) -> None:
        self.tg.user_says(self.user, "Hello", name="Out Sider")
        if self.enrolled:
            await self.world.store.write(_enrol, self.world, self.enrolled, "telegram", str(self.user))

    async def commands(self, name: str) -> None:
        where = {"chat_id": FORUM, "thread_id": self.topic} if self.in_topic else {}
        self.tg.user_says(self.user, spelled(name, "/"), **where, **self.extra)

    @property
    def topic(self) -> int:
        return next(m.thread_id for m in self.tg.sent(FORUM))

    def seen(self) -> list[str]:
        return list(self.tg.texts(self.user))


class TelegramStranger(OnTelegram):
    user = 5002


class TelegramCustomer(OnTelegram):
    user, in_topic = 5003, False

    async def begin(self) -> None:
        self.tg.user_says(self.user, "I want to talk to a person, please")
        await wait(lambda: any("#2" in t for t in self.seen()), "a ticket of their own")


class TelegramForwarded(OnTelegram):
    user, enrolled = 5004, "Mei"
    extra = {"forward_origin": {"type": "hidden_user", "sender_user_name": "X", "date": 1}}  # noqa: RUF012


class TelegramViaBot(OnTelegram):
    user, enrolled = 5005, "Mei"
    extra = {"via_bot": {"id": 1, "is_bot": True, "first_name": "B"}}  # noqa: RUF012


class TelegramAnonymous(OnTelegram):
    """An anonymous administrator of the staff's own group: `from` is a robot that stands for all of them."""

    user, enrolled, audited = 1087968824, "", True
    extra = {"sender_chat": {"id": FORUM, "type": "supergroup", "title": "Staff"}}  # noqa: RUF012


class TelegramDisabled(OnTelegram):
    user, enrolled = 5006, "Vera"

    async def begin(self) -> None:
        await super().begin()
        await self.world.store.write(_disable, self.world, "Vera")


class TelegramEdited(OnTelegram):
    user, enrolled, spared = 5007, "Mei", frozenset({"reply", "note"})

    async def commands(self, name: str) -> None:
        said = self.tg.user_says(self.user, "// just a note", chat_id=FORUM, thread_id=self.topic)
        self.tg.edits(said, spelled(name, "/"))


OUTSIDERS = [
    *(SlackStranger, SlackCustomer, SlackSlash, SlackGuest, SlackConnect, SlackDeactivated, SlackDisabled),
    *(SlackBot, SlackEdited, SlackForwarded, TelegramStranger, TelegramCustomer, TelegramForwarded),
    *(TelegramViaBot, TelegramAnonymous, TelegramDisabled, TelegramEdited),
]


def _enrol(tx: Connection, world: World, name: str, space: str, user_id: str) -> None:
    now = world.service.clock()
    code = people.new_code(tx, now, people.by_name(tx, name).id)
    assert people.redeem(tx, now, code, space, user_id, name) is not None


def _disable(tx: Connection, world: World, name: str) -> None:
    people.disable(tx, world.service.clock(), people.by_name(tx, name).id)


def _audit(tx: Connection) -> list[Any]:
    return list(tx.execute(select(schema.audit).order_by(schema.audit.c.id)))


async def _quiet(world: World) -> dict[str, Any]:
    """Wait until nothing is on its way."""
    return dict(await world.until(lambda d: d["inbox"]["pending"] == d["outbox"]["pending"] == 0 and d, 30.0))


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks for forty things in a second; the pauses between the answers took ten."""
    monkeypatch.setattr("channels.telegram.limits.CHAT_BURST", 500)


@pytest.mark.parametrize("who", OUTSIDERS, ids=lambda w: w.__name__)
async def test_who_may_not_command_gets_nothing_by_it(tmp_path: Path, who: type[Outsider]) -> None:
    async with running(tmp_path, telegram=True, slack=True, telegram_staff=True, web=False) as world:
        tg, slack = world.telegram, world.slack
        assert tg
        assert slack
        tg.user_says(7001, "My parcel is broken, this is the third time I write!", name="Li Wei")
        cards = await wait(lambda: slack.messages(slack.staff_channel), "a card")
        await wait(lambda: tg.sent(FORUM), "a topic")
        outsider = who(world, cards[0]["ts"])
        await outsider.begin()
        for _ in range(2):  # what an outsider says may open a ticket of their own; once
            await _answers(world, outsider, MADE_UP)
        before = await _quiet(world)
        expected = await _answers(world, outsider, MADE_UP)
        for name in commands.everything():
            known = len(await world.store.read(_audit))
            assert await _answers(world, outsider, name) == expected, (
                f"/{name} is told from a made-up command"
            )
            new = (await world.store.read(_audit))[known:]
            assert not [a for a in new if a.action == "command" and a.outcome != "refused"]
            if outsider.audited and name not in outsider.spared:
                assert [a for a in new if a.outcome == "refused"], f"/{name} is not in the audit log"
        after = await _quiet(world)
        assert _state(after) == _state(before)
        for text in expected:
            assert not [hint for hint in HINTS if hint in text.lower()], text


async def _answers(world: World, outsider: Outsider, name: str) -> list[str]:
    """What the outsider sees of a command, once it was dealt with."""
    before, known = len(outsider.seen()), len(await world.store.read(_audit))
    taken = world.service.intake.processed
    await outsider.commands(name)
    if outsider.audited and name not in outsider.spared:
        async with asyncio.timeout(20):
            while not any(a.outcome == "refused" for a in (await world.store.read(_audit))[known:]):
                await asyncio.sleep(0.02)
    else:
        with contextlib.suppress(TimeoutError):  # what nobody reads is not taken at all
            async with asyncio.timeout(1.0):
                while world.service.intake.processed == taken:
                    await asyncio.sleep(0.02)
    await _quiet(world)
    return outsider.seen()[before:]


def _state(found: dict[str, Any]) -> list[Any]:
    """What a command could have changed: the ticket, and what the customer was sent."""
    ticket = found["tickets"][0]
    return [ticket[k] for k in ("number", "status", "priority", "assignee", "kind")] + [
        m["text"] for m in ticket["messages"] if m["kind"] == "out"
    ]


async def test_a_staff_command_where_a_customer_reads_is_answered_to_the_asker_alone(tmp_path: Path) -> None:
    more = 'customer_channels = ["C0SHARED"]'
    async with running(
        tmp_path, telegram=True, slack=True, telegram_staff=True, web=False, slack_more=more
    ) as world:
        tg, slack = world.telegram, world.slack
        assert tg
        assert slack
        group = -1009999999999
        slack.add_room("C0SHARED", "shared", shared=True)
        tg.add_group(group, "Customers and us")
        slack.add_user("U0AGENT", name="Tom")
        await slack.says("U0AGENT", slack.dm("U0AGENT"), await world.code("Tom"))
        tg.user_says(9001, await world.code("Tom"), name="Tom")
        dm = slack.dm("U0AGENT")
        await wait(lambda: tg.texts(9001) and len(slack.messages(dm)) > 1, "signed in")
        for name in commands.everything():
            await slack.says("U0AGENT", "C0SHARED", spelled(name, "!"))
            tg.user_says(9001, spelled(name, "/"), chat_id=group)
        answers = len(commands.everything()) - 2
        await wait(lambda: min(len(slack.ephemerals), len(tg.sent(9001))) >= answers, "all answered", 60.0)
        await _quiet(world)
        assert [m for m in slack.messages("C0SHARED") if m.get("bot_id")] == []
        assert tg.sent(group) == []
        assert (
            len([m for m in slack.ephemerals if m["channel"] == "C0SHARED"]) >= len(commands.everything()) - 2
        )
        assert len(tg.sent(9001)) >= len(commands.everything()) - 2
