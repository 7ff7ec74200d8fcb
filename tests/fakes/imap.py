"""The far side of IMAP: a real server on loopback (RFC 3501, UIDPLUS-less, IDLE) with scripted mischief.

    async with FakeImap() as host:
        uid = host.append(b"From: …")
        ...                                  # imap = host.url

It refuses what is out of order or misspelt, and notes in `marked_seen` every mail fetched without PEEK.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Self

from tests.fakes.mail import server_tls

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@dataclass(slots=True)
class Stored:
    uid: int
    content: bytes
    arrived_at: datetime


@dataclass(slots=True)
class _Session:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    user: str = ""
    selected: bool = False
    read_only: bool = True
    known: int = 0  # mails this session was told about
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class FakeImap:
    """One account with one folder, INBOX."""

    def __init__(
        self,
        *,
        user: str = "support",
        password: str = "secret",
        idle: bool = True,
        tls: bool = False,
        folder: str = "INBOX",
    ) -> None:
        self.user, self.password, self.idle, self.tls, self.folder = user, password, idle, tls, folder
        self.uidvalidity = 1000
        self.uidnext = 1
        self.mails: list[Stored] = []
        self.host, self.port = "127.0.0.1", 0
        self.logins = 0
        self.idling = 0  # sessions in IDLE now
        self.fetched: list[int] = []  # UIDs whose content was asked for, each time
        self.marked_seen: list[int] = []
        self.complaints: list[str] = []  # every NO and BAD
        self.cut: dict[int, int] = {}  # uid: how many times its fetch ends in the middle
        self.refuse: dict[int, int] = {}  # uid: how many times its fetch is answered NO
        self.deaf_idle = False  # IDLE never tells of new mail, as some servers do
        self._server: asyncio.Server | None = None
        self._sessions: dict[asyncio.Task[None], _Session] = {}

    # what the test does

    @property
    def url(self) -> str:
        return f"{'imaps' if self.tls else 'imap'}://{self.user}@{self.host}:{self.port}"

    def append(self, content: bytes, arrived_at: datetime | None = None) -> int:
        """Deliver a mail; sessions in IDLE hear of it."""
        uid, self.uidnext = self.uidnext, self.uidnext + 1
        self.mails.append(Stored(uid, content, arrived_at or datetime.now(UTC)))
        for session in self._sessions.values():
            session.changed.set()
        return uid

    def expunge(self, uid: int) -> None:
        self.mails = [m for m in self.mails if m.uid != uid]

    def renumber(self) -> None:
        """Give the folder another UIDVALIDITY and its mails other UIDs, and end all sessions."""
        self.uidvalidity += 1
        for number, mail in enumerate(self.mails, 1):
            mail.uid = number
        self.uidnext = len(self.mails) + 1
        self.disconnect()

    def disconnect(self) -> None:
        for session in self._sessions.values():
            session.writer.transport.abort()

    async def start(self) -> Self:
        context: ssl.SSLContext | None = server_tls() if self.tls else None
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=context, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for _ in range(5):  # a connection that is just being accepted becomes a session first
            await asyncio.sleep(0)
        tasks = list(self._sessions)
        for task, session in list(self._sessions.items()):
            session.writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._server = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # the dialogue

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        session = self._sessions[task] = _Session(reader, writer)
        try:
            await self._say(session, "* OK ready")
            while await self._command(session):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            del self._sessions[task]
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def _command(self, session: _Session) -> bool:
        line = (await session.reader.readuntil(b"\r\n")).decode().rstrip("\r\n")
        tag, _, rest = line.partition(" ")
        verb, _, arguments = rest.partition(" ")
        if verb.upper() == "UID":
            verb, _, arguments = arguments.partition(" ")
            verb = f"UID {verb}"
        match verb.upper():
            case "CAPABILITY":
                words = "IMAP4rev1" + (" IDLE" if self.idle else "")
                await self._say(session, f"* CAPABILITY {words}", f"{tag} OK done")
            case "NOOP":
                await self._news(session)
                await self._say(session, f"{tag} OK done")
            case "LOGOUT":
                await self._say(session, "* BYE bye", f"{tag} OK done")
                return False
            case "LOGIN" if not session.user:
                await self._login(session, tag, arguments)
            case "SELECT" | "EXAMINE" if session.user:
                await self._select(session, tag, arguments, read_only=verb.upper() == "EXAMINE")
            case "UID SEARCH" if session.selected:
                await self._search(session, tag, arguments)
            case "UID FETCH" if session.selected:
                await self._fetch(session, tag, arguments)
            case "IDLE" if session.selected and self.idle:
                await self._idle(session, tag)
            case _:
                await self._no(session, tag, f"BAD {verb} is not for now")
        return True

    async def _login(self, session: _Session, tag: str, arguments: str) -> None:
        words = re.fullmatch(r'"([^"]*)" "([^"]*)"|(\S+) (\S+)', arguments)
        name, password = (words[1] or words[3], words[2] or words[4]) if words else ("", "")
        if (name, password) != (self.user, self.password):
            return await self._no(session, tag, "NO [AUTHENTICATIONFAILED] no")
        self.logins += 1
        session.user = name
        await self._say(session, f"{tag} OK done")

    async def _select(self, session: _Session, tag: str, arguments: str, *, read_only: bool) -> None:
        if arguments.strip('"') != self.folder:
            return await self._no(session, tag, "NO [NONEXISTENT] no such folder")
        session.selected, session.read_only, session.known = True, read_only, len(self.mails)
        await self._say(
            session,
            "* FLAGS (\\Seen \\Deleted)",
            f"* {len(self.mails)} EXISTS",
            "* 0 RECENT",
            f"* OK [UIDVALIDITY {self.uidvalidity}] ok",
            f"* OK [UIDNEXT {self.uidnext}] ok",
            f"{tag} OK [{'READ-ONLY' if read_only else 'READ-WRITE'}] done",
        )

    async def _search(self, session: _Session, tag: str, arguments: str) -> None:
        found = list(self.mails)
        rest = arguments.strip()
        while rest:
            if match := re.match(r"UID (\d+|\*)(?::(\d+|\*))?( |\Z)", rest):
                low, high = self._range(match[1], match[2])
                found = [m for m in found if low <= m.uid <= high]
            elif match := re.match(r"SINCE (\d{2})-([A-Z][a-z]{2})-(\d{4})( |\Z)", rest):
                day = date(int(match[3]), MONTHS.index(match[2]) + 1, int(match[1]))
                found = [m for m in found if m.arrived_at.date() >= day]
            elif match := re.match(r"ALL( |\Z)", rest):
                pass
            else:
                return await self._no(session, tag, f"BAD cannot search for {rest}")
            rest = rest[match.end() :]
        await self._say(session, "* SEARCH" + "".join(f" {m.uid}" for m in found))
        await self._news(session)
        await self._say(session, f"{tag} OK done")

    async def _fetch(self, session: _Session, tag: str, arguments: str) -> None:
        ids = re.fullmatch(r"([\d,]+) \(UID BODY\.PEEK\[HEADER\.FIELDS \(MESSAGE-ID\)\]\)", arguments)
        if ids is not None:
            return await self._fetch_ids(session, tag, {int(uid) for uid in ids[1].split(",")})
        match = re.fullmatch(r"(\d+) \(([^)]*)\)", arguments)
        if match is None:
            return await self._no(session, tag, "BAD cannot fetch that")
        uid = int(match[1])
        place = next((n for n, m in enumerate(self.mails, 1) if m.uid == uid), 0)
        if not place:
            return await self._say(session, f"{tag} OK nothing")  # RFC 3501: an unknown UID is no error
        mail = self.mails[place - 1]
        answer = b"* %d FETCH (UID %d" % (place, uid)
        for item in match[2].split():
            body = re.fullmatch(r"BODY(\.PEEK)?\[\](?:<(\d+)\.(\d+)>)?", item)
            if item == "RFC822.SIZE":
                answer += b" RFC822.SIZE %d" % len(mail.content)
            elif item == "INTERNALDATE":
                answer += b' INTERNALDATE "%s"' % mail.arrived_at.strftime("%d-%b-%Y %H:%M:%S %z").encode()
            elif body:
                self.fetched.append(uid)
                if not body[1]:
                    self.marked_seen.append(uid)
                if self.refuse.get(uid, 0) > 0:
                    self.refuse[uid] -= 1
                    return await self._no(session, tag, "NO cannot read that mail")
                part = mail.content
                name = b"BODY[]"
                if body[2]:
                    part = part[int(body[2]) : int(body[2]) + int(body[3])]
                    name += b"<%d>" % int(body[2])
                answer += b" %s {%d}\r\n%s" % (name, len(part), part)
                if self.cut.get(uid, 0) > 0:
                    self.cut[uid] -= 1
                    session.writer.write(answer[: len(answer) - len(part) // 2 - 1])
                    await session.writer.drain()
                    raise ConnectionResetError
            elif item != "UID":
                return await self._no(session, tag, f"BAD unknown item {item}")
        session.writer.write(answer + b")\r\n")
        await self._say(session, f"{tag} OK done")
        return None

    async def _fetch_ids(self, session: _Session, tag: str, uids: set[int]) -> None:
        for place, mail in enumerate(self.mails, 1):
            if mail.uid in uids:
                head = mail.content.partition(b"\r\n\r\n")[0] + b"\r\n"
                found = re.search(rb"(?im)^message-id:.*\r\n(?:[ \t].*\r\n)*", head)
                lines = (found[0] if found else b"") + b"\r\n"
                name = b"BODY[HEADER.FIELDS (MESSAGE-ID)]"
                session.writer.write(
                    b"* %d FETCH (UID %d %s {%d}\r\n%s)\r\n" % (place, mail.uid, name, len(lines), lines)
                )
        await self._say(session, f"{tag} OK done")

    async def _idle(self, session: _Session, tag: str) -> None:
        await self._say(session, "+ idling")
        self.idling += 1
        done = asyncio.ensure_future(session.reader.readuntil(b"\r\n"))
        try:
            while not done.done():
                if not self.deaf_idle:
                    await self._news(session)
                session.changed.clear()
                change = asyncio.ensure_future(session.changed.wait())
                await asyncio.wait({done, change}, return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
            if done.result().strip().upper() != b"DONE":
                return await self._no(session, tag, "BAD expected DONE")
            await self._say(session, f"{tag} OK done")
        finally:
            self.idling -= 1
            done.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await done

    async def _news(self, session: _Session) -> None:
        if session.selected and session.known != len(self.mails):
            session.known = len(self.mails)
            await self._say(session, f"* {session.known} EXISTS")

    def _range(self, low: str, high: str | None) -> tuple[int, int]:
        last = max((m.uid for m in self.mails), default=0)
        one = last if low == "*" else int(low)
        two = one if high is None else last if high == "*" else int(high)
        return min(one, two), max(one, two)

    async def _no(self, session: _Session, tag: str, answer: str) -> None:
        self.complaints.append(answer)
        await self._say(session, f"{tag} {answer}")

    async def _say(self, session: _Session, *lines: str) -> None:
        session.writer.write("".join(f"{line}\r\n" for line in lines).encode())
        await session.writer.drain()
