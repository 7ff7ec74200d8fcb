"""An export for who confirmed it: made when its link is opened, of what they may see then; no copy is kept."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from tempfile import TemporaryFile
from typing import IO, Any
from zoneinfo import ZoneInfo

from aiohttp import web
from sqlalchemy import Connection

from bot import access, masking
from bot.access import Member, member
from bot.office import Office, Turn
from crm_store import audit, exporter, people, segments
from crm_store.db import Store

LINK_FOR = timedelta(hours=1)
CHUNK = 256 * 1024
TYPES = {
    "csv": "text/csv",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def link(turn: Turn, who: Member, what: str, form: str, query: str) -> str:
    """A link to the file, good for an hour and as long as they may; "" where there is no public address. What was
    asked for stands in the audit log, and goes from there when whom it names is erased."""
    url = turn.office.config.http.public_url.rstrip("/")
    detail = {"form": form, "query": query, "via": turn.via}
    number = audit.entry(turn.tx, turn.now, who.actor, "export", what, **detail)
    if not url:
        return ""
    token = f"{number}-{int((turn.now + LINK_FOR).timestamp())}"
    return f"{url}/export/{token}.{turn.office.sign('export', token)}"


class ExportPage:
    """The file behind a link."""

    def __init__(self, store: Store, office: Office, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._office = office
        self._clock = clock

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.get("/export/{token}", self.get)]

    async def get(self, request: web.Request) -> web.StreamResponse:
        text = self._office.signed("export", request.match_info["token"]) or ""
        number, _, until = text.partition("-")
        if not number or int(until) < self._clock().timestamp():
            raise web.HTTPNotFound
        with TemporaryFile() as file:  # it has no name: nothing is left of it however this ends
            asked = await self._store.read_apart(self._write, int(number), file)
            if asked is None:
                raise web.HTTPNotFound
            who, what, form = asked
            await self._store.write(self._note, who, what)
            size = file.tell()
            file.seek(0)
            headers = {
                "Content-Disposition": f'attachment; filename="{what}.{form}"',
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "private, no-store",
            }
            response = web.StreamResponse(headers=headers)
            response.content_type, response.content_length = TYPES[form], size
            await response.prepare(request)
            while chunk := file.read(CHUNK):
                await response.write(chunk)
            await response.write_eof()
            return response

    def _note(self, tx: Connection, who: Member, what: str) -> None:
        audit.record(tx, self._clock(), who.actor, "export", what, via="link")

    def _write(self, tx: Connection, number: int, file: IO[bytes]) -> tuple[Member, str, str] | None:
        """The rows and masks are those of who asked, as they are now; None when they may not any more."""
        row = audit.get(tx, number)
        if row is None or row.action != "export" or "query" not in row.detail:
            return None
        person = people.get(tx, int(row.actor.removeprefix("staff:")))
        if person is None or person.disabled_at is not None:
            return None
        who, turn = member(person), Turn(tx, self._office, self._clock())
        if not self._office.access.may(who, "export"):
            return None
        what, form = row.object, row.detail["form"]
        how = self._how(turn, who, row.detail["query"])
        if form == "xlsx":
            exporter.workbook(tx, what, file, **how)
            return who, what, form
        out = io.TextIOWrapper(file, encoding="utf-8", write_through=True)
        if form == "csv":
            out.write("\ufeff")  # without it spreadsheets take Chinese for Western letters
        for piece in exporter.export(tx, what, form, **how):
            out.write(piece)
        out.detach()
        return who, what, form

    def _how(self, turn: Turn, who: Member, query: str) -> dict[str, Any]:
        desk = self._office.config.desk
        how: dict[str, Any] = {"scope": access.scope_of(turn, who)}
        if self._office.access.masks(who.role):
            how["shown"] = lambda value: masking.value(value, desk.country)
        if query:
            currency = desk.currency.upper()
            asked = segments.parse(query, zone=ZoneInfo(desk.timezone), currency=currency)
            how["where"] = segments.condition(turn.tx, asked, turn.now, currency=currency)
        return how
