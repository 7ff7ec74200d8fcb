"""Receiving mail: who may send what to whom, what ends a mail, and what happens when things go wrong."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.base import ConfigError
from channels.email.sink import Sink
from channels.email.smtp_data import Incoming
from channels.email.smtp_limits import Room
from channels.email.smtp_server import Envelope, Limits, Server
from tests.fakes.mail import CERT, KEY, Dialogue, Refused, client_tls, send_mail

OURS = "support@example.com"
LETTER = b"Subject: hello\r\n\r\nIs it in stock?\r\n"
LIMITS = Limits(drain_s=1.0)


class Inbox:
    """What the server delivered; `before` may raise or wait."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []
        self.before: Callable[[Envelope], Awaitable[None]] | None = None

    async def __call__(self, mail: Envelope) -> None:
        if self.before is not None:
            await self.before(mail)
        self.mails.append(mail)


def ours(address: str) -> bool:
    local, _, domain = address.partition("@")
    return domain == "example.com" and local.partition("+")[0] in ("support", "sales")


def server(inbox: Inbox, **changes: Any) -> Server:
    wanted: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "accepts": ours,
        "limits": LIMITS,
        "hostname": "mx.test",
    }
    return Server(deliver=inbox, **(wanted | changes))


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


# what a mail arrives as


async def test_a_mail_arrives_byte_for_byte() -> None:
    inbox = Inbox()
    async with server(inbox) as mx:
        reply = await send_mail(mx.port, "ann@customers.test", [OURS, "Sales@Example.com"], LETTER)
    assert reply.startswith("250 2.0.0 Ok: ")
    [mail] = inbox.mails
    assert (mail.mail_from, mail.rcpt_tos) == ("ann@customers.test", (OURS, "Sales@Example.com"))
    assert (mail.content, mail.peer, mail.helo, mail.tls) == (LETTER, "127.0.0.1", "client.test", False)
    assert mail.received_at.tzinfo is not None


async def test_the_null_sender_is_a_sender() -> None:
    inbox = Inbox()
    async with server(inbox) as mx:
        await send_mail(mx.port, "", OURS, LETTER)
    assert inbox.mails[0].mail_from == ""


async def test_the_answer_comes_only_after_the_mail_is_durable() -> None:
    inbox, durable = Inbox(), asyncio.Event()

    async def wait(_: Envelope) -> None:
        await durable.wait()

    inbox.before = wait
    async with server(inbox) as mx, Dialogue(mx.port) as line:
        await line.envelope("a@b.test", OURS)
        await line.send(LETTER + b".\r\n")
        with pytest.raises(TimeoutError):
            await line.reply(timeout_s=0.1)
        durable.set()
        assert (await line.reply()).startswith("250")


async def test_what_is_offered_and_what_is_not() -> None:
    async with server(Inbox()) as mx, Dialogue(mx.port) as line:
        assert line.greeting == "220 mx.test ESMTP"
        words = {row[4:] for row in (await line.say("EHLO me")).splitlines()}
        offered = {"PIPELINING", f"SIZE {35 << 20}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"}
        assert words == {"mx.test"} | offered
        for absent in ("BDAT 10 LAST", "AUTH PLAIN AGEAYg==", "STARTTLS", "EXPN staff", "ETRN x", "TURN"):
            assert (await line.say(absent)).startswith("502"), absent
        assert (await line.say("XYZZY")).startswith("500")


async def test_vrfy_reveals_nothing() -> None:
    async with server(Inbox()) as mx, Dialogue(mx.port) as line:
        await line.say("EHLO me")
        assert (await line.say(f"VRFY {OURS}")) == (await line.say("VRFY nobody@example.com"))
        assert (await line.say(f"VRFY {OURS}")).startswith("252")


@pytest.mark.parametrize(
    "path",
    [
        "stranger@elsewhere.test",
        "stranger%elsewhere.test@relay.test",
        "@example.com:stranger@elsewhere.test",
        '"support@example.com"@elsewhere.test',
        "elsewhere.test!stranger",
        "support@example.com@elsewhere.test",
        "support@[127.0.0.1]",
        "support@example.com.elsewhere.test",
        "nobody@example.com",
    ],
)
async def test_it_is_no_relay(path: str) -> None:
    inbox = Inbox()
    async with server(inbox) as mx, Dialogue(mx.port) as line:
        await line.say("EHLO me")
        await line.say(f"MAIL FROM:<{OURS}>")
        assert (await line.say(f"RCPT TO:<{path}>"))[:3] in ("550", "501")
        assert (await line.say("DATA")).startswith("503")
    assert not inbox.mails


async def test_our_recipients_are_taken_in_any_case_and_with_a_tag_as_given() -> None:
    inbox = Inbox()
    wanted = ["SUPPORT@EXAMPLE.COM", "support+Ab-9_x=@example.com", "Support+t@Example.Com"]
    async with server(inbox) as mx:
        await send_mail(mx.port, "a@b.test", wanted, LETTER)
    assert list(inbox.mails[0].rcpt_tos) == wanted


@pytest.mark.parametrize(
    ("command", "sender"),
    [
        ("MAIL FROM:<a@b.test>", "a@b.test"),
        ("mail from:<a@b.test> size=20 body=8bitmime smtputf8", "a@b.test"),
        ("MAIL FROM: <a@b.test>", "a@b.test"),
        ("MAIL FROM:a@b.test", "a@b.test"),
        ('MAIL FROM:<"a b"@c.test>', '"a b"@c.test'),
        ("MAIL FROM:<a@[192.0.2.1]>", "a@[192.0.2.1]"),
        ("MAIL FROM:<@relay.test:a@b.test>", "a@b.test"),
        ("MAIL FROM:<müller@bücher.test> SMTPUTF8", "müller@bücher.test"),
        ("MAIL FROM:<prvs=1=a+b/c#d@b.test>", "prvs=1=a+b/c#d@b.test"),
        ("MAIL FROM:<root>", "root"),
        ("MAIL FROM:<>", ""),
    ],
)
async def test_senders_in_every_spelling(command: str, sender: str) -> None:
    inbox = Inbox()
    async with server(inbox) as mx, Dialogue(mx.port) as line:
        await line.say("EHLO me")
        assert (await line.say(command)).startswith("250")
        await line.say(f"RCPT TO:<{OURS}>")
        await line.say("DATA")
        await line.send(LETTER + b".\r\n")
        assert (await line.reply()).startswith("250")
    assert inbox.mails[0].mail_from == sender


@pytest.mark.parametrize(
    "command",
    [
        "MAIL",
        "MAIL FROM:",
        "MAIL FROM:<",
        "MAIL FROM:<a@b",
        "MAIL FROM:<a@b.test>x",
        "MAIL FROM:<a@b.test> RET=FULL",
        "MAIL FROM:<a@b.test> SIZE=many",
        "MAIL FROM:<a@b.test\x00>",
        "MAIL FROM:<a@b\rRCPT TO:<c@d>",
        "MAIL FROM:<" + "(" * 400 + ">",
        "MAIL FROM:<\udcff\udcfe@b.test>",
        "MAIL TO:<a@b.test>",
        "EHLO",
        "DATA",
        "RCPT TO:<support@example.com>",
    ],
)
async def test_nonsense_is_refused_and_the_session_goes_on(command: str) -> None:
    inbox = Inbox()
    async with server(inbox) as mx, Dialogue(mx.port) as line:
        await line.say("EHLO me")
        assert (await line.say(command)).startswith("5")
        assert (await line.envelope("a@b.test", OURS)).startswith("354")
        await line.send(LETTER + b".\r\n")
        assert (await line.reply()).startswith("250")


async def test_commands_must_come_in_order() -> None:
    async with server(Inbox()) as mx, Dialogue(mx.port) as line:
        for command in ("MAIL FROM:<a@b.test>", f"RCPT TO:<{OURS}>", "DATA"):
            assert (await line.say(command)).startswith("503")
        await line.say("HELO me")
        assert (await line.say("MAIL FROM:<a@b.test> SIZE=3")).startswith("501")
        assert (await line.say("MAIL FROM:<a@b.test>")).startswith("250")
        assert (await line.say("MAIL FROM:<a@b.test>")).startswith("503")
        assert (await line.say("RSET")).startswith("250")
        assert (await line.say(f"RCPT TO:<{OURS}>")).startswith("503")


# where a mail ends

ENDS_NOTHING = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r.\n",
    b"\n.\r",
    b"\r\r\n.\r\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n..\r\n",
    b"\r\n .\r\n",
    b"\r\n. \r\n",
    b"\x0b.\x0b",
    b"\xe2\x80\xa8.\xe2\x80\xa8",
]


@pytest.mark.parametrize("end", ENDS_NOTHING)
@pytest.mark.parametrize("split", [False, True])
async def test_no_other_end_smuggles_a_second_mail(end: bytes, split: bool) -> None:
    inbox = Inbox()
    smuggled = b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<support@example.com>\r\nDATA\r\nsmuggled\r\n.\r\n"
    async with server(inbox) as mx, Dialogue(mx.port) as line:
        await line.envelope("a@b.test", OURS)
        raw = LETTER + b"last" + end + smuggled
        for piece in [raw[i : i + 1] for i in range(len(raw))] if split else [raw]:
            await line.send(piece)
        assert (await line.reply()).startswith("250")
        assert (await line.say("NOOP")).startswith("250")
        await line.say("QUIT")
    [mail] = inbox.mails
    assert mail.mail_from == "a@b.test"
    assert b"smuggled" in mail.content


async def test_dots_are_unstuffed_once() -> None:
    inbox = Inbox()
    async with server(inbox) as mx:
        for body in (
            b"",
            b"\r\n",
            b".\r\n",
            b"..\r\n...\r\n",
            b"a\r\n.b\r\n.\r\nc\r\n",
            b"\r\n\r\n.\r\n\r\n",
        ):
            await send_mail(mx.port, "a@b.test", OURS, body)
            assert inbox.mails[-1].content == (body if body.endswith(b"\r\n") else body + b"\r\n")


LINES = st.lists(st.sampled_from([b"\r", b"\n", b".", b"x", b"\0", b"\r\n", b"\r\n.", b".\r\n"]), max_size=30)


@settings(deadline=None, max_examples=300)
@given(LINES.map(b"".join), st.lists(st.integers(0, 60), max_size=6))
def test_a_mail_means_the_same_however_it_is_cut(raw: bytes, cuts: list[int]) -> None:
    raw += b"\r\n.\r\nNOOP\r\n"
    whole, rest = _feed([raw])
    places = [0, *sorted({min(cut, len(raw)) for cut in cuts}), len(raw)]
    pieces = [raw[a:b] for a, b in pairwise(places) if a < b]
    assert _feed(pieces) == (whole, rest)
    # the definition, line by line
    lines = raw.split(b"\r\n")
    last = lines.index(b".")
    assert whole == b"".join(row.removeprefix(b".") + b"\r\n" for row in lines[:last])
    assert rest == b"\r\n".join(lines[last + 1 :])


def _feed(pieces: list[bytes]) -> tuple[bytes, bytes]:
    mail = Incoming(10_000)
    rest: bytes | None = None
    for piece in pieces:
        rest = mail.feed(piece) if rest is None else rest + piece
    assert rest is not None
    return mail.take(), rest


async def test_a_mail_with_bare_line_feeds_only_is_told_to_try_again() -> None:
    inbox = Inbox()
    async with server(inbox, limits=replace(LIMITS, data_deadline_s=0.2)) as mx, Dialogue(mx.port) as line:
        await line.envelope("a@b.test", OURS)
        await line.send(b"Subject: old script\n\nhello\n.\nQUIT\n")
        assert (await line.reply()).startswith("421")
        assert await line.ended()
    assert not inbox.mails


async def test_commands_may_end_in_a_bare_line_feed() -> None:
    async with server(Inbox()) as mx, Dialogue(mx.port) as line:
        await line.send(b"EHLO me\n")
        assert (await line.reply()).startswith("250")


@pytest.mark.parametrize(
    "body", [b"x" * 1_000_000, b"a" * 1000 + b"\0" + b"b", b"\xff\xfe" * 3000, b"\0" * 9]
)
async def test_long_lines_and_odd_bytes_are_content(body: bytes) -> None:
    inbox = Inbox()
    async with server(inbox) as mx:
        await send_mail(mx.port, "a@b.test", OURS, b"Subject: x\r\n\r\n" + body + b"\r\n")
    assert inbox.mails[0].content == b"Subject: x\r\n\r\n" + body + b"\r\n"


async def test_command_lines_may_be_long_but_not_endless() -> None:
    async with server(Inbox()) as mx, Dialogue(mx.port) as line:
        await line.say("EHLO me")
        assert (await line.say(f"MAIL FROM:<{'a' * 2000}@b.test>")).startswith("250")
        assert (await line.say("NOOP " + "x" * 2040)).startswith("250")
        assert (await line.say("NOOP " + "x" * 5000)).startswith("500")
        assert (await line.say("NOOP " + "x" * 40_000)).startswith("500")
        assert (await line.say("NOOP")).startswith("250")
        await line.send(b"x" * 200_000)
        assert (await line.reply()).startswith("421")
        assert await line.ended()


# several at once


async def test_mails_in_one_segment_are_all_taken_in_order() -> None:
    inbox = Inbox()
    one = (
        b"MAIL FROM:<c%d@b.test>\r\nRCPT TO:<support@example.com>\r\nDATA\r\nSubject: %d\r\n\r\n..x\r\n.\r\n"
    )
    async with server(inbox) as mx, Dialogue(mx.port) as line:
        await line.send(b"EHLO me\r\n" + b"".join(one % (n, n) for n in range(20)) + b"QUIT\r\n")
        replies = [await line.reply() for _ in range(1 + 20 * 4 + 1)]
        assert await line.ended()
    assert [reply[:3] for reply in replies] == ["250"] + ["250", "250", "354", "250"] * 20 + ["221"]
    assert [mail.mail_from for mail in inbox.mails] == [f"c{n}@b.test" for n in range(20)]
    assert {mail.content[-4:] for mail in inbox.mails} == {b".x\r\n"}


async def test_a_client_that_has_said_all_and_hung_up_is_served_all_the_same() -> None:
    inbox, gate = Inbox(), asyncio.Event()

    async def wait(_: Envelope) -> None:
        await gate.wait()

    inbox.before = wait
    async with server(inbox) as mx, Dialogue(mx.port) as line:
        await line.envelope("a@b.test", OURS)
        await line.send(LETTER + b".\r\n")
        line.writer.write_eof()
        await asyncio.sleep(0.05)
        gate.set()
        assert (await line.reply()).startswith("250")
    assert len(inbox.mails) == 1


async def test_half_a_mail_is_no_mail() -> None:
    inbox = Inbox()
    async with server(inbox) as mx:
        async with Dialogue(mx.port) as line:
            await line.envelope("a@b.test", OURS)
            await line.send(LETTER)
        await until(lambda: mx.room.held == 0)
    assert not inbox.mails


async def test_five_hundred_sessions_at_once() -> None:
    inbox = Inbox()
    async with server(inbox) as mx:
        async with asyncio.timeout(30):
            lines = await asyncio.gather(*(_open(mx.port) for _ in range(500)))
            one_more = await _open(mx.port)
            assert one_more.greeting.startswith("421")
            await asyncio.gather(*(line.envelope("a@b.test", OURS) for line in lines))
            await asyncio.gather(*(line.send(LETTER + b".\r\n") for line in lines))
            replies = await asyncio.gather(*(line.reply() for line in lines))
            for line in [*lines, one_more]:
                await line.__aexit__()
    assert {reply[:3] for reply in replies} == {"250"}
    assert len(inbox.mails) == 500


async def _open(port: int) -> Dialogue:
    return await Dialogue(port).__aenter__()


async def test_one_address_gets_only_its_share() -> None:
    limits = replace(LIMITS, max_sessions_per_address=2, exempt_loopback=False)
    async with server(Inbox(), limits=limits) as mx:
        async with Dialogue(mx.port), Dialogue(mx.port), Dialogue(mx.port) as third:
            assert third.greeting.startswith("421 4.7.0")
        await until(lambda: not mx._sessions)
        async with Dialogue(mx.port) as again:
            assert again.greeting.startswith("220")


# when things go wrong


def _chained() -> Exception:
    error = RuntimeError("outer secret")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    return error


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (RuntimeError("password is hunter2"), "451 4.3.0"),
        (ValueError("500 nasty"), "451 4.3.0"),
        (TimeoutError(), "451 4.3.0"),
        (asyncio.CancelledError(), "451 4.3.0"),
        (OSError(errno.ENOSPC, "No space left on device"), "452 4.3.1"),
        (OSError(errno.EIO, "broken"), "451 4.3.0"),
        (sqlite3.OperationalError("database or disk is full"), "452 4.3.1"),
        (_chained(), "452 4.3.1"),
        (ExceptionGroup("several", [_chained()]), "452 4.3.1"),
        (MemoryError(), "451 4.3.0"),
    ],
)
async def test_our_own_trouble_is_temporary_and_says_nothing_of_us(error: BaseException, answer: str) -> None:
    inbox = Inbox()

    async def fail(_: Envelope) -> None:
        raise error

    inbox.before = fail
    async with server(inbox) as mx, Dialogue(mx.port) as line:
        await line.envelope("a@b.test", OURS)
        await line.send(LETTER + b".\r\n")
        reply = await line.reply()
        assert reply.startswith(answer)
        assert not any(word in reply for word in ("hunter2", "secret", "Error", "database", "device"))
        inbox.before = None
        assert (await line.envelope("a@b.test", OURS)).startswith("354")
        await line.send(LETTER + b".\r\n")
        assert (await line.reply()).startswith("250")


async def test_a_store_that_hangs_is_temporary_too() -> None:
    inbox = Inbox()

    async def hang(_: Envelope) -> None:
        await asyncio.Event().wait()

    inbox.before = hang
    limits = replace(LIMITS, deliver_timeout_s=0.1, command_timeout_s=0.4)
    async with server(inbox, limits=limits) as mx, Dialogue(mx.port) as line:
        await line.envelope("a@b.test", OURS)
        await line.send(LETTER + b".\r\n")
        assert (await line.reply()).startswith("451")


async def test_a_recipient_check_that_fails_is_temporary() -> None:
    def fail(_: str) -> bool:
        raise KeyError("internal")

    async with server(Inbox(), accepts=fail) as mx, Dialogue(mx.port) as line:
        assert await line.envelope("a@b.test", OURS) == "451 4.3.0 Try again later"


async def test_size_is_enforced_as_announced_and_as_sent() -> None:
    inbox = Inbox()
    limits = replace(LIMITS, max_size=10_000)
    async with server(inbox, limits=limits) as mx, Dialogue(mx.port) as line:
        await line.say("EHLO me")
        assert (await line.say("MAIL FROM:<a@b.test> SIZE=10001")).startswith("552")
        assert (await line.say("MAIL FROM:<a@b.test> SIZE=" + "9" * 18)).startswith("552")
        await line.envelope("a@b.test", OURS)
        await line.send(b"x" * 15_000 + b"\r\n.\r\n")
        assert (await line.reply()).startswith("552")
        await line.envelope("a@b.test", OURS)
        await line.send(b"x" * 9_998 + b"\r\n.\r\n")
        assert (await line.reply()).startswith("250")
        await line.envelope("a@b.test", OURS)
        await line.send(b"x" * 1_000_000)  # and no end
        assert (await line.reply()).startswith("552")
        assert await line.ended()
    assert [len(mail.content) for mail in inbox.mails] == [10_000]


async def test_recipients_have_a_limit() -> None:
    inbox = Inbox()
    async with server(inbox, limits=replace(LIMITS, max_recipients=3)) as mx, Dialogue(mx.port) as line:
        await line.say("EHLO me")
        await line.say("MAIL FROM:<a@b.test>")
        answers = [(await line.say(f"RCPT TO:<support+{n}@example.com>"))[:3] for n in range(4)]
        assert answers == ["250", "250", "250", "452"]
        await line.say("DATA")
        await line.send(LETTER + b".\r\n")
        assert (await line.reply()).startswith("250")
    assert len(inbox.mails[0].rcpt_tos) == 3


async def test_endless_errors_and_endless_chatter_end_the_session() -> None:
    async with server(Inbox()) as mx:
        for command, first in (("XYZZY", "500"), ("NOOP", "250"), ("VRFY x", "252"), ("RSET", "250")):
            async with Dialogue(mx.port) as line:
                await line.send((command + "\r\n").encode() * 300)
                replies = [await line.reply() for _ in range(250) if not line.reader.at_eof()]
            assert replies[0].startswith(first)
            assert any(reply.startswith("421") for reply in replies), command


async def test_a_browser_is_sent_away() -> None:
    inbox = Inbox()
    async with server(inbox) as mx, Dialogue(mx.port) as line:
        await line.send(
            b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nEHLO me\r\nMAIL FROM:<a@b.test>\r\n"
            b"RCPT TO:<support@example.com>\r\nDATA\r\nx\r\n.\r\n"
        )
        assert (await line.reply()).startswith("421")
        assert await line.ended()
    assert not inbox.mails


# slow clients


async def test_a_command_that_drips_in_is_cut_off() -> None:
    async with (
        server(Inbox(), limits=replace(LIMITS, command_timeout_s=0.2)) as mx,
        Dialogue(mx.port) as line,
    ):
        async with asyncio.timeout(5):
            while mx._sessions and not line.reader._buffer:  # type: ignore[attr-defined]
                await line.send(b"N")
                await asyncio.sleep(0.02)
        assert (await line.reply()).startswith("421 4.4.2")
        assert await line.ended()


async def test_a_mail_that_drips_in_is_cut_off() -> None:
    limits = replace(LIMITS, command_timeout_s=0.2, rate_grace_s=0.1, min_rate_bytes_s=1_000_000)
    inbox = Inbox()
    async with server(inbox, limits=limits) as mx, Dialogue(mx.port) as line:
        await line.envelope("a@b.test", OURS)
        async with asyncio.timeout(5):
            while not line.reader._buffer:  # type: ignore[attr-defined]
                await line.send(b"x\r\n")
                await asyncio.sleep(0.01)
        assert (await line.reply()).startswith("421 4.4.2")
    assert not inbox.mails


async def test_a_client_that_never_reads_is_cut_off_and_costs_no_memory() -> None:
    limits = replace(LIMITS, command_timeout_s=0.3)
    async with server(Inbox(), limits=limits) as mx, Dialogue(mx.port) as line:
        line.writer.write(b"EHLO me\r\n" * 20_000)
        await until(lambda: not mx._sessions)


# memory


async def test_mails_wait_for_memory_and_all_arrive() -> None:
    inbox = Inbox()
    limits = replace(LIMITS, max_size=1 << 20, bytes_in_flight=4 << 20)
    async with server(inbox, limits=limits) as mx:
        letter = b"x" * 900_000 + b"\r\n"
        await asyncio.gather(*(_announced(mx.port, letter) for _ in range(12)))
        assert mx.room.peak <= limits.bytes_in_flight
        assert mx.room.held == 0
    assert len(inbox.mails) == 12


async def test_mails_that_hide_their_size_share_the_memory_too() -> None:
    inbox = Inbox()
    limits = replace(LIMITS, max_size=2 << 20, bytes_in_flight=4 << 20, room_wait_s=0.5)
    async with server(inbox, limits=limits) as mx:
        letter = b"x" * 1_900_000 + b"\r\n"
        results = await asyncio.gather(
            *(send_mail(mx.port, "a@b.test", OURS, letter) for _ in range(8)), return_exceptions=True
        )
        assert mx.room.peak <= limits.bytes_in_flight + 8 * 65536
        assert mx.room.held == 0
    answers = [str(result)[:3] for result in results]
    assert set(answers) <= {"250", "452"}
    assert len(inbox.mails) == answers.count("250") >= 1


async def test_waiting_for_memory_has_an_end() -> None:
    inbox, gate = Inbox(), asyncio.Event()

    async def wait(_: Envelope) -> None:
        await gate.wait()

    inbox.before = wait
    limits = replace(LIMITS, max_size=1 << 20, bytes_in_flight=5 << 20, room_wait_s=0.2)
    async with server(inbox, limits=limits) as mx:
        letter = b"x" * 1_000_000 + b"\r\n"
        first = [asyncio.create_task(_announced(mx.port, letter)) for _ in range(3)]
        await until(lambda: mx.room.held > 2_900_000)
        assert (await _announced(mx.port, letter)).startswith("452")
        gate.set()
        assert {reply[:3] for reply in await asyncio.gather(*first)} == {"250"}


async def _announced(port: int, letter: bytes) -> str:
    async with Dialogue(port) as line:
        await line.say("EHLO me")
        await line.say(f"MAIL FROM:<a@b.test> SIZE={len(letter)}")
        await line.say(f"RCPT TO:<{OURS}>")
        reply = await line.say("DATA")
        if reply.startswith("354"):
            await line.send(letter + b".\r\n")
            reply = await line.reply()
        return reply


def test_room_goes_to_who_waited_longest() -> None:
    room, order = Room(1_000_000, 100_000), list[str]()
    assert room.take("a", 800_000)
    assert room.take("b", 100_000)
    assert room.take("big", 90_000), "one may always go on"
    assert not room.take("first", 500_000)
    room.wait("first", 500_000, lambda: order.append("first"))
    give_up = room.wait("second", 400_000, lambda: order.append("second"))
    room.wait("third", 300_000, lambda: order.append("third"))
    assert room.take("small", 1000), "a small mail waits for nobody"
    assert room.take("big", 80_000), "and grow"
    give_up()
    room.free("a", 800_000)
    assert order == ["first"]
    room.free("big", 170_000)
    assert order == ["first", "third"]


async def test_mails_that_grow_do_not_wait_for_each_other() -> None:
    inbox = Inbox()
    limits = replace(LIMITS, max_size=4 << 20, bytes_in_flight=8 << 20, room_wait_s=20)
    async with server(inbox, limits=limits) as mx, asyncio.timeout(10):
        letter = b"x" * 3_900_000 + b"\r\n"
        await asyncio.gather(*(send_mail(mx.port, "a@b.test", OURS, letter) for _ in range(8)))
    assert len(inbox.mails) == 8


# TLS


async def test_starttls_protects_what_follows() -> None:
    inbox = Inbox()
    async with server(inbox, tls_cert=str(CERT), tls_key=str(KEY)) as mx:
        await aiosmtplib.send(
            LETTER, sender="a@b.test", recipients=[OURS], hostname="127.0.0.1", port=mx.port, start_tls=True,
            tls_context=client_tls(),
        )  # fmt: skip
    assert inbox.mails[0].tls


async def test_what_was_said_before_the_handshake_is_forgotten() -> None:
    inbox = Inbox()
    async with server(inbox, tls_cert=str(CERT), tls_key=str(KEY)) as mx, Dialogue(mx.port) as line:
        assert "250 STARTTLS" in await line.say("EHLO me")
        await line.say("MAIL FROM:<victim@b.test>")
        await line.send(
            b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@x.test>\r\nRCPT TO:<support@example.com>\r\n"
        )
        assert (await line.reply()).startswith("220")
        await line.writer.start_tls(client_tls(), server_hostname="localhost")
        assert (await line.say(f"RCPT TO:<{OURS}>")).startswith("503")
        reply = await line.say("EHLO me")
        assert "STARTTLS" not in reply
        assert (await line.say("STARTTLS")).startswith("502")
        assert (await line.envelope("good@b.test", OURS)).startswith("354")
        await line.send(LETTER + b".\r\n")
        assert (await line.reply()).startswith("250")
    assert [mail.mail_from for mail in inbox.mails] == ["good@b.test"]


async def test_a_failed_handshake_leaves_nothing_behind() -> None:
    async with server(Inbox(), tls_cert=str(CERT), tls_key=str(KEY)) as mx:
        async with Dialogue(mx.port) as line:
            await line.say("EHLO me")
            await line.say("STARTTLS")
            await line.send(b"this is not a handshake\r\n" * 10)
            assert await line.ended()
        async with Dialogue(mx.port) as line:
            await line.say("EHLO me")
            await line.say("STARTTLS")
        await until(lambda: not mx._sessions)


# LMTP and listening


async def test_lmtp_answers_for_each_recipient(tmp_path: Path) -> None:
    inbox = Inbox()
    path = str(tmp_path / "lmtp.sock")
    async with server(inbox, listen=f"unix:{path}", lmtp=True), Dialogue(0, path=path) as line:
        assert (await line.say("EHLO me")).startswith("500")
        await line.say("LHLO me")
        await line.say("MAIL FROM:<>")
        codes = [
            (await line.say(f"RCPT TO:<{to}>"))[:3]
            for to in (OURS, "nobody@example.com", "sales@example.com")
        ]
        await line.say("DATA")
        await line.send(LETTER + b".\r\nQUIT\r\n")
        replies = [await line.reply() for _ in range(3)]
    assert codes == ["250", "550", "250"]
    assert [reply[:3] for reply in replies] == ["250", "250", "221"]
    assert inbox.mails[0].peer == "unix"
    assert not Path(path).exists()


async def test_what_cannot_be_listened_on_is_named(tmp_path: Path) -> None:
    async with server(Inbox()) as mx:
        with pytest.raises(ConfigError, match=f"127.0.0.1:{mx.port}: Address already in use"):
            await server(Inbox(), listen=f"127.0.0.1:{mx.port}").start()
    for listen in ("8025", ":8025", "127.0.0.1:x", "127.0.0.1:99999", "no.such.host.invalid:25"):
        with pytest.raises(ConfigError, match=listen.replace(".", r"\.")):
            await server(Inbox(), listen=listen).start()
    file = tmp_path / "file"
    file.write_text("precious")
    with pytest.raises(ConfigError, match="File exists"):
        await server(Inbox(), listen=f"unix:{file}").start()
    assert file.read_text() == "precious"
    with pytest.raises(ConfigError, match="missing"):
        server(Inbox(), tls_cert="/missing.crt")


async def test_a_closing_server_finishes_what_it_is_storing() -> None:
    inbox, started, gate = Inbox(), asyncio.Event(), asyncio.Event()

    async def wait(_: Envelope) -> None:
        started.set()
        await gate.wait()

    inbox.before = wait
    mx = server(inbox)
    await mx.start()
    async with Dialogue(mx.port) as busy, Dialogue(mx.port) as idle:
        await busy.envelope("a@b.test", OURS)
        await busy.send(LETTER + b".\r\n")
        await started.wait()
        closing = asyncio.create_task(mx.close())
        assert (await idle.reply()).startswith("421")
        gate.set()
        assert (await busy.reply()).startswith("250")
        assert (await busy.reply()).startswith("421")
        await closing
    await mx.close()
    assert len(inbox.mails) == 1


async def test_the_sink_keeps_what_it_gets() -> None:
    async with Sink() as sink:
        await send_mail(sink.port, "a@b.test", "anybody@anywhere.test", LETTER)
        [mail] = await sink.until(1)
        assert mail.content == LETTER
        sink.clear()
        assert not sink.mails


async def test_the_client_of_the_tests_says_when_it_is_refused() -> None:
    async with server(Inbox()) as mx:
        with pytest.raises(Refused) as refusal:
            await send_mail(mx.port, "a@b.test", "stranger@elsewhere.test", LETTER)
    assert refusal.value.code == 550
