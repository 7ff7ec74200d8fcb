"""A mailbox read by IMAP: every mail once, in order, from where the last run stopped.

The cursor is "UIDVALIDITY:UID:day", stored together with the mail. `day` is how far back the first start
read; when the server renumbers (another UIDVALIDITY) everything since then is read again, and repeats are
recognised by their content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from typing import TypeVar

import structlog

from channels.base import Check, Clock, Door
from channels.conversation import Raw
from channels.email.envelope import Transit, pack
from channels.email.imap_session import TIMEOUT_S, TROUBLE, Gone, Refused, Session, call
from channels.email.settings import Settings

FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 300.0
WHOLE_TRIES = 3  # in as many sessions; then only the beginning of a mail is asked for
FETCH_TRIES = 5  # then it is noted as unfetchable and the next is read
SMALL = 256 * 1024  # bytes; larger mail is hashed in a thread
CALL_S = 300.0  # one blocking call, a large fetch included

T = TypeVar("T")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the mailbox was read."""

    uidvalidity: int
    uid: int
    since: date | None  # None: from the beginning

    def __str__(self) -> str:
        return f"{self.uidvalidity}:{self.uid}:{self.since.isoformat() if self.since else ''}"

    @classmethod
    def read(cls, text: str | None) -> Cursor | None:
        """Undo str(); None for nothing, or for what nobody wrote."""
        validity, _, rest = (text or "").partition(":")
        uid, _, day = rest.partition(":")
        try:
            return cls(int(validity), int(uid), date.fromisoformat(day) if day else None)
        except ValueError:
            return None


class ImapSource:
    """Reads one folder until cancelled; reconnects for as long as it takes."""

    def __init__(
        self,
        channel: str,
        settings: Settings,
        door: Door,
        *,
        clock: Clock,
        first_backoff_s: float = FIRST_BACKOFF_S,
    ) -> None:
        self._channel = channel
        self._settings = settings
        self._door = door
        self._clock = clock
        self._first_backoff_s = first_backoff_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"imap-{channel}")
        self._failures: dict[tuple[int, int], int] = {}
        self._worked = False

    async def run(self) -> None:
        backoff_s = self._first_backoff_s
        try:
            while True:
                self._worked = False
                await self._session()
                backoff_s = self._first_backoff_s if self._worked else min(backoff_s * 2, LONGEST_BACKOFF_S)
                await asyncio.sleep(backoff_s)
        finally:
            self._thread.shutdown(wait=False)

    async def _session(self) -> None:
        """One connection, until it breaks."""
        session = Session(self._settings)
        try:
            await self._blocking(session, session.open)
            await self._watch(session)
        except Refused as refusal:
            self._trouble(str(refusal))
        except (*TROUBLE, TimeoutError) as error:
            self._trouble(f"imap_interrupted: {type(error).__name__}")
        except Exception as error:  # storing failed: nothing is confirmed, the same mails are read again
            self._trouble(f"imap_not_stored: {type(error).__name__}")
        finally:
            session.abort()
            closing = asyncio.wrap_future(self._thread.submit(session.close))
            with suppress(TimeoutError):
                async with asyncio.timeout(10.0):
                    await asyncio.shield(closing)  # cancelled before its turn it would leave the socket open

    async def _watch(self, session: Session) -> None:
        cursor = Cursor.read(await self._door.cursor())
        poll_s = self._settings.imap_poll_s
        while True:
            cursor = await self._catch_up(session, cursor)
            self._worked = True
            self._door.report(None)
            await self._blocking(session, partial(session.wait, poll_s), poll_s + TIMEOUT_S)
            if not session.can_idle:
                await asyncio.sleep(poll_s)

    async def _catch_up(self, session: Session, cursor: Cursor | None) -> Cursor:
        """Read everything above the cursor, each mail stored together with the new cursor."""
        if cursor is None:
            days = self._settings.imap_first_days
            since = None if days < 0 else (self._clock() - timedelta(days=days)).date()
            cursor = Cursor(session.uidvalidity, 0, since)
        elif cursor.uidvalidity != session.uidvalidity:
            log.warning("imap_renumbered", channel=self._channel)
            cursor = Cursor(session.uidvalidity, 0, cursor.since)
        since = cursor.since if cursor.uid == 0 else None
        uids = await self._blocking(session, partial(session.new, cursor.uid, since))
        stored = True
        for uid in uids:
            raw, trouble = await self._read(session, uid)
            cursor = replace(cursor, uid=uid)
            stored = raw is not None
            if raw is not None:
                await self._door.accept(raw, cursor=str(cursor))
                self._failures.pop((session.uidvalidity, uid), None)
                self._worked = True  # a connection that breaks now and then gets on: no reason to wait long
            if trouble is not None:
                raise trouble  # this mail is noted; the connection may be no good for the next
        if not stored:
            await self._door.accept(cursor=str(cursor))
        return cursor

    async def _read(self, session: Session, uid: int) -> tuple[Raw | None, Exception | None]:
        """One mail; None when it is gone. What fails each time is read in part, then only noted."""
        key = (session.uidvalidity, uid)
        limit = self._settings.max_size_mb << 20 if self._failures.get(key, 0) < WHOLE_TRIES else 0
        try:
            mail = await self._blocking(session, partial(session.fetch, uid, limit))
        except Gone:
            return None, None
        except (*TROUBLE, TimeoutError) as error:
            self._failures[key] = self._failures.get(key, 0) + 1
            if self._failures[key] < FETCH_TRIES:
                raise
            log.error("imap_unfetchable", channel=self._channel, uid=uid)
            noted = Transit(via="imap", flaw="unfetchable")
            hint = f"imap-{session.uidvalidity}-{uid}"
            return pack(self._channel, noted, b"", self._clock(), id_hint=hint), error
        transit = Transit(via="imap", flaw="" if mail.whole else "truncated")
        if len(mail.content) < SMALL:
            return pack(self._channel, transit, mail.content, self._clock()), None
        raw = await asyncio.to_thread(pack, self._channel, transit, mail.content, self._clock())
        return raw, None

    async def _blocking(self, session: Session, work: Callable[[], T], seconds: float = CALL_S) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                return await loop.run_in_executor(self._thread, call, work)
        except (asyncio.CancelledError, TimeoutError):
            session.abort()  # the thread must not go on waiting for the server
            raise

    def _trouble(self, reason: str) -> None:
        self._door.report(reason)
        log.warning("imap_trouble", channel=self._channel, reason=reason)


def try_login(settings: Settings) -> Check:
    """For doctor: log in and open the folder. Blocks."""
    session = Session(settings)
    try:
        call(session.open)
        how = "with IDLE" if session.can_idle else "by polling"
        return Check("imap", "ok", f"{settings.imap_folder} {how}")
    except Refused as refusal:
        return Check("imap", "fail", str(refusal), "see imap, imap_password and imap_folder")
    except TROUBLE as error:
        return Check("imap", "fail", type(error).__name__, "can the server of imap be reached, with TLS?")
    finally:
        session.close()
