"""The API: who may do what, pages, repeats, versions; and what it writes is what the desk would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import Connection, select

from bot.api.openapi import describe
from bot.api.operations import ROUTES
from bot.api.routes import SCOPES
from crm_store import api_tokens, audit, merges, people, schema
from tests import postgres
from tests.api.kit import Caller, served, ticketed, token
from tests.fakes.web import Visitor
from tests.world import World

BOTH = "ref=K-9&email=zhang@example.com"
ORDER = {
    "customer": {"email": "mei@example.com", "name": "Mei Lin"},
    "ordered_at": "2026-03-02T10:00:00+01:00",
    "status": "paid",
    "amount": {"amount_minor": 3000, "currency": "EUR"},
    "lines": [{"sku": "L-1", "name": "Lamp", "quantity": 2, "amount_minor": 3000}],
}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with served(tmp_path, more="[api]\nper_minute = 100000") as (world, caller):
        world.caller = caller  # type: ignore[attr-defined]
        yield world


@pytest.fixture
def caller(world: World) -> Caller:
    return world.caller  # type: ignore[attr-defined, no-any-return]


async def other(world: World, caller: Caller, *scopes: str, staff: str = "Mei") -> Caller:
    """Another token."""
    return Caller(world.url, await token(world.store, f"t{scopes}{staff}", scopes, staff), caller.session)


def sample(path: str) -> str:
    for name, value in {
        "id": "1",
        "ticket": "1",
        "order": "A-1",
        "deal": "1",
        "key": "returns",
        "language": "en",
    }.items():
        path = path.replace("{" + name + "}", value)
    return path


async def audited(world: World) -> list[Any]:
    return await world.store.read(audit.entries)


async def test_every_operation_wants_its_scope_and_nothing_else(world: World, caller: Caller) -> None:
    for route in ROUTES:
        body = {} if route.body is not None else None
        without = await other(world, caller, *(s for s in SCOPES if s != route.scope)) if route else caller
        assert (await without.ask(route.method, sample(route.path), body)).status == 403, route.name
        await world.store.write(
            lambda tx: tx.execute(schema.api_token.delete().where(schema.api_token.c.id > 1))
        )
    refused = [e for e in await audited(world) if e.outcome == "refused"]
    assert {e.action for e in refused} == {f"api:{r.name}" for r in ROUTES}


async def test_nobody_gets_in_without_a_token_that_counts(world: World, caller: Caller) -> None:
    for said in ("", "whl_x", "nonsense", caller.token[:-1]):
        got = await Caller(world.url, said, caller.session).get("/customers")
        assert got.status == 401
        assert got.headers["WWW-Authenticate"] == "Bearer"
    assert (await caller.get("/customers")).status == 200
    await world.store.write(
        lambda tx: people.disable(tx, world.service.clock(), people.by_name(tx, "Mei").id)
    )
    assert (await caller.get("/customers")).status == 401
    await world.store.write(lambda tx: people.enable(tx, people.by_name(tx, "Mei").id))
    await world.store.write(lambda tx: api_tokens.revoke(tx, world.service.clock(), "shop"))
    assert (await caller.get("/customers")).status == 401


async def test_a_token_may_no_more_than_the_person_it_acts_as(world: World, caller: Caller) -> None:
    viewer = await other(world, caller, *SCOPES, staff="Vera")
    assert (await viewer.get("/customers")).status == 200
    got = await viewer.put("/orders/A-1", ORDER)
    assert got.status == 403
    assert "Vera" in got.body["detail"]


async def test_a_token_that_asks_too_often_is_told_when_to_come_back(tmp_path: Path) -> None:
    async with served(tmp_path, more="[api]\nper_minute = 60") as (world, caller):
        got = await asyncio.gather(*(caller.get("/tickets") for _ in range(14)))
        refused = [one for one in got if one.status == 429]
        assert len(refused) == 4
        assert refused[0].headers["Retry-After"] == "1"
        assert (await (await other(world, caller, "tickets:read")).get("/tickets")).status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("POST", "/customers", {"nam": "x"}, 422, "nam"),
        ("POST", "/customers", {"name": 1}, 422, "name"),
        ("POST", "/customers", {"name": "a\0b"}, 422, "name"),
        ("PUT", "/articles/a/en", {"title": " ", "body": "x"}, 422, "title"),
        ("PUT", "/articles/a/en", {"title": "x", "body": "\u00a0"}, 422, "body"),
        ("PUT", "/articles/a/en", {"title": "x", "body": "x" * 20_001}, 422, "body"),
        ("POST", "/customers", {"emails": ["nobody"]}, 422, "emails.0"),
        ("POST", "/customers", b"{", 400, None),
        ("POST", "/customers", b'{"name": "\\ud800"}', 400, None),
        ("POST", "/customers", b'{"name": "' + b"x" * 1024**2 + b'"}', 413, None),
        ("GET", "/customers?colour=red", None, 422, "colour"),
        ("GET", "/customers?limit=0", None, 422, "limit"),
        ("GET", "/customers?limit=1&limit=2", None, 400, "limit"),
        ("GET", "/customers?cursor=zzz", None, 422, "cursor"),
        ("GET", "/customers?updated_since=2026-03-02", None, 422, "updated_since"),
        ("GET", "/customers?updated_since=2026-02-30T00:00:00Z", None, 422, "updated_since"),
        ("GET", "/customers/0", None, 404, "id"),
        ("GET", "/customers/99999999999", None, 404, "id"),
        ("GET", "/customers/7", None, 404, None),
        ("GET", "/nothing", None, 404, None),
        ("DELETE", "/customers/1", None, 405, None),
        ("PUT", "/orders/A-1", ORDER | {"customer": {"id": 9}}, 404, "customer.id"),
        ("PUT", "/orders/A-1", ORDER | {"customer": {"id": "9"}}, 422, "customer.id"),
        ("PUT", "/orders/A-1", ORDER | {"customer": {}}, 422, "customer"),
        ("PUT", "/orders/A-1", ORDER | {"ordered_at": "2026-03-02T10:00:00"}, 422, "ordered_at"),
        ("PUT", "/orders/A-1", ORDER | {"amount": 30}, 422, "amount"),
    ],
)
async def test_what_is_wrong_is_said_with_its_field(
    world: World, caller: Caller, method: str, path: str, body: Any, status: int, field: str | None
) -> None:
    got = await caller.ask(method, path, body)
    assert got.status == status, got
    assert got.headers["Content-Type"] == "application/problem+json"
    assert got.body["status"] == status
    assert got.body.get("field") == field
    assert got.body["detail"]


async def test_a_body_must_say_that_it_is_json(world: World, caller: Caller) -> None:
    assert (await caller.post("/customers", b"name=x", Content_Type="text/plain")).status == 415


async def test_a_customer_is_made_found_changed_and_kept_apart(world: World, caller: Caller) -> None:
    new = {
        "name": "张三",
        "emails": ["Zhang@Example.com"],
        "phones": ["+8613800138000"],
        "ref": "K-9",
        "tags": ["vip"],
    }
    made = await caller.post("/customers", new)
    assert made.status == 201
    path = made.headers["Location"].removeprefix("/api/v1")
    assert [(i["channel"], i["user_id"]) for i in made.body["identities"]] == [
        ("email", "zhang@example.com"),
        ("phone", "+8613800138000"),
        ("ref", "K-9"),
    ]
    assert not any(i["verified"] for i in made.body["identities"])
    for query in ("email=ZHANG@example.com", "phone=%2B8613800138000", "ref=K-9", "tag=vip", BOTH):
        assert [c["name"] for c in (await caller.get(f"/customers?{query}")).body["items"]] == ["张三"], query
    assert (await caller.get("/customers?tag=vi")).body["items"] == []
    assert (await caller.get("/customers?ref=K-9&email=who@example.com")).body["items"] == []
    taken = await caller.post("/customers", {"name": "Other", "emails": ["zhang@example.com"]})
    assert taken.status == 409
    assert (await caller.get("/customers?email=zhang@example.com")).body["items"] == [made.body]
    changed = await caller.patch(path, {"city": "Shanghai", "fields": {"level": "3"}})
    assert changed.body["city"] == "Shanghai"
    assert changed.body["name"] == "张三"
    assert (await caller.get(path)).body == changed.body


async def test_a_merged_customer_answers_to_every_id_they_had(world: World, caller: Caller) -> None:
    keep, drop, last = [
        (await caller.post("/customers", {"name": name, "ref": name})).body["id"] for name in "ABC"
    ]
    assert (await caller.put("/orders/M-1", ORDER | {"customer": {"id": drop}})).status in (200, 201)
    now = world.service.clock()
    await world.store.write(merges.merge, now, keep, drop, actor="staff:1")
    outer = await world.store.write(merges.merge, now, last, keep, actor="staff:1")
    for number in (keep, drop, last):
        found = (await caller.get(f"/customers/{number}")).body
        assert (found["id"], found["name"], found["merged_ids"]) == (last, "C", sorted((keep, drop)))
        assert [o["number"] for o in (await caller.get(f"/orders?customer={number}")).body["items"]] == [
            "M-1"
        ]
    assert (await caller.get("/customers?ref=B")).body["items"][0]["id"] == last
    ids = [c["id"] for c in (await caller.get("/customers")).body["items"]]
    assert last in ids
    assert not {keep, drop} & set(ids)
    assert (await caller.patch(f"/customers/{drop}", {"city": "Oslo"})).body["id"] == last
    money = {"amount_minor": 5, "currency": "EUR"}
    made = await caller.post("/deals", {"customer": {"id": drop}, "title": "Garden", "amount": money})
    for number in (keep, drop, last):
        assert (await caller.get(f"/deals?customer={number}")).body["items"] == [made.body]
    put = await caller.put("/orders/M-2", ORDER | {"customer": {"id": drop}})
    assert put.body["customer_id"] == last
    await world.store.write(merges.undo, now, outer, actor="staff:1")
    assert (await caller.get(f"/customers/{drop}")).body["id"] == keep


async def test_who_changes_what_they_did_not_read_is_refused(world: World, caller: Caller) -> None:
    made = await caller.post("/customers", {"name": "Kim"})
    first = made.headers["Etag"]
    assert (await caller.get("/customers/1", If_None_Match=first)).status == 304
    changed = await caller.patch("/customers/1", {"city": "Oslo"}, If_Match=first)
    assert changed.status == 200
    assert (await caller.patch("/customers/1", {"city": "Bergen"}, If_Match=first)).status == 412
    assert (
        await caller.patch("/customers/1", {"city": "Bergen"}, If_Match=changed.headers["Etag"])
    ).status == 200


async def test_pages_show_everything_once_while_others_are_added(world: World, caller: Caller) -> None:
    for n in range(7):
        await caller.post("/customers", {"name": f"C{n}"})
    seen, cursor = [], ""
    for _ in range(20):
        got = (await caller.get(f"/customers?limit=2{cursor}")).body
        seen += [c["name"] for c in got["items"]]
        if len(seen) == 4:
            await caller.post("/customers", {"name": "C7"})
        if got["next_cursor"] is None:
            break
        cursor = f"&cursor={got['next_cursor']}"
    assert seen == [f"C{n}" for n in range(8)]
    last = (await caller.get("/customers/8")).body["updated_at"]
    assert [c["name"] for c in await caller.pages(f"/customers?updated_since={last}")] == ["C7"]


async def test_a_repeat_with_the_same_key_is_done_once(world: World, caller: Caller) -> None:
    body = {"name": "Once"}
    got = await asyncio.gather(*(caller.post("/customers", body, Idempotency_Key="k1") for _ in range(8)))
    assert {one.status for one in got} == {201}
    assert len({one.body["id"] for one in got}) == 1
    assert len({one.headers["Location"] for one in got}) == 1
    assert len(await caller.pages("/customers")) == 1
    other_body = await caller.post("/customers", {"name": "Twice"}, Idempotency_Key="k1")
    assert other_body.status == 409
    assert (
        await (await other(world, caller, "customers:write")).post("/customers", body, Idempotency_Key="k1")
    ).body["id"] == 2
    assert (await caller.post("/customers", body, Idempotency_Key="a b")).status == 400


async def test_the_same_key_at_the_same_moment_is_done_once_on_postgresql(tmp_path: Path) -> None:
    database = postgres.database()
    url = await asyncio.to_thread(database.__enter__)
    try:
        async with served(tmp_path, store_url=url, more="[api]\nper_minute = 100000") as (_, caller):
            body = {"name": "Once", "emails": ["once@b.example"]}
            asked = (caller.post("/customers", body, Idempotency_Key="k1") for _ in range(8))
            got = await asyncio.gather(*asked)
            assert {one.status for one in got} == {201}
            assert len({one.body["id"] for one in got}) == 1
            made = await asyncio.gather(*(caller.put("/orders/A-1", ORDER) for _ in range(8)))
            assert sorted(one.status for one in made) == [200] * 7 + [201]
            owner = made[0].body["customer_id"]
            assert (
                len(await caller.pages(f"/orders?customer={owner}"))
                == len(await caller.pages("/orders"))
                == 1
            )
    finally:
        await asyncio.to_thread(database.__exit__, None, None, None)


async def test_a_refusal_is_not_remembered(world: World, caller: Caller) -> None:
    event = {"events": [{"customer": {"id": 1}, "kind": "view", "at": "2026-03-02T10:00:00Z"}]}
    assert (await caller.post("/events", event, Idempotency_Key="e1")).status == 404
    await caller.post("/customers", {"name": "Late"})
    assert (await caller.post("/events", event, Idempotency_Key="e1")).body == {"noted": 1, "repeated": 0}


async def test_keys_are_forgotten_after_a_day(world: World, caller: Caller) -> None:
    await caller.post("/customers", {"name": "Old"}, Idempotency_Key="k")
    long_ago = world.service.clock().replace(year=2020)
    await world.store.write(lambda tx: tx.execute(schema.api_request.update().values(created_at=long_ago)))
    assert (await caller.post("/customers", {"name": "New"}, Idempotency_Key="k")).body["id"] == 2
    await world.store.write(lambda tx: tx.execute(schema.api_request.update().values(created_at=long_ago)))
    assert await world.store.write(lambda tx: api_tokens.forget_answers(tx, world.service.clock())) == 1


async def test_an_order_is_written_by_its_number(world: World, caller: Caller) -> None:
    made = await caller.put("/orders/A-1001", ORDER)
    assert made.status == 201
    assert made.body["ordered_at"] == "2026-03-02T09:00:00Z"
    again = await caller.put("/orders/A-1001", ORDER)
    assert (again.status, again.body) == (200, made.body)
    sent = await caller.put("/orders/A-1001", ORDER | {"status": "shipped", "tracking": "SF1", "lines": []})
    assert sent.body["lines"] == []
    assert [o["number"] for o in await caller.pages("/orders?status=shipped")] == ["A-1001"]
    assert await caller.pages("/orders?status=paid") == []
    owner = made.body["customer_id"]
    assert (await caller.get(f"/customers/{owner}")).body["name"] == "Mei Lin"
    theirs = await caller.put("/orders/A-1001", ORDER | {"customer": {"email": "else@example.com"}})
    assert theirs.status == 409
    assert await caller.pages("/customers?email=else@example.com") == []  # undone with the rest
    stale = await caller.put("/orders/A-1001", ORDER, If_Match=made.headers["Etag"])
    assert stale.status == 412


async def test_events_are_kept_once_by_key(world: World, caller: Caller) -> None:
    def event(key: str | None, kind: str = "view") -> dict[str, Any]:
        said = {
            "customer": {"ref": "u1"},
            "kind": kind,
            "at": "2026-03-02T10:00:00Z",
            "fields": {"page": "/"},
        }
        return said | ({"key": key} if key else {})

    assert (await caller.post("/events", {"events": [event("a"), event("b", "like")]})).body["noted"] == 2
    assert (await caller.post("/events", {"events": [event("a"), event("c")]})).body == {
        "noted": 1,
        "repeated": 1,
    }
    assert [e["key"] for e in await caller.pages("/events?kind=view")] == ["a", "c"]
    assert len(await caller.pages("/customers")) == 1


async def test_an_article_is_what_the_bot_will_know(world: World, caller: Caller) -> None:
    article = {"title": "Returns", "body": "Within 30 days.", "phrasings": ["can I send it back"]}
    assert (await caller.put("/articles/returns/en", article)).status == 200
    got = (await caller.get("/articles/returns/en")).body
    assert {k: got[k] for k in article} == article
    assert [a["key"] for a in await caller.pages("/articles?language=en")] == ["returns"]
    assert await caller.pages("/articles?language=zh") == []


async def test_a_reply_through_the_api_is_an_agents_reply(world: World, caller: Caller) -> None:
    async with Visitor(world.url) as visitor:
        await visitor.says("this is the third time I complain about the broken lamp")
        ticket = await world.until(lambda dump: dump["tickets"] and dump["tickets"][0])
        shown = (await caller.get(f"/tickets/{ticket['number']}")).body
        path = f"/conversations/{shown['conversation_id']}"
        note = await caller.post(f"{path}/notes", {"text": "SECRET: this one is difficult"})
        assert (note.status, note.body["kind"]) == (201, "note")
        sent = await asyncio.gather(
            *(
                caller.post(f"{path}/messages", {"text": "A new one is on its way."}, Idempotency_Key="r1")
                for _ in range(3)
            )
        )
        assert {one.status for one in sent} == {201}
        assert (sent[0].body["author"], sent[0].body["author_kind"]) == ("Mei", "staff")
        await visitor.until(lambda: "A new one is on its way." in visitor.text)
        assert visitor.text.count("A new one is on its way.") == 1
        assert "SECRET" not in visitor.text
    messages = await caller.pages(f"{path}/messages")
    assert [m["kind"] for m in messages if m["author_kind"] != "bot"] == ["in", "note", "out"]
    now = (await caller.get(f"/tickets/{ticket['number']}")).body
    assert (now["status"], now["assignee"]) == ("pending", "Mei")
    told = [e for e in await audited(world) if e.action == "reply"]
    assert len(told) == 1


async def test_a_conversation_without_a_ticket_is_nobodys_to_answer(world: World, caller: Caller) -> None:
    async with Visitor(world.url) as visitor:
        await visitor.says("hello")
        await visitor.until(lambda: len(visitor.answers) > 0)
    got = await caller.post("/conversations/1/messages", {"text": "hello"})
    assert got.status == 409


async def test_a_ticket_is_changed_as_staff_change_it(world: World, caller: Caller) -> None:
    ticket = await ticketed(world, "my parcel is still not here and I am waiting for three weeks")
    path = f"/tickets/{ticket['number']}"
    begun = (await caller.get(path)).body
    since = f"/tickets?updated_since={world.service.clock().isoformat().replace('+00:00', 'Z')}"
    changed = await caller.patch(path, {"priority": "urgent", "assignee": "tom", "status": "pending"})
    assert changed.status == 200, changed
    assert (changed.body["priority"], changed.body["assignee"], changed.body["status"]) == (
        "urgent",
        "Tom",
        "pending",
    )
    assert [t["number"] for t in (await caller.get(since)).body["items"]] == [ticket["number"]]
    assert (await caller.patch(path, {"assignee": "Nobody"})).status == 409
    assert (await caller.patch(path, {"assignee": None})).body["assignee"] is None
    closed = await caller.patch(path, {"status": "closed"})
    assert closed.body["closed_at"] is not None
    assert (await caller.patch(path, {"status": "closed"})).status == 200  # it is already what was asked for
    assert [t["number"] for t in (await caller.get("/tickets?status=closed")).body["items"]] == [
        ticket["number"]
    ]
    again = await caller.patch(path, {"status": "pending"})
    assert (again.body["status"], again.body["reopened"]) == ("pending", begun["reopened"] + 1)


async def test_every_call_is_audited_with_whose_data_it_showed(world: World, caller: Caller) -> None:
    await caller.post("/customers", {"name": "A"})
    await caller.post("/customers", {"name": "B"})
    await caller.get("/customers/1")
    await caller.get("/customers")
    entries = (await audited(world))[:2]
    assert [(e.actor, e.action, e.outcome) for e in entries] == [
        ("token:shop", "api:list_customers", "ok"),
        ("token:shop", "api:get_customer", "ok"),
    ]
    assert entries[0].detail == {"contacts": [1, 2]}
    assert entries[1].object == "contact:1"


async def test_no_token_is_kept_readable(world: World, caller: Caller) -> None:
    def everything(tx: Connection) -> str:
        return str(
            [tx.execute(select(t)).all() for t in (schema.api_token, schema.audit, schema.api_request)]
        )

    await caller.post("/customers", {"name": "A"}, Idempotency_Key="k")
    assert caller.token not in await world.store.read(everything)
    path = world.store.path
    assert path is not None
    for file in path.parent.iterdir():
        assert caller.token.encode() not in file.read_bytes()


async def test_the_description_is_open_and_names_every_route(world: World, caller: Caller) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{world.url}/api/v1/openapi.json") as got:
        assert got.status == 200
        said = await got.json()
    assert said == describe()
    assert {(m.upper(), p) for p, ms in said["paths"].items() for m in ms} == {
        (r.method, r.path) for r in ROUTES
    }
