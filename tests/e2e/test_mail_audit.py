"""What lies in the mailbox is compared with what is stored; what was missed is named and fetched."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection

from bot import doctor
from crm_store import inbox
from crm_store.db import Store
from tests.e2e.test_story import WebStaff, wait
from tests.fakes.imap import FakeImap
from tests.fakes.web import StaffBrowser
from tests.stores import sqlite_url
from tests.world import ADDRESS, running


def mail(number: int, with_id: bool = True) -> bytes:
    head = f"Message-ID: <m{number}@customers.example>\r\n" if with_id else ""
    return (
        f"{head}From: c{number}@customers.example\r\nTo: {ADDRESS}\r\nSubject: about {number}\r\n"
        f"Date: Mon, 02 Mar 2026 10:0{number}:00 +0000\r\n\r\nthis is {number}\r\n"
    ).encode()


async def test_an_audit_finds_what_was_missed_and_fetches_it(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    async with FakeImap() as host:
        for n in range(4):
            host.append(mail(n, with_id=n != 3))
        async with Store(url) as store:  # as if somebody had restored an old backup with a newer cursor

            def skip(tx: Connection) -> None:
                inbox.accept(tx, [], [("support", f"{host.uidvalidity}:2:")], store.now(tx))

            await store.write(skip)
        more = (
            f'[channels.support]\nkind = "email"\naddress = "{ADDRESS}"\nimap = "{host.url}"\n'
            'imap_password = "secret"\nauthentication = "none"\n'
        )
        async with running(tmp_path, store_url=url, more=more) as world:
            staff = WebStaff(world)
            staff.browser = StaffBrowser(world.url)
            await staff.browser.open()
            await staff.browser.sign_in(await world.code("Mei"))
            try:
                await world.until(lambda d: len(d["tickets"]) == 2)
                found = await _doctor(world.config)
                assert "4 lie on the server" in found
                assert "2 of them are not here" in found
                await staff.browser.command("/mail audit 5")
                await wait(
                    lambda: any("2" in a and "4" in a and "support" in a for a in staff.browser.answers),
                    "the result",
                )
                assert any("m0@customers.example" in a for a in staff.browser.answers)
                dump = await world.until(
                    lambda d: len(d["tickets"]) == 4 and d["inbox"]["pending"] == 0 and d
                )
                texts = sorted(m["text"] for t in dump["tickets"] for m in t["messages"] if m["kind"] == "in")
                assert texts == [f"this is {n}" for n in range(4)]
                assert "0 of them are not here" in await _doctor(world.config)
                assert host.marked_seen == []
                assert host.complaints == []
            finally:
                await staff.close()


async def _doctor(config: object) -> str:
    checks = await doctor.examine(config)  # type: ignore[arg-type]
    return " ".join(f"{c.what} {c.detail}" for c in checks if "audit" in c.what)


async def test_agents_may_not_ask_for_an_audit(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        staff = WebStaff(world)
        await staff.open()
        try:
            await staff.browser.command("/mail audit")
            await wait(lambda: any("may not use /mail" in a for a in staff.browser.answers), "refused")
        finally:
            await staff.close()
