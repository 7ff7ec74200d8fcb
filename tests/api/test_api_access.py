"""A token is its person: it may do what their role may, sees their rows, and is shown masks where they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection

from bot.api import shapes
from crm_store import erase, people
from tests.api.kit import Caller, served, token
from tests.world import World

ACCESS = """
[access.roles.sales]
rows = "own"
mask = true
[access.roles.agent]
deny = ["set"]
"""


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[World, Caller, Caller]]:
    """Mei, who sees everything, and Sam, who sees his own, masked."""
    async with served(tmp_path, more=ACCESS) as (world, mei):

        def add(tx: Connection) -> None:
            people.add(tx, world.service.clock(), "Sam", "sales", "en")

        await world.store.write(add)
        yield world, mei, replace(mei, token=await token(world.store, "sam", staff="Sam"))


async def test_whose_rows_it_does_not_see_are_not_there(both: tuple[World, Caller, Caller]) -> None:
    _, mei, sam = both
    other = (await mei.post("/customers", {"name": "Other", "emails": ["other@example.com"]})).body["id"]
    own = await sam.post("/customers", {"name": "Own", "emails": ["own@example.com"]})
    assert own.status == 201
    assert [c["name"] for c in await sam.pages("/customers")] == ["Own"]
    assert len(await mei.pages("/customers")) == 2
    money = {"amount_minor": 100, "currency": "EUR"}
    order = {
        "customer": {"id": other},
        "ordered_at": "2026-03-02T10:00:00Z",
        "status": "paid",
        "amount": money,
    }
    assert (await mei.put("/orders/A-1", order)).status == 201
    deal = {"customer": {"id": other}, "title": "T", "amount": money}
    assert (await mei.post("/deals", deal)).status == 201
    for path in (f"/customers/{other}", "/orders/A-1", "/deals/1"):
        assert (await sam.get(path)).status == 404, path
        assert (await mei.get(path)).status == 200, path
    for path in (
        "/orders",
        "/deals",
        "/tickets",
        "/conversations",
        "/events",
        "/customers?email=other@example.com",
    ):
        assert await sam.pages(path) == [], path
    assert (await sam.patch(f"/customers/{other}", {"name": "X"})).status == 404
    assert (await sam.put("/orders/A-1", order)).status == 404
    assert (await sam.post("/deals", deal)).status == 404
    assert (await sam.patch("/deals/1", {"title": "X"})).status == 404
    taken = await sam.post("/customers", {"emails": ["other@example.com"]})
    assert (taken.status, taken.body["detail"]) == (
        409,
        "email: other@example.com is of another customer already",
    )
    theirs = await sam.put("/orders/A-1", order | {"customer": {"email": "own@example.com"}})
    assert (theirs.status, theirs.body["detail"]) == (409, "customer: order A-1 is of another customer")


async def test_who_was_erased_is_nobody_to_read_or_write(both: tuple[World, Caller, Caller]) -> None:
    world, mei, _ = both
    gone, kept = [
        (await mei.post("/customers", {"name": name, "ref": name})).body["id"] for name in ("Gone", "Kept")
    ]
    order = {"ordered_at": "2026-03-02T10:00:00Z", "status": "paid", "customer": {"id": gone}}
    order |= {"amount": {"amount_minor": 100, "currency": "EUR"}}
    assert (await mei.put("/orders/A-1", order)).status == 201
    await world.store.write(erase.ask, world.service.clock(), gone, "cli")
    async with asyncio.timeout(20):
        while not await world.store.read(erase.was_erased, gone):
            await asyncio.sleep(0.02)
    assert [one["id"] for one in await mei.pages("/customers")] == [kept]
    assert (await mei.get(f"/customers/{gone}")).status == 404
    assert (await mei.patch(f"/customers/{gone}", {"name": "Back"})).status == 404
    assert (await mei.put("/orders/A-2", order)).status == 404
    event = {"customer": {"id": gone}, "kind": "view", "at": "2026-03-02T10:00:00Z"}
    assert (await mei.post("/events", {"events": [event]})).status == 404
    (left,) = await mei.pages("/orders")
    assert (left["customer_id"], left["amount"]) == (gone, {"amount_minor": 100, "currency": "EUR"})
    assert await world.store.read(shapes.of_event, "customer.changed", gone) is None


async def test_what_is_masked_for_its_person_is_masked_and_still_found(
    both: tuple[World, Caller, Caller],
) -> None:
    _, _, sam = both
    body = {"name": "Own", "emails": ["own@example.com"], "phones": ["+447700900123"]}
    made = await sam.post("/customers", body)
    assert [i["user_id"] for i in made.body["identities"]] == ["o***@example.com", "+44 ••• 23"]
    found = await sam.get("/customers?phone=%2B447700900123")
    assert [c["name"] for c in found.body["items"]] == ["Own"]
    path = f"/customers/{made.body['id']}"
    read = await sam.get(path)
    assert read.status == 200, read
    tag = read.headers["Etag"]
    assert (await sam.patch(path, {"city": "Leeds"}, If_Match=tag)).status == 200
    assert (await sam.patch(path, {"city": "York"}, If_Match=tag)).status == 412


async def test_what_its_role_may_not_do_is_refused(both: tuple[World, Caller, Caller]) -> None:
    world, mei, _ = both
    vera = replace(mei, token=await token(world.store, "vera", staff="Vera"))
    tom = replace(mei, token=await token(world.store, "tom", staff="Tom"))
    for caller in (vera, tom):
        refused = await caller.post("/customers", {"name": "X"})
        assert refused.status == 403
        assert "role" in refused.body["detail"]
        assert (await caller.get("/deals")).status == 403
    assert (await vera.get("/customers")).status == 200
