"""Receive: verify, store, acknowledge. One Bolt app for both transports.

Bolt runs listeners after it has acknowledged; a middleware runs before. Ours stands in front of everything
else, stores, and is the only one that answers: 200 after the commit, 503 when there was none (Slack retries).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import structlog
from aiohttp import web
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from channels.base import Clock, Door
from channels.slack.envelope import as_dict, is_own, wrap

log = structlog.get_logger()

BODY_LIMIT = 2 * 2**20  # bytes; Slack's events stay under 1 MB
OVERTAKING_S = 0.2  # two posts a person made one after the other may arrive that much the other way round
LOST = frozenset(("tokens_revoked", "app_uninstalled"))


class Receiver:
    """Stores what arrives.

    `cursor_after` gives the cursor to store with a payload, `on_failure` is told what was not stored,
    `on_lost` that the app was removed from the workspace.
    """

    def __init__(
        self,
        name: str,
        signing_secret: str,
        clock: Clock,
        *,
        cursor_after: Callable[[Mapping[str, Any]], str | None] = lambda _: None,
        on_failure: Callable[[Mapping[str, Any]], None] = lambda _: None,
        on_lost: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._name = name
        self._clock = clock
        self._cursor_after = cursor_after
        self._on_failure = on_failure
        self._on_lost = on_lost
        self._verifier = SignatureVerifier(signing_secret) if signing_secret else None
        self.bot_user_id = ""
        self.team_id = ""
        logging.getLogger("slack_bolt").setLevel(logging.WARNING)  # at INFO it logs whole bodies
        self._app = AsyncApp(
            name=name,
            client=AsyncWebClient(),  # never called: our middleware answers before Bolt would authorise
            signing_secret=signing_secret or "unused",
            authorize=_nobody,
            process_before_response=True,
            request_verification_enabled=False,  # done below: Bolt's raises on odd headers and logs bodies
            before_authorize=self._store,
        )

    async def receive(
        self, kind: str, payload: Mapping[str, Any], door: Door, *, wait_s: float = 0.0
    ) -> BoltResponse:
        """Dispatch one payload of either transport. Status 200 means it may be acknowledged."""
        try:
            request = AsyncBoltRequest(
                body=dict(payload), mode="socket_mode", context={"kind": kind, "door": door, "wait_s": wait_s}
            )
        except (TypeError, AttributeError, KeyError, ValueError) as error:
            # Bolt looks for ids in the body and trips over a shape it does not know; we keep it all the same
            log.info("odd_body", channel=self._name, error=type(error).__name__)
            return await self._keep(kind, dict(payload), door, wait_s)
        return await self._app.async_dispatch(request)

    async def _store(self, req: AsyncBoltRequest) -> BoltResponse:
        payload = req.body
        if payload.get("type") == "url_verification":
            return BoltResponse(status=200, body={"challenge": payload.get("challenge", "")})
        return await self._keep(req.context["kind"], payload, req.context["door"], req.context["wait_s"])

    async def _keep(self, kind: str, payload: dict[str, Any], door: Door, wait_s: float) -> BoltResponse:
        bot_user_id = self.bot_user_id
        if is_own(payload, bot_user_id):
            return BoltResponse(status=200)
        if as_dict(payload.get("event")).get("type") in LOST:
            self._on_lost("the app was uninstalled or its token revoked: install it again")
        raw = wrap(
            self._name,
            kind,
            payload,
            bot_user_id=bot_user_id,
            team_id=self.team_id or str(payload.get("team_id") or ""),
            received_at=self._clock(),
        )
        raw = replace(raw, wait_s=wait_s)
        try:
            await door.accept(raw, cursor=self._cursor_after(payload))
        except Exception as error:
            self._on_failure(payload)
            log.warning("not_stored", channel=self._name, raw_id=raw.event_id, error=type(error).__name__)
            return BoltResponse(status=503)
        return BoltResponse(status=200)

    async def http(self, request: web.Request, door: Door) -> web.Response:
        """Answer POST /slack/events: events, interactions and slash commands, all signed."""
        body = await request.content.read(BODY_LIMIT + 1)
        while len(body) <= BODY_LIMIT and (more := await request.content.read(BODY_LIMIT + 1 - len(body))):
            body += more
        if len(body) > BODY_LIMIT:
            return web.Response(status=413)
        if not self.is_signed(body, request.headers):
            log.info("bad_signature", channel=self._name)
            return web.Response(status=401)
        try:
            kind, payload = parse(body, request.content_type)
        except (ValueError, RecursionError):
            return web.Response(status=400)
        said = as_dict(payload.get("event")).get("type") == "message"
        answer = await self.receive(kind, payload, door, wait_s=OVERTAKING_S if said else 0.0)
        content_type = answer.first_headers().get("content-type", "text/plain").partition(";")[0]
        return web.Response(status=answer.status, text=answer.body, content_type=content_type)

    def is_signed(self, body: bytes, headers: Mapping[str, str]) -> bool:
        """Whether Slack signed it within five minutes. The SDK raises on odd headers; that is a no."""
        if self._verifier is None:
            return False
        try:
            return self._verifier.is_valid_request(body, dict(headers))
        except (ValueError, TypeError):  # UnicodeDecodeError is a ValueError
            return False


def parse(body: bytes, content_type: str) -> tuple[str, dict[str, Any]]:
    """Kind and payload of an HTTP body. (Bolt loses a slash command whose text holds the word "payload".)"""
    text = body.decode("utf-8")
    if content_type == "application/json" or text.startswith("{"):
        return "events_api", _object(text)
    form = dict(parse_qsl(text, keep_blank_values=True))
    if "command" in form:
        return "slash_commands", dict(form)
    if "payload" in form:
        return "interactive", _object(form["payload"])
    return "events_api", dict(form)


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


async def _nobody(**_: Any) -> AuthorizeResult:
    raise RuntimeError("our middleware answers before Bolt authorises")
