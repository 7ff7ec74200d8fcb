"""Two hundred customers with words of their own in every place text can live: whoever is erased leaves none
behind in any file of the service, while it runs and after, and everybody else keeps theirs."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from sqlalchemy import Connection, select

from bot.__main__ import main
from bot.app import Service
from crm_store import erase, schema, stats
from crm_store.hours import BusinessHours
from crm_store.search import indexing
from tests.api.kit import Caller, token
from tests.fakes.mail import send_mail
from tests.fakes.web import StaffBrowser, Visitor
from tests.store.test_erase import inflated, traces
from tests.world import ADDRESS, World, running

MAIL, TELEGRAM, SLACK, WEB = range(1, 91), range(91, 141), range(141, 191), range(191, 201)
EVERYBODY = range(1, 201)
ERASED = (1, 91, 141, 191)  # one of each channel, in every place there is
CONTROL = (2, 92, 142, 192)  # the same, and they stay


def mark(n: int) -> str:
    """What all words of a customer begin with: letters that no other word has."""
    return "zq" + hashlib.sha256(f"customer {n}".encode()).hexdigest()[:18]


def word(n: int, place: str) -> str:
    return mark(n) + hashlib.sha256(f"{n} {place}".encode()).hexdigest()[:6]


def email(n: int) -> str:
    return f"{word(n, 'local part')}@customer.example"


def phone(n: int) -> str:
    return f"+4915112{100000 + n}"


def telegram_id(n: int) -> int:
    return 7_000_000_000 + n


def slack_id(n: int) -> str:
    return f"U0ZQ{n:05}"


def complaint(n: int, place: str = "first words") -> str:
    return f"{word(n, place)} arrived broken, this is the third time I write and I am very angry!"


async def cli(world: World, *arguments: str) -> str:
    """The command line beside the running service; what it prints."""
    config = str(world.config.base / "wellheard.toml")
    out, told = io.StringIO(), io.StringIO()

    def run() -> int:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
            return main([*arguments, "--config", config])

    configured = structlog.get_config()
    code = await asyncio.to_thread(run)
    structlog.configure(**configured)
    assert code == 0, told.getvalue()
    return out.getvalue()


def lists(directory: Path) -> None:
    """What a shop would export."""
    people = ["name,email,phone,company,tags,Favourite"]
    bought = ["number,date,email,status,amount,currency,product,tracking"]
    for n in [*MAIL, *TELEGRAM, *SLACK]:
        people.append(
            f"{word(n, 'name')} {word(n, 'surname')},{email(n)},{phone(n)},{word(n, 'company')} Ltd,"
            f"{word(n, 'tag')},{word(n, 'field')}"
        )
        bought.append(
            f"{word(n, 'order')},2026-01-05,{email(n)},paid,30.00,EUR,engraved {word(n, 'product')},"
            f"{word(n, 'tracking')}"
        )
    (directory / "people.csv").write_text("\n".join(people), "utf-8")
    (directory / "orders.csv").write_text("\n".join(bought), "utf-8")


def mail(n: int, text: str) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"] = f"{word(n, 'name')} <{email(n)}>", ADDRESS
    made["Subject"] = f"{word(n, 'subject')} again"
    made["Message-ID"] = f"<{word(n, 'message id')}@customer.example>"
    made["Date"] = "Mon, 02 Mar 2026 10:00:00 +0000"
    made.set_content(text, cte="base64" if n % 2 else "quoted-printable")
    content = f"a photograph of {word(n, 'file content')}".encode()
    made.add_attachment(content, "application", "octet-stream", filename=f"{word(n, 'file name')}.bin")
    return made


SENT: dict[int, bytes] = {}  # the same mail again is the same to the byte


async def writes(world: World, n: int) -> None:
    """The first message of a customer, on their own channel, with a file."""
    content = f"a photograph of {word(n, 'file content')}".encode()
    if n in MAIL:
        SENT.setdefault(n, mail(n, complaint(n)).as_bytes())
        await send_mail(world.smtp_port, email(n), ADDRESS, SENT[n])
    elif n in TELEGRAM:
        assert world.telegram
        who = {"name": word(n, "shown name"), "username": word(n, "handle")}
        world.telegram.shares_contact(telegram_id(n), phone(n), **who)
        world.telegram.user_says(telegram_id(n), complaint(n))
        world.telegram.user_sends_file(telegram_id(n), content, f"{word(n, 'file name')}.bin")
    else:
        assert world.slack
        world.slack.add_user(slack_id(n), word(n, "shown name"), email=email(n))
        files = [(f"{word(n, 'file name')}.bin", "application/octet-stream", content)]
        await world.slack.says(slack_id(n), "", complaint(n), files=files)


def ticket_of(n: int, dump: dict[str, Any]) -> dict[str, Any] | None:
    return next(
        (t for t in dump["tickets"] if any(mark(n) in m["text"] for m in t["messages"])),
        None,
    )


async def changes_their_mind(world: World, n: int) -> None:
    """What can be edited and deleted is."""
    if n in TELEGRAM:
        assert world.telegram
        said = world.telegram.user_says(telegram_id(n), f"{word(n, 'before the edit')} is what I meant")
        world.telegram.edits(said, f"{word(n, 'after the edit')} is what I meant")
        await until_said(world, n, "after the edit")
    elif n in SLACK:
        assert world.slack
        ts = await world.slack.says(slack_id(n), "", f"{word(n, 'before the edit')} is what I meant")
        await until_said(world, n, "before the edit")
        await world.slack.edits(slack_id(n), ts, f"{word(n, 'after the edit')} is what I meant")
        await until_said(world, n, "after the edit")
        await world.slack.deletes(slack_id(n), ts)


async def until_said(world: World, n: int, place: str) -> None:
    def said(dump: dict[str, Any]) -> Any:
        return any(word(n, place) in m["text"] for t in dump["tickets"] for m in t["messages"])

    await world.until(said)


async def served(world: World, mei: StaffBrowser, caller: Caller, n: int) -> int:
    """What colleagues and other systems write about a customer. Return the contact's number."""
    await changes_their_mind(world, n)
    ticket = ticket_of(n, await world.dump())
    assert ticket is not None
    number, contact = ticket["number"], ticket["customer"]["id"]
    thread = await mei.thread(mark(n))
    await mei.reply(thread, f"// {word(n, 'note')} is what they always say")
    await mei.command(f"/reply {number} Dear {word(n, 'reply')}, it is on its way.")
    await mei.command(f"/note C{contact} {word(n, 'note about them')} is how they like to be called")
    await mei.command(f"/set C{contact} nickname {word(n, 'nickname')}")
    await mei.command(f"/tag C{contact} {word(n, 'second tag')}")
    await mei.command(f"/consent C{contact} grant newsletter said so to {word(n, 'consent')}")
    await mei.command(f"/customer C{contact}")
    await mei.command(f"/customer {word(n, 'name')}")
    await mei.command(f"/search {word(n, 'first words')}")
    await mei.command(f"/search {word(n, 'never said')}")
    await mei.command("/tickets open")
    event = {
        "customer": {"id": contact},
        "kind": "view",
        "at": "2026-03-01T10:00:00Z",
        "subject": f"/shop/{word(n, 'page')}",
        "key": word(n, "event key"),
        "fields": {"from": word(n, "event field")},
    }
    told = await caller.post("/events", {"events": [event]}, Idempotency_Key=f"event-{n}")
    assert told.status == 200, told
    asked = await caller.get(f"/customers/{contact}")
    assert asked.status == 200
    changed = await caller.patch(
        f"/customers/{contact}", {"city": word(n, "city")}, Idempotency_Key=f"change-{n}"
    )
    assert changed.status == 200, changed
    await mei.reply(thread, f"Dear {word(n, 'held reply')}, one moment.")
    await mei.command(f"/ticket {number} close")
    async with aiohttp.ClientSession() as browser:
        signed = f"{number}.{world.service.office.sign('rating', str(number))}"
        form = {"n": "4", "comment": f"{word(n, 'comment')} was kind"}
        async with browser.post(f"{world.url}/r/{signed}", data=form) as answer:
            assert answer.status == 200
    return int(contact)


def files_of(world: World) -> Iterable[Path]:
    return (file for file in world.config.base.rglob("*") if file.is_file())


def found(world: World, people: Iterable[int]) -> dict[int, list[str]]:
    """Where words of these people are, in whichever spelling: file and spelling."""
    contents = {file: file.read_bytes() for file in files_of(world) if not file.name.endswith(".csv")}
    contents = {file: content + inflated(content) for file, content in contents.items()}
    out: dict[int, list[str]] = {}
    for n in people:
        core = mark(n)[5:]  # the index leaves out what a word shares with the one before it
        spelled = [
            f"{file.name} {how}" for file, content in contents.items() for how in traces(content, core)
        ]
        numbers = [phone(n)[1:], *([str(telegram_id(n))] if n in TELEGRAM else [])]
        spelled += [f"{file.name} {x}" for file, c in contents.items() for x in numbers if x.encode() in c]
        if spelled:
            out[n] = spelled
    return out


def present(world: World) -> set[int]:
    """Whose words are there at all."""
    content = b"".join(file.read_bytes() for file in files_of(world) if not file.name.endswith(".csv"))
    marks = set(re.findall(rb"zq[0-9a-f]{18}", content.lower()))
    return {n for n in EVERYBODY if mark(n).encode() in marks}


@asynccontextmanager
async def a_world(directory: Path, key: str = "") -> AsyncIterator[World]:
    """A service with all its channels and a log in its own directory."""
    log = (directory / "wellheard.log").open("w", encoding="utf-8")
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(log), cache_logger_on_first_use=False)
    try:
        async with running(
            directory,
            telegram=True,
            slack=True,
            mail=True,
            articles=False,
            web_per_minute=100_000,
            hold_s=600,
            key=key,
        ) as world:
            yield world
    finally:
        log.close()


async def quiet(world: World) -> None:
    """Until everything that is due is done, and is in the index."""
    await world.service.intake.drain()
    await world.service.delivery.drain()
    await indexing.catch_up(world.store)


@pytest.mark.timeout(300)  # two hundred customers: 25 s, on a busy machine four times as long
async def test_whoever_is_erased_leaves_no_word_behind_and_everybody_else_keeps_theirs(
    tmp_path: Path,
) -> None:
    lists(tmp_path)
    async with a_world(tmp_path) as world, aiohttp.ClientSession() as session:
        caller = Caller(world.url, await token(world.store), session)
        for what in ("people", "orders"):
            kind = "customers" if what == "people" else "orders"
            await cli(world, "import", kind, str(tmp_path / f"{what}.csv"))
        for n in [*MAIL, *TELEGRAM, *SLACK]:
            await writes(world, n)
        visitors = {n: Visitor(world.url) for n in WEB}
        for n, visitor in visitors.items():
            await visitor.open()
            named = (f"{word(n, 'file name')}.bin", "text/plain", word(n, "file content").encode())
            await visitor.upload(complaint(n), named)
        total = len(EVERYBODY)
        await world.until(lambda d: sum(bool(ticket_of(n, d)) for n in EVERYBODY) == total, 90)
        async with StaffBrowser(world.url) as mei:
            await mei.sign_in(await world.code("Mei"))
            contacts = {n: await served(world, mei, caller, n) for n in (*ERASED, *CONTROL)}
        for visitor in visitors.values():
            await visitor.close()
        await quiet(world)
        assert present(world) == set(EVERYBODY)
        assert set(found(world, CONTROL)) == set(CONTROL)
        before = await world.store.read(numbers_of)

        for n in ERASED:
            await cli(world, "erase", f"C{contacts[n]}")
        await quiet(world)
        assert await erase.settle(world.store)
        assert found(world, ERASED) == {}
        assert present(world) == set(EVERYBODY) - set(ERASED)
        assert await world.store.read(numbers_of) == before
        staff_posts = [world.slack.text(m) for m in world.slack.messages(world.slack.staff_channel)]  # type: ignore[union-attr]
        assert [post for post in staff_posts if any(mark(n) in post for n in ERASED)] == []

        # nothing brings them back: not their mails read again, not a file, not the same updates
        for n in ERASED:
            if n in MAIL:
                await writes(world, n)
        for what in ("people", "orders"):
            kind = "customers" if what == "people" else "orders"
            await cli(world, "import", kind, str(tmp_path / f"{what}.csv"))
        await quiet(world)
        assert await erase.settle(world.store)
        assert found(world, ERASED) == {}

        await world.service.stop(drain_s=0)
        world.service = Service(world.config)
        try:
            await world.service.start()
            await quiet(world)
            assert found(world, ERASED) == {}
            assert present(world) == set(EVERYBODY) - set(ERASED)
        finally:
            await world.service.stop(drain_s=0)


def numbers_of(tx: Connection) -> Any:
    """What /stats and reports count."""
    hours = BusinessHours.parse("Mon-Sun 00:00-24:00")
    order, event = schema.order, schema.customer_event
    day = stats.timedelta(days=1)
    now = tx.execute(select(schema.message.c.created_at).order_by(schema.message.c.id.desc())).scalar()
    assert now is not None
    at = now.replace(hour=0, minute=0, second=0, microsecond=0)
    counted = stats.numbers(tx, at - day, at + day, hours)
    sold = sorted(tx.execute(select(order.c.amount_minor, order.c.ordered_at)).all())
    return counted, [tuple(row) for row in sold], tx.execute(select(event.c.kind, event.c.at)).all()
