"""What the tests of the e-mail adapter share: a channel, a mail, a decoded mail, an answer to send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from channels.base import Setup
from channels.conversation import Address, Inbound, Outbound
from channels.email import build
from channels.email.adapter import EmailChannel
from channels.email.envelope import Transit, pack
from channels.rich import Reply
from tests.fakes.door import FakeDoor
from tests.fakes.mail import FakeSmarthost, SentMail

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECRET = b"s" * 32
OURS = ("support@example.com", "help@example.com")
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40


def channel(**settings: Any) -> EmailChannel:
    base = {"kind": "email", "address": "support@example.com", "aliases": ["help@example.com"]}
    made = build(Setup("mail", {**base, **settings}, SECRET, desk_name="Example Ltd", clock=lambda: NOW))
    assert isinstance(made, EmailChannel)
    return made


def mail(text: str = "Where is my order?", **headers: str) -> bytes:
    fields = {
        "Message-ID": "<one@customers.example>",
        "From": "Ann Lee <Ann@customers.example>",
        "To": "support@example.com",
        "Subject": "Order",
        "Date": "Sun, 01 Mar 2026 11:59:00 +0000",
    }
    fields.update({name.replace("_", "-"): value for name, value in headers.items()})
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"{head}\r\n{text}\r\n".encode()


def decoded(content: bytes, transit: Transit | None = None, **evidence: Any) -> Inbound:
    raw = pack("mail", transit or Transit("ann@customers.example"), content, NOW)
    raw = replace(raw, evidence=json.dumps(evidence) if evidence else "")
    [inbound] = channel().decode(raw)
    return inbound


def outbound(reply: Reply | None = None, **more: Any) -> Outbound:
    given_: dict[str, Any] = {
        "address": Address("mail", "ann@customers.example"),
        "reply": reply or Reply.of("It is on its way."),
        "key": "42",
        "subject": "Order",
        "in_reply_to_id": "one@customers.example",
        "references": ("zero@customers.example", "one@customers.example"),
        "thread_key": "c7",
        **more,
    }
    return Outbound(**given_)


@asynccontextmanager
async def sending(host: FakeSmarthost, **settings: Any) -> AsyncIterator[EmailChannel]:
    mailer = channel(smtp_send=host.url, send_timeout_s=5.0, **settings)
    try:
        yield mailer
    finally:
        await mailer.close()


@asynccontextmanager
async def receiving(door: FakeDoor, **settings: Any) -> AsyncIterator[EmailChannel]:
    receiver = channel(**{"smtp_listen": "127.0.0.1:0", **settings})
    task = asyncio.create_task(receiver.run(door))
    try:
        await door.until(lambda: door.problem is None)
        yield receiver
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await receiver.close()


def read(sent: SentMail) -> EmailMessage:
    message = message_from_bytes(sent.content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message
