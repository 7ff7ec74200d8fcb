"""A few kept connections to the smarthost, TLS verified, and its answers as our errors."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import aiosmtplib
import structlog

from channels.base import RetryLater, Undeliverable
from channels.email.compose import Composed
from channels.email.settings import Server

IDLE_S = 30.0  # a connection unused for longer is not trusted again
MAILS_PER_CONNECTION = 100  # many providers close after that many
BYTES_PER_S = 20_000  # the slowest line that gets a large mail through in time
_GONE = (
    "5.1.1",
    "5.1.2",
    "5.1.3",
    "5.1.6",
    "5.1.10",
    "5.2.1",
    "5.4.4",
)  # RFC 3463: no such address or mailbox
_STATUS = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
_UNKNOWN_USER = re.compile(
    r"(user|mailbox|recipient|account|address).{0,40}(unknown|not found|does ?n.t exist)"
    r"|(no such|unknown) (user|mailbox|recipient|address)",
    re.IGNORECASE,
)

log = structlog.get_logger()


@dataclass(slots=True)
class _Line:
    client: aiosmtplib.SMTP
    used_at: float
    mails: int = 0


class Transport:
    """Sends composed mails through one server."""

    def __init__(
        self,
        url: str,
        *,
        password: str = "",
        starttls: str = "auto",
        hostname: str = "",
        ca_file: str = "",
        connections: int = 4,
        timeout_s: float = 60.0,
    ) -> None:
        self._server = Server(url)
        self._password = password
        self._starttls = starttls
        self._hostname = hostname or None
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._free: list[_Line] = []
        self._slots = asyncio.Semaphore(connections)

    async def send(self, mail: Composed) -> None:
        """Hand the mail over. Raise RetryLater or Undeliverable."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise RetryLater("smtp_busy") from error
        handing_over = asyncio.Event()
        try:
            async with asyncio.timeout(self._timeout_s * 2 + len(mail.content) / BYTES_PER_S):
                await self._send(mail, handing_over)
        except TimeoutError as error:
            raise RetryLater("smtp_timeout", maybe_sent=handing_over.is_set()) from error
        finally:
            self._slots.release()

    async def try_login(self) -> str:
        """For doctor: connect, EHLO, TLS, log in, NOOP. Return what the line is like; raise RetryLater …"""
        async with asyncio.timeout(self._timeout_s), self._errors():
            line = await self._connect()
            try:
                await line.client.noop()
                return "tls" if line.client.get_transport_info("ssl_object") is not None else "plain"
            finally:
                await _quit(line)

    async def close(self) -> None:
        lines, self._free = self._free, []
        for line in lines:
            await _quit(line)

    async def _send(self, mail: Composed, handing_over: asyncio.Event) -> None:
        async with self._errors():
            line = await self._line()
            try:
                try:
                    await self._begin(line, mail)
                except aiosmtplib.SMTPServerDisconnected:
                    # A kept connection that the server had closed meanwhile: nothing was sent yet.
                    line.client.close()
                    line = await self._connect()
                    await self._begin(line, mail)
                handing_over.set()
                await self._data(line, mail)
                self._keep(line)
            except aiosmtplib.SMTPResponseException:
                await self._reset(line)
                raise
            except BaseException:
                line.client.close()
                raise

    async def _begin(self, line: _Line, mail: Composed) -> None:
        options = []
        if line.client.supports_extension("size"):
            options.append(f"SIZE={len(mail.content)}")
        if mail.smtputf8:
            if not line.client.supports_extension("smtputf8"):
                raise Undeliverable("smtputf8_not_supported")
            options += ["SMTPUTF8", "BODY=8BITMIME"]
        encoding = "utf-8" if mail.smtputf8 else "ascii"
        await line.client.mail(mail.mail_from, options=options, encoding=encoding)
        first, *others = mail.rcpt_tos
        await line.client.rcpt(first, encoding=encoding)
        for address in others:
            try:
                await line.client.rcpt(address, encoding=encoding)
            except aiosmtplib.SMTPRecipientRefused as refusal:
                # The customer's own copy must not fail for somebody in Cc, nor be sent twice.
                log.warning("copy_refused", code=refusal.code, status=_status(refusal.message))

    async def _data(self, line: _Line, mail: Composed) -> None:
        try:
            timeout_s = self._timeout_s + len(mail.content) / BYTES_PER_S
            await line.client.data(mail.content, timeout=timeout_s)
        except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError, OSError) as error:
            raise RetryLater("smtp_outcome_unknown", maybe_sent=True) from error

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        try:
            yield
        except aiosmtplib.SMTPAuthenticationError as error:
            raise RetryLater(f"smtp_login_refused {error.code}", after_s=300.0) from error
        except aiosmtplib.SMTPResponseException as error:
            raise _refused(error) from error
        except (aiosmtplib.SMTPException, ssl.SSLError, OSError, ValueError) as error:
            raise RetryLater(f"smtp_{_word(error)}") from error

    async def _line(self) -> _Line:
        now = asyncio.get_running_loop().time()
        while self._free:
            line = self._free.pop()
            if line.client.is_connected and now - line.used_at < IDLE_S:
                return line
            await _quit(line)
        return await self._connect()

    def _keep(self, line: _Line) -> None:
        line.mails += 1
        line.used_at = asyncio.get_running_loop().time()
        if line.mails < MAILS_PER_CONNECTION and line.client.is_connected:
            self._free.append(line)
        else:
            line.client.close()

    async def _reset(self, line: _Line) -> None:
        """After a refusal the line is good for the next mail, if the server agrees."""
        try:
            await line.client.rset()
        except (aiosmtplib.SMTPException, OSError):
            line.client.close()
        else:
            self._keep(line)

    async def _connect(self) -> _Line:
        server = self._server
        implicit = server.scheme == "smtps"
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            local_hostname=self._hostname,
            timeout=self._timeout_s,
            use_tls=implicit,
            start_tls=False,
            tls_context=self._context(),
        )
        await client.connect()
        try:
            await client.ehlo()
            if not implicit and self._wants_starttls(client):
                await client.starttls(tls_context=self._context())
                await client.ehlo()
            if server.user or self._password:
                secured = client.get_transport_info("ssl_object") is not None
                if not secured and not server.loopback:
                    raise RetryLater("smtp_login_needs_tls", after_s=300.0)
                await client.login(server.user, self._password)
        except BaseException:
            client.close()
            raise
        return _Line(client, asyncio.get_running_loop().time())

    def _wants_starttls(self, client: aiosmtplib.SMTP) -> bool:
        if self._starttls == "always":
            return True  # and fail where it is not offered
        if self._starttls == "never" or self._server.loopback:
            return False
        return client.supports_extension("starttls")

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._ca_file or None)


def _refused(error: aiosmtplib.SMTPResponseException) -> RetryLater | Undeliverable:
    status = _status(error.message)
    reason = f"smtp {error.code} {status}".strip()
    about_recipient = isinstance(error, aiosmtplib.SMTPRecipientRefused)
    about_mail = isinstance(error, aiosmtplib.SMTPDataError | aiosmtplib.SMTPSenderRefused)
    if error.code // 100 != 5:
        return RetryLater(reason)
    if not (about_recipient or about_mail) or error.code == 530:
        return RetryLater(reason, after_s=300.0)  # they do not want us at all: not this mail's fault
    unknown = status in _GONE or (
        not status.startswith("5.7") and bool(_UNKNOWN_USER.search(error.message[:500]))
    )
    return Undeliverable(reason, gone=about_recipient and unknown)


def _status(message: str) -> str:
    """The enhanced status code in an answer, "" for none. The words beside it may hold addresses."""
    match = _STATUS.search(message[:200])
    return match[1] if match else ""


def _word(error: Exception) -> str:
    """What went wrong as one word for a log: names only, the text may hold addresses."""
    cause = error.__cause__ if isinstance(error.__cause__, ssl.SSLError | OSError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return "certificate_not_trusted"
    if isinstance(cause, ConnectionRefusedError):
        return "connection_refused"
    if isinstance(error, TimeoutError):
        return "timeout"
    return type(cause).__name__.lower()


async def _quit(line: _Line) -> None:
    with suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
        async with asyncio.timeout(5.0):
            await line.client.quit()
    line.client.close()
