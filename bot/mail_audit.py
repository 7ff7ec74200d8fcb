"""The audit: what lies on a channel's server against what we stored. What is missing is named and fetched.

A command cannot speak to a server: it leaves a request, which is worked off here and answered where it was
asked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from bot import posting
from bot.door import ChannelDoor
from bot.i18n import say
from bot.office import Office, Turn
from channels.base import Audits, Channel, FetchFailed, Held
from channels.conversation import Address
from channels.rich import Block, Reply, Text
from crm_store import audits
from crm_store.db import Store

log = structlog.get_logger()
EVERY_S = 2.0
NAMED = 20  # missing ids that an answer lists


@dataclass(frozen=True, slots=True)
class Request:
    """Who asked for an audit, and where the answer goes."""

    days: int
    channel: str
    room_id: str
    thread_id: str
    private_to: str
    lang: str


@dataclass(frozen=True, slots=True)
class Found:
    """What an audit of one channel found: how many lie there, and which of them we do not have."""

    held: int
    missing: tuple[Held, ...]
    nameless: tuple[Held, ...]  # without an id: only fetching tells whether we have them


def ask(turn: Turn, request: Request) -> None:
    """Leave a request. Another one of the same person replaces it."""
    audits.leave(turn.tx, request.private_to or request.room_id, json.dumps(asdict(request)), turn.now)


async def compare(store: Store, channel: Audits, name: str, since: datetime) -> Found:
    """Compare a channel's server with the store. Raise FetchFailed."""
    try:
        held = await channel.held(since)
    except TimeoutError as error:
        raise FetchFailed("timeout") from error
    known = await store.read(audits.stored, name, [h.event_id for h in held if h.event_id])
    missing = tuple(h for h in held if h.event_id and h.event_id not in known)
    return Found(len(held), missing, tuple(h for h in held if not h.event_id))


class Auditor:
    """Works off requests until cancelled."""

    def __init__(
        self,
        store: Store,
        office: Office,
        channels: Mapping[str, Channel],
        doors: Mapping[str, ChannelDoor],
        clock: Callable[[], datetime],
        wake: Callable[[], None],
    ) -> None:
        self._store, self._office, self._clock, self._wake = store, office, clock, wake
        self._channels, self._doors = channels, doors

    async def run(self) -> None:
        while True:
            try:
                for waiting in await self._store.read(audits.waiting):
                    if await self._store.write(audits.claim, waiting):
                        await self._answer(Request(**json.loads(waiting.value)))
            except Exception:
                log.exception("audit_failed")
            await asyncio.sleep(EVERY_S)

    async def _answer(self, request: Request) -> None:
        since = self._clock() - timedelta(days=request.days)
        blocks: list[Block] = []
        for name, channel in self._channels.items():
            if isinstance(channel, Audits):
                blocks += await self._one(channel, name, since, request)
        if not blocks:
            blocks = [Text(say("mail.nothing_to_audit", request.lang))]
        address = Address(request.channel, request.room_id, request.thread_id)

        def write(tx: Connection) -> None:
            turn = Turn(tx, self._office, self._clock())
            posting.answer(turn, address, Reply(tuple(blocks)), private_to=request.private_to)

        await self._store.write(write)
        self._wake()

    async def _one(self, channel: Audits, name: str, since: datetime, request: Request) -> Sequence[Block]:
        try:
            found = await compare(self._store, channel, name, since)
            taken = 0
            if found.missing or found.nameless:
                taken = await channel.take(self._doors[name], [*found.missing, *found.nameless])
        except (FetchFailed, TimeoutError) as error:
            reason = getattr(error, "reason", "timeout")
            return [Text(say("mail.audit_failed", request.lang, channel=name, reason=reason))]
        log.info("audited", channel=name, held=found.held, missing=len(found.missing), taken=taken)
        if not found.held:
            return []
        key = "mail.audit_missing" if found.missing else "mail.audit_whole"
        text = say(
            key, request.lang, channel=name, held=found.held, days=request.days, missing=len(found.missing)
        )
        return [Text(text), *(Text(h.event_id, small=True) for h in found.missing[:NAMED])]
