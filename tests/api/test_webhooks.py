"""Webhooks: signed, at least once under every fault, in order for each object, and nothing is lost by a death."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema_rs
import pytest
from sqlalchemy import Connection, select, text

from bot import webhooks as telling
from bot.api import shapes
from bot.api.openapi import describe
from bot.config import WebhookSettings, parse
from crm_store import contacts, importer, merges, schema, webhooks
from crm_store.backup import backup, restore
from crm_store.db import Store
from crm_store.importing.values import Defaults
from tests.api.kit import Caller, served, ticketed, token
from tests.e2e.test_crash import _free_port
from tests.fakes.receiver import SECRET, Receiver
from tests.fakes.web import Visitor
from tests.stores import open_postgres, open_sqlite, sqlite_url
from tests.warm import Warm
from tests.world import World, seed, settings

ALL = list(webhooks.EVENTS)
BUSY = "[api]\nper_minute = 1000000\n"


def hooked(directory: Path, more: str) -> AbstractAsyncContextManager[tuple[World, Caller]]:
    """A world that tells a receiver."""
    return served(directory, more=BUSY + more)


def order(number: int, status: str, whose: str = "a@b.example") -> tuple[str, dict[str, Any]]:
    return f"/orders/N-{number}", {
        "customer": {"email": whose},
        "ordered_at": "2026-03-02T10:00:00Z",
        "status": status,
        "amount": {"amount_minor": 100, "currency": "EUR"},
    }


async def pending(store: Store) -> int:
    return (await store.read(webhooks.counts))["pending"]


async def settled(store: Store) -> None:
    async with asyncio.timeout(20):
        while await pending(store):
            await asyncio.sleep(0.05)


async def test_a_story_is_told_from_beginning_to_end(tmp_path: Path) -> None:
    async with Receiver() as shop, hooked(tmp_path, shop.settings(ALL)) as (world, caller):
        async with Visitor(world.url) as visitor:
            await visitor.says("this is the third time I complain about the broken lamp")
            ticket = await world.until(lambda dump: dump["tickets"] and dump["tickets"][0])
            number = ticket["number"]
            shown = (await caller.get(f"/tickets/{number}")).body
            talk = f"/conversations/{shown['conversation_id']}/messages"
            await caller.post(talk, {"text": "A new one is on its way."})
            await visitor.until(lambda: "on its way" in visitor.text)
            await caller.patch(f"/tickets/{number}", {"priority": "low"})
            await caller.patch(f"/tickets/{number}", {"status": "closed"})
            await shop.until(lambda: shop.of("ticket.closed"))
            await visitor.says("5")
            await shop.until(lambda: shop.of("rating.given"))
        await caller.put(*order(1, "paid"))
        await caller.put(*order(1, "paid"))  # the same again is no news
        await caller.put(*order(1, "shipped"))
        await caller.patch(f"/customers/{shown['customer_id']}", {"city": "Oslo"})
        await shop.until(lambda: len(shop.of("order.changed")) == 2 and shop.of("customer.changed"))
        kinds = [one["type"] for one in shop.told if one["object"] == f"ticket:{number}"]
        assert kinds[0] == "ticket.opened"
        assert kinds.index("ticket.closed") < kinds.index("rating.given")
        assert kinds.count("ticket.closed") == kinds.count("rating.given") == 1
        assert shop.of("rating.given")[0]["data"]["rating"] == 5
        said = [m["data"]["text"] for m in shop.of("message.received")]
        assert said == ["this is the third time I complain about the broken lamp", "5"]
        assert "A new one is on its way." in [m["data"]["text"] for m in shop.of("message.sent")]
        assert [o["data"]["status"] for o in shop.of("order.changed")][-1] == "shipped"
        assert {c["data"]["source"] for c in shop.of("customer.created")} == {"web", "api:shop"}
        assert shop.forged == 0
        assert max(shop.taken.values()) == 1
        described = describe()
        for one in shop.told:
            post = described["webhooks"][one["type"]]["post"]
            schema = post["requestBody"]["content"]["application/json"]["schema"]
            jsonschema_rs.validate(schema | {"components": described["components"]}, one)


async def test_only_what_was_asked_for_is_told(tmp_path: Path) -> None:
    async with Receiver() as shop, hooked(tmp_path, shop.settings(["ticket.opened"])) as (world, caller):
        await caller.put(*order(1, "paid"))
        await ticketed(world, "I complain, my parcel is broken and late")
        await shop.until(lambda: shop.told)
        await settled(world.store)
        assert {one["type"] for one in shop.told} == {"ticket.opened"}
        assert (await world.store.read(webhooks.counts))["sent"] == len(shop.told)


async def test_each_event_arrives_signed_and_in_order_under_every_fault(tmp_path: Path) -> None:
    dice = random.Random(5)
    kinds = ["500", "429", "reset", "hang", "slow", "redirect", "unsaid", "", "", ""]
    statuses = ["paid", "processing", "shipped", "delivered"]
    async with (
        Receiver() as shop,
        hooked(tmp_path, shop.settings(["order.changed", "customer.created"])) as (world, caller),
    ):
        left = {"429": 3, "hang": 4, "redirect": 5}

        def fault(_: dict[str, Any]) -> str:
            found = dice.choice(kinds)
            left[found] = left.get(found, 10) - 1
            return found if left[found] >= 0 else ""

        shop.fault = fault
        for status in statuses:
            for number in range(12):
                await caller.put(*order(number, status, f"c{number}@b.example"))
        wanted = 12 * len(statuses) + 12
        await shop.until(lambda: len(shop.told) == wanted, 60)
        by_object = defaultdict(list)
        for one in shop.of("order.changed"):
            by_object[one["object"]].append(one["at"])
        assert all(times == sorted(times) and len(times) == 4 for times in by_object.values())
        final = {one["object"]: one["data"]["status"] for one in shop.of("order.changed")}
        assert set(final.values()) == {"delivered"}
        assert {fault for _, _, fault in shop.tried} >= set(kinds)
        assert shop.forged == shop.elsewhere == 0
        await settled(world.store)
        repeated = [event for event, times in shop.taken.items() if times > 1]
        assert repeated  # what was taken and not heard of came again, with its id
        assert set(shop.taken) == {one["id"] for one in shop.told}


def test_the_times_of_events_sort_as_strings_whatever_their_fraction() -> None:
    second = datetime(2026, 3, 2, 10, 0, 5, tzinfo=UTC)
    times = [second, second + timedelta(milliseconds=1), second + timedelta(seconds=1)]
    rows = [webhooks.Leaving(1, "k", "u", "order:1", "order.changed", 1, at, 1, 1) for at in times]
    told = [json.loads(telling.body_of(row, None))["at"] for row in rows]
    assert told == sorted(told)
    assert told[0] == "2026-03-02T10:00:05.000000Z"


async def test_a_receiver_that_says_when_is_left_alone_until_then(tmp_path: Path) -> None:
    async with Receiver() as shop, hooked(tmp_path, shop.settings(["order.changed"])) as (_, caller):
        shop.faults = ["429"]
        for number in range(5):
            await caller.put(*order(number, "paid"))
        await shop.until(lambda: len(shop.told) == 5)
        refused = next(at for at, _, fault in shop.tried if fault == "429")
        later = [at for at, _, _ in shop.tried if at > refused + 0.1]
        assert min(later) - refused >= 0.9


async def test_what_was_on_its_way_when_a_receiver_went_away_is_one_silence(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path) as store:
        hook = WebhookSettings(url="https://a.example/", secret=SECRET, events=("order.changed",))
        now = datetime(2026, 3, 2, 10, tzinfo=UTC)
        teller = telling.Webhooks(store, [hook], lambda: now)

        async def lost(number: int) -> None:
            row = webhooks.Leaving(number, f"k{number}", hook.url, "l", "order.changed", 1, now, 1, 1)
            await teller._later(hook, row, telling.Refused("reset", away=True))

        for number in range(8):
            await lost(number)
        assert teller._resting[hook.url] == now + timedelta(seconds=hook.first_retry_s)
        now += timedelta(seconds=hook.first_retry_s)
        for number in range(8):
            await lost(number)
        assert teller._resting[hook.url] == now + timedelta(seconds=2 * hook.first_retry_s)


async def test_one_object_that_is_refused_holds_up_no_other(tmp_path: Path) -> None:
    async with Receiver() as shop, hooked(tmp_path, shop.settings(["order.changed"])) as (world, caller):
        shop.fault = lambda event: "500" if event["data"]["number"] == "N-0" else ""
        for status in ("paid", "shipped"):
            for number in range(4):
                await caller.put(*order(number, status))
        await shop.until(lambda: len(shop.told) == 6)
        assert all(one["data"]["number"] != "N-0" for one in shop.told)
        assert await pending(world.store) == 2
        shop.fault = None
        await shop.until(lambda: len(shop.told) == 8)


async def test_what_is_refused_for_three_days_is_on_the_shelf_and_can_be_retried(tmp_path: Path) -> None:
    async with Receiver() as shop, hooked(tmp_path, shop.settings(["order.changed"])) as (world, caller):
        shop.fault = lambda _: "500"
        await caller.put(*order(1, "paid"))
        await shop.until(lambda: shop.tried)
        table = schema.webhook_event
        long_ago = world.service.clock() - timedelta(days=3, minutes=1)
        await world.store.write(lambda tx: tx.execute(table.update().values(created_at=long_ago)))
        async with asyncio.timeout(20):
            while not (dead := await world.store.read(webhooks.dead)):
                await asyncio.sleep(0.05)
        assert dead[0].error == "answered 500"
        async with aiohttp.ClientSession() as session, session.get(f"{world.url}/metrics") as got:
            assert 'wellheard_webhook_events{state="dead"} 1.0' in await got.text()
        shop.fault = None
        assert await world.store.write(webhooks.retry, dead[0].id, world.service.clock())
        await shop.until(lambda: shop.told)
        assert shop.told[0]["id"] == dead[0].key


async def test_what_is_gone_is_not_told(tmp_path: Path) -> None:
    async with Receiver() as shop, hooked(tmp_path, shop.settings(["customer.created"])) as (world, _):
        shop.faults = ["500"] * 3

        def vanish(tx: Connection) -> None:
            made = contacts.create(tx, world.service.clock(), name="Gone")
            tx.execute(schema.contact.delete().where(schema.contact.c.id == made))

        await world.store.write(vanish)
        await shop.until(lambda: shop.told)
        assert shop.told[0]["data"] is None


async def test_an_address_inside_is_refused_unless_it_was_said(tmp_path: Path) -> None:
    quiet = {"allow_private": False, "url": "https://localhost:9/in"}
    async with (
        Receiver() as shop,
        hooked(tmp_path, shop.settings(["order.changed"], **quiet)) as (world, caller),
    ):
        await caller.put(*order(1, "paid"))
        rows = select(schema.webhook_event.c.error).where(schema.webhook_event.c.error != "")
        async with asyncio.timeout(20):
            while not (found := await world.store.read(lambda tx: tx.execute(rows).scalars().all())):
                await asyncio.sleep(0.05)
        assert "private range" in found[0]


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("169.254.169.254", True),
        ("100.64.0.1", True),
        ("0.0.0.0", True),
        ("224.0.0.1", True),
        ("::1", True),
        ("fe80::1%eth0", True),
        ("fd00::1", True),
        ("::ffff:127.0.0.1", True),
        ("2002:7f00:1::", True),
        ("64:ff9b::7f00:1", True),
        ("64:ff9b::a00:1", True),
        ("64:ff9b:1::5db8:d822", True),
        ("::7f00:1", True),
        ("::ffff:0:a00:1", True),
        ("fec0::1", True),
        ("64:ff9b::5db8:d822", False),
        ("93.184.216.34", False),
        ("2606:4700:4700::1111", False),
        ("shop.example.com", False),  # a name is judged by what it resolves to
    ],
)
def test_what_is_inside_is_known(host: str, private: bool) -> None:
    assert telling._is_private(host) is private


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    async with open_sqlite(tmp_path) if request.param == "sqlite" else open_postgres() as opened:
        yield opened


def told(tx: Connection) -> list[tuple[str, str]]:
    table = schema.webhook_event
    return [(r.type, r.lane) for r in tx.execute(select(table).order_by(table.c.id))]


async def test_whoever_writes_it_is_told_in_the_same_transaction(store: Store, tmp_path: Path) -> None:
    now = await store.read(store.now)
    await store.write(
        webhooks.install, {"https://a.example/it's": ALL, "https://b.example/": ["order.changed"]}
    )
    file = tmp_path / "orders.csv"
    file.write_text("order number,email,ordered at,amount,currency\nA-1,x@y.example,2026-01-02,12.50,EUR\n")
    await importer.run(store, "orders", file, Defaults(), now)
    assert await store.read(told) == [
        ("customer.created", "customer:1"),
        ("order.changed", "order:1"),
        ("order.changed", "order:1"),
    ]

    class Undone(Exception):
        pass

    def undone(tx: Connection) -> None:
        contacts.create(tx, now, name="Nobody")
        raise Undone

    with pytest.raises(Undone):
        await store.write(undone)
    assert len(await store.read(told)) == 3
    later = now + timedelta(seconds=5)
    await store.write(contacts.add_identity, later, 1, space="phone", user_id="+8613800138000")
    await store.write(contacts.set_values, later, 1, city="Oslo")
    await store.write(contacts.set_values, later, 1, city="Oslo")  # nothing changed but the time
    assert (await store.read(told))[3:] == [("customer.changed", "customer:1")] * 2


async def test_a_merge_and_its_end_are_told_of_who_is_left_and_who_is_back(store: Store) -> None:
    now = await store.read(store.now)
    keep, drop = [await store.write(contacts.create, now, name=name) for name in "AB"]
    await store.write(webhooks.install, {"https://a.example/": ALL})
    number = await store.write(merges.merge, now, keep, drop, actor="staff:1")
    assert await store.read(told) == [("customer.merged", f"customer:{keep}")]
    shown: Any = await store.read(shapes.of_event, "customer.merged", keep)
    assert (shown.id, shown.merged_ids) == (keep, [drop])
    await store.write(merges.undo, now, number, actor="staff:1")
    assert await store.read(told) == [
        ("customer.merged", f"customer:{keep}"),
        ("customer.unmerged", f"customer:{drop}"),
    ]
    shown = await store.read(shapes.of_event, "customer.unmerged", drop)
    assert (shown.id, shown.merged_ids) == (drop, [])


async def test_nothing_is_written_where_nobody_asked(store: Store) -> None:
    now = await store.read(store.now)
    await store.write(webhooks.install, {"https://a.example/": ALL})
    await store.write(webhooks.install, {"https://a.example/": ALL})  # the same again changes nothing
    await store.write(contacts.create, now, name="A")
    await store.write(webhooks.install, {})
    await store.write(contacts.create, now, name="B")
    assert await store.read(told) == [("customer.created", "customer:1")]
    assert (await store.read(webhooks.counts))["withdrawn"] == 1
    assert await store.read(webhooks._triggers) == []


async def test_claims_keep_the_order_of_an_object_and_a_lost_lease_settles_nothing(store: Store) -> None:
    now = await store.read(store.now)
    await store.write(webhooks.install, {"https://a.example/": ["customer.created", "customer.changed"]})
    await store.write(contacts.create, now, name="A")
    await store.write(contacts.set_values, now, 1, city="Oslo")
    await store.write(contacts.create, now, name="B")
    first = await store.write(webhooks.claim, now, limit=10, lease_s=10)
    assert [(r.type, r.lane) for r in first] == [
        ("customer.created", "customer:1"),
        ("customer.created", "customer:2"),
    ]
    assert await store.write(webhooks.claim, now, limit=10, lease_s=10) == []
    later = now + timedelta(seconds=11)
    again = await store.write(webhooks.claim, later, limit=10, lease_s=10)
    assert [r.key for r in again] == [r.key for r in first]
    assert not await store.write(webhooks.settle, first[0], "sent", later)
    assert await store.write(webhooks.settle, again[0], "sent", later)
    assert [r.type for r in await store.write(webhooks.claim, later, limit=10, lease_s=10)] == [
        "customer.changed"
    ]


async def test_a_restore_is_no_news(tmp_path: Path) -> None:
    url, other = sqlite_url(tmp_path / "a"), sqlite_url(tmp_path / "b")
    async with Store(url) as store:
        now = await store.read(store.now)
        await store.write(contacts.create, now, name="A")
    await asyncio.to_thread(backup, url, tmp_path / "backup")
    async with Store(other) as store:
        await store.write(webhooks.install, {"https://a.example/": ALL})
    await asyncio.to_thread(restore, other, tmp_path / "backup")
    async with Store(other) as store:
        assert await store.read(told) == []


async def test_triggers_that_a_migration_dropped_are_back_after_a_start(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path) as store:
        await store.write(webhooks.install, {"https://a.example/": ALL})
        before = await store.read(webhooks._triggers)
        await store.write(lambda tx: tx.execute(text(f"DROP TRIGGER {before[0][0]}")))
        await store.write(webhooks.install, {"https://a.example/": ALL})
        assert sorted(await store.read(webhooks._triggers)) == sorted(before)


@pytest.mark.timeout(300)
async def test_nothing_is_lost_by_deaths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another system writes orders and the service is killed again and again, at work and while it tells."""
    dice = random.Random(11)
    async with Receiver() as shop, Warm() as warm, aiohttp.ClientSession() as session:
        port, url = _free_port(), sqlite_url(tmp_path)
        config = tmp_path / "wellheard.toml"
        config.write_text(settings(url, port=port, more=BUSY + shop.settings(["order.changed"])))
        parse(config.read_text(), environ={})
        await seed(url, articles=False)
        async with Store(url) as store:
            caller = Caller(f"http://127.0.0.1:{port}", await token(store), session)
        shop.fault = lambda _: dice.choice(["slow", "unsaid", "500", "", ""])
        done: dict[int, int] = {}
        writing = True

        async def write() -> None:
            """Each order is written until it was heard to be; the key makes it one."""
            number = 0
            while writing:
                path, body = order(number % 20, f"s{number}")
                try:
                    got = await caller.put(path, body)
                except (aiohttp.ClientError, OSError):
                    await asyncio.sleep(0.02)
                    continue
                assert got.status in (200, 201), got
                done[number % 20] = number
                number += 1
                await asyncio.sleep(0.005)

        task = asyncio.create_task(write())
        for _ in range(12):
            service = await warm.start("run", "--config", str(config), log=tmp_path / "log")
            await asyncio.sleep(dice.uniform(0.3, 1.6))
            service.kill()
            await service.ended()
        writing = False
        service = await warm.start("run", "--config", str(config), log=tmp_path / "log")
        await task
        shop.fault = None

        def latest() -> dict[str, str]:
            return {one["data"]["number"]: one["data"]["status"] for one in shop.of("order.changed")}

        wanted = {f"N-{n}": f"s{status}" for n, status in done.items()}
        await shop.until(lambda: latest() == wanted, 60)
        service.kill()
        await service.ended()
        async with Store(url) as store:
            rows = await store.read(
                lambda tx: tx.execute(select(schema.webhook_event).order_by(schema.webhook_event.c.id)).all()
            )
        assert {row.key for row in rows} >= set(shop.taken)
        assert all(shop.taken[row.key] >= 1 for row in rows if row.state == "sent")
        by_lane = defaultdict(list)
        position = {row.key: row.id for row in rows}
        for one in shop.told:
            by_lane[one["object"]].append(position[one["id"]])
        assert all(ids == sorted(ids) for ids in by_lane.values())
        assert len(rows) > 20
        assert shop.forged == 0
        assert SECRET not in (tmp_path / "log").read_text()
        with capsys.disabled():
            print(f"\n  webhooks: 12 deaths, {len(rows)} events, {shop.taken.total()} arrivals")
