"""The Bot API of the fake Telegram: its state, its methods, its faults and its webhook."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from tests.fakes import telegram_rules as rules
from tests.fakes.telegram_methods import Methods, wanted
from tests.fakes.telegram_rules import Refused, bad


@dataclass
class Call:
    method: str
    params: dict[str, Any]
    at: float


@dataclass
class Fault:
    """What goes wrong: "429", "5xx", "502", "html", "html200", "reset_before", "reset_after", "hang", "slow",
    "409", "401", "403", "400:<description>". `times` below 0 is for ever."""

    what: str
    times: int = 1
    chat_id: int | None = None
    retry_after: int = 1
    seconds: float = 0.3


class BotApi(Methods):
    """The server, its faults and its webhook."""

    def __init__(
        self, *, token: str = "4242:fake-token", username: str = "desk_bot", name: str = "Desk"
    ) -> None:
        super().__init__(token=token, username=username, name=name)
        self.url = ""
        self.calls: list[Call] = []
        self.users: dict[int, dict[str, Any]] = {}
        self._faults: dict[str, list[Fault]] = defaultdict(list)
        self._ids = itertools.count(700_000_001)
        self._hanging: set[asyncio.Future[None]] = set()
        self._runner: web.AppRunner | None = None
        self._pusher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/bot{token}/{method}", self._answer)
        app.router.add_get("/file/bot{token}/{path:.+}", self._download)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        server = site._server
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
        self._pusher = asyncio.create_task(self._push())
        return self

    async def __aexit__(self, *_: object) -> None:
        for hanging in self._hanging:
            hanging.cancel()
        if self._pusher is not None:
            self._pusher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pusher
        if self._runner is not None:
            await self._runner.cleanup()

    def user(self, user_id: int, *, name: str = "", username: str = "", language: str = "") -> dict[str, Any]:
        """The person with this id, as updates show them; details given once are kept."""
        who = self.users.setdefault(
            user_id, {"id": user_id, "is_bot": False, "first_name": f"User {user_id}", "language_code": "en"}
        )
        given = {"first_name": name, "username": username, "language_code": language}
        who.update({k: v for k, v in given.items() if v})
        return dict(who)

    def update(self, **payload: Any) -> int:
        """Put any update into the queue. Return its id."""
        update = {"update_id": next(self._ids), **payload}
        self.pending.append(json.loads(json.dumps(update)))
        self.told_at[update["update_id"]] = time.monotonic()
        self._notify()
        return int(update["update_id"])

    def keep(self, content: bytes) -> dict[str, Any]:
        """Store a file on the far side and describe it."""
        number = next(self._numbers)
        self.files[f"F{number}"] = content
        return {"file_id": f"F{number}", "file_unique_id": f"U{number}", "file_size": len(content)}

    # --- the server ----------------------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        if request.match_info["token"] != self.token:
            return _refusal(Refused(401, "Unauthorized"))
        if method not in rules.PARAMETERS:
            return _refusal(Refused(404, "Not Found: method not found"))
        params, files = await _parameters(request)
        self.calls.append(Call(method, params, time.monotonic()))
        fault = self._fault(method, params)
        try:
            if fault is not None and fault.what != "reset_after":
                broken = await self._break(request, fault, params)
                if broken is not None:
                    return broken
            rules.check_names(method, params, files)
            handler = getattr(self, f"_{method}", None) or self._media
            result = await handler(params | {"_method": method}, files)
        except Refused as refused:
            return _refusal(refused)
        finally:
            self._notify()
        if fault is not None and fault.what == "reset_after":
            return _reset(request)
        return web.json_response({"ok": True, "result": result})

    def _fault(self, method: str, params: Mapping[str, Any]) -> Fault | None:
        for key in (method, *(("*",) if method != "getUpdates" else ())):
            for fault in self._faults[key]:
                if fault.times and (
                    fault.chat_id is None or str(params.get("chat_id")) == str(fault.chat_id)
                ):
                    fault.times -= 1
                    return fault
        return None

    async def _break(
        self, request: web.Request, fault: Fault, params: Mapping[str, Any]
    ) -> web.StreamResponse | None:
        match fault.what.partition(":"):
            case ("429", _, _):
                self._quiet_until[fault.chat_id] = time.monotonic() + fault.retry_after
                words = f"Too Many Requests: retry after {fault.retry_after}"
                raise Refused(429, words, retry_after=fault.retry_after)
            case ("5xx", _, _):
                raise Refused(500, "Internal Server Error")
            case ("502", _, _):
                raise Refused(502, "Bad Gateway")
            case ("html", _, _):
                page = "<html><h1>502 Bad Gateway</h1><hr>nginx</html>"
                return web.Response(status=502, text=page, content_type="text/html")
            case ("html200", _, _):
                return web.Response(text="<html>It works!</html>", content_type="text/html")
            case ("reset_before", _, _):
                return _reset(request)
            case ("hang", _, _):
                hanging: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._hanging.add(hanging)
                with contextlib.suppress(asyncio.CancelledError):
                    await hanging
                return _reset(request)
            case ("slow", _, _):
                await asyncio.sleep(fault.seconds)
                return None
            case ("401", _, _):
                raise Refused(401, "Unauthorized")
            case ("403", _, _):
                raise Refused(403, "Forbidden: bot was blocked by the user")
            case ("409", _, _):
                raise Refused(
                    409,
                    "Conflict: terminated by other getUpdates request; make sure that only one bot "
                    "instance is running",
                )
            case ("400", _, description):
                raise bad(description)
        raise AssertionError(f"no such fault: {fault.what}")

    async def _download(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(Call("download", {"path": request.match_info["path"]}, time.monotonic()))
        name = request.match_info["path"].rpartition("/")[2].removesuffix(".bin")
        fault = self._fault("download", {})
        if fault is not None:
            broken = await self._break(request, fault, {})
            if broken is not None:
                return broken
        if request.match_info["token"] != self.token or name not in self.files:
            return _refusal(Refused(404, "Not Found"))
        return web.Response(body=self.files[name], content_type="application/octet-stream")

    def _notify(self) -> None:
        async def wake() -> None:
            async with self._changed:
                self._changed.notify_all()

        with contextlib.suppress(RuntimeError):  # told before the loop runs: nobody waits yet
            task = asyncio.get_running_loop().create_task(wake())
            _WAKERS.add(task)
            task.add_done_callback(_WAKERS.discard)

    async def _push(self) -> None:
        """Deliver to the webhook until each is answered with 2xx: forty at once, one chat's in order."""
        busy: set[str] = set()
        async with ClientSession(timeout=ClientTimeout(total=5)) as http, asyncio.TaskGroup() as group:
            while True:
                ready: dict[str, dict[str, Any]] = {}
                for update in self.pending if self.webhook and len(busy) < CONNECTIONS else ():
                    if wanted(update, self.webhook.get("kinds")):
                        ready.setdefault(_chat_of(update), update)
                fresh = [chat for chat in ready if chat not in busy][: CONNECTIONS - len(busy)]
                for chat in fresh:
                    busy.add(chat)
                    group.create_task(self._deliver(http, ready[chat], chat, busy))
                if not fresh:
                    async with self._changed:
                        await self._changed.wait()

    async def _deliver(self, http: ClientSession, update: dict[str, Any], chat: str, busy: set[str]) -> None:
        headers = {"X-Telegram-Bot-Api-Secret-Token": self.webhook["secret"]}
        try:
            async with http.post(self.webhook["url"], json=update, headers=headers) as answer:
                done = 200 <= answer.status < 300
        except (ClientError, TimeoutError, OSError):
            done = False
        if done:
            self.pending.remove(update)
            self.confirm([update["update_id"]])
        else:
            await asyncio.sleep(0.05)
        busy.discard(chat)
        self._notify()


CONNECTIONS = 40  # setWebhook.max_connections


def _chat_of(update: Mapping[str, Any]) -> str:
    """What Telegram's own server queues by: the chat, else the person."""
    for payload in update.values():
        if isinstance(payload, dict):
            found = payload.get("chat") or (payload.get("message") or {}).get("chat") or payload.get("from")
            return str((found or {}).get("id", ""))
    return ""


_WAKERS: set[asyncio.Task[None]] = set()


def _refusal(refused: Refused) -> web.Response:
    body: dict[str, Any] = {"ok": False, "error_code": refused.status, "description": refused.description}
    if refused.parameters:
        body["parameters"] = refused.parameters
    return web.json_response(body, status=refused.status)


def _reset(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _parameters(request: web.Request) -> tuple[dict[str, Any], dict[str, tuple[str, bytes]]]:
    """Parameters by name, and files by name as (filename, content): from JSON, a form, or the query."""
    params: dict[str, Any] = dict(request.query)
    files: dict[str, tuple[str, bytes]] = {}
    if request.content_type == "application/json":
        params |= await request.json()
    elif request.can_read_body:
        for name, value in (await request.post()).items():
            if isinstance(value, web.FileField):
                files[name] = value.filename, value.file.read()
            else:
                params[name] = value
    return params, files
