"""Serves the routes: who asks, may they, what do they say, is it a repeat; then one transaction, and its record.

A request is answered once. Whatever it changed, the answer kept for its Idempotency-Key and its audit entry are
written in one transaction; a refusal undoes all of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog
from aiohttp import web
from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection

from bot.api import openapi
from bot.api.operations import ROUTES
from bot.api.problems import CONTENT_TYPE, Problem, not_allowed, of_validation
from bot.api.routes import Answer, Ask, Route, etag, match
from bot.api.schemas import PATTERNS
from bot.api.tokens import Caller, Meter, check, recognise
from bot.i18n import UserError, say
from bot.office import Office, Turn
from crm_store import api_tokens, audit
from crm_store.db import Store

log = structlog.get_logger()
PREFIX = "/api/v1"
DESCRIPTION = "/openapi.json"
LARGEST_BODY = 1024**2
BODY_S = 30.0  # a body that takes longer is not on its way
JSON = "application/json"
_KEY = re.compile(openapi.KEY_PATTERN)
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")


class Api:
    """Everything below /api/v1."""

    def __init__(
        self, store: Store, office: Office, clock: Callable[[], datetime], wake: Callable[[], None]
    ) -> None:
        self._store = store
        self._office = office
        self._clock = clock
        self._wake = wake
        self._meter = Meter(office.config.api.per_minute)
        self._description = ""

    def routes(self) -> list[web.RouteDef]:
        return [web.route("*", path, self.handle) for path in (PREFIX, PREFIX + r"/{tail:[\s\S]*}")]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._handle(request)
        except Problem as problem:
            return web.Response(
                body=problem.body().encode(),
                status=problem.status,
                headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store", **problem.headers},
            )
        except Exception:
            log.exception("api_failed", method=request.method)
            ours = Problem(500, "this went wrong here, not with you; it has been noted")
            return web.Response(body=ours.body().encode(), status=500, headers={"Content-Type": CONTENT_TYPE})

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.rel_url.raw_path.removeprefix(PREFIX)
        method = "GET" if request.method == "HEAD" else request.method  # the body of the answer is left out
        if path == DESCRIPTION:
            if method != "GET":
                raise not_allowed(method, ["GET"])
            self._description = self._description or json.dumps(openapi.describe(), ensure_ascii=False)
            return web.Response(text=self._description, content_type=JSON)
        route, values = match(ROUTES, method, path)
        caller = await recognise(self._store, request.headers.get("Authorization", ""))
        self._meter.take(caller.id)
        try:
            check(self._office.access, caller, route)
        except Problem:
            await self._store.write(self._note, caller, route, "refused")
            raise
        query = _query(route, request)
        raw = await _body(route, request)
        body = _understood(route, raw)
        key = _header(request, "Idempotency-Key", _KEY) if route.repeatable else ""
        if_match = ",".join(request.headers.getall("If-Match", ())) if route.conditional else ""
        make = _Making(route, caller, values, query, body, if_match)
        if route.writes:
            digest = hashlib.sha256(b"\0".join([route.method.encode(), path.encode(), raw])).hexdigest()
            answered = await self._store.write(self._write, make, key, digest)
            self._wake()
        else:
            answered, saw, subject = await self._store.read(self._read, make)
            await self._store.write(self._note, caller, route, "ok", saw, subject)
        headers = {"Content-Type": JSON, "Cache-Control": "no-store", **answered.headers}
        tag = answered.headers.get("ETag")
        if tag and not route.writes and _has(request, tag):
            return web.Response(status=304, headers={"ETag": tag, "Cache-Control": "no-store"})
        return web.Response(body=answered.body.encode(), status=answered.status, headers=headers)

    def _read(self, tx: Connection, make: _Making) -> tuple[api_tokens.Answered, set[int], str]:
        ask = make.ask(Turn(tx, self._office, self._clock(), via="api"))
        return make.answer(ask), ask.saw, ask.object

    def _write(self, tx: Connection, make: _Making, key: str, digest: str) -> api_tokens.Answered:
        now = self._clock()
        if key and (before := api_tokens.answered(tx, make.caller.id, key, now)) is not None:
            if before.digest != digest:
                raise Problem(409, "this Idempotency-Key came with another request before")
            return before
        if key:
            api_tokens.reserve(tx, make.caller.id, key, now, digest)
        ask = make.ask(Turn(tx, self._office, now, via="api"))
        try:
            answer = make.answer(ask, digest)
        except UserError as error:
            raise Problem(409, say(error.key, "en", **error.values)) from error
        if key:
            api_tokens.remember(tx, make.caller.id, key, answer)
        self._note(tx, make.caller, make.route, "ok", ask.saw, ask.object)
        return answer

    def _note(
        self,
        tx: Connection,
        caller: Caller,
        route: Route,
        outcome: str,
        saw: set[int] = frozenset(),  # type: ignore[assignment]
        subject: str = "",
    ) -> None:
        """The audit entry; a list of customers is one entry that names them all."""
        if not subject and len(saw) == 1:
            subject = f"contact:{next(iter(saw))}"
        detail: dict[str, Any] = {"contacts": sorted(saw)} if saw else {}
        audit.record(tx, self._clock(), caller.actor, f"api:{route.name}", subject, outcome, **detail)


class _Making:
    """A request on its way to its handler; a transaction that is repeated makes it anew."""

    def __init__(
        self, route: Route, caller: Caller, path: dict[str, Any], query: Any, body: Any, if_match: str
    ) -> None:
        self.route = route
        self.caller = caller
        self._given = (path, query, body, if_match)

    def ask(self, turn: Turn) -> Ask:
        return Ask(turn, self.caller.member, self.caller.name, *self._given)

    def answer(self, ask: Ask, digest: str = "") -> api_tokens.Answered:
        said = self.route.handler(ask)
        answer = said if isinstance(said, Answer) else Answer(said, self.route.status)
        body = ask.shown(answer.body)
        headers = {"ETag": etag(body)} if self.route.single else {}
        if answer.location:
            headers["Location"] = PREFIX + answer.location
        return api_tokens.Answered(digest, answer.status, headers, body.model_dump_json())


def _query(route: Route, request: web.Request) -> Any:
    """The parameters. Raise Problem."""
    given: dict[str, Any] = {}
    for name, value in request.rel_url.query.items():
        if name in given:
            raise Problem(400, f"{name}: is there twice", field=name)
        field = route.query.model_fields.get(name)
        integer = field is not None and "int" in str(field.annotation)
        given[name] = int(value) if integer and _INTEGER.fullmatch(value) else value
    try:
        return route.query.model_validate(given)
    except ValidationError as error:
        raise of_validation(error, "query", PATTERNS) from error


async def _body(route: Route, request: web.Request) -> bytes:
    if route.body is None:
        return b""
    if request.content_type != JSON:
        raise Problem(415, f"the body must be {JSON}")
    too_large = Problem(413, "the body is larger than 1 MB", headers={"Connection": "close"})
    if (request.content_length or 0) > LARGEST_BODY:
        raise too_large
    raw = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.content.iter_any():
                raw += chunk
                if len(raw) > LARGEST_BODY:
                    raise too_large
    except TimeoutError:
        said = f"the body was not here within {BODY_S:g} s"
        raise Problem(408, said, headers={"Connection": "close"}) from None
    except (web.RequestPayloadError, ConnectionError) as error:  # broken off, or not what its encoding says
        raise Problem(400, "the body cannot be read", headers={"Connection": "close"}) from error
    return bytes(raw)


def _has(request: web.Request, tag: str) -> bool:
    """Whether the caller has this version. A proxy that compresses makes W/"…" of our tags."""
    given = ",".join(request.headers.getall("If-None-Match", ()))
    return any(one.strip().removeprefix("W/") in (tag, "*") for one in given.split(","))


def _understood(route: Route, raw: bytes) -> BaseModel | None:
    if route.body is None:
        return None
    try:
        return route.body.model_validate_json(raw)
    except ValidationError as error:
        raise of_validation(error, "body", PATTERNS) from error


def _header(request: web.Request, name: str, pattern: re.Pattern[str]) -> str:
    if name not in request.headers:
        return ""
    given = request.headers.getall(name)
    if len(given) > 1 or not pattern.fullmatch(given[0]):
        raise Problem(400, f"{name}: is not like {pattern.pattern}", field=name)
    return given[0]
