"""The e-mail channel from the wire to the value, and what can be set."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import ConfigError, Examines, Isolated
from channels.conversation import Address, Kind, Raw
from channels.email import reply_address
from channels.email.envelope import Transit, identify, pack, unpack
from tests.channels.email_kit import (
    NOW,
    OURS,
    SECRET,
    channel,
    decoded,
    mail,
    receiving,
    sending,
)
from tests.fakes.door import FakeDoor
from tests.fakes.mail import FakeSmarthost, Refused, send_mail

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


def test_no_evidence_is_not_good_evidence_unless_nobody_is_to_be_checked() -> None:
    raw = replace(pack("mail", Transit("a@b"), mail(), NOW), evidence="{}")
    [inbound] = channel().decode(raw)
    assert not inbound.may_acknowledge
    assert "unverified_sender" in inbound.warnings
    [inbound] = channel(authentication="none").decode(raw)
    assert inbound.may_acknowledge
    assert inbound.author.verified_email is None
    assert inbound.warnings == ()


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


@pytest.mark.parametrize(
    "marks",
    [
        {
            "List-ID": "<support.example.com>",
            "List-Post": "<https://groups.example/post>, <mailto:x@y.example>",
        },
        {"List-ID": "Help <help.y.example>", "List-Post": "<mailto:support@example.com>"},
    ],
)
def test_what_customers_write_to_a_group_of_ours_is_read_by_a_person(marks: dict[str, str]) -> None:
    headers = {**marks, "Precedence": "list", "List-Unsubscribe": "<mailto:support+unsubscribe@example.com>"}
    assert decoded(mail(**headers)).kind is Kind.MESSAGE
    assert decoded(mail(**headers, **{"Auto-Submitted": "auto-replied"})).kind is Kind.AUTOMATIC
    assert (
        decoded(mail(**{**headers, "List-ID": "<news.shop.example>", "List-Post": "NO"})).kind
        is Kind.AUTOMATIC
    )


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
