"""The API as HTTP has it: methods, versions, bodies that are broken, slow or encoded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.api import server
from tests.api.kit import Caller, served

ARTICLE = {"title": "Returns", "body": "Within 30 days."}


@pytest.fixture
async def caller(tmp_path: Path) -> AsyncIterator[Caller]:
    async with served(tmp_path, more="[api]\nper_minute = 100000") as (_, caller):
        yield caller


async def asked(caller: Caller, method: str, path: str, **how: Any) -> tuple[int, dict[str, str], bytes]:
    headers = {"Authorization": f"Bearer {caller.token}"} | how.pop("headers", {})
    async with caller.session.request(method, f"{caller.url}/api/v1{path}", headers=headers, **how) as got:
        return got.status, dict(got.headers), await got.read()


async def test_what_can_be_got_can_be_asked_after(caller: Caller) -> None:
    made = await caller.post("/customers", {"name": "Kim"})
    status, headers, body = await asked(caller, "HEAD", "/customers/1")
    assert (status, headers["Etag"], body) == (200, made.headers["Etag"], b"")
    assert int(headers["Content-Length"]) > 100
    assert (await asked(caller, "HEAD", "/openapi.json"))[0] == 200
    assert (await asked(caller, "HEAD", "/customers/7"))[0] == 404
    assert (await asked(caller, "HEAD", "/events"))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/customers", "GET, HEAD, POST"),
        ("OPTIONS", "/orders/A-1", "GET, HEAD, PUT"),
        ("HEAD", "/conversations/1/notes", "POST"),
        ("POST", "/openapi.json", "GET, HEAD"),
    ],
)
async def test_another_method_is_told_which_there_are(
    caller: Caller, method: str, path: str, allowed: str
) -> None:
    status, headers, _ = await asked(caller, method, path)
    assert (status, headers["Allow"]) == (405, allowed)


async def test_no_path_is_answered_in_another_way(caller: Caller) -> None:
    for path in ("", "/", "/customers/1/2", "/orders/a%2Fb", "/orders/a%0Ab", "/%00"):
        status, headers, _ = await asked(caller, "GET", path)
        assert (status, headers["Content-Type"]) == (404, "application/problem+json"), path


async def test_a_version_is_known_however_it_is_written(caller: Caller) -> None:
    tag = (await caller.post("/customers", {"name": "Kim"})).headers["Etag"]
    for said in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        status, headers, body = await asked(caller, "GET", "/customers/1", headers={"If-None-Match": said})
        assert (status, headers["Etag"], body) == (304, tag, b""), said
    assert (await caller.get("/customers/1", If_None_Match='"other"')).status == 200


async def test_an_article_that_somebody_else_changed_is_not_overwritten(caller: Caller) -> None:
    path = "/articles/returns/en"
    assert (await caller.put(path, ARTICLE, If_Match="*")).status == 412
    first = (await caller.put(path, ARTICLE)).headers["Etag"]
    assert (await caller.put(path, ARTICLE | {"title": "Return it"}, If_Match=first)).status == 200
    assert (await caller.put(path, ARTICLE, If_Match=first)).status == 412
    assert (await caller.get(path)).body["title"] == "Return it"


async def test_a_body_that_is_not_what_its_encoding_says_is_the_callers_mistake(caller: Caller) -> None:
    got = await caller.post("/customers", b'{"name": "x"}', Content_Encoding="gzip")
    assert (got.status, got.body["detail"]) == (400, "the body cannot be read")


async def test_a_body_that_does_not_come_is_not_waited_for(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "BODY_S", 0.2)
    gate = asyncio.Event()

    async def dripping() -> AsyncIterator[bytes]:
        yield b'{"name": '
        await gate.wait()
        yield b'"x"}'

    try:
        got = await asked(
            caller, "POST", "/customers", data=dripping(), headers={"Content-Type": "application/json"}
        )
    except aiohttp.ClientError:  # the answer was there before the body had ended
        got = (408, {}, b"")
    finally:
        gate.set()
    assert got[0] == 408
    assert (await caller.pages("/customers")) == []


@pytest.mark.parametrize("email", ["o'neil@example.com", "a+b=c@sub.example.museum", "#1!x@example.com"])
async def test_an_address_may_have_every_sign_that_mail_allows(caller: Caller, email: str) -> None:
    assert (await caller.post("/customers", {"emails": [email]})).status == 201
    found = (await caller.get("/customers")).body["items"]
    assert found[0]["identities"][0]["user_id"] == email


async def test_the_headers_of_answers_are_described(caller: Caller) -> None:
    described = (await caller.get("/openapi.json")).body["paths"]
    customer = described["/customers/{id}"]["get"]["responses"]
    assert set(customer["304"]["headers"]) == set(customer["200"]["headers"]) == {"ETag"}
    assert set(described["/customers"]["post"]["responses"]["201"]["headers"]) == {"ETag", "Location"}
    assert set(customer["401"]["headers"]) == {"WWW-Authenticate"}
