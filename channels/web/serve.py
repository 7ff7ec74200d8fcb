"""What browsers ask of us over HTTP: the pages, the live line (WebSocket, or polling), uploads and files."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from channels.base import Door, Journal
from channels.web import demo, entries, tokens
from channels.web.frames import Frame, Person, Refused
from channels.web.pages import FILE_POLICY, SAFE, Static, policy, theme
from channels.web.uploads import FRAME_BYTES, frame_and_files, parsed

if TYPE_CHECKING:
    from channels.web.channel import WebChannel

HEARTBEAT_S = 25
WAIT_S = 20  # after which access is looked at again even if nothing was written
BATCH = 200  # entries a frame
SOCKETS_FROM_ONE_ADDRESS = 200
SOCKETS_OF_ONE_PERSON = 12

log = structlog.get_logger()


class Pages:
    """The HTTP side of one web channel."""

    def __init__(self, channel: WebChannel, journal: Journal, door: Door) -> None:
        self.channel = channel
        self.settings = channel.settings
        self.setup = channel.setup
        self.journal = journal
        self.door = door
        self.static = Static()
        prefix = self.settings.path_prefix
        self.chat = f"/chat/{prefix}" if prefix else "/chat"
        self.staff = f"/staff/{prefix}" if prefix else "/staff"
        self.widget = f"/widget/{prefix}.js" if prefix else "/widget.js"
        self.demo = f"/demo/{prefix}" if prefix else "/demo"
        self._sockets: dict[web.WebSocketResponse, Person] = {}

    def routes(self) -> Sequence[web.RouteDef]:
        routes = [
            web.get(self.chat, self._chat_page),
            web.get(f"{self.chat}/ws", self._socket),
            web.get(f"{self.chat}/poll", self._poll),
            web.post(f"{self.chat}/say", self._say),
            web.get(f"{self.chat}/file/{{token}}", self._file),
            web.get(f"{self.chat}/theme.css", self._theme),
            web.get(f"{self.chat}/static/{{name}}", self._static),
            web.get(self.widget, self._widget),
        ]
        if self.settings.staff_channel:
            routes += [
                web.get(self.staff, self._staff_page),
                web.get(f"{self.staff}/ws", self._socket),
                web.get(f"{self.staff}/poll", self._poll),
                web.post(f"{self.staff}/say", self._say),
                web.post(f"{self.staff}/out", self._sign_out),
            ]
        if self.settings.demo:
            routes += demo.routes(self)
        return routes

    async def close(self) -> None:
        """Say goodbye to every page; they come back by themselves."""
        async with asyncio.TaskGroup() as group:
            for socket in list(self._sockets):
                group.create_task(_goodbye(socket))

    # pages

    def config(self) -> dict[str, Any]:
        """What the pages need to know; nothing in it is secret."""
        return {
            "chat": self.chat,
            "staff": self.staff,
            "demo": self.demo,
            "title": self.settings.title or self.setup.desk_name or self.setup.name,
            "hold_s": self.settings.hold_s,
            "reply_mode": self.settings.reply_mode,
            "upload_mb": self.settings.max_upload_mb,
            "commands": {lang: dict(known) for lang, known in self.setup.commands.items()},
        }

    async def _chat_page(self, request: web.Request) -> web.Response:
        framed_by = " ".join(["'self'", *self.settings.allowed_origins])
        config = {k: v for k, v in self.config().items() if k not in ("commands", "staff", "demo")}
        response = self.static.page("chat.html", self.chat, config, policy(framed_by=framed_by))
        if "embed" not in request.query and self._person(request, "v") is None:
            self._set_cookie(request, response, "v", tokens.new_id())
        return response

    async def _staff_page(self, request: web.Request) -> web.Response:
        framed_by = "'self'" if self.settings.demo else "'none'"
        response = self.static.page("staff.html", self.chat, self.config(), policy(framed_by=framed_by))
        if self._person(request, "s") is None:
            self._set_cookie(request, response, "s", tokens.new_id())
        return response

    async def _widget(self, request: web.Request) -> web.Response:
        response = self.static.response(request, "widget.js")
        if isinstance(response.body, bytes):
            title = self.config()["title"]
            set_up = entries.dumped([self.chat, title, self.settings.accent]).replace("<", "\\u003c")
            response.body = response.body.replace(b'["{{set_up}}"]', set_up.encode())
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        del response.headers["ETag"]
        return response

    async def _static(self, request: web.Request) -> web.Response:
        return self.static.response(request, request.match_info["name"])

    async def _theme(self, request: web.Request) -> web.Response:
        headers = {**SAFE, "Cache-Control": "no-cache"}
        return web.Response(text=theme(self.settings.accent), content_type="text/css", headers=headers)

    async def _file(self, request: web.Request) -> web.Response:
        secret, now = self.setup.secret, self.setup.clock().timestamp()
        ref = tokens.open_file_token(secret, self.channel.name, request.match_info["token"], now)
        content = await entries.file_content(self.journal, ref.sha) if ref else None
        if ref is None or content is None:
            raise web.HTTPNotFound
        shown = ref.content_type in entries.SHOWN
        disposition = (
            f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{quote(ref.filename, safe='')}"
        )
        headers = {**SAFE, "Content-Security-Policy": FILE_POLICY, "Content-Disposition": disposition}
        headers |= {"Cache-Control": "private, max-age=86400"}
        content_type = ref.content_type if shown else "application/octet-stream"
        return web.Response(body=content, content_type=content_type, headers=headers)

    # who it is

    def _cookie(self, side: str) -> str:
        return f"wh_{side}_" + re.sub(r"[^A-Za-z0-9]", "-", self.channel.name)

    def _set_cookie(self, request: web.Request, response: web.Response, side: str, ident: str) -> None:
        signed = tokens.sign(self.setup.secret, f"{side}:{self.channel.name}", ident)
        secure = request.secure or self.setup.public_url.startswith("https://")
        days = self.settings.visitor_days if side == "v" else 30
        response.set_cookie(
            self._cookie(side),
            signed,
            max_age=days * 86_400,
            path=self.chat if side == "v" else self.staff,
            httponly=True,
            secure=secure,
            samesite="Lax" if side == "v" else "Strict",
        )

    def _person(self, request: web.Request, side: str, token: str = "") -> Person | None:
        """The person of a browser's cookie; a frame on another site has none and shows its token."""
        for signed in (request.cookies.get(self._cookie(side), ""), token):
            ident = tokens.open_token(self.setup.secret, f"{side}:{self.channel.name}", signed)
            if ident:
                return Person(f"{side}:{ident}", self._remote(request))
        return None

    def _remote(self, request: web.Request) -> str:
        header = self.settings.forwarded_header
        named = request.headers.get(header, "").split(",")[-1].strip() if header else ""
        return named or request.remote or ""

    def _side(self, request: web.Request) -> str:
        return "s" if request.path.startswith(self.staff + "/") else "v"

    def check_origin(self, request: web.Request) -> None:
        """Only our own pages may write: a browser tells where a request comes from, and must."""
        origin = request.headers.get("Origin", "")
        ours = urlsplit(self.setup.public_url)
        allowed = {("http", request.host), ("https", request.host), (ours.scheme, ours.netloc)}
        parts = urlsplit(origin)
        if not parts.netloc or (parts.scheme, parts.netloc) not in allowed:
            raise web.HTTPForbidden(text="origin")

    async def _sign_out(self, request: web.Request) -> web.Response:
        self.check_origin(request)
        response = web.json_response({"t": "bye"})
        self._set_cookie(request, response, "s", tokens.new_id())
        return response

    # the live line

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        self.check_origin(request)
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=FRAME_BYTES, compress=False)
        side = self._side(request)
        remote = self._remote(request)
        if side == "s" and self._person(request, side) is None:
            raise web.HTTPForbidden(text="who")
        if sum(p.remote == remote for p in self._sockets.values()) >= SOCKETS_FROM_ONE_ADDRESS:
            raise web.HTTPTooManyRequests
        await socket.prepare(request)
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                hello = await socket.receive()
            frame = parsed(hello.data) if hello.type is WSMsgType.TEXT else None
            if frame is None or frame.get("t") != "hello":
                await socket.close(code=WSCloseCode.POLICY_VIOLATION)
                return socket
            person, welcome = self._welcome(request, side, frame)
            if sum(p.user == person.user for p in self._sockets.values()) >= SOCKETS_OF_ONE_PERSON:
                await socket.close(code=WSCloseCode.TRY_AGAIN_LATER)
                return socket
            self._sockets[socket] = person
            await socket.send_str(entries.dumped(welcome))
            async with asyncio.TaskGroup() as group:
                pump = group.create_task(self._pump(socket, person, _cursors(frame)))
                await self._read(socket, person)
                pump.cancel()
        except (TimeoutError, ConnectionError):
            pass  # the page went away; it comes back with what it has not seen acknowledged
        finally:
            self._sockets.pop(socket, None)
        return socket

    def _welcome(self, request: web.Request, side: str, frame: Mapping[str, Any]) -> tuple[Person, Frame]:
        token = frame.get("token")
        person = self._person(request, side, token if side == "v" and isinstance(token, str) else "")
        welcome: Frame = {"t": "welcome"}
        if person is None:
            if side == "s":
                raise web.HTTPForbidden
            ident = tokens.new_id()
            person = Person(f"v:{ident}", self._remote(request))
            welcome["token"] = tokens.sign(self.setup.secret, f"v:{self.channel.name}", ident)
        return person, welcome | {"you": person.user}

    async def _read(self, socket: web.WebSocketResponse, person: Person) -> None:
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            frame = parsed(message.data)
            if frame is not None and frame.get("t") == "ping":
                answer: Frame = {"t": "pong"}
            else:
                answer = await self.channel.frames.take(self.door, self.journal, person, frame)
            try:
                await socket.send_str(entries.dumped(answer))
            except ConnectionError:
                return

    async def _pump(self, socket: web.WebSocketResponse, person: Person, cursors: dict[str, int]) -> None:
        """Send what the rooms gain. The wait begins before the reading: nothing falls in between."""
        said_access: bool | None = None
        waiting = await self._wait(person)
        try:
            while True:
                access = await self._access(person)
                if access != said_access:
                    said_access = access
                    await socket.send_str(entries.dumped({"t": "access", "staff": access}))
                async for frame in self._news(person, cursors, access):
                    await socket.send_str(entries.dumped(frame))
                await socket.send_str('{"t":"seen"}')
                await waiting
                waiting = await self._wait(person)
        except ConnectionError:
            pass
        except Exception as error:  # the store is away: the page comes back and reads on from where it was
            log.warning("web_line_broken", channel=self.channel.name, error=type(error).__name__)
            await _goodbye(socket)
        finally:
            waiting.cancel()

    async def _wait(self, person: Person) -> asyncio.Future[None]:
        rooms = [person.user, self.settings.staff_channel] if person.staff else [person.user]
        waiting = asyncio.ensure_future(self.journal.changed(rooms, WAIT_S))
        await asyncio.sleep(0)
        return waiting

    async def _access(self, person: Person) -> bool:
        return person.staff and await self.journal.may_read(self.settings.staff_channel, person.user)

    async def _news(self, person: Person, cursors: dict[str, int], access: bool) -> AsyncIterator[Frame]:
        rooms = {"staff": self.settings.staff_channel} if access else {}
        if not person.staff or access or await self.journal.may_read(person.user, person.user):
            rooms = {"self": person.user} | rooms
        now = self.setup.clock().timestamp()
        for label, room in rooms.items():
            while True:
                batch = await self.journal.since(room, cursors.get(label, 0), BATCH)
                shown = [self._visible(room, number, body, now) for number, body in batch]
                if batch:
                    cursors[label] = batch[-1][0]
                    yield {
                        "t": "entries",
                        "room": label,
                        "entries": [e for e in shown if e],
                        "n": batch[-1][0],
                    }
                if len(batch) < BATCH:
                    break

    def _visible(self, room: str, number: int, body: str, now: float) -> entries.Plain | None:
        return entries.visible(
            room,
            number,
            body,
            secret=self.setup.secret,
            channel=self.channel.name,
            files=f"{self.chat}/file",
            now=now,
        )

    async def _poll(self, request: web.Request) -> web.Response:
        """The line for browsers behind a proxy that knows no WebSocket: frames of one long poll."""
        side = self._side(request)
        wait_s = self.channel.frames.limits.take(
            f"poll:{self._remote(request)}", 4 * self.settings.address_per_minute
        )
        if wait_s:
            raise web.HTTPTooManyRequests(headers={"Retry-After": str(int(wait_s) + 1)})
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        person, welcome = self._welcome(request, side, {"token": bearer} if bearer else {})
        cursors = _cursors({k: int(v) for k, v in request.query.items() if v.isdecimal() and len(v) < 16})
        frames = [welcome]
        waiting = await self._wait(person)
        try:
            while True:
                access = await self._access(person)
                frames.append({"t": "access", "staff": access})
                frames += [frame async for frame in self._news(person, cursors, access)]
                changed = request.query.get("staff_seen", "") not in ("", str(int(access)))
                if len(frames) > 2 or changed or "now" in request.query or waiting.done():
                    break
                del frames[1:]
                await asyncio.wait([waiting])
        finally:
            waiting.cancel()
        frames.append({"t": "seen"})
        return web.json_response(frames, headers=SAFE | {"Cache-Control": "no-store"}, dumps=entries.dumped)

    async def _say(self, request: web.Request) -> web.Response:
        """One frame by POST, with files when it is a form: what polling and uploads use."""
        self.check_origin(request)
        side = self._side(request)
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        person = self._person(request, side, bearer if side == "v" else "")
        if person is None:
            raise web.HTTPForbidden(text="who")
        limits, per_minute = self.channel.frames.limits, self.settings.address_per_minute
        try:
            if request.content_type == "multipart/form-data":
                wait_s = limits.take(f"upload:{person.remote}", per_minute)
                if wait_s:
                    raise Refused("slow_down", wait_s)
            limit = int(self.settings.max_upload_mb * 1024 * 1024)
            frame, files = await frame_and_files(request, limit)
        except Refused as refused:
            return web.json_response({"t": "no", "id": "", "why": refused.why, "after_s": refused.after_s})
        answer = await self.channel.frames.take(self.door, self.journal, person, frame, files)
        return web.json_response(answer, headers=SAFE)


async def _goodbye(socket: web.WebSocketResponse) -> None:
    try:
        async with asyncio.timeout(2):
            await socket.close(code=WSCloseCode.GOING_AWAY)
    except (TimeoutError, ConnectionError):
        return


def _cursors(frame: Mapping[str, Any]) -> dict[str, int]:
    return {k: n for k in ("self", "staff") if isinstance(n := frame.get(k), int) and 0 <= n < 2**53}
