"""The far side of e-mail: a real SMTP server on loopback that is as strict as a real one, and a small client.

    async with FakeSmarthost() as host:
        host.answer("rcpt", "450 4.7.1 greylisted")     # once, then it works
        ...                                              # let the adapter send through host.url
        [mail] = await host.until(1)

Shares no code with the server of the product, so that one cannot hide a mistake of the other.
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from typing import Literal, Self

from tests.fakes.smtp_client import CERT, KEY, Dialogue, Refused, client_tls, send_mail

__all__ = [
    "CERT",
    "KEY",
    "Dialogue",
    "FakeSmarthost",
    "Refused",
    "SentMail",
    "client_tls",
    "send_mail",
    "server_tls",
]

Stage = Literal["connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body", "dot"]

LINE_LIMIT = 998  # RFC 5322, 2.1.1: characters without CRLF
ONCE = ("From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Message-ID", "In-Reply-To", "References", "Subject")


@dataclass(frozen=True, slots=True)
class SentMail:
    """A mail the smarthost took. `content` is as sent, dots unstuffed, CRLF line ends."""

    mail_from: str
    rcpt_tos: tuple[str, ...]
    content: bytes
    helo: str
    tls: bool
    login: str
    options: tuple[str, ...]

    def header(self, name: str) -> str | None:
        return BytesHeaderParser().parsebytes(self.content).get(name)


@dataclass(slots=True)
class Fault:
    """One scripted misbehaviour: a reply, or no reply and a closed (drop) or silent (hang) connection."""

    stage: Stage
    reply: str
    how: Literal["answer", "drop", "hang"]
    times: int
    keep: bool  # record the mail although the sender never hears that it was taken
    when: Callable[[str], bool]


@dataclass(slots=True)
class _Session:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    helo: str = ""
    extended: bool = False
    tls: bool = False
    login: str = ""
    mail_from: str | None = None
    options: tuple[str, ...] = ()
    rcpt_tos: list[str] = field(default_factory=list)

    def forget(self) -> None:
        self.mail_from, self.options, self.rcpt_tos = None, (), []


class _Dropped(Exception):
    pass


class FakeSmarthost:
    """A submission server that records. `require_headers` refuses mail a strict provider would refuse."""

    def __init__(
        self,
        *,
        require_headers: bool = True,
        login: tuple[str, str] | None = None,
        starttls: bool = False,
        implicit_tls: bool = False,
        max_size: int = 36_700_160,
        max_recipients: int = 100,
        eight_bit: bool = True,
        utf8: bool = True,
    ) -> None:
        self.require_headers = require_headers
        self.login = login
        self.starttls = starttls
        self.implicit_tls = implicit_tls
        self.max_size = max_size
        self.max_recipients = max_recipients
        self.eight_bit = eight_bit
        self.utf8 = utf8
        self.mails: list[SentMail] = []
        self.refusals: list[str] = []  # every 4xx or 5xx given, scripted ones too
        self.connections = 0
        self.host = "127.0.0.1"
        self.port = 0
        self._faults: list[Fault] = []
        self._server: asyncio.Server | None = None
        self._sessions: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._arrived = asyncio.Condition()

    # scripting

    def answer(
        self, stage: Stage, reply: str, *, times: int = 1, when: Callable[[str], bool] = lambda _: True
    ) -> None:
        """Give `reply` ("451 4.3.0 later") at a stage. `when` looks at the address or command argument."""
        self._faults.append(Fault(stage, reply, "answer", times, False, when))

    def drop(self, stage: Stage, *, times: int = 1, keep: bool | None = None) -> None:
        """Close without an answer. At "dot" the mail is kept (the unknown outcome); at "body" it is not."""
        self._faults.append(Fault(stage, "", "drop", times, stage == "dot" if keep is None else keep, _any))

    def hang(self, stage: Stage, *, times: int = 1, keep: bool | None = None) -> None:
        """Never answer, and keep the connection open."""
        self._faults.append(Fault(stage, "", "hang", times, stage == "dot" if keep is None else keep, _any))

    # what the test sees

    @property
    def url(self) -> str:
        return f"{'smtps' if self.implicit_tls else 'smtp'}://{self.host}:{self.port}"

    async def until(self, count: int, timeout_s: float = 10.0) -> list[SentMail]:
        """Wait for `count` mails in all."""
        async with asyncio.timeout(timeout_s), self._arrived:
            await self._arrived.wait_for(lambda: len(self.mails) >= count)
        return self.mails

    async def start(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve,
            self.host,
            self.port,
            limit=2**17,
            ssl=server_tls() if self.implicit_tls else None,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        """Stop listening and end every session. The port can be started again: `start()`."""
        if self._server is None:
            return
        self._server.close()
        tasks = list(self._sessions)
        for task, writer in list(self._sessions.items()):
            task.cancel()
            writer.transport.abort()
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
        self._sessions[task] = writer
        self.connections += 1
        session = _Session(reader, writer, tls=self.implicit_tls)
        try:
            if not await self._scripted(session, "connect", ""):
                await self._say(session, "220 smarthost.test ESMTP")
            while await self._command(session):
                pass
        except (_Dropped, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        except asyncio.LimitOverrunError:
            await self._say(session, "500 5.5.2 Line too long")
        finally:
            del self._sessions[task]
            session.writer.close()

    async def _command(self, session: _Session) -> bool:
        line = await session.reader.readuntil(b"\n")
        if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
            await self._say(session, "500 5.5.2 Bare CR, LF or NUL in a command")
            return False
        if len(line) > 2048:
            await self._say(session, "500 5.5.2 Line too long")
            return True
        text = line[:-2].decode("utf-8", "surrogateescape")
        verb, _, rest = text.partition(" ")
        match verb.upper():
            case "EHLO" | "HELO":
                await self._hello(session, verb.upper(), rest)
            case "STARTTLS" if self.starttls and not session.tls:
                await self._upgrade(session)
            case "AUTH" if self.login is not None and session.helo:
                await self._auth(session, rest)
            case "MAIL":
                await self._mail(session, rest)
            case "RCPT":
                await self._rcpt(session, rest)
            case "DATA":
                await self._data(session)
            case "RSET":
                session.forget()
                await self._say(session, "250 2.0.0 Ok")
            case "NOOP":
                await self._say(session, "250 2.0.0 Ok")
            case "QUIT":
                await self._say(session, "221 2.0.0 Bye")
                return False
            case _:
                await self._say(session, "502 5.5.2 Command not recognised")
        return True

    async def _hello(self, session: _Session, verb: str, name: str) -> None:
        if await self._scripted(session, "ehlo", name):
            return
        if not re.fullmatch(r"[A-Za-z0-9.:\-_\[\]]+", name):
            await self._say(session, "501 5.5.4 Invalid host name")
            return
        session.forget()
        session.helo, session.extended = name, verb == "EHLO"
        if not session.extended:
            await self._say(session, "250 smarthost.test")
            return
        words = ["smarthost.test", "PIPELINING", f"SIZE {self.max_size}", "ENHANCEDSTATUSCODES"]
        if self.eight_bit:
            words.append("8BITMIME")
        if self.utf8:
            words.append("SMTPUTF8")
        if self.starttls and not session.tls:
            words.append("STARTTLS")
        if self.login is not None and (session.tls or not self.starttls):
            words.append("AUTH PLAIN LOGIN")
        lines = [f"250-{word}" for word in words[:-1]] + [f"250 {words[-1]}"]
        await self._say(session, "\r\n".join(lines))

    async def _upgrade(self, session: _Session) -> None:
        if await self._scripted(session, "starttls", ""):
            return
        await self._say(session, "220 2.0.0 Ready")
        await session.writer.start_tls(server_tls())
        session.helo, session.tls = "", True
        session.forget()

    async def _auth(self, session: _Session, rest: str) -> None:
        if await self._scripted(session, "auth", rest):
            return
        mechanism, _, first = rest.partition(" ")
        if mechanism.upper() == "PLAIN":
            token = first or await self._ask(session, "")
            *_, name, password = ("\0\0" + _unbase64(token)).split("\0")
        elif mechanism.upper() == "LOGIN":
            name = _unbase64(first or await self._ask(session, "Username:"))
            password = _unbase64(await self._ask(session, "Password:"))
        else:
            await self._say(session, "504 5.5.4 Unknown mechanism")
            return
        if (name, password) != self.login:
            await self._say(session, "535 5.7.8 Authentication failed")
            return
        session.login = name
        await self._say(session, "235 2.7.0 Welcome")

    async def _ask(self, session: _Session, prompt: str) -> str:
        await self._say(session, "334 " + base64.b64encode(prompt.encode()).decode())
        return (await session.reader.readuntil(b"\r\n")).strip().decode()

    async def _mail(self, session: _Session, rest: str) -> None:
        if not session.helo:
            return await self._say(session, "503 5.5.1 Say EHLO first")
        if self.login is not None and not session.login:
            return await self._say(session, "530 5.7.0 Authentication required")
        if session.mail_from is not None:
            return await self._say(session, "503 5.5.1 Nested MAIL")
        found = re.fullmatch(r"FROM:<([^<>\s]*)>((?: [^\s]+)*)", rest, re.IGNORECASE)
        if found is None:
            return await self._say(session, "501 5.5.4 Syntax: MAIL FROM:<address>")
        options = tuple(found[2].upper().split())
        for option in options:
            name, _, value = option.partition("=")
            if name == "SIZE" and value.isdigit():
                if int(value) > self.max_size:
                    return await self._say(session, "552 5.3.4 Message too big")
            elif not (
                (option in ("BODY=7BIT", "BODY=8BITMIME") and self.eight_bit)
                or (option == "SMTPUTF8" and self.utf8)
            ):
                return await self._say(session, f"555 5.5.4 Unsupported option: {name}")
        if not _address_ok(found[1], "SMTPUTF8" in options) and found[1]:
            return await self._say(session, "553 5.1.7 Bad sender address")
        if await self._scripted(session, "mail", found[1]):
            return None
        session.mail_from, session.options = found[1], options
        return await self._say(session, "250 2.1.0 Ok")

    async def _rcpt(self, session: _Session, rest: str) -> None:
        if session.mail_from is None:
            return await self._say(session, "503 5.5.1 Need MAIL first")
        found = re.fullmatch(r"TO:<([^<>\s]+)>", rest, re.IGNORECASE)
        if found is None or not _address_ok(found[1], "SMTPUTF8" in session.options):
            return await self._say(session, "501 5.1.3 Bad recipient address")
        if len(session.rcpt_tos) >= self.max_recipients:
            return await self._say(session, "452 4.5.3 Too many recipients")
        if await self._scripted(session, "rcpt", found[1]):
            return None
        session.rcpt_tos.append(found[1])
        return await self._say(session, "250 2.1.5 Ok")

    async def _data(self, session: _Session) -> None:
        if not session.rcpt_tos:
            return await self._say(session, "503 5.5.1 Need RCPT first")
        if await self._scripted(session, "data", ""):
            return None
        await self._say(session, "354 Go ahead")
        await self._scripted(session, "body", "")
        lines, size = [], 0
        while (line := await session.reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
            size += len(line)
        problem = self._refuse(lines, size, session.options)
        mail = SentMail(
            session.mail_from or "",
            tuple(session.rcpt_tos),
            b"".join(lines),
            session.helo,
            session.tls,
            session.login,
            session.options,
        )
        session.forget()
        if problem:
            return await self._say(session, problem)
        if await self._scripted(session, "dot", "", mail):
            return None
        await self._keep(mail)
        return await self._say(session, f"250 2.0.0 Ok: queued as {len(self.mails):06X}")

    def _refuse(self, lines: Sequence[bytes], size: int, options: Sequence[str]) -> str | None:
        if size > self.max_size:
            return "552 5.3.4 Message too big"
        whole = b"".join(lines)
        if b"\0" in whole:
            return "554 5.6.0 NUL in the message"
        if whole.count(b"\n") != len(lines) or whole.count(b"\r") != len(lines):
            return "550 5.6.11 Bare CR or LF in the message"
        if any(len(line) > LINE_LIMIT + 2 for line in lines):
            return "554 5.6.0 Line longer than 998 characters"
        head, _, body = whole.partition(b"\r\n\r\n")
        if not head.isascii() and "SMTPUTF8" not in options:
            return "554 5.6.7 8-bit header without SMTPUTF8"
        if not body.isascii() and "BODY=8BITMIME" not in options:
            return "554 5.6.1 8-bit body without 8BITMIME"
        if not self.require_headers:
            return None
        names = [name.lower() for name in BytesHeaderParser().parsebytes(head + b"\r\n\r\n")]
        for name in ("From", "Date", "Message-ID"):
            if name.lower() not in names:
                return f"550 5.7.1 Missing {name} header"
        for name in (*ONCE, "Date"):
            if names.count(name.lower()) > 1:
                return f"550 5.7.1 More than one {name} header"
        return None

    async def _keep(self, mail: SentMail) -> None:
        async with self._arrived:
            self.mails.append(mail)
            self._arrived.notify_all()

    async def _scripted(
        self, session: _Session, stage: Stage, about: str, mail: SentMail | None = None
    ) -> bool:
        """Act out the first fault for this stage. True when an answer was given in place of the usual one."""
        fault = next((one for one in self._faults if one.stage == stage and one.when(about)), None)
        if fault is None:
            return False
        fault.times -= 1
        if fault.times == 0:
            self._faults.remove(fault)
        if fault.keep and mail is not None:
            await self._keep(mail)
        match fault.how:
            case "hang":
                await asyncio.Event().wait()  # until close() cancels or the client gives up
            case "drop":
                raise _Dropped
            case "answer":
                await self._say(session, fault.reply)
                if fault.reply.startswith("421"):
                    raise _Dropped
        return True

    async def _say(self, session: _Session, reply: str) -> None:
        if reply[0] in "45":
            self.refusals.append(reply)
        session.writer.write(reply.encode() + b"\r\n")
        await session.writer.drain()


def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERT, KEY)
    return context


def _any(_: str) -> bool:
    return True


def _unbase64(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except ValueError:
        return ""


def _address_ok(address: str, utf8: bool) -> bool:
    return (utf8 or address.isascii()) and bool(re.fullmatch(r"[^@\s]+@[^@\s]+", address))
