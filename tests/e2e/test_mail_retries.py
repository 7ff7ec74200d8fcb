"""A smarthost that says "later" for days, "never", or nothing: with the clock passed in."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from sqlalchemy import select

from bot.app import Service
from bot.config import parse
from bot.delivery import GIVE_UP_AFTER
from crm_store import dump, outbox, schema
from tests.e2e.test_story import wait
from tests.fakes.mail import FakeSmarthost, send_mail
from tests.stores import sqlite_url

ADDRESS, ANN = "support@desk.example", "ann@good.example"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, 10, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@asynccontextmanager
async def serving(directory: Path, smarthost: FakeSmarthost, clock: Clock) -> AsyncIterator[Service]:
    text = (
        f'[store]\nurl = "{sqlite_url(directory)}"\n[http]\nport = 0\n[desk]\nname = "Example"\nsecret = "s"\n'
        f'[channels.support]\nkind = "email"\naddress = "{ADDRESS}"\nsmtp_listen = "127.0.0.1:0"\n'
        f'smtp_send = "{smarthost.url}"\nauthentication = "none"\n'
    )
    service = Service(parse(text, path=directory / "wellheard.toml", environ={}), clock=clock)
    await service.start()
    try:
        await wait(lambda: service.doors["support"].problem is None, "listening")
        yield service
    finally:
        await service.stop(drain_s=0)


async def write(service: Service, subject: str = "Parcel", name: str = "Ann", filename: str = "") -> None:
    channel: Any = service.channels["support"]
    mail = (
        f"From: {name} <{ANN}>\r\nTo: {ADDRESS}\r\nSubject: {subject}\r\nMessage-ID: <1@good.example>\r\n"
        "Date: Mon, 02 Mar 2026 10:00:00 +0000\r\n\r\nMy parcel arrived broken.\r\n"
    )
    await send_mail(channel.ports["smtp"], ANN, ADDRESS, mail)


async def row_of(service: Service) -> Any:
    """The one outbox row."""
    rows = await service.store.read(lambda tx: tx.execute(select(schema.outbox)).all())
    return rows[0] if rows else None


async def settled(service: Service) -> Any:
    """The row once nobody is trying to send it."""
    async with asyncio.timeout(20):
        while (row := await row_of(service)) is None or row.state == "sending" or not row.attempts:
            await asyncio.sleep(0.02)
        return row


async def test_later_is_tried_for_days_at_growing_intervals_and_then_lies_on_the_shelf(
    tmp_path: Path,
) -> None:
    clock = Clock()
    async with FakeSmarthost() as smarthost, serving(tmp_path, smarthost, clock) as service:
        smarthost.answer("rcpt", "450 4.7.1 greylisted, come back later", times=10**6)
        await write(service)
        begun, waits = clock.now, []
        row = await settled(service)
        while row.state == "pending":
            waits.append(row.due_at - clock.now)
            tried = row.attempts
            clock.now = row.due_at + timedelta(seconds=1)
            service.delivery.wake()
            async with asyncio.timeout(20):
                while (row := await settled(service)).attempts == tried and row.state == "pending":
                    await asyncio.sleep(0.02)
        assert row.state == "dead"
        assert "450" in row.error
        assert GIVE_UP_AFTER <= clock.now - begun <= GIVE_UP_AFTER + timedelta(hours=5)
        assert waits[0] < timedelta(seconds=10)
        assert all(later > earlier * 1.2 for earlier, later in itertools.pairwise(waits[:9]))
        assert timedelta(hours=2) < max(waits) < timedelta(hours=4)
        assert 20 < len(waits) < 60
        assert smarthost.mails == []

        # a person takes it from the shelf once the far side is well again
        smarthost._faults.clear()
        [dead] = await service.store.read(lambda tx: outbox.dead(tx))
        assert await service.store.write(outbox.retry, dead.id, clock.now)
        service.delivery.wake()
        await smarthost.until(1)
        print(f"{len(waits) + 1} attempts over {(clock.now - begun).total_seconds() / 86400:.1f} days")


async def test_never_is_tried_once(tmp_path: Path) -> None:
    clock = Clock()
    async with FakeSmarthost() as smarthost, serving(tmp_path, smarthost, clock) as service:
        smarthost.answer("rcpt", "550 5.1.1 no such user", times=10**6)
        await write(service)
        row = await settled(service)
        assert (row.state, row.attempts) == ("dead", 1)
        assert len([r for r in smarthost.refusals if r.startswith("550")]) == 1


async def test_a_repeat_after_an_unknown_outcome_is_the_same_mail(tmp_path: Path) -> None:
    clock = Clock()
    async with FakeSmarthost() as smarthost, serving(tmp_path, smarthost, clock) as service:
        smarthost.drop("dot", times=2)  # it takes the mail and dies before it says so
        await write(service)
        for count in (1, 2, 3):
            await smarthost.until(count)
            row = await settled(service)
            clock.now = (row.due_at or clock.now) + timedelta(seconds=1)
            service.delivery.wake()
        assert len({mail.header("Message-ID") for mail in smarthost.mails}) == 1
        found = await service.store.read(dump.everything)
        assert found["outbox"] == {"pending": 0, "sent": 1, "unknown": 0, "dead": 0}


async def test_a_customers_subject_and_name_bring_no_header_of_their_own(tmp_path: Path) -> None:
    clock = Clock()
    async with FakeSmarthost() as smarthost, serving(tmp_path, smarthost, clock) as service:
        # "Hi\r\nBcc: evil@x.example\r\n\r\nbody", as it would be smuggled in
        word = "=?utf-8?b?SGkNCkJjYzogZXZpbEB4LmV4YW1wbGUNCg0KYm9keQ==?="
        await write(service, subject=word, name=word)
        [mail] = await smarthost.until(1)
        assert mail.rcpt_tos == (ANN,)
        parsed = message_from_bytes(mail.content, policy=policy.default)
        assert parsed["Bcc"] is None
        assert "Bcc: evil@x.example" in str(parsed["Subject"])
        assert smarthost.refusals == []
