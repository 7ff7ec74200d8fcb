"""The e-mail channel from the value to the wire."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import RetryLater, Undeliverable
from channels.conversation import Address, Author, Kind, Op
from channels.email import reply_address
from channels.email.compose import Sender, compose
from channels.rich import Button, Buttons, Fields, File, Heading, Image, Reply, Table, Text
from tests.channels.email_kit import (
    NOW,
    OURS,
    PNG,
    SECRET,
    channel,
    decoded,
    mail,
    outbound,
    read,
    sending,
)
from tests.fakes.mail import CERT, FakeSmarthost


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
