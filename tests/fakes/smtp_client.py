"""A small SMTP client for tests: one that says what it is told, and one that hands in a mail."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Self

TLS_DIR = Path(__file__).parent.parent / "fixtures" / "tls"
CERT, KEY = TLS_DIR / "localhost.crt", TLS_DIR / "localhost.key"


class Refused(Exception):
    """The server did not take the mail; `reply` is what it said."""

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply

    @property
    def code(self) -> int:
        return int(self.reply[:3])


class Dialogue:
    """A hand-driven SMTP client: says what it is told, byte for byte.

    async with Dialogue(port) as line:
        assert (await line.say("EHLO me")).startswith("250")
    """

    def __init__(self, port: int, host: str = "127.0.0.1", *, path: str = "", greet: bool = True) -> None:
        self.port, self.host, self.path, self.greet = port, host, path, greet
        self.greeting = ""

    async def __aenter__(self) -> Self:
        if self.path:
            self.reader, self.writer = await asyncio.open_unix_connection(self.path)
        else:
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        if self.greet:
            self.greeting = await self.reply()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def reply(self, timeout_s: float = 10.0) -> str:
        """One whole answer, its lines joined by newlines; "" when the server closed."""
        lines = []
        async with asyncio.timeout(timeout_s):
            while line := (await self.reader.readline()).decode("utf-8", "replace").rstrip("\r\n"):
                lines.append(line)
                if line[3:4] != "-":
                    break
        return "\n".join(lines)

    async def say(self, command: str, timeout_s: float = 10.0) -> str:
        await self.send(command.encode("utf-8", "surrogateescape") + b"\r\n")
        return await self.reply(timeout_s)

    async def starttls(self) -> str:
        reply = await self.say("STARTTLS")
        if reply.startswith("220"):
            await self.writer.start_tls(client_tls(), server_hostname="localhost")
        return reply

    async def envelope(self, mail_from: str, *rcpt_tos: str) -> str:
        """EHLO to DATA; the first answer that is not a yes, else DATA's."""
        commands = [
            "EHLO client.test",
            f"MAIL FROM:<{mail_from}>",
            *(f"RCPT TO:<{to}>" for to in rcpt_tos),
            "DATA",
        ]
        for command in commands:
            reply = await self.say(command)
            if reply[0] not in "23":
                break
        return reply

    async def ended(self, timeout_s: float = 10.0) -> bool:
        """Whether the server closes; what it still says is thrown away."""
        try:
            async with asyncio.timeout(timeout_s):
                while await self.reader.read(65536):
                    pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        return True


async def send_mail(
    port: int,
    mail_from: str,
    rcpt_to: str | Sequence[str],
    message: bytes | str | EmailMessage,
    *,
    host: str = "127.0.0.1",
    path: str = "",
    lmtp: bool = False,
    timeout_s: float = 30.0,
) -> str:
    """Hand one mail to a server on loopback and return its last answer. Raise Refused when it says no.

    Line ends become CRLF and dots are stuffed; MAIL gets BODY=8BITMIME and SMTPUTF8 where needed.
    """
    if isinstance(message, EmailMessage):
        message = message.as_bytes()
    elif isinstance(message, str):
        message = message.encode()
    rcpt_tos = [rcpt_to] if isinstance(rcpt_to, str) else list(rcpt_to)
    lines = re.sub(rb"\r\n|\r|\n", b"\r\n", message)
    stuffed = re.sub(rb"(?m)^\.", b"..", lines)
    if not stuffed.endswith(b"\r\n"):
        stuffed += b"\r\n"
    utf8 = not all(address.isascii() for address in (mail_from, *rcpt_tos))
    options = ("" if lines.isascii() else " BODY=8BITMIME") + (" SMTPUTF8" if utf8 else "")
    async with asyncio.timeout(timeout_s), Dialogue(port, host, path=path) as line:
        if not line.greeting.startswith("220"):
            raise Refused(line.greeting or "421 closed")
        commands = [
            f"{'LHLO' if lmtp else 'EHLO'} client.test",
            f"MAIL FROM:<{mail_from}>{options}",
            *(f"RCPT TO:<{address}>" for address in rcpt_tos),
            "DATA",
        ]
        for command in commands:
            reply = await line.say(command, timeout_s)
            if reply[:1] not in ("2", "3"):
                raise Refused(reply or "421 closed")
        await line.send(stuffed + b".\r\n")
        for _ in rcpt_tos if lmtp else rcpt_tos[:1]:
            reply = await line.reply(timeout_s)
            if not reply.startswith("2"):
                raise Refused(reply or "421 closed")
        await line.say("QUIT")
    return reply


def client_tls() -> ssl.SSLContext:
    """Trusts the fakes' certificate (tests/fixtures/tls) for localhost and 127.0.0.1."""
    return ssl.create_default_context(cafile=str(CERT))
