"""The e-mail channel from the wire to the value and back."""

from __future__ import annotations

import asyncio
import json
import pickle
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import ConfigError, Examines, Isolated, RetryLater, Setup, Undeliverable
from channels.conversation import Address, Author, Inbound, Kind, Op, Outbound, Raw
from channels.email import build, reply_address
from channels.email.adapter import EmailChannel
from channels.email.compose import Sender, compose
from channels.email.envelope import Transit, identify, pack, unpack
from channels.rich import Button, Buttons, Fields, File, Heading, Image, Reply, Table, Text
from tests.fakes.door import FakeDoor
from tests.fakes.mail import CERT, FakeSmarthost, Refused, SentMail, send_mail

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


# in


async def test_a_mail_over_smtp_is_stored_before_it_is_acknowledged_and_decodes() -> None:
    door = FakeDoor()
    async with receiving(door) as receiver:
        answer = await send_mail(
            receiver.ports["smtp"], "bounce+1@customers.example", "support+x@example.com", mail()
        )
        assert answer.startswith("250")
        [raw] = door.raws
        assert raw.lane == "ann@customers.example"
        [inbound] = receiver.decode(raw)
    assert inbound.address == Address("mail", "ann@customers.example")
    assert inbound.event_id == "one@customers.example"
    assert inbound.dedupe == raw.event_id
    assert (inbound.text, inbound.subject) == ("Where is my order?", "Order")
    assert inbound.author.name == "Ann Lee"
    assert not inbound.author.may_command
    assert inbound.kind is Kind.MESSAGE
    assert inbound.private


async def test_mail_for_others_is_refused_and_a_failing_store_asks_for_later() -> None:
    door = FakeDoor()
    async with receiving(door) as receiver:
        port = receiver.ports["smtp"]
        with pytest.raises(Refused) as refused:
            await send_mail(port, "a@b.example", "boss@elsewhere.example", mail())
        assert refused.value.code == 550

        async def fail() -> None:
            raise RuntimeError

        door.before = fail
        with pytest.raises(Refused) as later:
            await send_mail(port, "a@b.example", "HELP@example.com", mail())
        assert later.value.code == 451
        door.before = None
        await send_mail(port, "a@b.example", "HELP@example.com", mail())
    assert len(door.raws) == 1


async def test_the_same_mail_by_smtp_by_lmtp_and_by_imap_is_one() -> None:
    door = FakeDoor()
    async with receiving(door, lmtp_listen="127.0.0.1:0") as receiver:
        await send_mail(receiver.ports["smtp"], "a@b.example", "support@example.com", mail())
        traced = b"Received: from x by y\r\nDelivered-To: support@example.com\r\n" + mail()
        await send_mail(receiver.ports["lmtp"], "a@b.example", "help@example.com", traced, lmtp=True)
    stored = b"Return-Path: <a@b.example>\nReceived: z\n" + mail().replace(b"\r\n", b"\n")
    await door.accept(pack("mail", Transit(via="imap"), stored, NOW))
    assert len(door.raws) == 1
    assert door.repeats == 2


def test_the_same_message_id_with_another_content_is_another_mail() -> None:
    one, other = (pack("mail", Transit(), mail(text), NOW).event_id for text in ("one", "two"))
    assert one != other
    assert one.partition("#")[0] == other.partition("#")[0] == "one@customers.example"


def test_a_mail_without_message_id_is_a_mail_with_a_stable_id() -> None:
    first, again = (decoded(mail(Message_ID="")) for _ in range(2))
    assert first.event_id == again.event_id
    assert first.event_id.endswith("@missing")


@given(st.binary(max_size=3000))
def test_any_bytes_can_be_packed_unpacked_and_decoded(content: bytes) -> None:
    raw = pack("mail", Transit("x@y"), content, NOW)
    assert unpack(raw.body) == (Transit("x@y"), content)
    [inbound] = channel().decode(raw)
    assert inbound.address.room_id
    assert inbound.event_id
    assert "\0" not in inbound.text + inbound.full_text + inbound.subject + inbound.event_id + raw.lane


def test_a_body_that_nobody_packed_is_a_bare_mail() -> None:
    raw = Raw("mail", "file#1", "", mail(), NOW)
    [inbound] = channel().decode(raw)
    assert inbound.text == "Where is my order?"


def test_what_the_parser_cannot_understand_still_arrives_with_the_mail_attached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def explode(raw: bytes) -> None:
        raise RecursionError

    monkeypatch.setattr("channels.email.parse.parse", explode)
    inbound = decoded(mail())
    assert inbound.warnings == ("undecodable",)
    assert inbound.address.room_id == "ann@customers.example"
    assert inbound.subject == "Order"
    [file] = inbound.attachments
    assert (file.filename, file.content) == ("message.eml", mail())


def test_a_mail_that_could_not_be_fetched_is_still_told() -> None:
    raw = pack("mail", Transit(via="imap", flaw="unfetchable"), b"", NOW, id_hint="imap-1-2")
    [inbound] = channel().decode(raw)
    assert "unfetchable" in inbound.warnings
    assert inbound.address.room_id == "imap-1-2@missing.invalid"


# who


def test_only_evidence_about_this_very_sender_verifies_an_address() -> None:
    good = {"source": "evaluate", "from": "ann@customers.example", "verified": True}
    inbound = decoded(mail(), **good)
    assert inbound.author.verified_email == "ann@customers.example"
    assert inbound.may_acknowledge
    assert inbound.warnings == ()
    for bad in ({**good, "from": "eve@customers.example"}, {**good, "verified": False}):
        inbound = decoded(mail(), **bad)
        assert inbound.author.verified_email is None
        assert not inbound.may_acknowledge
        assert "unverified_sender" in inbound.warnings


def test_failures_are_pointed_out() -> None:
    inbound = decoded(mail(), source="evaluate", spf="fail", dkim="fail", dmarc="fail", verified=False)
    assert inbound.warnings == ("spf_fail", "dkim_fail", "dmarc_fail", "unverified_sender")


def test_a_contact_form_speaks_for_the_person_in_reply_to_and_proves_nothing() -> None:
    good = {"source": "evaluate", "verified": True}
    for sender in ("support@example.com", "no-reply@shop.example", "contact-form@shop.example"):
        content = mail(From=f"Website <{sender}>", Reply_To="Bob <Bob@customers.example>")
        inbound = decoded(content, **good, **{"from": sender})
        assert inbound.address.room_id == "bob@customers.example"
        assert inbound.author.name == "Bob"
        assert inbound.author.verified_email is None
        assert inbound.kind is Kind.MESSAGE
        assert not inbound.may_acknowledge
    person = decoded(mail(Reply_To="eve@evil.example"))
    assert person.address.room_id == "ann@customers.example"
    assert "reply_to_differs" in person.warnings


def test_people_in_to_and_cc_are_participants_and_we_are_not() -> None:
    content = mail(
        To="Help <HELP+x@example.com>, Bob <bob@b.example>", Cc="ann@customers.example, Cy <c@c.example>"
    )
    inbound = decoded(content)
    assert [(p.user_id, p.name) for p in inbound.participants] == [
        ("bob@b.example", "Bob"),
        ("c@c.example", "Cy"),
    ]
    assert not inbound.private


# where


def test_hints_come_strongest_first() -> None:
    signed = reply_address.sign("support@example.com", "c7", SECRET)
    marker = reply_address.marker("c8", SECRET)
    content = mail(
        f"Thanks!\r\n\r\n> Hello\r\n> {marker}",
        To=signed.upper(),
        Subject="Re: Order [#123]",
        In_Reply_To="<b@x>",
        References="<a@x> <b@x>",
    )
    assert decoded(content).thread_hints == ("key:c7", "ref:b@x", "ref:a@x", "weakref:c8", "subject:123")


@pytest.mark.parametrize("field", ["Delivered_To", "X_Original_To", "Envelope_To", "Cc"])
def test_a_signed_address_is_found_in_any_recipient_header(field: str) -> None:
    signed = reply_address.sign("help@example.com", "c7", SECRET)
    assert decoded(mail(**{field: f"x@y.example, <{signed}>"})).thread_hints == ("key:c7",)


def test_a_signed_address_is_found_in_the_envelope() -> None:
    transit = Transit("a@b", (reply_address.sign("support@example.com", "c7", SECRET),))
    assert decoded(mail(), transit).thread_hints == ("key:c7",)


def test_a_forged_reply_address_is_no_hint() -> None:
    good = reply_address.sign("support@example.com", "c7", SECRET)
    forged = [
        good.replace("c7", "c8"),
        good.replace("example.com", "evil.example"),
        reply_address.sign("support@example.com", "c7", b"other"),
        "support+c7.@example.com",
        "support+c7@example.com",
    ]
    for address in forged:
        assert decoded(mail(To=address)).thread_hints == ()


@given(st.text(min_size=1, max_size=12))
def test_any_key_survives_signing_and_a_change_of_case(key: str) -> None:
    if any("\ud800" <= c <= "\udfff" for c in key):
        return
    signed = reply_address.sign("support@example.com", key, SECRET)
    if signed == "support@example.com":
        return  # too long for a local part: threading headers must do
    assert reply_address.verify(signed, OURS, SECRET) == key
    assert reply_address.verify(signed.upper(), OURS, SECRET) == key
    assert reply_address.accepts(signed.title(), OURS)


def test_only_our_addresses_and_their_plus_forms_are_accepted() -> None:
    for address in ("support@example.com", "SUPPORT@Example.com", "help+a+b@example.com"):
        assert reply_address.accepts(address, OURS)
    for address in (
        "",
        "support",
        "support@evil.example",
        "xsupport@example.com",
        "support@example.com.evil",
    ):
        assert not reply_address.accepts(address, OURS)


# what


@pytest.mark.parametrize(
    "headers",
    [
        {"Auto_Submitted": "auto-replied"},
        {"Precedence": "bulk"},
        {"List_Id": "<news.example>"},
        {"X_Auto_Response_Suppress": "All"},
        {"From": "MAILER-DAEMON@host.example"},
        {"From": "support@example.com"},
        {"From": "help+x@example.com"},
    ],
)
def test_automatic_mail_is_kept_and_never_answered(headers: dict[str, str]) -> None:
    inbound = decoded(mail(**headers), source="evaluate", verified=True, **{"from": "ann@customers.example"})
    assert inbound.kind is Kind.AUTOMATIC
    assert not inbound.may_acknowledge
    assert inbound.text


def test_the_null_sender_is_automatic_and_an_auto_submitted_no_is_a_person() -> None:
    assert decoded(mail(), Transit("")).kind is Kind.AUTOMATIC
    assert decoded(mail(Auto_Submitted="no")).kind is Kind.MESSAGE


def test_a_bounce_names_the_mail_it_is_about() -> None:
    report = (
        "--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n"
        "Final-Recipient: rfc822; ann@customers.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"
        "--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <wh.42.abc@example.com>\r\n\r\n--b--"
    )
    content = mail(
        report,
        From="MAILER-DAEMON@mx.example",
        Content_Type='multipart/report; report-type=delivery-status; boundary="b"',
    )
    inbound = decoded(content, Transit(""))
    assert inbound.kind is Kind.BOUNCE
    assert inbound.target_id == "wh.42.abc@example.com"
    assert inbound.text == "ann@customers.example 5.1.1 failed"


def test_an_absurd_date_gives_way_to_the_time_of_receipt() -> None:
    assert decoded(mail()).sent_at == NOW - timedelta(minutes=1)
    for date in ("Sun, 01 Mar 2037 11:59:00 +0000", "Thu, 01 Jan 1970 00:00:00 +0000", "yesterday", ""):
        assert decoded(mail(Date=date)).sent_at == NOW


def test_the_channel_is_isolated_and_its_decoder_travels() -> None:
    mailbox = channel()
    assert isinstance(mailbox, Isolated)
    assert isinstance(mailbox, Examines)
    raw = pack("mail", Transit("a@b"), mail(), NOW)
    assert pickle.loads(pickle.dumps(mailbox.decoder))(raw) == mailbox.decode(raw)


def test_finding_the_id_of_a_hostile_header_takes_no_time() -> None:
    for bad in (b"From: " + b"<a" * 100_000, b"From:" + b" \n " * 60_000, b"message-id:<" * 50_000):
        identify(bad)


# out


async def test_a_reply_is_text_and_html_in_its_thread() -> None:
    async with FakeSmarthost() as host, sending(host) as mailer:
        reply = Reply.of(
            Heading("Order A-1"),
            "Line one\nsee https://example.com/a?b=1&c=2.",
            Fields((("Total", "<3>"),)),
            Table(("Item", "Price"), (("Ä & co", "1"),)),
            Buttons((Button("Rate", url="https://example.com/r/x"), Button("Hidden", action="rate:1"))),
        )
        sent = await mailer.send(outbound(reply, cc=(Author("bob@b.example", "Bob, Jr"),)))
        [got] = await host.until(1)
    message = read(got)
    assert got.mail_from == "support@example.com"
    assert got.rcpt_tos == ("ann@customers.example", "bob@b.example")
    assert message["From"] == "Example Ltd <support@example.com>"
    assert message["Cc"] == '"Bob, Jr" <bob@b.example>'
    assert message["Subject"] == "Re: Order"
    assert message["Message-ID"] == f"<{sent.event_id}>"
    assert message["In-Reply-To"] == "<one@customers.example>"
    assert message["References"] == "<zero@customers.example> <one@customers.example>"
    assert reply_address.verify(message["Reply-To"].addresses[0].addr_spec, OURS, SECRET) == "c7"
    assert message["Auto-Submitted"] is None
    text, html = (message.get_body((kind,)).get_content() for kind in ("plain", "html"))  # type: ignore[union-attr]
    assert "Total: <3>" in text
    assert "Rate: https://example.com/r/x" in text
    assert "Hidden" not in text + html
    assert "&lt;3&gt;" in html
    assert 'href="https://example.com/a?b=1&amp;c=2"' in html
    for body in (text, html):
        assert reply_address.markers(body, SECRET) == ("c7",)


async def test_an_automatic_mail_says_so_and_has_no_return_address() -> None:
    async with FakeSmarthost() as host, sending(host) as mailer:
        await mailer.send(outbound(automatic=True))
        [got] = await host.until(1)
    assert got.mail_from == ""
    assert got.header("Auto-Submitted") == "auto-replied"
    assert got.header("X-Auto-Response-Suppress") == "All"
    assert decoded(got.content).kind is Kind.AUTOMATIC


async def test_a_repeat_is_the_same_mail_to_the_byte() -> None:
    async with FakeSmarthost() as host, sending(host) as mailer:
        reply = Reply.of("A", Image("chart", PNG), File("a.bin", content=b"\0" * 9))
        for attempt in (1, 2):
            await mailer.send(outbound(reply, attempt=attempt))
        await mailer.send(outbound(reply, key="43"))
        one, two, other = await host.until(3)
        assert one.content == two.content
        assert one.header("Message-ID") != other.header("Message-ID")
        assert host.connections == 1


async def test_pictures_stand_in_the_text_and_files_beside_it() -> None:
    async with FakeSmarthost() as host, sending(host) as mailer:
        name = "发票 2026/03.pdf"
        reply = Reply.of("See", Image("Umsatz", PNG), File(name, "application/pdf", b"%PDF"))
        await mailer.send(outbound(reply))
        [got] = await host.until(1)
    message = read(got)
    [file] = list(message.iter_attachments())
    assert file.get_filename() == "发票 2026_03.pdf"
    assert file.get_content() == b"%PDF"
    related = next(part for part in message.walk() if part.get_content_type() == "image/png")
    cid = str(related["Content-ID"]).strip("<>")
    assert f'src="cid:{cid}"' in message.get_body(("html",)).get_content()  # type: ignore[union-attr]


EVIL = "x\r\nBcc: victim@evil.example\r\n\r\nbody\0\u2028\u202e\ud800"


async def test_no_field_can_bring_a_header_of_its_own() -> None:
    async with FakeSmarthost() as host, sending(host) as mailer:
        evil = outbound(
            Reply.of(EVIL, Heading(EVIL), File(EVIL, EVIL, b"x"), Image(EVIL, PNG, EVIL, EVIL)),
            key=EVIL,
            subject=EVIL,
            in_reply_to_id=EVIL,
            references=(EVIL, "ok@x"),
            thread_key="c7",
            cc=(Author("bob@b.example", EVIL), Author(EVIL, "x"), Author("a@b\r\nBcc: c@d", "y")),
        )
        await mailer.send(evil)
        [got] = await host.until(1)
    message = read(got)
    assert message["Bcc"] is None
    assert got.rcpt_tos == ("ann@customers.example", "bob@b.example")
    names = {name.lower() for name in message.keys()}  # noqa: SIM118  # a message is no mapping
    assert names == {
        "from", "to", "cc", "reply-to", "subject", "date", "message-id", "references", "mime-version",
        "content-type",
    }  # fmt: skip


@given(st.text(max_size=300), st.text(max_size=120), st.text(max_size=2000))
def test_any_words_make_a_valid_mail(subject: str, name: str, text: str) -> None:
    message = outbound(Reply.of(Text(text)), subject=subject, cc=(Author("bob@b.example", name),))
    made = compose(message, Sender("support@example.com", name, SECRET, OURS), NOW)
    assert made.content.isascii()
    assert all(len(line) <= 998 for line in made.content.split(b"\r\n"))
    assert made.content.count(b"\n") == made.content.count(b"\r\n") == made.content.count(b"\r")
    head = made.content.partition(b"\r\n\r\n")[0]
    assert re.findall(rb"(?m)^([A-Za-z-]+):", head) == [
        b"From", b"To", b"Cc", b"Reply-To", b"Subject", b"Date", b"Message-ID", b"In-Reply-To", b"References",
        b"MIME-Version", b"Content-Type",
    ]  # fmt: skip


def test_a_subject_says_re_once_in_any_language() -> None:
    sender = Sender("support@example.com", "", SECRET, OURS)
    for subject, expected in (
        ("Order", "Re: Order"),
        ("RE: Order", "RE: Order"),
        ("AW: Order", "AW: Order"),
        ("回复：订单", "回复：订单"),
        ("", "Re: support@example.com"),
    ):
        made = compose(outbound(subject=subject), sender, NOW)
        assert message_from_bytes(made.content, policy=policy.default)["Subject"] == expected
    fresh = compose(outbound(in_reply_to_id="", references=()), sender, NOW)
    assert message_from_bytes(fresh.content)["Subject"] == "Order"


async def test_an_international_address_is_sent_as_its_server_can_take_it() -> None:
    async with FakeSmarthost() as host, sending(host) as mailer:
        await mailer.send(outbound(address=Address("mail", "ann@bücher.example")))
        [plain] = await host.until(1)
        assert plain.rcpt_tos == ("ann@xn--bcher-kva.example",)
        await mailer.send(outbound(address=Address("mail", "用户@例子.example"), key="2"))
        sent = (await host.until(2))[1]
        assert "SMTPUTF8" in sent.options
        assert sent.rcpt_tos == ("用户@xn--fsqu00a.example",)
    async with FakeSmarthost(utf8=False) as old, sending(old) as mailer:
        with pytest.raises(Undeliverable, match="smtputf8"):
            await mailer.send(outbound(address=Address("mail", "用户@例子.example")))
        await mailer.send(outbound())
        await old.until(1)


@pytest.mark.parametrize(
    ("stage", "reply", "gone"),
    [
        ("rcpt", "550 5.1.1 no such user", True),
        ("rcpt", "550 User unknown", True),
        ("rcpt", "550 5.7.1 blocked for policy", False),
        ("mail", "550 5.7.1 sender refused", False),
        ("dot", "554 5.6.0 content refused", False),
    ],
)
async def test_a_final_refusal_is_undeliverable(stage: Any, reply: str, gone: bool) -> None:
    async with FakeSmarthost() as host, sending(host) as mailer:
        host.answer(stage, reply)
        with pytest.raises(Undeliverable) as refused:
            await mailer.send(outbound())
        assert refused.value.gone is gone
        assert "user" not in refused.value.reason.lower()
        await mailer.send(outbound())
        await host.until(1)


@pytest.mark.parametrize(
    ("stage", "how", "maybe"),
    [
        ("connect", "421 4.3.2 busy", False),
        ("rcpt", "450 4.2.0 greylisted", False),
        ("dot", "451 4.3.0 later", False),
        ("mail", "drop", False),
        ("dot", "drop", True),
        ("body", "drop", True),
    ],
)
async def test_a_passing_trouble_is_retried_and_says_whether_it_may_have_been_sent(
    stage: Any, how: str, maybe: bool
) -> None:
    async with FakeSmarthost() as host, sending(host) as mailer:
        if how == "drop":
            host.drop(stage, times=2)
        else:
            host.answer(stage, how)
        with pytest.raises(RetryLater) as later:
            await mailer.send(outbound())
        assert later.value.maybe_sent is maybe


async def test_a_silent_server_is_given_up_in_time() -> None:
    async with FakeSmarthost() as host:
        mailer = channel(smtp_send=host.url, send_timeout_s=0.2)
        host.hang("mail")
        with pytest.raises(RetryLater) as later:
            await mailer.send(outbound())
        assert not later.value.maybe_sent
        host.hang("dot")
        with pytest.raises(RetryLater) as unknown:
            await mailer.send(outbound())
        assert unknown.value.maybe_sent
        await mailer.close()


async def test_nobody_listening_is_a_reason_to_come_back() -> None:
    async with FakeSmarthost() as host:
        url = host.url
    mailer = channel(smtp_send=url)
    with pytest.raises(RetryLater, match="connection_refused"):
        await mailer.send(outbound())
    await mailer.close()


async def test_a_kept_connection_that_was_closed_is_replaced_without_a_word() -> None:
    async with FakeSmarthost() as host, sending(host) as mailer:
        await mailer.send(outbound(key="1"))
        await host.close()
        await host.start()
        await mailer.send(outbound(key="2"))
        await host.until(2)


async def test_a_copy_that_is_refused_does_not_cost_the_customer_the_answer() -> None:
    async with FakeSmarthost() as host, sending(host) as mailer:
        host.answer("rcpt", "550 5.1.1 unknown", when=lambda to: to.startswith("bob"))
        await mailer.send(outbound(cc=(Author("bob@b.example"),)))
        [got] = await host.until(1)
        assert got.rcpt_tos == ("ann@customers.example",)


async def test_a_password_goes_over_verified_tls_only() -> None:
    async with FakeSmarthost(login=("me", "pw"), implicit_tls=True) as host:
        url = host.url.replace("smtps://", "smtps://me@")
        trusting = channel(smtp_send=url, smtp_password="pw", ca_file=str(CERT))
        await trusting.send(outbound())
        await trusting.close()
        [got] = await host.until(1)
        assert (got.login, got.tls) == ("me", True)
        wary = channel(smtp_send=url, smtp_password="pw")
        with pytest.raises(RetryLater, match="certificate_not_trusted"):
            await wary.send(outbound())
        await wary.close()
        wrong = channel(smtp_send=url, smtp_password="no", ca_file=str(CERT))
        with pytest.raises(RetryLater, match="login_refused"):
            await wrong.send(outbound())
        await wrong.close()


async def test_starttls_is_used_where_asked_for() -> None:
    async with (
        FakeSmarthost(starttls=True) as host,
        sending(host, smtp_starttls="always", ca_file=str(CERT)) as mailer,
    ):
        await mailer.send(outbound())
        [got] = await host.until(1)
        assert got.tls
    async with FakeSmarthost() as plain, sending(plain, smtp_starttls="always") as mailer:
        with pytest.raises(RetryLater):
            await mailer.send(outbound())
        assert plain.mails == []


async def test_what_mail_cannot_do_is_refused_and_marks_are_no_error() -> None:
    mailer = channel(smtp_send="smtp://127.0.0.1:1")
    for op in (Op.EDIT, Op.DELETE, Op.FORM):
        with pytest.raises(Undeliverable):
            await mailer.send(outbound(op=op, target_id="x"))
    assert (await mailer.send(outbound(op=Op.MARK, target_id="x"))).event_id == "x"
    for room in ("nobody", "a@b\r\nRCPT TO:<c@d>", "x@missing.invalid", ""):
        with pytest.raises(Undeliverable):
            await mailer.send(outbound(address=Address("mail", room)))
    await mailer.close()


async def test_our_answer_comes_back_into_its_conversation() -> None:
    """The whole way: our mail, answered by a customer's program that quotes it."""
    async with FakeSmarthost() as host, sending(host) as mailer:
        sent = await mailer.send(outbound(Reply.of("It is on its way.")))
        [got] = await host.until(1)
    ours = read(got)
    quoted = "\r\n".join(f"> {line}" for line in str(ours.get_body(("plain",)).get_content()).splitlines())  # type: ignore[union-attr]
    answer = mail(
        f"Thank you!\r\n\r\nOn Sun, 1 Mar 2026, Example Ltd <support@example.com> wrote:\r\n{quoted}",
        Message_ID="<two@customers.example>",
        To=str(ours["Reply-To"]),
        Subject=str(ours["Subject"]),
        In_Reply_To=f"<{sent.event_id}>",
    )
    inbound = decoded(answer)
    assert inbound.text == "Thank you!"
    assert inbound.thread_hints == ("key:c7", f"ref:{sent.event_id}", "weakref:c7")
    assert inbound.in_reply_to_id == sent.event_id


# settings


@pytest.mark.parametrize(
    "bad",
    [
        {"address": "nonsense"},
        {"smtp_send": "http://x"},
        {"smtp_send": "smtp://user:password@host"},
        {"imap": "imap://"},
        {"authentication": "trust"},
        {"surprise": 1},
        {"dkim_selector": "x"},
        {"relays": ["x"]},
    ],
)
def test_what_cannot_work_is_one_sentence_that_names_the_key(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"channels\.mail\."):
        channel(**bad)


async def test_doctor_tries_sending_and_listening() -> None:
    async with FakeSmarthost() as host, sending(host, smtp_listen="127.0.0.1:0") as mailer:
        assert [(c.what, c.state) for c in await mailer.check()] == [
            ("smtp_send", "ok"),
            ("smtp_listen", "ok"),
        ]
        await host.close()
        assert next((c.what, c.state) for c in await mailer.check()) == ("smtp_send", "fail")
    assert [c.state for c in await channel().check()] == ["warn", "warn"]


async def test_a_taken_port_is_a_sentence() -> None:
    async with FakeSmarthost() as host:
        with pytest.raises(ConfigError, match=str(host.port)):
            await channel(smtp_listen=f"127.0.0.1:{host.port}").run(FakeDoor())
