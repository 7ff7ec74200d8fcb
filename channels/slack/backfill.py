"""Read what was missed: after a start or a reconnect, the history of our rooms since the stored cursor.

Slack delivers an event four times within six minutes and then drops it. The cursor is JSON, room -> ts: up to
there nothing is missing. Live messages move it only while nothing is being read back. Repeats are harmless:
a message has the same Inbound.event_id by either way.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from channels.base import Clock, Door, RetryLater
from channels.conversation import Raw
from channels.slack.api import Api, Refused
from channels.slack.envelope import as_dict, is_direct, is_own, wrap
from channels.slack.receive import Receiver

log = structlog.get_logger()

PAGE = 200
PAGES = 10
THREADS_S = 14 * 86_400.0  # older threads are not searched for new replies
OVERLAP_S = 60.0  # events come a little out of order
DIRECT_ROOMS = 50  # direct messages looked at, the latest first
BATCH = 100
ATTEMPTS = 5
LEAST_S = 1.0
AGAIN_S = 60.0  # after a run that could not read everything


class Backfill:
    """Knows up to where each room is complete and reads the gap."""

    def __init__(self, name: str, api: Api, receiver: Receiver, clock: Clock, rooms: Sequence[str]) -> None:
        self._name = name
        self._api = api
        self._receiver = receiver
        self._clock = clock
        self._rooms = tuple(dict.fromkeys(r for r in rooms if r))
        self._upto: dict[str, str] = {}
        self._live: dict[str, str] = {}  # newest seen while a gap was being read
        self._whole = False
        self._wanted = asyncio.Event()

    def want(self) -> None:
        """Ask for a run: the connection is new, so something may be missing."""
        self._whole = False
        self._wanted.set()

    def cursor_after(self, payload: Mapping[str, Any]) -> str | None:
        """The cursor to store with a live payload; None where it does not move."""
        event = as_dict(payload.get("event"))
        room, ts = event.get("channel"), event.get("ts")
        if event.get("type") != "message" or not isinstance(room, str) or not is_ts(ts):
            return None
        if room not in self._rooms and not is_direct(room):
            return None
        known = self._upto if self._whole else self._live
        if not newer(str(ts), known.get(room)):
            return None
        known[room] = str(ts)
        return self._dump() if self._whole else None

    def not_stored(self, payload: Mapping[str, Any]) -> None:
        """Set the cursor back before a message that could not be stored, and read it again later."""
        event = as_dict(payload.get("event"))
        room, ts = event.get("channel"), event.get("ts")
        if not isinstance(room, str) or not is_ts(ts):
            return
        for known in (self._upto, self._live):
            if room in known and newer(known[room], str(ts)):
                known[room] = str(ts)
        self.want()

    async def run(self, door: Door) -> None:
        """Read gaps when asked to, until cancelled. What fails is logged and tried again."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                complete = await self._read_all(door)
            except Exception as error:  # the store is away, or history has a shape we do not know
                log.warning("backfill_failed", channel=self._name, error=type(error).__name__)
                complete = False
            if not complete:
                await asyncio.sleep(LEAST_S)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN_S):
                        await self._wanted.wait()
                self._wanted.set()

    async def _read_all(self, door: Door) -> bool:
        self._upto = {**parse(await door.cursor()), **self._upto}  # ours was set back where storing failed
        now = f"{self._clock().timestamp():.6f}"
        complete = True
        direct = sorted((r for r in self._upto if is_direct(r)), key=lambda r: -float(self._upto[r]))
        for room in (*self._rooms, *direct[:DIRECT_ROOMS]):
            since = self._upto.get(room)
            if since is None:  # first start: the past is not ours
                self._upto[room] = now
                continue
            try:
                complete = await self._read_room(door, room, since) and complete
            except Refused as error:
                log.warning("backfill_refused", channel=self._name, room=room, error=error.code)
        if not complete or self._wanted.is_set():
            return complete
        for room, ts in self._live.items():
            if newer(ts, self._upto.get(room)):
                self._upto[room] = ts
        self._live.clear()
        self._whole = True
        await door.accept(cursor=self._dump())
        return True

    async def _read_room(self, door: Door, room: str, since: str) -> bool:
        """Hand in what is newer than `since`, oldest first. False when it could not be read to the end."""
        try:
            found = await self._missed(room, max(0.0, float(since) - OVERLAP_S))
        except RetryLater as error:
            log.warning("backfill_failed", channel=self._name, room=room, error=error.reason)
            return False
        raws = [self._raw(room, m) for m in sorted(found, key=lambda m: float(m["ts"]))]
        for start in range(0, len(raws), BATCH):
            await door.accept(*raws[start : start + BATCH])
        if raws:
            log.info("backfilled", channel=self._name, room=room, messages=len(raws))
            newest = max((str(m["ts"]) for m in found), key=float)
            if newer(newest, self._upto.get(room)):
                self._upto[room] = newest
        return True

    def _raw(self, room: str, message: Mapping[str, Any]) -> Raw:
        return wrap(
            self._name,
            "history",
            {"channel": room, "message": message},
            bot_user_id=self._receiver.bot_user_id,
            team_id=self._receiver.team_id,
            received_at=self._clock(),
        )

    async def _missed(self, room: str, since: float) -> list[Mapping[str, Any]]:
        """People's messages after `since`: at the top, and in threads that have newer replies."""
        found: list[Mapping[str, Any]] = []
        oldest = max(0.0, since - THREADS_S)
        top = await self._pages("conversations.history", channel=room, oldest=f"{oldest:.6f}")
        for message in top:
            if float(message["ts"]) > since:
                found.append(message)
            latest = message.get("latest_reply")
            if is_ts(latest) and float(str(latest)) > since:
                replies = await self._pages(
                    "conversations.replies", channel=room, ts=message["ts"], oldest=f"{since:.6f}"
                )
                found += [r for r in replies if r["ts"] != message["ts"] and float(r["ts"]) > since]
        unique = {str(m["ts"]): m for m in found}  # a broadcast reply is in both
        return [m for m in unique.values() if not self._skip(m)]

    def _skip(self, message: Mapping[str, Any]) -> bool:
        event = {"type": "message", **message}
        return bool(message.get("bot_id")) or is_own({"event": event}, self._receiver.bot_user_id)

    async def _pages(self, method: str, **parameters: Any) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        cursor: str | None = None
        for _ in range(PAGES):
            answer = await self._patiently(method, limit=PAGE, cursor=cursor, **parameters)
            found += [m for m in answer.get("messages") or () if isinstance(m, dict) and is_ts(m.get("ts"))]
            cursor = as_dict(answer.get("response_metadata")).get("next_cursor") or None
            if cursor is None:
                return found
        log.warning("backfill_cut", channel=self._name, pages=PAGES)
        return found

    async def _patiently(self, method: str, **parameters: Any) -> Mapping[str, Any]:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._api.call(method, **parameters)
            except RetryLater as error:
                if attempt == ATTEMPTS:
                    raise
                await asyncio.sleep(error.after_s if error.after_s is not None else attempt)
        raise AssertionError

    def _dump(self) -> str:
        direct = sorted((r for r in self._upto if is_direct(r)), key=lambda r: -float(self._upto[r]))
        for room in direct[DIRECT_ROOMS:]:
            del self._upto[room]
        return json.dumps(self._upto, separators=(",", ":"))


def parse(cursor: str | None) -> dict[str, str]:
    """Read a stored cursor; rubbish is no cursor."""
    try:
        found = json.loads(cursor or "{}")
    except ValueError:
        return {}
    return {str(k): v for k, v in found.items() if is_ts(v)} if isinstance(found, dict) else {}


def is_ts(value: object) -> bool:
    if not isinstance(value, str):
        return False
    whole, _, fraction = value.partition(".")
    return (
        whole.isascii() and whole.isdigit() and (not fraction or (fraction.isascii() and fraction.isdigit()))
    )


def newer(ts: str, than: str | None) -> bool:
    return than is None or float(ts) > float(than)
