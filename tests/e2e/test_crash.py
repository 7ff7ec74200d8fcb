"""Kill -9 at a hundred random moments, under load on every channel. Afterwards everything is counted.

The customers, the agent and the platforms live here; the service is a process of its own that is killed while
it starts, works or drains. WELLHEARD_CRASH_SEED repeats a run's moments, WELLHEARD_CRASH_KILLS their number.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import secrets
import signal
import socket
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import Connection

from crm_store import people
from crm_store.db import Store
from tests.fakes.mail import FakeSmarthost, Refused, send_mail
from tests.fakes.slack import FakeSlack
from tests.fakes.slack_wire import TEAM
from tests.fakes.telegram import FakeTelegram
from tests.fakes.web import Visitor
from tests.stores import sqlite_url
from tests.warm import ROOT, Started, Warm
from tests.world import ADDRESS, seed, settings

KILLS = int(os.environ.get("WELLHEARD_CRASH_KILLS", "100"))
AGENT = "U0AGENT"
AGENTS = 3  # windows that the agent has open
IN = re.compile(r"\[(\w+) m(\d+)\]")  # a customer's message says whose it is and which
OUT = re.compile(r"\{(\w+) r(\d+)\}")  # … an agent's reply for whom
NOTE = re.compile(r"\bSECRET\b")
DEAD = (aiohttp.ClientError, aiohttp.WSMessageTypeError, OSError, AssertionError, TimeoutError, EOFError)


@dataclass
class Customer:
    """Somebody who keeps writing. `said` counts what they said and, where that exists, saw acknowledged."""

    name: str
    channel: str
    said: int = 0
    heard: Callable[[], list[str]] = list
    replies: int = 0  # what the agent wrote to them


@dataclass
class Far:
    """The far sides and everybody on them."""

    telegram: FakeTelegram
    slack: FakeSlack
    smarthost: FakeSmarthost
    http_port: int
    smtp_port: int
    random: random.Random
    customers: list[Customer] = field(default_factory=list)
    talking: bool = True
    notes: int = 0

    async def pause(self, shortest_s: float, longest_s: float) -> None:
        await asyncio.sleep(self.random.uniform(shortest_s, longest_s))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _words(customer: Customer) -> str:
    return f"[{customer.name} m{customer.said}] the parcel is still not here and I want to know why"


# --- customers -------------------------------------------------------------------------------------------


async def on_telegram(far: Far, customer: Customer, user: int) -> None:
    """Telegram keeps what nobody confirmed."""
    customer.heard = lambda: far.telegram.texts(user)
    while far.talking:
        far.telegram.user_says(user, _words(customer), name=customer.name)
        customer.said += 1
        await far.pause(0.1, 1.0)


async def on_slack(far: Far, customer: Customer, user: str) -> None:
    """Slack delivers again until it is acknowledged; people wait for that before the next sentence, since
    Slack itself keeps no order between deliveries it repeats."""
    slack = far.slack
    slack.add_user(user, name=customer.name)
    room = slack.dm(user)
    customer.heard = lambda: [slack.text(m) for m in slack.messages(room) if m.get("bot_id")]
    while far.talking:
        await _acknowledged(slack.says(user, room, _words(customer)))
        customer.said += 1
        await far.pause(0.1, 1.0)


_deliveries: ContextVar[list[asyncio.Task[None]]] = ContextVar("_deliveries")


class Slack(FakeSlack):
    """Tells who causes a delivery which one it is."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        before = set(self._tasks)
        super().spawn(work)
        if (mine := _deliveries.get(None)) is not None:
            mine += self._tasks - before


async def _acknowledged(saying: Awaitable[str]) -> str:
    _deliveries.set([])
    ts = await saying
    await asyncio.gather(*_deliveries.get())
    return ts


async def by_mail(far: Far, customer: Customer, me: str) -> None:
    """A mail server sends again until it hears 250."""

    def received() -> list[EmailMessage]:
        found = [message_from_bytes(m.content, policy=policy.default) for m in far.smarthost.mails]
        return [m for m in found if me in str(m["To"])]  # type: ignore[misc]

    def heard() -> list[str]:
        distinct = {str(m["Message-ID"]): m for m in reversed(received())}
        return [m.get_body(("plain",)).get_content() for m in reversed(distinct.values())]  # type: ignore[union-attr]

    customer.heard = heard
    answer: EmailMessage | None = None
    while far.talking:
        mail = EmailMessage()
        mail["From"], mail["Subject"] = f"{customer.name} <{me}>", "Parcel"
        mail["Message-ID"] = f"<{customer.name}.{customer.said}@customer.example>"
        mail["Date"] = "Mon, 02 Mar 2026 10:00:00 +0000"
        mail["To"] = str(answer["Reply-To"] or ADDRESS) if answer else ADDRESS
        if answer is not None:
            mail["In-Reply-To"] = mail["References"] = str(answer["Message-ID"])
        mail.set_content(_words(customer))
        while True:
            try:
                await send_mail(far.smtp_port, me, re.findall(r"[^<\s]+@[^>\s]+", str(mail["To"]))[-1], mail)
                break
            except DEAD:
                pass
            except Refused as no:
                if not str(no).startswith("4"):
                    raise
            await asyncio.sleep(0.1)
        customer.said += 1
        while far.talking and not (answer := next(reversed(received()), None)):
            await asyncio.sleep(0.1)  # the signed address in an answer is what makes one conversation of it
        await far.pause(0.1, 1.0)


async def on_web(far: Far, customer: Customer, visitor: Visitor, finished: asyncio.Future[None]) -> None:
    """A page sends again, with the same id, until it has seen the ✓; afterwards it reads on."""
    customer.heard = lambda: visitor.answers
    unsure = False
    while True:
        try:
            await visitor.drop()
            await visitor.open()
            while far.talking or unsure:
                unsure = True
                await visitor.says(_words(customer), id=f"{customer.name}-{customer.said}")
                customer.said += 1
                unsure = False
                await far.pause(0.1, 1.0)
            if not finished.done():
                finished.set_result(None)
            while visitor.alive:
                await asyncio.sleep(0.1)
        except DEAD:
            await asyncio.sleep(0.1)


# --- the agent -------------------------------------------------------------------------------------------


async def agent(far: Far, share: int) -> None:
    """Answers a third of the customers in the threads of Slack, and keeps notes between."""
    slack = far.slack
    by_name = {c.name: c for c in far.customers[share::AGENTS]}
    while far.talking:
        threads = {
            found[1]: m["ts"]
            for m in slack.messages(slack.staff_channel)
            if m.get("bot_id") and (found := IN.search(slack.text(m))) and found[1] in by_name
        }
        if threads:
            name = far.random.choice(sorted(threads))
            customer = by_name[name]
            text = f"{{{name} r{customer.replies}}} we are looking for it"
            note = far.random.random() < 0.3
            if note:
                text = f"// SECRET {name} this one is difficult"
            await _acknowledged(slack.says(AGENT, slack.staff_channel, text, thread_ts=threads[name]))
            far.notes += note
            customer.replies += not note
        await far.pause(0.02, 0.25)


# --- the service and its deaths ------------------------------------------------------------------------------


async def _alive(far: Far, service: Started) -> None:
    """Wait until it listens, or is gone."""
    while not service.code.done():
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", far.http_port)
            writer.close()
            return
        await asyncio.sleep(0.02)


async def killings(far: Far, warm: Warm, config: Path, log: Path, kills: int) -> Counter[str]:
    """Start and kill. Two of five die while they start, one of six while it drains, the others at work."""
    deaths: Counter[str] = Counter()
    while deaths.total() < kills:
        service = await warm.start("run", "--config", str(config), log=log)
        phase = far.random.choices(["starting", "working", "draining"], [40, 45, 15])[0]
        if phase == "starting":
            await far.pause(0.0, 0.6)
        else:
            await _alive(far, service)
            await far.pause(0.0, 1.6)
        if phase == "draining":
            service.kill(signal.SIGTERM)
            await far.pause(0.0, 0.5)
        service.kill()
        code = await service.ended()
        if phase == "draining" and code == 0:
            continue  # it was faster
        assert code == -signal.SIGKILL, f"it ended by itself with {code}: {log.read_text()[-3000:]}"
        deaths[phase] += 1
    return deaths


async def cold_death(far: Far, config: Path, log: Path) -> None:
    """The same with an interpreter that starts from nothing."""
    with log.open("ab") as sink:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", "run", "--config", str(config), stderr=sink, cwd=ROOT
        )
    await far.pause(0.5, 6.0)
    assert process.returncode is None, log.read_text()[-3000:]
    process.kill()
    await process.wait()


def _enrol(tx: Connection) -> None:
    now = datetime.now(UTC)
    code = people.new_code(tx, now, people.by_name(tx, "Tom").id)
    assert people.redeem(tx, now, code, "slack", f"{TEAM}:{AGENT}", "Tom")


@pytest.mark.timeout(400)
async def test_nothing_is_lost_or_doubled_by_a_hundred_deaths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number = int(os.environ.get("WELLHEARD_CRASH_SEED") or secrets.randbelow(10**9))
    begun = time.monotonic()
    log = tmp_path / "service.log"
    try:
        figures = await _run(tmp_path, log, number)
    except BaseException as error:
        error.add_note(f"WELLHEARD_CRASH_SEED={number}; the service's log ends with:\n{_tail(log)}")
        raise
    with capsys.disabled():
        print(f"\n  crash: seed {number}, {time.monotonic() - begun:.0f} s, {figures}")


def _tail(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-4000:] if log.exists() else "nothing"


async def _run(tmp_path: Path, log: Path, number: int) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        telegram = await stack.enter_async_context(FakeTelegram())
        slack = await stack.enter_async_context(Slack(ack_s=0.5))
        slack.retry_after_s = [0.0, 0.2, *([0.3] * 400)]
        smarthost = await stack.enter_async_context(FakeSmarthost())
        far = Far(telegram, slack, smarthost, _free_port(), _free_port(), random.Random(number))
        store_url = sqlite_url(tmp_path)
        text = settings(
            store_url,
            telegram=telegram,
            slack=slack,
            smarthost=smarthost,
            hold_s=0.2,
            port=far.http_port,
            smtp_port=far.smtp_port,
            web_per_minute=100_000,
        )
        config = tmp_path / "wellheard.toml"
        config.write_text(text)
        await seed(store_url, articles=False)
        async with Store(store_url) as store:
            await store.write(_enrol)
        slack.add_user(AGENT, name="Tom")
        warm = await stack.enter_async_context(Warm())
        talk = await stack.enter_async_context(_people(far))
        deaths = await killings(far, warm, config, log, max(1, KILLS - 3))
        for _ in range(min(3, KILLS - 1)):
            await cold_death(far, config, log)
            deaths["cold"] += 1
        last = await warm.start("run", "--config", str(config), log=log)
        far.talking = False
        await asyncio.gather(*talk)
        await _settled(far, warm, config, log)
        last.kill(signal.SIGTERM)
        assert await last.ended() == 0
        dump = await _dump(warm, config, tmp_path / "dump.json")
        return _judge(far, dump, deaths)


@contextlib.asynccontextmanager
async def _people(far: Far) -> Any:
    """Everybody begins to talk. Yields the tasks that end when they are told to stop."""

    def new(name: str, channel: str) -> Customer:
        far.customers.append(Customer(name, channel))
        return far.customers[-1]

    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        talk = [
            *(on_telegram(far, new(f"tg{i}", "telegram"), 7000 + i) for i in range(4)),
            *(on_slack(far, new(f"sl{i}", "slack"), f"U0CUST{i}") for i in range(3)),
            *(by_mail(far, new(f"em{i}", "support"), f"em{i}@customer.example") for i in range(3)),
        ]
        tasks: list[asyncio.Future[None]] = [group.create_task(one) for one in talk]
        pages = []
        for i in range(3):
            visitor = Visitor(f"http://127.0.0.1:{far.http_port}", timeout_s=5)
            stack.push_async_callback(visitor.close)
            finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            pages.append(group.create_task(on_web(far, new(f"wb{i}", "web"), visitor, finished)))
            tasks.append(finished)
        tasks += [group.create_task(agent(far, share)) for share in range(AGENTS)]
        try:
            yield tasks
        finally:
            for task in [*tasks, *pages]:
                task.cancel()


async def _dump(warm: Warm, config: Path, path: Path) -> dict[str, Any]:
    path.unlink(missing_ok=True)
    process = await warm.start("dump", "--json", "--config", str(config), log=path)
    assert await process.ended() == 0, path.read_text()
    found: dict[str, Any] = json.loads(path.read_text())
    return found


async def _settled(far: Far, warm: Warm, config: Path, log: Path) -> None:
    """Wait until the platforms have nothing left to deliver and the service has nothing left to do."""
    try:
        async with asyncio.timeout(120):
            while True:
                await asyncio.sleep(0.5)
                if far.telegram.pending or far.slack._tasks:
                    continue
                dump = await _dump(warm, config, log.parent / "waiting.json")
                if not dump["inbox"]["pending"] and not dump["outbox"]["pending"]:
                    break
    except TimeoutError:
        state = {k: dump[k] for k in ("inbox", "outbox")}
        raise AssertionError(
            f"it never comes to rest: {len(far.telegram.pending)} at Telegram, {len(far.slack._tasks)} at "
            f"Slack, {state}"
        ) from None
    await asyncio.sleep(0.7)  # pages read on


# --- what must be true afterwards ------------------------------------------------------------------------


def _judge(far: Far, dump: dict[str, Any], deaths: Counter[str]) -> dict[str, Any]:
    problems: list[str] = []
    tickets = dump["tickets"]
    if dump["integrity"] != "ok":
        problems.append(f"integrity: {dump['integrity']}")
    if dump["inbox"] != {"pending": 0, "shelved": 0} or dump["outbox"]["dead"]:
        problems.append(f"left over: {dump['inbox']} {dump['outbox']}")
    if [t["number"] for t in tickets] != list(range(1, len(tickets) + 1)):
        problems.append(f"ticket numbers: {[t['number'] for t in tickets]}")
    if far.slack.dropped or far.telegram.violations:
        problems.append(f"dropped {len(far.slack.dropped)}, violations {far.telegram.violations}")
    of_customer: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for ticket in tickets:
        names = {found[1] for m in ticket["messages"] if (found := IN.search(m["text"]))}
        if len(names) != 1:
            problems.append(f"ticket {ticket['number']} has messages of {names}")
        for name in names:
            of_customer[name].append(ticket)
    repeated = unknown = 0
    for customer in far.customers:
        found = of_customer[customer.name]
        if len(found) != 1:
            problems.append(f"{customer.name} has {len(found)} tickets")
            continue
        problems += _judge_store(customer, found[0])
        problems += _judge_thread(far, customer)
        r, u, wrong = _judge_customer(far, customer, found[0])
        repeated, unknown, problems = repeated + r, unknown + u, problems + wrong
    mails = Counter(m.header("Message-ID") for m in far.smarthost.mails)
    same = {
        i: {m.content.split(b"\r\n\r\n", 1)[1] for m in far.smarthost.mails if m.header("Message-ID") == i}
        for i in mails
    }
    problems += [f"mail {i} says different things" for i, bodies in same.items() if len(bodies) != 1]
    assert not problems, "\n".join(problems[:40])
    return {
        "deaths": dict(deaths),
        "customers' messages": sum(c.said for c in far.customers),
        "agent's replies": sum(c.replies for c in far.customers),
        "notes": far.notes,
        "mails repeated with the same Message-ID": sum(mails.values()) - len(mails),
        "repeated and marked on Telegram": repeated,
        "unknown and said so on Telegram": unknown,
    }


def _numbers(pattern: re.Pattern[str], name: str, texts: list[str]) -> list[int]:
    return [int(n) for text in texts for who, n in pattern.findall(text) if who == name]


def _judge_store(customer: Customer, ticket: dict[str, Any]) -> list[str]:
    """Every message once, in the order it was said; every reply once."""
    problems = []
    came = _numbers(IN, customer.name, [m["text"] for m in ticket["messages"] if m["kind"] == "in"])
    if came != list(range(customer.said)):
        problems.append(f"{customer.name} said {customer.said}; stored are {_odd(came, customer.said)}")
    went = _numbers(OUT, customer.name, [m["text"] for m in ticket["messages"] if m["kind"] == "out"])
    if went != list(range(customer.replies)):
        problems.append(f"{customer.name} got {customer.replies}; stored are {_odd(went, customer.replies)}")
    return problems


def _judge_thread(far: Far, customer: Customer) -> list[str]:
    """One card, and below it every further message once and in order."""
    slack = far.slack
    cards = [
        m
        for m in slack.messages(slack.staff_channel)
        if (found := IN.search(slack.text(m))) and found[1] == customer.name
    ]
    if len(cards) != 1:
        return [f"{customer.name} has {len(cards)} cards"]
    thread = [slack.text(m) for m in slack.messages(slack.staff_channel, cards[0]["ts"]) if m.get("bot_id")]
    others = {who for text in thread for who, _ in IN.findall(text)} - {customer.name}
    posted = _numbers(IN, customer.name, thread)
    problems = [f"{customer.name}'s thread holds messages of {others}"] if others else []
    if posted != list(range(1, customer.said)):
        problems.append(f"{customer.name} said {customer.said}; posted are {_odd(posted, customer.said)}")
    return problems


def _judge_customer(far: Far, customer: Customer, ticket: dict[str, Any]) -> tuple[int, int, list[str]]:
    """What reached the customer: each reply once and in order, nobody else's, and no note."""
    texts = customer.heard()
    problems = []
    strangers = {who for text in texts for who, _ in OUT.findall(text)} - {customer.name}
    if strangers:
        problems.append(f"{customer.name} heard replies for {strangers}")
    if any(NOTE.search(text) for text in texts):
        problems.append(f"{customer.name} read a note")
    heard = _numbers(OUT, customer.name, texts)
    if customer.channel != "telegram":
        if heard != list(range(customer.replies)):
            problems.append(
                f"{customer.name} was sent {customer.replies}, heard {_odd(heard, customer.replies)}"
            )
        return 0, 0, problems
    states = {int(found[2]): m["delivery"] for m in ticket["messages"] if (found := OUT.search(m["text"]))}
    counts = Counter(heard)
    repeated = [n for n, count in counts.items() if count > 1]
    unknown = [n for n, state in states.items() if state == "unknown"]
    missing = set(range(customer.replies)) - set(heard)
    if list(dict.fromkeys(heard)) != sorted(counts):
        problems.append(f"{customer.name} heard in disorder {heard}")
    if any(count > 2 for count in counts.values()):
        problems.append(f"{customer.name} heard more than twice: {counts}")
    if missing - set(unknown):
        problems.append(f"{customer.name} never heard {missing - set(unknown)}, and nobody says so")
    slack = far.slack
    card = next(m for m in slack.messages(slack.staff_channel) if f"[{customer.name} " in slack.text(m))
    said = "\n".join(slack.text(m) for m in slack.messages(slack.staff_channel, card["ts"]))
    if len(set(repeated) - set(unknown)) > len(re.findall("sent a second time", said)):
        problems.append(f"{customer.name} heard {repeated} twice, and the thread does not say so")
    if len(unknown) > len(re.findall("It is unknown whether", said)):
        problems.append(f"{customer.name} may not have got {unknown}, and the thread does not say so")
    return len(repeated), len(unknown), problems


def _odd(found: list[int], count: int) -> str:
    counts = Counter(found)
    twice = sorted(n for n, c in counts.items() if c > 1)
    missing = sorted(set(range(count)) - set(counts))
    order = "in order" if found == sorted(found) else f"in the order {found}"
    return f"{len(found)}: twice {twice}, missing {missing}, {order}"
