"""Receive mail by SMTP or LMTP: listening, what one server gives away, and the answer a stored mail gets.

    async with Server(listen="127.0.0.1:8025", accepts=ours.__contains__, deliver=store) as server:
        ...                                            # server.port

`deliver` returning means that the mail is durable: only then the client hears 250.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import secrets
import socket
import sqlite3
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import structlog

from channels.base import Clock, ConfigError, utc_now
from channels.email.smtp_limits import ROOM_STEP, Envelope, Limits, Room
from channels.email.smtp_listen import BACKLOG, listening_socket, tls_context
from channels.email.smtp_protocol import LATER, Session
from channels.email.smtp_wire import BUSY, Wire

__all__ = ["Envelope", "Limits", "Server"]

log = structlog.get_logger()

M_MMAP_THRESHOLD = -3  # malloc.h
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(slots=True)
class Tally:
    """What a server has done since its start."""

    sessions: int = 0
    turned_away: int = 0  # connections over a cap
    stored: int = 0
    failed: int = 0  # mails answered with 4xx because storing failed


class Server:
    """An SMTP server for configured recipients only; it relays nothing and keeps nothing.

    `listen` is HOST:PORT (port 0 picks one) or unix:/path. `accepts` says whether an address is ours; it is
    asked with the address as given, then in lower case. `deliver` makes a mail durable: an OSError or a
    database error about a full disk is answered 452, any other exception 451, so that the sender tries again.
    """

    def __init__(
        self,
        *,
        listen: str,
        accepts: Callable[[str], bool],
        deliver: Callable[[Envelope], Awaitable[None]],
        limits: Limits | None = None,
        tls_cert: str = "",
        tls_key: str = "",
        hostname: str = "",
        lmtp: bool = False,
        clock: Clock = utc_now,
    ) -> None:
        self.listen = listen
        self.limits = limits or Limits()
        self.lmtp = lmtp
        self.clock = clock
        self.port = 0
        self.tally = Tally()
        whole_mail = self.limits.max_size + 2 * ROOM_STEP
        if self.limits.bytes_in_flight < whole_mail:
            raise ConfigError("bytes_in_flight must leave room for one mail of max_size and 2 MiB more")
        self.room = Room(self.limits.bytes_in_flight, whole_mail)
        self._accepts = accepts
        self._deliver = deliver
        self.tls_context = tls_context(tls_cert, tls_key) if tls_cert else None
        name = hostname or socket.gethostname()
        try:
            self._speak(name.encode("idna").decode("ascii"))
        except UnicodeError as error:
            raise ConfigError(f"{name!r} is no host name to greet with") from error
        self._sessions: set[Wire] = set()
        self._by_group: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._closing = False
        self._path = ""

    async def start(self) -> None:
        """Listen. Raise ConfigError, naming the address, when that cannot be."""
        loop = asyncio.get_running_loop()
        self._closing = False
        _return_big_blocks()
        sock, self._path = await listening_socket(self.listen)
        if self._path:
            self._server = await loop.create_unix_server(lambda: Session(self), sock=sock, backlog=BACKLOG)
        else:
            self._server = await loop.create_server(lambda: Session(self), sock=sock, backlog=BACKLOG)
            self.port = sock.getsockname()[1]
        limits = self.limits
        shortest = min(limits.command_timeout_s, limits.data_deadline_s, limits.room_wait_s)
        self._tick_s = max(0.02, min(1.0, shortest / 4))
        self._sweeper = loop.call_later(self._tick_s, self._sweep)
        log.info("smtp_listening", lmtp=self.lmtp, port=self.port, tls=self.tls_context is not None)

    async def close(self) -> None:
        """Stop listening, let mails that are being stored be stored, end all sessions. Safe to call twice."""
        self._closing = True
        if self._server is not None:
            self._server.close()
            self._server = None
            if self._path:
                with suppress(OSError):
                    os.unlink(self._path)
        for session in list(self._sessions):
            session.dismiss()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self.limits.drain_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for session in list(self._sessions):
            session.dismiss()
        for _ in range(50):  # let the transports say goodbye
            if not self._sessions:
                break
            await asyncio.sleep(0.01)
        for session in list(self._sessions):
            session.cut()
        await asyncio.sleep(0)
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # what a session asks

    def admit(self, wire: Wire) -> bool:
        """Count a connection in, or turn it away because there are too many."""
        limits = self.limits
        group = wire.peer_group
        if limits.exempt_loopback and (group.startswith("127.") or group == "::/64"):
            group = wire.peer_group = ""
        full = len(self._sessions) >= limits.max_sessions or self._closing
        if full or (group and self._by_group[group] >= limits.max_sessions_per_address):
            self.tally.turned_away += 1
            return False
        self._sessions.add(wire)
        self.tally.sessions += 1
        if group:
            self._by_group[group] += 1
        return True

    def left(self, wire: Wire) -> None:
        if wire not in self._sessions:
            return
        self._sessions.discard(wire)
        group = wire.peer_group
        if group:
            self._by_group[group] -= 1
            if not self._by_group[group]:
                del self._by_group[group]

    def takes(self, address: str) -> bool | None:
        """Whether the address is ours; None when we cannot say now."""
        try:
            return self._accepts(address) or self._accepts(address.lower())
        except Exception as error:
            log.error("smtp_recipient_check_failed", error=type(error).__name__)
            return None

    def store(self, wire: Wire, envelope: Envelope) -> asyncio.Task[None]:
        return self.spawn(self._store(wire, envelope))

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _store(self, wire: Wire, envelope: Envelope) -> None:
        try:
            await self._deliver(envelope)
        except asyncio.CancelledError:  # it took too long, or the server is closing: the sender asks again
            self._failed("timeout")
            answer = LATER
        except Exception as error:
            self._failed(type(error).__name__)
            answer = BUSY if disk_full(error) else LATER
        else:
            self.tally.stored += 1
            answer = b"250 2.0.0 Ok: %s\r\n" % secrets.token_hex(4).encode()
        del envelope  # before its room is given to the next
        wire.stored(answer)

    def _failed(self, why: str) -> None:
        self.tally.failed += 1
        log.warning("smtp_not_stored", error=why)

    # listening and time

    def _speak(self, name: str) -> None:
        features = [
            name,
            "PIPELINING",
            f"SIZE {self.limits.max_size}",
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
        ]
        self.greeting = f"220 {name} {'LMTP' if self.lmtp else 'ESMTP'}\r\n".encode()
        self.hello = f"250 {name}\r\n".encode()
        self.features_tls = _multiline(features)
        self.features = _multiline([*features, "STARTTLS"] if self.tls_context else features)

    def _sweep(self) -> None:
        """One timer for all sessions: a timer each, moved at every command, costs more than the commands."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for session in list(self._sessions):
            try:
                session.overdue(now)
            except Exception as error:  # one session's trouble must not stop the clock of the others
                log.error("smtp_sweep_failed", error=type(error).__name__)
                session.cut()
        self._sweeper = loop.call_later(self._tick_s, self._sweep)


def _return_big_blocks() -> None:
    """Have glibc give freed blocks above 1 MiB back to the system, in the whole process.

    By itself it raises that size to the largest block ever freed; the holes big mails leave then made twenty
    mails of 25 MB take 203 MiB instead of 115, with a limit of 128.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 20)


def disk_full(error: BaseException) -> bool:
    """Whether somewhere in the chain of causes a disk was full."""
    seen: set[int] = set()
    rest: list[BaseException | None] = [error]
    while rest:
        one = rest.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and one.errno in DISK_FULL:
            return True
        if isinstance(one, sqlite3.Error) and "disk is full" in str(one):
            return True
        if getattr(one, "sqlstate", None) == "53100":  # PostgreSQL: disk_full
            return True
        orig = getattr(one, "orig", None)  # SQLAlchemy keeps the driver's error there
        rest += [one.__cause__, one.__context__, orig if isinstance(orig, BaseException) else None]
        if isinstance(one, BaseExceptionGroup):
            rest += one.exceptions
    return False


def _multiline(words: list[str]) -> bytes:
    return "".join(f"250{'-' if word is not words[-1] else ' '}{word}\r\n" for word in words).encode()
