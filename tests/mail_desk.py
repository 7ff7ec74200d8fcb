"""A support desk on e-mail with a zone of senders: who can prove who they are, and who only says so.

async with mail_desk(tmp_path) as desk:
    await desk.mail("ann@good.example", "Where is my parcel?")
    card = await desk.staff.card("my parcel")
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from typing import Any

from tests.e2e.test_story import WebStaff, wait
from tests.fakes.dns import FakeDns
from tests.fakes.mail import FakeSmarthost, send_mail
from tests.world import ADDRESS, World, running

HONEST = ("good.example", "friend.example", "staff.example", "web.example")  # loopback may send for them
EVIL = "x@evil.example"  # an envelope sender whose domain sends nothing


def zone() -> FakeDns:
    records: dict[tuple[str, str], Sequence[str]] = {}
    for domain in HONEST:
        records[(domain, "TXT")] = ["v=spf1 ip4:127.0.0.1 -all"]
        records[(f"_dmarc.{domain}", "TXT")] = ["v=DMARC1; p=reject"]
    records[("evil.example", "TXT")] = ["v=spf1 -all"]
    return FakeDns(records)


@dataclass
class MailDesk:
    """One inbox, an agent on the web side, and what was mailed out."""

    world: World
    smarthost: FakeSmarthost
    staff: WebStaff
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def mail(
        self,
        sender: str,
        text: str,
        *,
        subject: str = "Question",
        to: str = ADDRESS,
        mail_from: str | None = None,
        content: bytes = b"",
        **headers: str,
    ) -> str:
        """Send a mail and return its Message-ID with brackets. `mail_from` other than the sender: forged."""
        mail = EmailMessage(policy=policy.SMTP)
        message_id = headers.pop("Message_ID", f"<m{next(self._numbers)}.{abs(hash(text))}@mua.example>")
        mail["From"], mail["To"], mail["Subject"], mail["Message-ID"] = sender, to, subject, message_id
        mail["Date"] = "Mon, 02 Mar 2026 10:00:00 +0000"
        for name, value in headers.items():
            mail[name.replace("_", "-")] = value
        mail.set_content(text)
        if mail_from is None:
            mail_from = parseaddr(sender)[1]
        await send_mail(self.world.smtp_port, mail_from, ADDRESS, content or mail.as_bytes())
        return message_id

    async def ticket_with(self, text: str) -> dict[str, Any]:
        """The ticket that has a message with this text, once it is there."""

        def found(dump: dict[str, Any]) -> Any:
            for ticket in dump["tickets"]:
                if any(text in m["text"] for m in ticket["messages"]):
                    return ticket
            return None

        ticket: dict[str, Any] = await self.world.until(found)
        return ticket

    async def number_of(self, text: str) -> int:
        return int((await self.ticket_with(text))["number"])

    async def answered(self, card: str, text: str) -> EmailMessage:
        """Let the agent answer; return the mail that left."""
        await self.staff.replies(card, text)
        return await self.mailed(text)

    async def mailed(self, words: str) -> EmailMessage:
        return await wait(lambda: next((m for m in self.sent() if words in body(m)), None), words)  # type: ignore[no-any-return]

    def sent(self) -> list[EmailMessage]:
        return [message_from_bytes(m.content, policy=policy.default) for m in self.smarthost.mails]  # type: ignore[misc]

    async def quiet(self) -> dict[str, Any]:
        """Wait until nothing is being done, and return the dump."""
        idle: dict[str, Any] = await self.world.until(
            lambda d: d["inbox"]["pending"] == 0 and d["outbox"]["pending"] == 0 and d
        )
        return idle


def body(mail: EmailMessage) -> str:
    part = mail.get_body(("plain",))
    return str(part.get_content()) if part is not None else ""


@asynccontextmanager
async def mail_desk(
    directory: Path, *, authentication: str = "evaluate", options: str = "", web: bool = True, **how: Any
) -> AsyncIterator[MailDesk]:
    async with AsyncExitStack() as stack:
        smarthost = await stack.enter_async_context(FakeSmarthost())
        more = (
            f'[channels.support]\nkind = "email"\naddress = "{ADDRESS}"\nsmtp_listen = "127.0.0.1:0"\n'
            f'smtp_send = "{smarthost.url}"\nauthentication = "{authentication}"\nrelays = []\n{options}'
        )
        world = await stack.enter_async_context(running(directory, more=more, web=web, **how))
        channel: Any = world.service.channels["support"]
        channel._resolver = zone()
        await wait(lambda: world.service.doors["support"].problem is None, "listening")
        staff = WebStaff(world)
        if web:
            await staff.open()
            stack.push_async_callback(staff.close)
        yield MailDesk(world, smarthost, staff)
