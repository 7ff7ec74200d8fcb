"""Nothing automatic without end, and nothing to who did not write: loops, forged senders, breakers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from bot.service import allowance
from tests.e2e.test_story import wait
from tests.fakes.mail import FakeSmarthost, SentMail, send_mail
from tests.mail_desk import EVIL, mail_desk
from tests.world import ADDRESS, World, running

A, B = "support@a.example", "help@b.example"
AUTOMATIC = rb"Auto-Submitted|X-Auto-Response-Suppress|Precedence"
THREADING = rb"In-Reply-To|References|Reply-To"


def without(names: bytes, content: bytes) -> bytes:
    """The mail without these header fields, folded lines and all."""
    head, gap, body = content.partition(b"\r\n\r\n")
    head = re.sub(rb"(?im)^(?:%b):.*(?:\r\n[ \t].*)*(?:\r\n|\Z)" % names, b"", head)
    return head.rstrip(b"\r\n") + gap + body


Relay = Callable[[SentMail, str], tuple[str, bytes]]  # → envelope sender and content


def as_they_are(mail: SentMail, sender: str) -> tuple[str, bytes]:
    return mail.mail_from, mail.content


def unmarked(mail: SentMail, sender: str) -> tuple[str, bytes]:
    """A relay that strips what says "automatic", and gives the null sender a name."""
    return sender, without(AUTOMATIC, mail.content)


def unthreaded(mail: SentMail, sender: str) -> tuple[str, bytes]:
    """… and threading too, with another subject and Message-ID each time."""
    content = without(AUTOMATIC + b"|" + THREADING + b"|Subject|Message-ID", mail.content)
    number = abs(hash(mail.content)) % 10**9
    return sender, b"Subject: about %d\r\nMessage-ID: <%d@relay.example>\r\n" % (number, number) + content


def disclaiming(mail: SentMail, sender: str) -> tuple[str, bytes]:
    """… and adds a line of its own, another one each time, to plain text without a marker."""
    number = abs(hash(mail.content)) % 10**9
    text = f"Thank you, we have your message. Ticket {number}.\r\n\r\nScanned by relay number {number}.\r\n"
    head = f"From: {sender}\r\nTo: x\r\nSubject: Your message {number}\r\nMessage-ID: <{number}@relay.example>\r\n"
    return sender, (head + "Date: Mon, 02 Mar 2026 10:00:00 +0000\r\n\r\n" + text).encode()


async def instance(stack: AsyncExitStack, directory: Path, address: str) -> tuple[World, FakeSmarthost]:
    smarthost = await stack.enter_async_context(FakeSmarthost())
    directory.mkdir()
    more = (
        f'[channels.support]\nkind = "email"\naddress = "{address}"\nsmtp_listen = "127.0.0.1:0"\n'
        f'smtp_send = "{smarthost.url}"\nauthentication = "none"\n'
    )
    world = await stack.enter_async_context(running(directory, web=False, more=more))
    await wait(lambda: world.service.doors["support"].problem is None, "listening")
    return world, smarthost


async def idle(world: World) -> None:
    await world.until(lambda d: d["inbox"]["pending"] == 0 and d["outbox"]["pending"] == 0)


@pytest.mark.parametrize("relay", [as_they_are, unmarked, unthreaded, disclaiming])
async def test_two_instances_stop_writing_to_each_other(tmp_path: Path, relay: Relay) -> None:
    async with AsyncExitStack() as stack:
        a, a_out = await instance(stack, tmp_path / "a", A)
        b, b_out = await instance(stack, tmp_path / "b", B)
        first = EmailMessage()
        first["From"], first["To"], first["Subject"], first["Message-ID"] = (
            B,
            A,
            "Invoice",
            "<first@b.example>",
        )
        first.set_content("Our invoice is wrong, please look at it.")
        await send_mail(a.smtp_port, B, A, first)
        exchanged, passed = 1, {id(a_out): 0, id(b_out): 0}
        for _ in range(12):
            await idle(a)
            await idle(b)
            before = exchanged
            for out, sender, to, world in ((a_out, A, B, b), (b_out, B, A, a)):
                for mail in out.mails[passed[id(out)] :]:
                    passed[id(out)] += 1
                    exchanged += 1
                    assert mail.rcpt_tos == (to,)
                    mail_from, content = relay(mail, sender)
                    await send_mail(world.smtp_port, mail_from, to, content)
            if exchanged == before:
                break
        assert exchanged <= 5, [
            m.content.decode("utf-8", "replace")[:300] for m in (*a_out.mails, *b_out.mails)
        ]


@pytest.mark.parametrize("threaded", [True, False])
async def test_an_autoresponder_that_does_not_say_so_is_answered_twice_at_most(
    tmp_path: Path, threaded: bool
) -> None:
    async with AsyncExitStack() as stack:
        world, out = await instance(stack, tmp_path / "a", A)
        await send_mail(world.smtp_port, "ann@good.example", A, letter("ann@good.example", "Where is it?", 0))
        for n in range(1, 8):
            await idle(world)
            if len(out.mails) < n:
                break
            more = f"In-Reply-To: {out.mails[-1].header('Message-ID')}\r\n" if threaded else ""
            mail = letter("ann@good.example", "I am away until Monday.", n, more)
            await send_mail(world.smtp_port, "ann@good.example", A, mail)
        assert len(out.mails) <= 2


def letter(sender: str, text: str, number: int, more: str = "") -> bytes:
    return (
        f"From: {sender}\r\nTo: {A}\r\nSubject: mail {number}\r\nMessage-ID: <{number}.{sender}>\r\n"
        f"Date: Mon, 02 Mar 2026 10:00:00 +0000\r\n{more}\r\n{text}\r\n"
    ).encode()


def forged(number: int) -> tuple[str, bytes]:
    """Envelope sender and mail of the forger's many ways."""
    victim, envelope, more = f"victim{number}@good.example", EVIL, ""
    match number % 8:
        case 1:
            victim = "ann@good.example"  # a customer whom we have answered before
        case 2:
            victim = ADDRESS  # ourselves
        case 3:
            envelope = ""
        case 4:
            victim, envelope = "mailer-daemon@good.example", ""
        case 5:
            more = "List-Id: <news.good.example>\r\nPrecedence: bulk\r\n"
        case 6:
            victim, envelope = (
                f"v{number}@nowhere.example",
                f"v{number}@nowhere.example",
            )  # a domain without SPF
        case 7:
            more = "Auto-Submitted: no\r\nReply-To: other@good.example\r\n"
    return envelope, letter(victim, f"Send me order A-{number}, how long is delivery?", number, more)


@pytest.mark.timeout(300)
async def test_a_thousand_forged_senders_get_nothing(tmp_path: Path) -> None:
    async with mail_desk(tmp_path) as desk:
        await desk.mail("Ann <ann@good.example>", "My parcel arrived broken. This is the third time!")
        card = await desk.staff.card("third time")
        await desk.answered(card, "A new parcel leaves today.")
        await desk.quiet()
        honest = len(desk.smarthost.mails)
        assert honest == 2  # Ann is who she says: she was told that we have it, and answered

        queue = iter(range(1000))

        async def some() -> None:
            for n in queue:
                envelope, content = forged(n)
                await send_mail(desk.world.smtp_port, envelope, ADDRESS, content)

        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(some())
        dump = await desk.world.until(
            lambda d: d["inbox"]["pending"] == 0 and d["outbox"]["pending"] == 0 and d, 200
        )
        assert desk.smarthost.mails[honest:] == []
        opened = [t for t in dump["tickets"] if t["number"] != 1]
        assert len(opened) >= 500  # they are tickets all the same: those of people, not of machines
        assert not any(m["kind"] == "out" for t in opened for m in t["messages"])

        # nor is anybody asked how we did, whom no person has answered
        other = await desk.staff.card("order A-8, how long")
        await desk.staff.presses(other, "Close")
        await desk.world.until(lambda d: any(t["status"] == "closed" for t in d["tickets"]))
        await desk.quiet()
        assert desk.smarthost.mails[honest:] == []


async def test_one_sender_is_told_twice_a_day_at_most_and_all_of_them_so_many_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowance, "PER_HOUR", 10)
    async with AsyncExitStack() as stack:
        world, out = await instance(stack, tmp_path / "a", A)

        async def write(sender: str, n: int) -> None:
            await send_mail(world.smtp_port, sender, A, letter(sender, f"Item {'x' * n} is broken.", n))

        for n in range(6):
            await write("ann@good.example", n)
        await idle(world)
        assert [m.rcpt_tos for m in out.mails] == [("ann@good.example",)] * 2
        for n in range(20):
            await write(f"c{n}@good.example", n)
        dump: dict[str, Any] = await world.until(
            lambda d: len(d["tickets"]) == 26 and d["outbox"]["pending"] == 0 and d
        )
        assert dump["inbox"]["pending"] == 0
        assert len(out.mails) == 10
