"""What doctor tries for a mailbox: each piece for real, and what to do when it fails."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from channels.base import Check, Clock, RetryLater, Undeliverable
from channels.email import dkim_sign
from channels.email.settings import Settings
from channels.email.transport import Transport

EXPIRES_SOON = timedelta(days=14)


async def check_all(settings: Settings, transport: Transport | None, clock: Clock) -> AsyncIterator[Check]:
    """Try sending, fetching, listening and the key files."""
    if transport is not None:
        yield await _smtp(transport, settings)
    else:
        yield Check("smtp_send", "warn", "not configured", "set smtp_send: without it no answer can leave")
    if settings.imap:
        from channels.email.imap_source import try_login

        yield await asyncio.to_thread(try_login, settings)
    for name, listen in (("smtp_listen", settings.smtp_listen), ("lmtp_listen", settings.lmtp_listen)):
        if listen and not listen.startswith("unix:"):
            yield await asyncio.to_thread(_port, name, listen)
    if not (settings.imap or settings.smtp_listen or settings.lmtp_listen):
        yield Check("receiving", "warn", "not configured", "set smtp_listen, lmtp_listen or imap")
    if settings.dkim_key_file:
        yield await asyncio.to_thread(_dkim, settings)
    if settings.tls_cert:
        yield await asyncio.to_thread(_certificate, settings, clock())


async def _smtp(transport: Transport, settings: Settings) -> Check:
    try:
        line = await transport.try_login()
    except (RetryLater, Undeliverable) as error:
        return Check(
            "smtp_send", "fail", error.reason, "see smtp_send, smtp_password, smtp_starttls and ca_file"
        )
    except TimeoutError:
        return Check(
            "smtp_send", "fail", "timeout", "see whether the server and port of smtp_send can be reached"
        )
    return Check("smtp_send", "ok", line)


def _port(name: str, listen: str) -> Check:
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except (OSError, ValueError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not host:port"
            return Check(
                name, "warn", f"{listen}: {reason}", "right while the service runs; else choose another port"
            )
    return Check(name, "ok", listen)


def _dkim(settings: Settings) -> Check:
    try:
        dkim_sign.Signer.load(settings)
    except (OSError, ValueError) as error:
        return Check("dkim_key_file", "fail", type(error).__name__, "an RSA private key in PEM is needed")
    return Check("dkim_key_file", "ok", settings.dkim_selector)


def _certificate(settings: Settings, now: datetime) -> Check:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
        context.load_verify_locations(settings.tls_cert)
        ends = [c["notAfter"] for c in context.get_ca_certs()] or [_not_after(settings.tls_cert)]
    except (OSError, ValueError) as error:
        return Check(
            "tls_cert", "fail", type(error).__name__, "tls_cert and tls_key must be a matching PEM pair"
        )
    end = min(datetime.fromtimestamp(ssl.cert_time_to_seconds(str(e)), UTC) for e in ends if e)
    if end < now:
        return Check("tls_cert", "fail", f"expired on {end:%Y-%m-%d}", "renew it")
    if end < now + EXPIRES_SOON:
        return Check("tls_cert", "warn", f"expires on {end:%Y-%m-%d}", "renew it")
    return Check("tls_cert", "ok", f"until {end:%Y-%m-%d}")


def _not_after(path: str) -> str:
    decode = ssl._ssl._test_decode_cert  # type: ignore[attr-defined]  # the only reader in the standard library
    return str(decode(path)["notAfter"])
