"""Privacy's background: erases whom staff asked to erase and whom a restored backup brought back, forgets once a
day what is past its time, and gives out takeouts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryFile

import structlog
from aiohttp import web
from sqlalchemy import Connection

from bot import posting
from bot.config import Config
from bot.i18n import say
from bot.office import Office, Turn
from bot.service import card
from channels.conversation import Address
from channels.rich import Reply
from crm_store import erase, retention, takeout, tickets
from crm_store.db import Store, parse_url
from crm_store.privacy import listed

log = structlog.get_logger()
EVERY_S = 1.0  # a look at a table that is nearly always empty
AGAIN_S = 60.0  # after one that failed
LINK_FOR = timedelta(hours=1)
CHUNK = 256 * 1024


def list_path(config: Config) -> Path:
    """Where the list of the erased lies: configured, or beside the database."""
    if config.privacy.erased_list:
        return config.base / config.privacy.erased_list
    parsed = parse_url(config.store_url)
    if parsed.get_backend_name() == "sqlite":
        return Path(f"{parsed.database}.erased")
    return config.base / "wellheard.erased"


def outside(office: Office) -> erase.Outside:
    """What erasing reaches outside the store."""
    return erase.Outside(
        list_path(office.config), office.secret, lambda channel: bool(office.can(channel).delete)
    )


class Eraser:
    """Carries out what was asked for until cancelled."""

    def __init__(
        self, store: Store, office: Office, clock: Callable[[], datetime], wake: Callable[[], None]
    ) -> None:
        self._store = store
        self._office = office
        self._clock = clock
        self._wake = wake
        self._forgot: date | None = None  # the day on which the rules were applied last

    async def run(self) -> None:
        await self.replay()
        while True:
            wait = EVERY_S
            try:
                await self.tick()
            except Exception:
                log.exception("erasing_failed")
                wait = AGAIN_S
            await asyncio.sleep(wait)

    async def replay(self) -> None:
        """Erase again whom a restored backup brought back."""
        try:
            again = await erase.replay(self._store, outside(self._office), self._clock)
        except listed.Unreadable as error:
            log.error("erased_list_unreadable", reason=str(error))
        except Exception:
            log.exception("erasing_again_failed")
        else:
            if again:
                log.warning("erased_again", contacts=again)
                self._wake()

    async def tick(self) -> None:
        for row in await self._store.read(erase.asked):
            erased = await erase.carry_out(self._store, row.id, self._clock, outside(self._office))
            rows = sum(erased.counts.values())
            log.info("erased", contact=erased.contact_id, rows=rows, clean=erased.clean)
            if erased.touched:
                await self._store.write(self._redraw, erased.touched)
            if row.counts.get("tell"):
                await self._store.write(self._tell, row.counts["tell"], erased)
            self._wake()
        rules, now = self._office.config.retention.rules, self._clock()
        if rules and now.date() != self._forgot:
            done = await retention.apply(self._store, rules, now)
            self._forgot = now.date()
            log.info("forgotten", **done)

    def _redraw(self, tx: Connection, of: Sequence[int]) -> None:
        """Bring cards of others' tickets up to date: they said that the erased one receives replies."""
        turn = Turn(tx, self._office, self._clock())
        for ticket in (tickets.get(tx, ticket_id) for ticket_id in of):
            if tickets.threads(tx, ticket.id):
                posting.card(turn, ticket, card.build(turn, ticket))

    def _tell(self, tx: Connection, where: dict[str, str], done: erase.Erased) -> None:
        """Say so where it was asked for; it names nobody."""
        turn = Turn(tx, self._office, self._clock())
        key = "erase.done" if done.clean else "erase.done_later"
        text = say(
            key,
            where["lang"],
            id=done.contact_id,
            rows=sum(done.counts.values()),
            posts=done.posts,
        )
        address = Address(where["channel"], where["room"], where["thread"])
        posting.answer(turn, address, Reply.of(text), private_to=where["private_to"])


class TakeoutPage:
    """A takeout for whoever was given the link: made when it is opened, so that no copy lies about."""

    def __init__(self, store: Store, office: Office, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._office = office
        self._clock = clock

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.get("/takeout/{token}", self.get)]

    async def get(self, request: web.Request) -> web.StreamResponse:
        text = self._office.signed("takeout", request.match_info["token"]) or ""
        number, _, until = text.partition("-")
        if not number or int(until) < self._clock().timestamp():
            raise web.HTTPNotFound
        headers = {
            "Content-Disposition": f'attachment; filename="takeout-C{number}.zip"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-store",
        }
        with TemporaryFile() as file:  # it has no name: nothing is left of it however this ends
            try:
                with takeout.zipped(file) as sink:
                    await takeout.write(self._store, int(number), sink, self._clock(), actor="link")
            except erase.Unknown as error:
                raise web.HTTPNotFound from error
            file.seek(0)
            response = web.StreamResponse(headers=headers)
            response.content_type = "application/zip"
            await response.prepare(request)
            while chunk := file.read(CHUNK):
                await response.write(chunk)
            await response.write_eof()
            return response


def takeout_link(turn: Turn, contact_id: int) -> str:
    """A link to a customer's takeout, good for an hour; "" where there is no public address."""
    url = turn.office.config.http.public_url.rstrip("/")
    if not url:
        return ""
    token = f"{contact_id}-{int((turn.now + LINK_FOR).timestamp())}"
    return f"{url}/takeout/{token}.{turn.office.sign('takeout', token)}"
