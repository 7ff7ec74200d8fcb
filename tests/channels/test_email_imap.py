"""Mail fetched from a mailbox: each one once, in order, whatever the server does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from channels.email.envelope import unpack
from channels.email.imap_source import Cursor, ImapSource, try_login
from channels.email.settings import Settings
from tests.fakes.door import FakeDoor
from tests.fakes.imap import FakeImap
from tests.fakes.mail import CERT

NOW = datetime.now(UTC)


def mail(number: int, body: str = "hello") -> bytes:
    return (
        f"Message-ID: <m{number}@customers.example>\r\nFrom: Ann <ann@customers.example>\r\n"
        f"To: support@example.com\r\nSubject: {number}\r\n\r\n{body} {number}\r\n"
    ).encode()


def settings(host: FakeImap, **more: Any) -> Settings:
    base = {"kind": "email", "address": "support@example.com", "imap": host.url, "imap_password": "secret"}
    return Settings.model_validate({"imap_poll_s": 20.0, **base, **more})


@asynccontextmanager
async def reading(host: FakeImap, door: FakeDoor, **more: Any) -> AsyncIterator[ImapSource]:
    source = ImapSource(
        "support", settings(host, **more), door, clock=lambda: datetime.now(UTC), first_backoff_s=0.01
    )
    task = asyncio.create_task(source.run())
    try:
        yield source
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def numbers(door: FakeDoor) -> list[int]:
    return [int(raw.event_id.partition("@")[0].removeprefix("m")) for raw in door.raws]


def got(door: FakeDoor, count: int) -> Callable[[], bool]:
    return lambda: len(door.raws) >= count


async def test_what_lies_in_the_mailbox_is_read_in_order_and_left_unread() -> None:
    async with FakeImap() as host:
        for n in range(1, 6):
            host.append(mail(n))
        door = FakeDoor()
        async with reading(host, door):
            await door.until(got(door, 5))
            await door.until(lambda: door.problem is None)
        assert numbers(door) == [1, 2, 3, 4, 5]
        assert host.marked_seen == []
        assert host.complaints == []
        transit, content = unpack(door.raws[0].body)
        assert transit.via == "imap"
        assert transit.mail_from is None
        assert content == mail(1)
        assert Cursor.read(door.stored_cursor) == Cursor(1000, 5, (NOW - timedelta(days=3)).date())


async def test_a_new_mail_is_told_by_idle() -> None:
    async with FakeImap() as host:
        door = FakeDoor()
        async with reading(host, door, imap_poll_s=600.0):
            await door.until(lambda: host.idling == 1)
            host.append(mail(1))
            await door.until(got(door, 1))
            await door.until(lambda: host.idling == 1)
            host.append(mail(2))
            await door.until(got(door, 2))
        assert numbers(door) == [1, 2]


async def test_a_server_whose_idle_says_nothing_is_asked_again() -> None:
    async with FakeImap() as host:
        host.deaf_idle = True
        door = FakeDoor()
        async with reading(host, door, imap_poll_s=0.1):
            await door.until(lambda: host.idling == 1)
            host.append(mail(1))
            await door.until(got(door, 1))


async def test_a_server_without_idle_is_polled() -> None:
    async with FakeImap(idle=False) as host:
        door = FakeDoor()
        async with reading(host, door, imap_poll_s=0.05):
            await door.until(lambda: door.problem is None)
            host.append(mail(1))
            await door.until(got(door, 1))


async def test_what_came_during_an_outage_is_read_from_the_stored_cursor() -> None:
    async with FakeImap() as host:
        host.append(mail(1))
        door = FakeDoor()
        async with reading(host, door):
            await door.until(got(door, 1))
        host.append(mail(2))
        host.append(mail(3))
        later = FakeDoor(cursor=door.stored_cursor)
        async with reading(host, later):
            await later.until(got(later, 2))
        assert numbers(later) == [2, 3]
        assert host.fetched == [1, 2, 3]


async def test_another_uidvalidity_is_read_again_and_nothing_comes_twice() -> None:
    async with FakeImap() as host:
        for n in range(1, 4):
            host.append(mail(n))
        door = FakeDoor()
        async with reading(host, door):
            await door.until(got(door, 3))
            await door.until(lambda: host.idling == 1)
            host.expunge(1)
            host.append(mail(4))
            host.renumber()
            await door.until(got(door, 4))
            await door.until(lambda: str(door.stored_cursor).startswith("1001:3:"))
        assert numbers(door) == [1, 2, 3, 4]
        assert door.repeats >= 2


async def test_a_connection_cut_in_the_middle_of_a_mail_loses_nothing() -> None:
    async with FakeImap() as host:
        for n in range(1, 4):
            host.append(mail(n, "x" * 50_000))
        host.cut[2] = 2
        door = FakeDoor()
        async with reading(host, door):
            await door.until(got(door, 3))
        assert numbers(door) == [1, 2, 3]
        assert [unpack(raw.body)[1] for raw in door.raws] == [mail(n, "x" * 50_000) for n in (1, 2, 3)]
        assert host.logins >= 3


async def test_a_mail_that_cannot_be_fetched_is_noted_and_the_next_is_read() -> None:
    async with FakeImap() as host:
        for n in range(1, 4):
            host.append(mail(n))
        host.refuse[2] = 1000
        door = FakeDoor()
        async with reading(host, door):
            await door.until(got(door, 3))
        transits = [unpack(raw.body)[0] for raw in door.raws]
        assert [t.flaw for t in transits] == ["", "unfetchable", ""]
        assert door.raws[1].event_id == "#imap-1000-2"


async def test_a_mail_larger_than_we_take_arrives_in_part() -> None:
    async with FakeImap() as host:
        host.append(mail(1, "y" * (3 << 20)))
        host.append(mail(2))
        door = FakeDoor()
        async with reading(host, door, max_size_mb=2):
            await door.until(got(door, 2))
        transit, content = unpack(door.raws[0].body)
        assert transit.flaw == "truncated"
        assert len(content) == 1 << 20


async def test_a_mail_removed_meanwhile_is_passed_over() -> None:
    async with FakeImap() as host:
        for n in range(1, 4):
            host.append(mail(n))
        door = FakeDoor()

        async def remove_the_second() -> None:
            host.expunge(2)

        door.before = remove_the_second
        async with reading(host, door):
            await door.until(got(door, 2))
        assert numbers(door) == [1, 3]


async def test_a_mail_that_cannot_be_stored_is_read_again() -> None:
    async with FakeImap() as host:
        host.append(mail(1))
        door = FakeDoor()
        failures = 2

        async def fail_twice() -> None:
            nonlocal failures
            if failures:
                failures -= 1
                raise RuntimeError("disk full")

        door.before = fail_twice
        async with reading(host, door):
            await door.until(got(door, 1))
            await door.until(lambda: door.problem is None)
        assert host.fetched == [1, 1, 1]


async def test_the_first_start_leaves_old_mail_alone() -> None:
    async with FakeImap() as host:
        host.append(mail(1), NOW - timedelta(days=30))
        host.append(mail(2), NOW - timedelta(hours=1))
        door = FakeDoor()
        async with reading(host, door):
            await door.until(got(door, 1))
        assert numbers(door) == [2]
        everything = FakeDoor()
        async with reading(host, everything, imap_first_days=-1):
            await everything.until(got(everything, 2))
        assert numbers(everything) == [1, 2]


async def test_a_wrong_password_is_reported_in_a_word_and_tried_again() -> None:
    async with FakeImap() as host:
        host.append(mail(1))
        door = FakeDoor()
        async with reading(host, door, imap_password="wrong"):
            await door.until(lambda: door.problem == "imap_login_refused")
        async with reading(host, door):
            await door.until(got(door, 1))


async def test_a_server_that_comes_back_is_found() -> None:
    async with FakeImap() as host:
        door = FakeDoor()
        async with reading(host, door):
            await door.until(lambda: host.idling == 1)
            await host.close()
            await door.until(lambda: door.problem is not None)
            host.append(mail(1))
            await host.start()
            await door.until(got(door, 1))


async def test_tls_is_verified() -> None:
    async with FakeImap(tls=True) as host:
        host.append(mail(1))
        stranger = await asyncio.to_thread(try_login, settings(host))
        assert (stranger.state, stranger.detail) == ("fail", "SSLCertVerificationError")
        door = FakeDoor()
        async with reading(host, door, ca_file=str(CERT)):
            await door.until(got(door, 1))
            await door.until(lambda: host.idling == 1)
            host.append(mail(2))
            await door.until(got(door, 2))


async def test_doctor_tells_what_is_wrong() -> None:
    async with FakeImap() as host:
        good = await asyncio.to_thread(try_login, settings(host))
        assert (good.state, good.detail) == ("ok", "INBOX with IDLE")
        for change, reason in (
            ({"imap_password": "no"}, "imap_login_refused"),
            ({"imap_folder": "Nowhere"}, "imap_folder_not_found"),
        ):
            found = await asyncio.to_thread(try_login, settings(host, **change))
            assert (found.state, found.detail) == ("fail", reason)
    gone = await asyncio.to_thread(try_login, settings(host))
    assert gone.state == "fail"


@pytest.mark.parametrize("text", [None, "", "x", "1", "1:x:", "1:2:yesterday"])
def test_a_cursor_nobody_wrote_is_no_cursor(text: str | None) -> None:
    assert Cursor.read(text) is None


def test_a_cursor_survives_being_stored() -> None:
    for cursor in (Cursor(7, 9, None), Cursor(7, 9, NOW.date())):
        assert Cursor.read(str(cursor)) == cursor
