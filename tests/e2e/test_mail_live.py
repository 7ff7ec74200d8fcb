"""The service between real servers: Postfix brings and takes its mail, Dovecot keeps the boxes it reads."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from crm_store import files, schema
from tests.e2e.test_story import WebStaff, wait
from tests.fakes.mail import send_mail
from tests.fakes.smtp_client import CERT
from tests.mailservers import PASSWORD, CuttingProxy, MailServers, free_port, missing
from tests.world import ADDRESS, World, running

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")
CUSTOMER, BOX = "li.wei@customer.example", "archive@box.example"


def letter(subject: str, text: str, *, to: str = ADDRESS, **headers: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = f"Li Wei <{CUSTOMER}>", to, subject
    mail["Message-ID"] = f"<{hashlib.sha256((subject + text).encode()).hexdigest()[:16]}@customer.example>"
    mail["Date"] = "Mon, 02 Mar 2026 10:00:00 +0000"
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(text)
    return mail


@asynccontextmanager
async def living(
    directory: Path, *, smtp: bool = True, imap: bool | int = True, tls: bool = False
) -> AsyncIterator[tuple[World, MailServers]]:
    """Postfix → our SMTP server and a copy → Dovecot → our IMAP client; our replies → Postfix → Dovecot.
    `imap` may be a port (a proxy's) instead."""
    ours = free_port()
    async with AsyncExitStack() as stack:
        bcc = {ADDRESS: BOX} if smtp else {}
        mail = await stack.enter_async_context(
            MailServers(deliver_to={ADDRESS: ours} if smtp else {}, copies=bcc)
        )
        lines = [
            "[channels.support]",
            'kind = "email"',
            f'address = "{ADDRESS}"',
            'authentication = "none"',
            f'smtp_send = "smtp://127.0.0.1:{mail.smtp_port}"',
            f'aliases = ["{BOX}"]',
        ]
        if smtp:
            lines.append(f'smtp_listen = "127.0.0.1:{ours}"')
        if imap:
            port = mail.imaps_port if tls else mail.imap_port
            if imap is not True:
                port = imap
            host = f"{'imaps' if tls else 'imap'}://{BOX.replace('@', '%40')}@localhost:{port}"
            lines += [f'imap = "{host}"', f'imap_password = "{PASSWORD}"', "imap_poll_s = 1.0"]
            lines += [f'ca_file = "{CERT}"'] if tls else []
        world = await stack.enter_async_context(running(directory, more="\n".join(lines)))
        yield world, mail


def messages(dump: dict[str, Any]) -> list[dict[str, Any]]:
    return [m for t in dump["tickets"] for m in t["messages"]]


def came(dump: dict[str, Any]) -> list[str]:
    return [m["text"].strip() for m in messages(dump) if m["kind"] == "in"]


def taken_in(tx: Connection) -> int:
    """How many raw mails were made durable."""
    query = select(func.count()).select_from(schema.inbox).where(schema.inbox.c.channel == "support")
    return int(tx.execute(query).scalar_one())


async def until(condition: Callable[[], Any], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.05)


async def test_a_ticket_through_postfix_and_dovecot_and_back(tmp_path: Path) -> None:
    async with living(tmp_path, tls=True) as (world, mail):
        staff = WebStaff(world)
        await staff.open()
        try:
            first = letter("Broken parcel", "My parcel arrived broken. This is the third time!")
            await send_mail(mail.smtp_port, CUSTOMER, ADDRESS, first)
            card = await staff.card("third time")
            await staff.replies(card, "A new parcel leaves today.")

            def reply(words: str) -> Any:
                for found in mail.maildir(CUSTOMER):
                    if words in found.get_body(("plain",)).get_content():  # type: ignore[union-attr]
                        return found
                return None

            answer = await wait(lambda: reply("leaves today"), "the reply in the customer's Maildir")
            signed = parseaddr(str(answer["Reply-To"]))[1]
            assert answer["In-Reply-To"] == first["Message-ID"]
            assert str(answer["References"]).split()[-1] == first["Message-ID"]
            assert answer["Subject"] == "Re: Broken parcel"
            assert parseaddr(str(answer["From"]))[1] == ADDRESS
            assert signed.startswith("support+")
            assert answer["Auto-Submitted"] is None
            assert answer["Return-Path"] == f"<{ADDRESS}>"

            # some programs keep no ids at all: the signed plus-address alone must find the conversation
            second = letter("completely different", "Which colour will it have?", to=signed)
            await send_mail(mail.smtp_port, CUSTOMER, signed, second)
            await world.until(lambda d: "Which colour will it have?" in came(d))
            third = letter("Re: Broken parcel", "And thank you.", In_Reply_To=answer["Message-ID"])
            await send_mail(mail.smtp_port, CUSTOMER, ADDRESS, third)
            await world.until(lambda d: "And thank you." in came(d))
            await staff.replies(card, "Blue it is.")
            answer = await wait(lambda: reply("Blue it is"), "the second reply")
            assert answer["In-Reply-To"] == third["Message-ID"]
            chain = str(answer["References"]).split()
            assert chain.index(first["Message-ID"]) < chain.index(second["Message-ID"])
            assert chain[-1] == third["Message-ID"]

            # each of the three came twice, by SMTP and by IMAP
            read = await wait(lambda: len(mail.maildir(BOX)) == 3, "the copies in the box")
            assert read
            fourth = letter("Re: Broken parcel", "Last one.", In_Reply_To=answer["Message-ID"])
            await send_mail(mail.smtp_port, CUSTOMER, ADDRESS, fourth)
            await wait(lambda: len(mail.maildir(BOX)) == 4, "the last copy")
            cursor = world.service.doors["support"].cursor

            async def fetched() -> bool:
                return (await cursor() or "").split(":")[1:2] == ["4"]

            await until(fetched)
            final = await world.until(lambda d: d["inbox"]["pending"] == 0 and len(came(d)) == 4 and d)
            assert len(final["tickets"]) == 1
            assert await world.store.read(taken_in) == 4
            assert final["outbox"]["dead"] == final["outbox"]["unknown"] == 0
        finally:
            await staff.close()


async def test_a_26_mb_attachment_arrives_whole_and_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = os.urandom(26_000_000)
    async with living(tmp_path) as (world, mail):
        big = letter("The film", "As promised.")
        big.add_attachment(content, maintype="video", subtype="mp4", filename="film.mp4")
        since = time.monotonic()
        await send_mail(mail.smtp_port, CUSTOMER, ADDRESS, big, timeout_s=60)
        await world.until(lambda d: "As promised." in came(d), 60)
        seconds = time.monotonic() - since

        async def fetched() -> bool:
            return bool(await world.service.doors["support"].cursor())

        await until(fetched, 60)
        final = await world.until(lambda d: d["inbox"]["pending"] == 0 and d)
        assert len(messages(final)) - sum(m["kind"] == "out" for m in messages(final)) == 1
        message_id = next(m["id"] for m in messages(final) if m["kind"] == "in")
        [row] = await world.store.read(files.of_message, message_id)
        assert (row.filename, row.sha256) == ("film.mp4", hashlib.sha256(content).hexdigest())
        assert await world.store.read(taken_in) == 1
    with capsys.disabled():
        print(f"\n26 MB through Postfix, stored: {seconds:.1f} s")


async def test_a_renumbered_mailbox_is_read_again_and_nothing_is_doubled(tmp_path: Path) -> None:
    async with living(tmp_path, smtp=False) as (world, mail):
        for n in range(3):
            await send_mail(mail.smtp_port, CUSTOMER, BOX, letter(f"number {n}", f"this is {n}", to=BOX))
        await world.until(lambda d: len(came(d)) == 3)
        before = await world.service.doors["support"].cursor()
        mail.renumber(BOX)
        await send_mail(mail.smtp_port, CUSTOMER, BOX, letter("number 3", "this is 3", to=BOX))
        await world.until(lambda d: len(came(d)) == 4, 40)

        async def renumbered() -> bool:
            now = await world.service.doors["support"].cursor() or ""
            return now.split(":")[0] != (before or "").split(":")[0] and now.split(":")[1] != "0"

        await until(renumbered)
        final = await world.until(lambda d: d["inbox"]["pending"] == 0 and d)
        assert sorted(came(final)) == [f"this is {n}" for n in range(4)]
        channel: Any = world.service.channels["support"]
        held = await channel.held(datetime.now(UTC) - timedelta(days=2))  # what an audit compares with
        assert {h.event_id for h in held} == {m["event_id"] for m in messages(final) if m["kind"] == "in"}


async def test_a_connection_cut_in_the_middle_of_a_fetch_loses_and_doubles_nothing(tmp_path: Path) -> None:
    port = free_port()
    async with AsyncExitStack() as stack:
        # the proxy must know Dovecot's port, and the configuration the proxy's
        proxy = CuttingProxy(0, 1_500, 40_000, 150_000, 700, 230_000, listen=port)
        world, mail = await stack.enter_async_context(living(tmp_path, smtp=False, imap=port))
        for n in range(8):
            long = letter(f"number {n}", f"this is {n}", to=BOX)
            long.add_attachment("padding that makes it long\n" * 2_000)
            await send_mail(mail.smtp_port, CUSTOMER, BOX, long)
        await wait(lambda: len(mail.maildir(BOX)) == 8, "eight mails in the box")
        proxy.to = mail.imap_port
        await stack.enter_async_context(proxy)
        await world.until(lambda d: len(came(d)) == 8, 60)
        final = await world.until(lambda d: d["inbox"]["pending"] == 0 and d)
        assert sorted(came(final)) == [f"this is {n}" for n in range(8)]
        assert proxy.ended == 5
