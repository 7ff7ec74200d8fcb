"""The same sessions against aiosmtpd as it comes: the same verdicts, the same mails."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

from aiosmtpd.smtp import SMTP
from hypothesis import example, given, settings
from hypothesis import strategies as st

from channels.email.smtp_server import Envelope, Limits, Server
from tests.fakes.mail import Dialogue

Mail = tuple[str, tuple[str, ...], bytes]

COMMANDS = [
    b"EHLO me.test",
    b"HELO me.test",
    b"EHLO",
    b"NOOP",
    b"RSET",
    b"EXPN staff",
    b"MAIL FROM:<a@b.test>",
    b"mail from:<A.b+c@B.test> size=100",
    b"MAIL FROM:<a@b.test> BODY=8BITMIME SMTPUTF8",
    b"MAIL FROM:<a@b.test> BODY=BINARYMIME",
    b"MAIL FROM:<a@b.test> SIZE=99999999999",
    b"MAIL FROM:<a@b.test> X=1",
    b'MAIL FROM:<"a b"@c.test>',
    b"MAIL FROM:<>",
    b"MAIL FROM:",
    b"MAIL TO:<x@y.test>",
    b"MAIL",
    b"RCPT TO:<support@example.com>",
    b"RCPT TO:<sales@example.com>",
    b"RCPT TO: <support@example.com>",
    b"RCPT TO:<stranger@elsewhere.test>",
    b"RCPT TO:<@relay.test:stranger@elsewhere.test>",
    b"RCPT TO:<support@example.com> NOTIFY=NEVER",
    b"RCPT TO:<support@example.com>@elsewhere.test",
    b"RCPT TO:",
    b"RCPT FROM:<support@example.com>",
    b"DATA x",
    b"VRFY",
    b"VRFY support@example.com",
    b"",
]
PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b".",
    b"..",
    b"text",
    b"\0",
    b"\xff",
    b"\r\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r\n.",
]
RECIPIENTS = [b"RCPT TO:<support@example.com>", b"RCPT TO:<x@elsewhere.test>"]

command = st.sampled_from(COMMANDS)


def ends_once(text: bytes) -> bytes:
    """Stuff what would end the mail early: the answers must stay in step with what is said."""
    whole = b"\r\n" + text + b"\r\n.\r\n"
    while (end := whole.find(b"\r\n.\r\n")) < len(whole) - 5:
        whole = whole[: end + 2] + b"." + whole[end + 2 :]
    return whole[2:-5]


body = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join).map(ends_once)
mail = st.tuples(
    st.sampled_from([b"MAIL FROM:<a@b.test>", b"MAIL FROM:<>"]),
    st.lists(
        st.sampled_from([b"RCPT TO:<support@example.com>", b"RCPT TO:<x@elsewhere.test>"]),
        min_size=1,
        max_size=3,
    ),
    body,
)


def taken(address: str) -> bool:
    return address in ("support@example.com", "sales@example.com")


class Handler:
    def __init__(self) -> None:
        self.mails: list[Mail] = []

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if not taken(address):
            return "550 5.7.1 Relaying denied"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        sender = "" if envelope.mail_from == "<>" else envelope.mail_from
        self.mails.append((sender, tuple(envelope.rcpt_tos), bytes(envelope.content)))
        return "250 OK"


async def talk(port: int, script: list[tuple[bytes, bytes | None]]) -> list[str]:
    """Say each command and, where it was asked for, the text of a mail. Return the first digits heard."""
    heard = []
    async with Dialogue(port) as line:
        for said, text in script:
            await line.send(said + b"\r\n")
            reply = await line.reply()
            heard.append(reply[:1])
            if reply.startswith("354") and text is not None:
                await line.send(text + b"\r\n.\r\n")
                heard.append((await line.reply())[:1])
        await line.send(b"QUIT\r\n")
        heard.append((await line.reply())[:1])
    return heard


async def both(
    script: list[tuple[bytes, bytes | None]],
) -> tuple[tuple[list[str], list[Mail]], tuple[list[str], list[Mail]]]:
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    handler = Handler()
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))
    stock = await asyncio.get_running_loop().create_server(
        lambda: SMTP(handler, hostname="mx.test", enable_SMTPUTF8=True, data_size_limit=35 << 20), sock=sock
    )
    port = sock.getsockname()[1]
    try:
        theirs = await talk(port, script)
    finally:
        stock.close()
        await stock.wait_closed()
    mails: list[Mail] = []

    async def keep(envelope: Envelope) -> None:
        mails.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))

    limits = Limits(drain_s=1)
    async with Server(listen="127.0.0.1:0", accepts=taken, deliver=keep, limits=limits) as ours:
        heard = await talk(ours.port, script)
    return (theirs, handler.mails), (heard, mails)


@settings(deadline=None, max_examples=60)
@given(st.lists(command, max_size=12), st.lists(mail, max_size=3))
@example(
    [b"EHLO me"], [(b"MAIL FROM:<>", [b"RCPT TO:<support@example.com>"], b"a\r\n.\nMAIL FROM:<x@y>\r\n..")]
)
@example([b"HELO me"], [(b"MAIL FROM:<a@b.test>", [b"RCPT TO:<support@example.com>"], b".\r\r\n..\n.\r\n\0")])
def test_verdicts_and_mails_are_those_of_aiosmtpd(
    commands: list[bytes], mails: list[tuple[bytes, list[bytes], bytes]]
) -> None:
    script: list[tuple[bytes, bytes | None]] = [
        (said, None) for said in commands if not said.startswith(b"DATA")
    ]
    for sender, recipients, text in mails:
        script += [(b"EHLO me.test", None), (sender, None), *((to, None) for to in recipients)]
        script.append((b"DATA", text))
    theirs, ours = asyncio.run(both(script))
    assert ours == theirs, script
