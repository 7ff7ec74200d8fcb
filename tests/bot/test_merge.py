"""/merge and /unmerge: found, shown, confirmed, done, told and taken back; by those who may."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from bot import commands, confirm
from bot.access import member
from bot.cli.common import office_for
from bot.config import parse
from bot.office import Office, Turn
from bot.service import suggesting
from bot.suggester import Suggester
from channels import rich
from channels.rich import Buttons, Reply
from crm_store import audit, contacts, importer, merges, people, sales, schema
from crm_store.db import Store
from crm_store.importing.values import Defaults
from tests.e2e.test_faults import enrol, wait
from tests.stores import sqlite_url
from tests.world import running, seed, settings

CUSTOMERS = """customer_id,name,email,phone,city,tags
K1,Li Wei,li@example.com,+447700900123,London,vip
K2,Wei Li,wei@example.org,,Leeds,loud
K3,Ann O'Neil,info@oneil.example,,Dublin,
K4,Ann O'Neil,ann@oneil.example,,Cork,
"""
ORDERS = """number,date,customer_id,status,total,currency
A-1,2026-02-01,K1,shipped,19.90,EUR
A-2,2026-02-03,K2,shipped,5.00,EUR
"""


class Desk:
    def __init__(self, store: Store, office: Office, directory: Path) -> None:
        self.store, self.office, self.directory = store, office, directory

    async def perform(self, name: str, text: str, *, yes: bool = False, ticket: Any = None) -> Reply:
        def work(tx: Connection) -> Reply:
            who, turn = member(people.by_name(tx, name)), Turn(tx, self.office, datetime.now(UTC))
            done = commands.perform(turn, who, text, ticket)
            commands.audited(turn, who, done)
            if yes:
                assert done.code, rich.to_text(done.reply)
                done = confirm.redeem(turn, who, done.code)
                commands.audited(turn, who, done)
            return done.reply

        return await self.store.write(work)

    async def ask(self, name: str, text: str, *, yes: bool = False) -> str:
        return rich.to_text(await self.perform(name, text, yes=yes))

    async def take_in(self, kind: str, text: str) -> Any:
        path = self.directory / f"{kind}.csv"
        path.write_text(text)
        return await importer.run(self.store, kind, path, Defaults(), datetime.now(UTC))  # type: ignore[arg-type]

    async def names(self) -> list[str]:
        return list(
            await self.store.read(
                lambda tx: tx.execute(select(schema.contact.c.name).where(contacts.LIVE)).scalars().all()
            )
        )


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    url = sqlite_url(tmp_path)
    await seed(url, articles=False)
    config = parse(settings(url), path=tmp_path / "wellheard.toml", environ={})
    async with Store(url) as store:
        found = Desk(store, await office_for(config, store), tmp_path)
        await found.take_in("customers", CUSTOMERS)
        await found.take_in("orders", ORDERS)
        yield found


@pytest.mark.parametrize(
    "text",
    [
        "1 2", "C1 C2", "#1 #2", "li@example.com wei@example.org", "li@example.com | Wei Li",
        '"Li Wei" wei@example.org', "A-1 A-2", "+447700900123 wei@example.org", "C1 and wei@example.org",
        "li@example.com 和 C2", "1 wei@example.org",
    ],
)  # fmt: skip
async def test_two_customers_are_named_in_any_way(desk: Desk, text: str) -> None:
    shown = await desk.ask("Mei", f"/merge {text}")
    for words in ("Li Wei (C1)", "Wei Li (C2)", "/confirm", "订单：1", "城市：London（而非 Leeds）", "loud"):
        assert words in shown, shown
    assert len(await desk.names()) == 4, "nothing is done yet"


async def test_who_is_meant_is_asked_back_when_several_fit(desk: Desk) -> None:
    reply = await desk.perform("Mei", "/merge C1 | Ann O'Neil")
    (buttons,) = (b for b in reply.blocks if isinstance(b, Buttons))
    assert [b.action for b in buttons.buttons] == ["command:merge 1 3", "command:merge 1 4"]
    assert "用法" in await desk.ask("Mei", "/merge") or "/merge" in await desk.ask("Mei", "/merge")
    assert "Zeb" in await desk.ask("Mei", "/merge C1 | Zeb Quux")


async def test_a_shared_address_is_pointed_out(desk: Desk) -> None:
    assert "info@oneil.example" in (await desk.ask("Mei", "/merge C4 C3")).split("共用")[0]
    assert "共用" not in await desk.ask("Mei", "/merge C1 C2")


async def test_one_is_found_by_everything_of_both_and_two_again_afterwards(desk: Desk) -> None:
    done = await desk.ask("Mei", "/merge C1 C2", yes=True)
    assert "/unmerge 1" in done
    for text in ("C2", "2", "wei@example.org", "A-2", "li@example.com"):
        assert "C1" in await desk.ask("Mei", f"/customer {text}"), text
    assert "同一位" in await desk.ask("Mei", "/merge C2 C1"), "an old number is the one who is left"
    report = await desk.take_in("customers", CUSTOMERS)
    assert (report.new, report.updated) == (0, 0), "a file's own numbers find them"
    await desk.take_in("orders", ORDERS + "A-3,2026-03-01,K2,shipped,7.00,EUR\n")
    assert (await desk.store.read(sales.summary, 1)).count == 3
    assert "1" in await desk.ask("Mei", "/unmerge")
    assert "Wei Li (C2)" in await desk.ask("Mei", "/unmerge 1")
    assert len(await desk.names()) == 3
    assert "Wei Li (C2)" in await desk.ask("Mei", "/unmerge 1", yes=True)
    assert (await desk.store.read(sales.summary, 1)).count == 1
    assert (await desk.store.read(sales.summary, 2)).count == 2, (
        "an order that came since goes to whose reference it names"
    )
    assert "撤销" in await desk.ask("Mei", "/unmerge 1")


async def test_what_cannot_be_is_refused_in_words(desk: Desk) -> None:
    assert "同一位" in await desk.ask("Mei", "/merge C1 C1")
    await desk.ask("Mei", "/merge C1 C2", yes=True)
    await desk.ask("Mei", "/merge C3 C1", yes=True)
    assert "同一位" in await desk.ask("Mei", "/merge C2 C3"), "both are C3 by now"
    assert "先撤销合并 2" in await desk.ask("Mei", "/unmerge 1")
    for text in ("99", "x", "-1", "9999999999999"):
        assert await desk.ask("Mei", f"/unmerge {text}")
    assert "99" in await desk.ask("Mei", "/unmerge 99")


async def test_two_who_confirm_at_once_merge_once(desk: Desk) -> None:
    codes = []
    for name in ("Mei", "Mei"):
        found = re.search(r"/confirm ([A-Z2-9]{10})", await desk.ask(name, "/merge C1 C2"))
        assert found
        codes.append(found[1])
    await desk.ask("Mei", f"/confirm {codes[0]}")
    assert "同一位" in await desk.ask("Mei", f"/confirm {codes[1]}")
    assert len(await desk.store.read(merges.recent)) == 1


@pytest.mark.parametrize("name", ["Tom", "Vera"])
async def test_who_may_not_merge_is_refused_and_audited(desk: Desk, name: str) -> None:
    for text in ("/merge C1 C2", "/unmerge 1"):
        assert "may not" in await desk.ask(name, text)
    entries = await desk.store.read(audit.entries)
    who = (await desk.store.read(people.by_name, name)).id
    refused = [(e.object, e.outcome) for e in entries if e.actor == f"staff:{who}"]
    assert refused == [("unmerge", "refused"), ("merge", "refused")]
    assert len(await desk.names()) == 4


async def test_on_slack_it_is_confirmed_by_button_told_in_the_thread_and_replies_go_where_they_were_to_go(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, telegram=True, slack=True, web=False, hold_s=30.0) as world:
        slack, tg = world.slack, world.telegram
        assert slack is not None
        assert tg is not None
        slack.add_user("U0MEI", name="Mei")
        await enrol(world, "slack", f"{slack.team}:U0MEI", "Mei")
        room = slack.staff_channel
        for user, name in ((7001, "Li Wei"), (7002, "Chen Dawen")):
            tg.user_says(user, "My parcel is broken, this is the third time I write!", name=name)
            await wait(lambda n=user - 7000: len(slack.messages(room)) == n, "a card")  # type: ignore[misc]
        await world.until(lambda d: len(d["tickets"]) == 2 and d["outbox"]["pending"] == 0)
        cards = slack.messages(room)
        await slack.says("U0MEI", room, "We are looking into it.", thread_ts=cards[1]["ts"])
        written = await world.until(
            lambda d: [m for t in d["tickets"] for m in t["messages"] if "looking into it" in m["text"]]
        )
        await slack.says("U0MEI", room, "!merge Li Wei | Chen Dawen", thread_ts=cards[0]["ts"])

        def preview() -> Any:
            thread = slack.messages(room, cards[0]["ts"])
            return next(
                (m for m in thread if "Chen Dawen" in slack.text(m) and "确认" in slack.buttons(m)), None
            )

        await slack.press("U0MEI", await wait(preview, "the preview"), "确认")
        ticket = await world.until(
            lambda d: t if (t := d["tickets"][1])["customer"]["name"] == "Li Wei" else None
        )
        assert {i["user_id"] for i in ticket["customer"]["identities"]} == {"7001", "7002"}
        await wait(
            lambda: any("/unmerge 1" in slack.text(m) for m in slack.messages(room, cards[1]["ts"])),
            "the thread of the ticket that went over is told",
        )

        def now(tx: Connection) -> None:
            tx.execute(
                schema.outbox.update()
                .where(schema.outbox.c.message_id == written[0]["id"])
                .values(due_at=world.service.clock())
            )

        await world.store.write(now)
        world.service.delivery.wake()  # it sleeps until the hold would have ended
        await wait(lambda: any("looking into it" in t for t in tg.texts(7002)), "the reply")
        assert not any("looking into it" in t for t in tg.texts(7001)), "it went to whom it was written"


async def test_a_suggestion_stands_in_the_thread_with_its_evidence_and_is_confirmed_or_rejected(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, telegram=True, slack=True, web=False) as world:
        slack, tg = world.slack, world.telegram
        assert slack is not None
        assert tg is not None
        for user, name in (("U0MEI", "Mei"), ("U0TOM", "Tom")):
            slack.add_user(user, name=name)
            await enrol(world, "slack", f"{slack.team}:{user}", name)
        path = tmp_path / "customers.csv"
        path.write_text(CUSTOMERS)
        now = world.service.clock()
        await importer.run(world.store, "customers", path, Defaults(), now)  # type: ignore[arg-type]
        service, room = world.service, slack.staff_channel
        suggester = Suggester(world.store, service.office, service.clock, wake_delivery=service.delivery.wake)
        tg.user_says(7001, "My parcel is broken! Call me: +44 7700 900123, or wei@example.org", name="lw88")
        card = (await wait(lambda: slack.messages(room), "a card"))[0]
        assert await suggester.tick() == 2
        assert await suggester.tick() == 0, "said once"

        def said(words: str) -> Any:
            thread = slack.messages(room, card["ts"])
            return next((m for m in thread if words in slack.text(m)), None)

        phone = await wait(lambda: said("writes the phone +44 7700 900123"), "the first")
        assert "Li Wei (C1)" in slack.text(phone)
        assert slack.buttons(phone) == ["The same: merge", "Not the same"]
        other = await wait(lambda: said("writes the address wei@example.org"), "the second")
        await slack.press("U0TOM", other, "Not the same")
        await wait(lambda: any("may not" in slack.text(m) for m in slack.ephemerals), "an agent may not")
        await slack.press("U0MEI", other, "Not the same")
        await wait(lambda: any("不会再提示" in slack.text(m) for m in slack.ephemerals), "rejected")
        shown = await world.store.read(_profile, world, 1)
        assert "writes the phone" in shown
        assert "写" not in shown
        await slack.press("U0MEI", phone, "The same: merge")
        asked = await wait(
            lambda: next((m for m in slack.ephemerals if "确认" in slack.buttons(m)), None), "the preview"
        )
        await slack.press("U0MEI", asked, "确认")
        await world.until(lambda d: d["tickets"][0]["customer"]["name"] == "Li Wei")
        entries = await world.store.read(audit.entries)
        assert {("reject_merge", "ok"), ("merge", "ok")} <= {(e.action, e.outcome) for e in entries}
        assert [e.actor for e in entries if e.outcome == "refused"] == ["staff:2"]


def _profile(tx: Connection, world: Any, contact_id: int) -> str:
    turn = Turn(tx, world.service.office, world.service.clock())
    blocks = suggesting.blocks(turn, replace(member(people.by_name(tx, "Mei")), language="en"), contact_id)
    return rich.to_text(Reply(tuple(blocks)))


async def test_on_the_card_the_other_one_is_looked_for_in_a_form(tmp_path: Path) -> None:
    async with running(tmp_path, telegram=True, slack=True, web=False) as world:
        slack, tg = world.slack, world.telegram
        assert slack is not None
        assert tg is not None
        slack.add_user("U0MEI", name="Mei")
        await enrol(world, "slack", f"{slack.team}:U0MEI", "Mei")
        path = tmp_path / "customers.csv"
        path.write_text(CUSTOMERS)
        await importer.run(world.store, "customers", path, Defaults(), world.service.clock())  # type: ignore[arg-type]
        tg.user_says(7001, "My parcel is broken, this is the third time I write!", name="Bo")
        card = (await wait(lambda: slack.messages(slack.staff_channel), "a card"))[0]
        await slack.press("U0MEI", card, "Profile")

        def aside(*words: str) -> Any:
            found = (m for m in slack.ephemerals if set(words) <= set(slack.buttons(m)))
            return next(found, None)

        shown = await wait(lambda: aside("合并"), "the customer's card")
        await slack.press("U0MEI", shown, "合并")
        form = (await wait(lambda: slack.views, "a form"))[-1]
        assert "Bo" in slack.text(form)
        await slack.submits("U0MEI", form, {"text": "Ann O'Neil"})
        several = await wait(lambda: aside("Ann O'Neil (C4) · ann@oneil.example"), "who is meant")
        await slack.press("U0MEI", several, "Ann O'Neil (C4) · ann@oneil.example")
        await slack.press("U0MEI", await wait(lambda: aside("确认", "取消"), "the preview"), "确认")
        (row,) = await wait_for(world, merges.recent)
        assert (row.keep_id, row.drop_id) == (5, 4)


async def wait_for(world: Any, look: Any) -> Any:
    """What a look at the store finds, as soon as it finds something."""
    async with asyncio.timeout(20):
        while not (found := await world.store.read(look)):
            await asyncio.sleep(0.03)
    return found
