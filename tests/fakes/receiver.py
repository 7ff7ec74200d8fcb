"""Another system that is told things: it checks each signature as docs/api.md says, and fails in every way it can.

async with Receiver() as shop:
    shop.faults = ["500", "reset", "hang", "429", "redirect"]   # the next requests; then all is well
    ...
    shop.told                                                  # the events it took, in order
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Self

from aiohttp import web

SECRET = "a secret of sixteen letters or more"


def verify(secret: str, header: str, body: bytes) -> bool:
    """What a receiver does; the same lines as in docs/api.md."""
    said = dict(part.split("=", 1) for part in header.split(","))
    made = hmac.new(secret.encode(), said["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(made, said["v1"]) and abs(time.time() - int(said["t"])) < 300


class Receiver:
    """An HTTP server on loopback. `fault` decides about each request instead of `faults` where it is set."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.fault: Callable[[dict[str, Any]], str] | None = None
        self.told: list[dict[str, Any]] = []  # each event once, when it was first taken
        self.taken: Counter[str] = Counter()  # how often each was taken, by its id
        self.tried: list[tuple[float, str, str]] = []  # (when, event id, what became of it)
        self.forged = 0
        self.elsewhere = 0
        self._free = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/in", self._take)
        app.router.add_route("*", "/elsewhere", self._elsewhere)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/in"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._free.set()
        await self._runner.cleanup()

    def settings(self, events: list[str], **more: object) -> str:
        """A [[webhooks]] table."""
        given: dict[str, object] = {
            "url": self.url,
            "secret": SECRET,
            "events": events,
            "allow_private": True,
            "first_retry_s": 0.05,
            "timeout_s": 0.5,
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in (given | more).items()]
        return "\n[[webhooks]]\n" + "\n".join(lines) + "\n"

    def of(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.told if one["type"] == event]

    async def until(self, condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
        try:
            async with asyncio.timeout(timeout_s):
                while not (found := condition()):
                    await asyncio.sleep(0.02)
                return found
        except TimeoutError:
            raise AssertionError(
                f"never came; told {[t['type'] for t in self.told]}, {self.tried[-9:]}"
            ) from None

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if not verify(SECRET, request.headers["Wellheard-Signature"], body):
            self.forged += 1
            return web.Response(status=400)
        event = json.loads(body)
        assert event["id"] == request.headers["Wellheard-Event"]
        fault = self.fault(event) if self.fault is not None else self.faults.pop(0) if self.faults else ""
        self.tried.append((time.monotonic(), event["id"], fault))
        match fault:
            case "500":
                return web.Response(status=500)
            case "429":
                return web.Response(status=429, headers={"Retry-After": "1"})
            case "redirect":
                return web.Response(status=307, headers={"Location": "/elsewhere"})
            case "reset":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case "hang":
                await self._free.wait()
                return web.Response()
        self._note(event)
        if fault == "slow":
            await asyncio.sleep(0.3)
        if fault == "unsaid":  # taken, and nobody hears that it was
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=204)

    def _note(self, event: dict[str, Any]) -> None:
        if not self.taken[event["id"]]:
            self.told.append(event)
        self.taken[event["id"]] += 1

    async def _elsewhere(self, _: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.Response()
