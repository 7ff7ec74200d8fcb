"""How the Slack on loopback reaches the app: Socket Mode and signed HTTP, with retries."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import itertools
import json
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

TEAM = "T0HOME"
BOT_USER = "U0BOT"

Json = dict[str, Any]


class Wire:
    """Delivers events until they are acknowledged. `mode` is "socket" or "http"."""

    def __init__(self, mode: Literal["socket", "http"], ack_s: float) -> None:
        self.mode = mode
        self.ack_s = ack_s  # how long Slack waits for an acknowledgement
        self.retry_after_s: Sequence[float] = (0.0, 0.5, 1.0)  # Slack: at once, 1 min, 5 min
        self.signing_secret = "8f742231b10e8888abcd99yyyzzz85a5"
        self.acks: list[tuple[str, float]] = []  # envelope or event id, seconds until acknowledged
        self.dropped: list[Json] = []  # events given up after the retries
        self.sockets: list[web.WebSocketResponse] = []
        self.connections = 0  # sockets ever opened
        self.tickets: set[str] = set()  # of apps.connections.open, each good for one socket
        self.unanswered: dict[str, asyncio.Future[Json]] = {}
        self.target = ""  # where HTTP events go
        self._ids = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._connected = asyncio.Event()
        self._http: aiohttp.ClientSession

    async def until(self, condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
        """Wait until the condition is truthy and return what it gave."""
        async with asyncio.timeout(timeout_s):
            while not (found := condition()):
                await asyncio.sleep(0.01)
        return found

    def deliver_to(self, url: str) -> None:
        """Where the app's /slack/events is (HTTP mode)."""
        self.target = url

    async def event(self, event: Json, *, event_id: str = "") -> Json:
        """Deliver one Events API callback; returns the payload, so that a test can deliver it again."""
        payload = {
            "token": "legacy",
            "team_id": TEAM,
            "api_app_id": "A0APP",
            "event": event,
            "type": "event_callback",
            "event_id": event_id or f"Ev{next(self._ids):08d}",
            "event_time": int(time.time()),
            "authorizations": [{"team_id": TEAM, "user_id": BOT_USER, "is_bot": True}],
            "is_ext_shared_channel": False,
        }
        await self._deliver("events_api", payload)
        return payload

    async def again(self, payload: Json) -> None:
        """Deliver an event once more, as Slack does when an acknowledgement was lost."""
        await self._deliver("events_api", payload)

    async def drop_socket(self) -> None:
        """Cut every socket without a close frame."""
        for socket in tuple(self.sockets):
            self._lost(socket)
            transport = socket._req.transport if socket._req else None
            if transport is not None:
                transport.abort()

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Ask the app to come back on a new socket, then close the old ones."""
        for socket in tuple(self.sockets):
            self._lost(socket)
            with contextlib.suppress(ConnectionError):
                await socket.send_json({"type": "disconnect", "reason": reason, "debug_info": {"host": "x"}})
            self.spawn(self._close_soon(socket))

    async def connected(self, timeout_s: float = 10.0) -> None:
        async with asyncio.timeout(timeout_s):
            await self._connected.wait()

    async def idle(self, timeout_s: float = 10.0) -> None:
        """Wait until everything delivered was acknowledged or given up."""
        await self.until(lambda: not self._tasks, timeout_s)

    def sign(self, body: bytes, at: float | None = None) -> dict[str, str]:
        stamp = str(int(time.time() if at is None else at))
        digest = hmac.new(
            self.signing_secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256
        ).hexdigest()
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}

    def body(self, kind: str, payload: Json) -> tuple[bytes, str]:
        """A payload as the HTTP transport carries it: bytes and content type."""
        form = "application/x-www-form-urlencoded"
        if kind == "events_api":
            return json.dumps(payload).encode(), "application/json"
        if kind == "interactive":
            return urlencode({"payload": json.dumps(payload)}).encode(), form
        return urlencode(payload).encode(), form

    async def post(self, body: bytes, content_type: str, **headers: str) -> tuple[int, str]:
        """One signed request to the app; explicit headers win."""
        head = {"Content-Type": content_type} | self.sign(body) | headers
        async with self._http.post(self.target, data=body, headers=head) as answer:
            return answer.status, await answer.text()

    async def _deliver(self, kind: str, payload: Json) -> None:
        started = asyncio.Event()
        self.spawn(self._deliver_until_acknowledged(kind, payload, started))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await started.wait()

    async def _deliver_until_acknowledged(self, kind: str, payload: Json, started: asyncio.Event) -> None:
        waits = [*self.retry_after_s] if kind == "events_api" else []
        for attempt in range(len(waits) + 1):
            if attempt:
                await asyncio.sleep(waits[attempt - 1])
            if self.mode == "socket":
                done = await self._by_socket(kind, payload, attempt, started)
            else:
                done = await self._by_http(kind, payload, attempt, started)
            if done:
                return
        self.dropped.append(payload)

    async def _by_socket(self, kind: str, payload: Json, attempt: int, started: asyncio.Event) -> bool:
        envelope = str(uuid.uuid4())
        future: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        message = {
            "envelope_id": envelope,
            "payload": payload,
            "type": kind,
            "accepts_response_payload": False,
        }
        if kind == "events_api":
            message |= {"retry_attempt": attempt, "retry_reason": "timeout" if attempt else ""}
        while True:  # without a socket Slack holds on to it
            await self._connected.wait()
            self.unanswered[envelope] = future
            begun = time.monotonic()
            try:
                await self.sockets[-1].send_json(message)
            except (ConnectionError, RuntimeError, IndexError):
                await asyncio.sleep(0.01)
                continue
            break
        started.set()
        try:
            async with asyncio.timeout(self.ack_s):
                await future
        except TimeoutError:
            return False
        finally:
            self.unanswered.pop(envelope, None)
        self.acks.append((envelope, time.monotonic() - begun))
        return True

    async def _by_http(self, kind: str, payload: Json, attempt: int, started: asyncio.Event) -> bool:
        body, content_type = self.body(kind, payload)
        headers = {"X-Slack-Retry-Num": str(attempt), "X-Slack-Retry-Reason": "http_error"} if attempt else {}
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self.ack_s):
                status, _ = await self.post(body, content_type, **headers)
        except (TimeoutError, aiohttp.ClientError):
            return False
        finally:
            started.set()  # who says two things says the second after the first arrived
        if status == 200:
            self.acks.append((str(payload.get("event_id", "")), time.monotonic() - begun))
        return status == 200

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        if ticket not in self.tickets:
            return web.Response(status=401)
        self.tickets.discard(ticket)
        socket = web.WebSocketResponse(heartbeat=None)
        await socket.prepare(request)
        self.connections += 1
        await socket.send_json(
            {"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A0APP"}}
        )
        self.sockets.append(socket)
        self._connected.set()
        try:
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    continue
                answer = json.loads(message.data)
                future = self.unanswered.get(answer.get("envelope_id", ""))
                if future is not None and not future.done():
                    future.set_result(answer)
        finally:
            self._lost(socket)
        return socket

    def _lost(self, socket: web.WebSocketResponse) -> None:
        if socket in self.sockets:
            self.sockets.remove(socket)
        if not self.sockets:
            self._connected.clear()

    async def _close_soon(self, socket: web.WebSocketResponse) -> None:
        await asyncio.sleep(0.05)
        await socket.close()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
