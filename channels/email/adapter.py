"""The e-mail channel: run receives, decode understands, send answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, ClassVar

import structlog
from pydantic import ValidationError

from channels.base import (
    Capabilities,
    Check,
    ConfigError,
    Door,
    Held,
    Quiet,
    Setup,
    Undeliverable,
    forever,
)
from channels.conversation import Inbound, Op, Outbound, Raw, Sent
from channels.email import reply_address
from channels.email.compose import Sender, compose
from channels.email.decode import Decoder
from channels.email.dkim_sign import Signer
from channels.email.envelope import Transit, pack
from channels.email.settings import Settings
from channels.email.transport import Transport

if TYPE_CHECKING:
    from datetime import datetime

    from channels.email.authenticity import Authenticator, Resolver
    from channels.email.smtp_server import Envelope, Server

LARGE = 256 * 1024  # bytes; larger mail is hashed in a thread, one at a time
AUDIT_S = 300.0  # for a whole mailbox

log = structlog.get_logger()


class EmailChannel(Quiet):
    """One support address: `Examines` its senders, and is `Isolated`: mail is decoded under limits."""

    kind: ClassVar[str] = "email"

    def __init__(self, setup: Setup, *, resolver: Resolver | None = None) -> None:
        try:
            self.settings = Settings.model_validate(dict(setup.settings))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "settings"
            raise ConfigError(f"channels.{setup.name}.{where}: {first['msg']}") from error
        self.name = setup.name
        self.caps = Capabilities(files_out=True, safe_repeat=True, subject_threads=True, rating_link=True)
        checked = self.settings.authentication != "none"
        self.decoder = Decoder(
            setup.name,
            self.settings.ours,
            setup.secret,
            senders_checked=checked,
            staff=tuple(a.lower() for a in self.settings.staff_addresses),
        )
        self._setup = setup
        self._sender = Sender(self.settings.address, setup.desk_name, setup.secret, self.settings.ours)
        self._resolver = resolver
        self._large = asyncio.Lock()
        self._authenticator: Authenticator | None = None
        self._transport = self._make_transport()
        self._signer: Signer | None = None
        # One process watches a mailbox; several servers are fine (then a mail fetched twice is recognised).
        self.exclusive = bool(self.settings.imap) and not (
            self.settings.smtp_listen or self.settings.lmtp_listen
        )
        self.ports: dict[str, int] = {}  # "smtp" and "lmtp" once they listen

    def accepts(self, address: str) -> bool:
        """Whether mail to this address is for us."""
        return reply_address.accepts(address, self.settings.ours)

    async def run(self, door: Door) -> None:
        """Serve SMTP and LMTP and watch the mailbox, whatever is configured, until cancelled."""
        settings = self.settings
        if settings.dkim_key_file:
            self._load_signer()
        async with AsyncExitStack() as servers:
            for listen, lmtp in ((settings.smtp_listen, False), (settings.lmtp_listen, True)):
                if listen:
                    server = await servers.enter_async_context(self._server(door, listen, lmtp=lmtp))
                    self.ports["lmtp" if lmtp else "smtp"] = server.port
            if settings.imap:
                from channels.email.imap_source import ImapSource

                await ImapSource(self.name, settings, door, clock=self._setup.clock).run()
            else:
                door.report(None)  # open, or a mailbox that only sends
                await forever()

    async def deliver(self, door: Door, envelope: Envelope, *, via: str) -> None:
        """Make one received mail durable; the server answers 250 only after this returned."""
        transit = Transit(
            mail_from=envelope.mail_from,
            rcpt_tos=tuple(envelope.rcpt_tos),
            peer=envelope.peer,
            helo=envelope.helo,
            tls=envelope.tls,
            via=via,
        )
        if len(envelope.content) <= LARGE:
            await door.accept(pack(self.name, transit, envelope.content, envelope.received_at))
            return
        async with self._large:  # packing copies the mail: one such copy at a time is enough
            raw = await asyncio.to_thread(pack, self.name, transit, envelope.content, envelope.received_at)
            await door.accept(raw)

    def decode(self, raw: Raw) -> Sequence[Inbound]:
        return self.decoder(raw)

    async def examine(self, raw: Raw) -> str:
        """Find out whether the sender is who it says; JSON, see `authenticity.Verdict`."""
        if self._authenticator is None:
            from channels.email.authenticity import Authenticator

            self._authenticator = Authenticator(self.settings, resolver=self._resolver)
        return await self._authenticator.examine(raw)

    async def send(self, message: Outbound) -> Sent:
        """Send a mail. Marks have no place in mail and are no error; what changes the past is impossible."""
        if message.op is Op.MARK:
            return Sent(message.target_id, message.address)
        if message.op is not Op.SEND:
            raise Undeliverable(f"email_cannot_{message.op.value}")
        if message.private_to and message.private_to.lower() != message.address.room_id.lower():
            raise Undeliverable("email_cannot_whisper")
        if self._transport is None:
            raise Undeliverable("smtp_send_not_configured")
        mail = compose(message, self._sender, self._setup.clock())
        if self.settings.dkim_key_file:
            signer = self._load_signer()
            signed = await asyncio.to_thread(signer.sign, mail.content)
            mail = type(mail)(mail.message_id, mail.mail_from, mail.rcpt_tos, signed, mail.smtputf8)
        await self._transport.send(mail)
        log.info("mail_sent", channel=self.name, key=message.key, attempt=message.attempt)
        return Sent(mail.message_id, message.address)

    async def close(self) -> None:
        if self._transport is not None:
            await self._transport.close()
        if self._authenticator is not None:
            self._authenticator.close()

    async def held(self, since: datetime) -> Sequence[Held]:
        """What lies in the mailbox; nothing where mail only comes by SMTP."""
        if not self.settings.imap:
            return ()
        from channels.email import imap_audit

        async with asyncio.timeout(AUDIT_S):
            return await asyncio.to_thread(imap_audit.held, self.settings, since)

    async def take(self, door: Door, held: Sequence[Held]) -> int:
        from channels.email import imap_audit

        mails = imap_audit.fetch(self.name, self.settings, held, self._setup.clock())
        taken = 0
        async with asyncio.timeout(AUDIT_S):
            while (raw := await asyncio.to_thread(next, mails, None)) is not None:
                await door.accept(raw)
                taken += 1
        return taken

    async def check(self) -> Sequence[Check]:
        from channels.email.checks import check_all

        return [found async for found in check_all(self.settings, self._transport, self._setup.clock)]

    def _server(self, door: Door, listen: str, *, lmtp: bool) -> Server:
        from channels.email.smtp_server import Limits, Server

        settings = self.settings
        via = "lmtp" if lmtp else "smtp"

        async def deliver(envelope: Envelope) -> None:
            await self.deliver(door, envelope, via=via)

        return Server(
            listen=listen,
            accepts=self.accepts,
            deliver=deliver,
            limits=Limits(
                max_size=settings.max_size_mb << 20,
                max_recipients=settings.max_recipients,
                max_sessions=settings.max_connections,
                max_sessions_per_address=settings.max_connections_per_peer,
                command_timeout_s=settings.idle_timeout_s,
                data_deadline_s=settings.data_timeout_s,
                bytes_in_flight=max(settings.max_in_flight_mb, settings.max_size_mb + 2) << 20,
            ),
            tls_cert=settings.tls_cert,
            tls_key=settings.tls_key,
            hostname=settings.hostname,
            lmtp=lmtp,
            clock=self._setup.clock,
        )

    def _load_signer(self) -> Signer:
        if self._signer is None:
            try:
                self._signer = Signer.load(self.settings)
            except (OSError, ValueError) as error:
                reason = f"channels.{self.name}.dkim_key_file cannot be used: {type(error).__name__}"
                raise ConfigError(reason) from error
        return self._signer

    def _make_transport(self) -> Transport | None:
        settings = self.settings
        if not settings.smtp_send:
            return None
        return Transport(
            settings.smtp_send,
            password=settings.smtp_password,
            starttls=settings.smtp_starttls,
            hostname=settings.hostname or socket.gethostname(),
            ca_file=settings.ca_file,
            connections=settings.smtp_connections,
            timeout_s=settings.send_timeout_s,
        )
