"""Callers of the API for tests."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import Connection

from bot.api.routes import SCOPES
from crm_store import api_tokens, people
from crm_store.db import Store
from tests.fakes.web import Visitor
from tests.world import World, running


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


@dataclass
class Caller:
    """Another system with a token."""

    url: str
    token: str
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        said = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = None
        if body is not None:
            data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
            said.setdefault("Content-Type", "application/json")
        async with self.session.request(method, f"{self.url}/api/v1{path}", data=data, headers=said) as got:
            text = await got.text()
            return Answer(got.status, dict(got.headers), json.loads(text) if text else None)

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask("GET", path, **headers)

    async def post(self, path: str, body: Any, **headers: str) -> Answer:
        return await self.ask("POST", path, body, **headers)

    async def put(self, path: str, body: Any, **headers: str) -> Answer:
        return await self.ask("PUT", path, body, **headers)

    async def patch(self, path: str, body: Any, **headers: str) -> Answer:
        return await self.ask("PATCH", path, body, **headers)

    async def pages(self, path: str) -> list[Any]:
        """All items of a list."""
        found: list[Any] = []
        cursor = ""
        while True:
            got = await self.get(path + ("&" if "?" in path else "?") + cursor)
            assert got.status == 200, got
            found += got.body["items"]
            if got.body["next_cursor"] is None:
                return found
            cursor = f"cursor={got.body['next_cursor']}"


async def token(
    store: Store, name: str = "shop", scopes: tuple[str, ...] = SCOPES, staff: str = "Mei"
) -> str:
    def add(tx: Connection) -> str | None:
        return api_tokens.add_token(tx, store.now(tx), name, scopes, people.by_name(tx, staff).id)

    made = await store.write(add)
    assert made is not None
    return made


@asynccontextmanager
async def served(directory: Path, **how: Any) -> AsyncIterator[tuple[World, Caller]]:
    """A world and a caller who may do everything."""
    how.setdefault("articles", False)
    async with running(directory, **how) as world, aiohttp.ClientSession() as session:
        yield world, Caller(world.url, await token(world.store), session)


async def ticketed(world: World, text: str) -> dict[str, Any]:
    """A visitor of the web chat writes what a person has to see to; return the ticket."""
    async with Visitor(world.url) as visitor:
        await visitor.says(text)
        return await world.until(lambda dump: dump["tickets"] and dump["tickets"][-1])
