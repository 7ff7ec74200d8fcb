"""The demo's own pages: customer and staff side by side, and the mails that its outbox holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aiohttp import web

from channels.web.pages import MAIL_POLICY, SAFE, policy

if TYPE_CHECKING:
    from channels.web.serve import Pages


def routes(pages: Pages) -> Sequence[web.RouteDef]:
    """The routes of a channel whose settings say `demo = true`."""
    shown = Demo(pages)
    return [
        web.get(pages.demo, shown.page),
        web.get(f"{pages.demo}/mail", shown.mail_page),
        web.get(f"{pages.demo}/mail/list", shown.mail_list),
        web.get(f"{pages.demo}/mail/{{number:\\d+}}", shown.mail),
    ]


class Demo:
    def __init__(self, pages: Pages) -> None:
        self.pages = pages

    async def page(self, request: web.Request) -> web.Response:
        settings = self.pages.settings
        config = self.pages.config() | {"hints": settings.hints_by_language()}
        code = request.query.get("code", "")
        config |= {"code": code} if code.isalnum() or "-" in code else {}
        allowed = policy(framed_by="'self'", frames=True)
        return self.pages.static.page("demo.html", self.pages.chat, config, allowed)

    async def mail_page(self, request: web.Request) -> web.Response:
        allowed = policy(framed_by="'self'", frames=True)
        return self.pages.static.page("mail.html", self.pages.chat, self.pages.config(), allowed)

    async def mail_list(self, request: web.Request) -> web.Response:
        listed = [
            {key: str(mail.get(key) or "") for key in ("from", "to", "subject", "date", "text")}
            | {"html": bool(mail.get("html"))}
            for mail in self._mails()
        ]
        return web.json_response(listed, headers=SAFE | {"Cache-Control": "no-store"})

    async def mail(self, request: web.Request) -> web.Response:
        """The HTML of one mail, in a sandbox: it may neither run nor load anything."""
        mails = self._mails()
        number = int(request.match_info["number"])
        if number >= len(mails) or not mails[number].get("html"):
            raise web.HTTPNotFound
        headers = {**SAFE, "Content-Security-Policy": MAIL_POLICY}
        return web.Response(text=str(mails[number]["html"]), content_type="text/html", headers=headers)

    def _mails(self) -> Sequence[Any]:
        hook = self.pages.channel.mails
        return list(hook()) if hook else []
