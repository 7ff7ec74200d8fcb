"""HTTP: alive, ready, metrics, the rating page, and whatever routes the channels answer."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from aiohttp import web
from multidict import MultiDict, MultiDictProxy
from sqlalchemy import Connection

from bot.door import ChannelDoor
from bot.i18n import say
from bot.office import Office, Turn
from bot.service import rating
from channels.base import ConfigError
from crm_store import conversations, files, inbox, outbox, tickets
from crm_store.db import Store

STUCK_AFTER_S = 120.0  # a raw message that could be taken for longer than this: the backlog does not move


class Pages:
    """The service's own pages."""

    def __init__(
        self,
        store: Store,
        office: Office,
        doors: Mapping[str, ChannelDoor],
        clock: Callable[[], datetime],
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._office = office
        self._doors = doors
        self._clock = clock
        self._wake = wake

    def routes(self) -> Sequence[web.RouteDef]:
        routes = [
            web.get("/health", self.health),
            web.get("/ready", self.ready),
            web.get("/r/{token}", self.rating),
            web.post("/r/{token}", self.rate),
            web.get("/f/{token}", self.file),
        ]
        if self._office.config.http.metrics:
            routes.append(web.get("/metrics", self.metrics))
        return routes

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def ready(self, _: web.Request) -> web.Response:
        """200 once every configured channel is up and the backlog is moving."""
        channels = {name: door.problem or "up" for name, door in self._doors.items()}
        backlog = await self._store.read(_backlog)
        since = backlog["due_since"]
        age = max(0.0, (self._clock() - since).total_seconds()) if since else 0.0
        moving = age < STUCK_AFTER_S
        good = moving and all(state == "up" for state in channels.values())
        body = {
            "ready": good,
            "channels": channels,
            "backlog": {"moving": moving, "pending": backlog["pending"], "oldest_s": round(age, 1)},
        }
        return web.json_response(body, status=200 if good else 503)

    async def metrics(self, _: web.Request) -> web.Response:
        from bot.metrics import render

        body = await render(self._store, self._doors)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def file(self, request: web.Request) -> web.Response:
        """A file that was too large to show, for whoever was given the link; never opened in the browser."""
        text = self._office.signed("file", request.match_info["token"]) or ""
        number, _, until = text.partition("-")
        if not number or int(until) < self._clock().timestamp():
            raise web.HTTPNotFound

        def find(tx: Connection) -> tuple[str, bytes | None]:
            row = files.get(tx, int(number))
            return (
                (row.filename, files.content(tx, row.sha256))
                if row is not None and row.sha256
                else ("", None)
            )

        name, content = await self._store.read(find)
        if content is None:
            raise web.HTTPNotFound
        headers = {
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name or 'file', safe='')}",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-store",
        }
        return web.Response(body=content, content_type="application/octet-stream", headers=headers)

    async def rating(self, request: web.Request) -> web.Response:
        """The rating form. Opening the link rates nothing: mail scanners open every link."""
        ticket, lang = await self._rated(request)
        if ticket is None:
            return _page(say("rating.page_bad_link", lang), "", lang, status=404)
        chosen = request.query.get("n", "")
        stars = "".join(
            f'<label><input type="radio" name="n" value="{n}" required{" checked" if chosen == str(n) else ""}>'
            f"<span>{html.escape(say(f'rating.{n}', lang))}</span></label>"
            for n in range(1, 6)
        )
        form = (
            f'<form method="post"><div class="stars">{stars}</div>'
            f'<textarea name="comment" rows="4" maxlength="4000" placeholder="'
            f'{html.escape(say("rating.page_comment", lang))}"></textarea>'
            f"<button>{html.escape(say('rating.page_send', lang))}</button></form>"
        )
        return _page(say("rating.page_question", lang, number=ticket.number), form, lang)

    async def rate(self, request: web.Request) -> web.Response:
        ticket, lang = await self._rated(request)
        try:
            form = await request.post()
        except (ValueError, LookupError):  # not a form, or in no encoding we know
            form = MultiDictProxy(MultiDict())
        stars = str(form.get("n", ""))
        if ticket is None or stars not in {"1", "2", "3", "4", "5"}:
            return _page(say("rating.page_bad_link", lang), "", lang, status=404)
        words = str(form.get("comment", "")).strip()[:4000]

        def write(tx: Connection) -> None:
            turn = Turn(tx, self._office, self._clock())
            row = tickets.lock(tx, ticket)
            if not rating.may_rate_by_link(row, turn.now):
                return
            commented = bool(row.rating_comment)
            rating.record(turn, row, int(stars), quiet=True)
            if words and not commented:
                rating.comment(turn, tickets.get(tx, ticket.id), words)

        await self._store.write(write)
        self._wake()
        return _page(say("rating.page_done", lang), "", lang)

    async def _rated(self, request: web.Request) -> tuple[Any, str]:
        office = self._office
        number = office.signed("rating", request.match_info["token"])
        fallback = office.customer_language(request.headers.get("Accept-Language", "")[:2])
        if number is None or not number.isdigit():
            return None, fallback

        def find(tx: Connection) -> tuple[Any, str]:
            ticket = tickets.by_number(tx, int(number))
            if ticket is None:
                return None, fallback
            return ticket, str(conversations.get(tx, ticket.conversation_id).language)

        return await self._store.read(find)


async def serve(app: web.Application, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Listen; return the runner and the port taken. Raise ConfigError when the port is in use."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(f"http.port: {host}:{port} cannot be listened on: {error.strerror}") from error
    address = next(iter(runner.addresses))
    return runner, int(address[1])


def _backlog(tx: Connection) -> dict[str, Any]:
    return {
        "due_since": inbox.due_since(tx),
        "pending": inbox.counts(tx)["pending"],
        **outbox.counts(tx, ("dead",)),
    }


def _page(title: str, body: str, lang: str, status: int = 200) -> web.Response:
    text = f"""<!doctype html><html lang="{lang}"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">
<title>{html.escape(title)}</title><style>{_STYLE}</style><main><h1>{html.escape(title)}</h1>{body}</main></html>"""
    headers = {
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    return web.Response(text=text, content_type="text/html", status=status, headers=headers)


_STYLE = """
:root{color-scheme:light dark;font:17px/1.5 system-ui,"Noto Sans SC",sans-serif}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:light-dark(#f4f6f5,#14191a)}
main{width:min(30rem,90vw);padding:2rem;border-radius:18px;background:light-dark(#fff,#1e2526);
box-shadow:0 12px 40px #0002;text-align:center}h1{font-size:1.3rem;margin:.2rem 0 1.2rem}
.stars{display:grid;gap:.5rem;margin-bottom:1rem}label{cursor:pointer}input{position:absolute;opacity:0}
span{display:block;padding:.6rem;border-radius:12px;border:1px solid light-dark(#d5dcda,#3a4546)}
input:checked+span{background:#1f7a66;color:#fff;border-color:#1f7a66}
input:focus-visible+span{outline:3px solid #1f7a6688}
textarea{width:100%;box-sizing:border-box;border-radius:12px;border:1px solid light-dark(#d5dcda,#3a4546);padding:.7rem;
font:inherit;background:transparent;color:inherit}button{margin-top:1rem;width:100%;padding:.8rem;border:0;
border-radius:12px;background:#1f7a66;color:#fff;font:inherit;font-weight:600;cursor:pointer}
"""
