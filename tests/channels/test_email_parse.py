"""Understanding a message: headers, charsets, MIME in every state, kinds of mail."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from channels.email.mail import Mailbox
from channels.email.parse import parse, read

HEAD = "From: Ann <ann@example.org>\nTo: support@example.com\nSubject: s\nMessage-ID: <1@example.org>\n"


def message(extra: str = "", body: str | bytes = "hello") -> bytes:
    raw = (HEAD + extra).encode() + b"\n"
    return raw + (body if isinstance(body, bytes) else body.encode())


def subject(value: str | bytes) -> str:
    data = value if isinstance(value, bytes) else value.encode()
    return parse(b"From: a@example.org\nSubject: " + data + b"\n\nx").subject


def senders(value: str) -> list[tuple[str, str]]:
    return [(m.name, m.address) for m in parse(f"To: {value}\n\nx".encode()).to]


# -- headers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("=?utf-8?Q?caf=C3=A9?=", "café"),
        ("=?UTF-8?B?5L2g5aW9?= =?UTF-8?B?5ZWK?=", "你好啊"),
        ("=?utf-8?Q?caf=C3?= =?utf-8?Q?=A9?=", "café"),  # cut inside a character
        ("=?gb2312?B?xOO6ww==?=", "你好"),
        ("=?gb2312?B?" + base64.b64encode("朱镕基".encode("gb18030")).decode() + "?=", "朱镕基"),
        ("=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"),
        ("=?utf-8?B?5L2g5aW9?", "你好"),  # never closed
        ("=?utf-8?B?5L2g5aW9", "你好"),
        ("=?utf-8?B?5L2g5aW9=?=", "你好"),  # bad padding
        ("=?utf-8?Q?a b c?=", "a b c"),  # spaces inside
        ("=?utf-8*en?Q?caf=C3=A9?=", "café"),
        ("=?x-unknown?Q?caf=C3=A9?=", "café"),
        ("plain =?utf-8?Q?=C3=A9?= plain", "plain é plain"),
        ("a =? b ?= c", "a =? b ?= c"),
        ("你好".encode(), "你好"),
        ("你好，请查收附件".encode("gb18030"), "你好，请查收附件"),
        ("Grüße".encode("latin-1"), "Grüße"),
        (b"long\n line", "long line"),
    ],
)
def test_a_subject_is_decoded(value: str | bytes, want: str) -> None:
    assert subject(value) == want


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("a@b.example", [("", "a@b.example")]),
        ("<a@b.example>", [("", "a@b.example")]),
        ('"Doe, John" <j@b.example>, x@y.example', [("Doe, John", "j@b.example"), ("", "x@y.example")]),
        ("Doe, John <j@b.example>", [("Doe, John", "j@b.example")]),
        ("j@b.example (John Doe)", [("John Doe", "j@b.example")]),
        (
            "friends: a@b.example, c@d.example;, e@f.example",
            [("", "a@b.example"), ("", "c@d.example"), ("", "e@f.example")],
        ),
        ("undisclosed-recipients:;", []),
        ("<@relay.example,@other.example:a@b.example>", [("", "a@b.example")]),
        ('"john smith"@b.example', [("", '"john smith"@b.example')]),
        ("=?utf-8?Q?M=C3=BCller=2C_Max?= <m@b.example>", [("Müller, Max", "m@b.example")]),
        ('"=?utf-8?Q?M=C3=BCller?=" <m@b.example>', [("Müller", "m@b.example")]),
        ("'Ann' <a@b.example>", [("Ann", "a@b.example")]),
        ("Ann <a@b.example", [("Ann", "a@b.example")]),
        ("Ann a@b.example", [("Ann", "a@b.example")]),
        ("a@b.example; c@d.example", [("", "a@b.example"), ("", "c@d.example")]),
        ("Only A Name", [("Only A Name", "")]),
        ("", []),
    ],
)
def test_addresses_are_read_as_people_write_them(value: str, want: list[tuple[str, str]]) -> None:
    assert senders(value) == want


def test_several_and_no_from() -> None:
    several = parse(b"From: a@example.org, b@example.org\nSender: b@example.org\n\nx")
    assert several.from_ == Mailbox("", "a@example.org")
    assert several.sender == Mailbox("", "b@example.org")
    assert "several_from" in several.defects
    none = parse(b"Subject: x\n\nx")
    assert none.from_ is None
    assert "no_from" in none.defects


def test_ids_are_without_brackets_and_dates_are_aware() -> None:
    mail = parse(
        b"From: a@example.org\nMessage-ID: <x@y>\nIn-Reply-To: Your message <p@q> of Monday\n"
        b"References: <a@b>\n <p@q> <a@b>\nDate: Tue, 5 Mar 2024 10:00:00 +0100 (CET)\n\nx"
    )
    assert (mail.message_id, mail.in_reply_to, mail.references) == ("x@y", "p@q", ("a@b", "p@q"))
    assert mail.date == datetime(2024, 3, 5, 9, tzinfo=UTC)
    assert parse(b"Date: never\n\nx").date is None


# -- charsets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "data", "want"),
    [
        ("gb2312", "镕 你好".encode("gb18030"), "镕 你好"),
        ("iso-8859-1", "“quoted” €".encode("cp1252"), "“quoted” €"),
        ("us-ascii", "Grüße aus Köln".encode("cp1252"), "Grüße aus Köln"),
        ("big5", "你好，世界".encode(), "你好，世界"),
        ("big5", "您好，請問訂單".encode("big5"), "您好，請問訂單"),
        ("utf-8", "您好，请问订单什么时候发货？".encode("gbk"), "您好，请问订单什么时候发货？"),
        ("x-unknown", "Привет, как дела".encode(), "Привет, как дела"),
        ("", "Добрый день, где мой заказ?".encode("cp1251"), "Добрый день, где мой заказ?"),
        ("", "Добрый день, где мой заказ?".encode("koi8-r"), "Добрый день, где мой заказ?"),
        ("iso-2022-jp", "日本語のメール".encode("iso-2022-jp"), "日本語のメール"),
        (
            "iso-2022-jp",
            "日本語のメールです。ありがとうございます".encode("cp932"),
            "日本語のメールです。ありがとうございます",
        ),
        ("shift_jis", "①㈱です。よろしく".encode("cp932"), "①㈱です。よろしく"),
        ("us-ascii", "日本語".encode("iso-2022-jp"), "日本語"),
        ("ks_c_5601-1987", "안녕하세요 똠방각하".encode("cp949"), "안녕하세요 똠방각하"),
        ("euc-kr", "안녕하세요".encode(), "안녕하세요"),
        ("utf-7", b"Gr+APwA3w-e", "Grüße"),
        ("utf8mb4", "😀".encode(), "😀"),
        ("utf-8", b"\xef\xbb\xbfhello", "hello"),
        ("windows-874", "สวัสดี".encode("cp874"), "สวัสดี"),
        ("no-such-charset", b"plain", "plain"),
        ("punycode", b"plain-", "plain-"),
        ("utf-16", "hello".encode("utf-16"), "hello"),
    ],
)
def test_text_is_decoded_whatever_its_label_says(label: str, data: bytes, want: str) -> None:
    extra = f"Content-Type: text/plain; charset={label}\n" if label else ""
    if label == "utf-7":
        data, want = b"Gr+APwA3w-e", "Gr\u00fc\u00dfe"
    if label == "utf-16":
        data, extra = base64.b64encode(data), extra + "Content-Transfer-Encoding: base64\n"
    assert parse(message(extra, data)).text == want


# -- MIME -----------------------------------------------------------------------------------------------


def multipart(*parts: str, kind: str = "mixed", end: bool = True) -> bytes:
    body = "".join(f"--B\n{p}\n" for p in parts) + ("--B--\n" if end else "")
    return message(f'Content-Type: multipart/{kind}; boundary="B"\n', body)


PLAIN = "Content-Type: text/plain\n\nplain words"
HTML = "Content-Type: text/html\n\n<p>html <b>words</b></p>"
PNG = (
    "Content-Type: image/png; name=a.png\nContent-Transfer-Encoding: base64\n\n"
    + base64.b64encode(b"png").decode()
)


def test_an_alternative_is_one_text_and_a_sanitised_html() -> None:
    mail = parse(multipart(PLAIN, HTML, kind="alternative"))
    assert mail.text == "plain words"
    assert mail.html_sanitized == "<p>html <b>words</b></p>"
    assert not mail.attachments


def test_an_alternative_whose_html_side_has_files_between_is_not_told_twice() -> None:
    inner = f'Content-Type: multipart/mixed; boundary="C"\n\n--C\n{HTML}\n--C\n{PNG}\n--C\n{HTML}\n--C--'
    mail = parse(multipart(PLAIN, inner, kind="alternative"))
    assert mail.text == "plain words"
    assert mail.html_sanitized.count("<p>") == 2
    assert [p.filename for p in mail.attachments] == ["a.png"]


def test_files_have_name_size_and_hash() -> None:
    (part,) = parse(multipart(PLAIN, PNG)).attachments
    assert (part.filename, part.content_type, part.size, part.content) == ("a.png", "image/png", 3, b"png")
    assert len(part.sha256) == 64


@pytest.mark.parametrize(
    ("line", "want"),
    [
        ('attachment; filename="a b.txt"', "a b.txt"),
        ("attachment; filename=a b.txt", "a b.txt"),
        ("attachment; filename*=utf-8''%E4%BD%A0.txt", "你.txt"),
        ("attachment; filename*0*=utf-8''%E4%BD; filename*1*=%A0.txt", "你.txt"),
        ('attachment; filename*0="long"; filename*1="name.txt"', "longname.txt"),
        ('attachment; filename="=?utf-8?B?5L2gLnR4dA==?="', "你.txt"),
        ("attachment; filename==?utf-8?B?5L2gLnR4dA==?=", "你.txt"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\dir\\\\x.txt"', "x.txt"),
        ('attachment; filename="你.txt"', "你.txt"),
        ('attachment; filename="open', "open"),
        ("attachment", ""),
    ],
)
def test_a_file_name_is_decoded(line: str, want: str) -> None:
    part = f"Content-Type: application/octet-stream\nContent-Disposition: {line}\n\nx"
    assert [p.filename for p in parse(multipart(PLAIN, part)).attachments] == [want]


def test_a_nested_message_is_a_file_and_not_mixed_into_the_text() -> None:
    inner = "Content-Type: message/rfc822\n\nFrom: x@example.org\nSubject: inner\n\ninner words"
    mail = parse(multipart(PLAIN, inner))
    assert mail.text == "plain words"
    (part,) = mail.attachments
    assert part.content_type == "message/rfc822"
    assert part.content.startswith(b"From: x@example.org")


def test_an_inline_image_keeps_its_content_id_with_or_without_disposition() -> None:
    image = "Content-Type: image/png\nContent-ID: <img1>\n\nx"
    page = 'Content-Type: text/html\n\n<p>hi <img src="cid:img1"><img src="http://t.example/p.gif" alt="pixel"></p>'
    mail = parse(multipart(page, image, kind="related"))
    (part,) = mail.attachments
    assert (part.inline, part.content_id) == (True, "img1")
    assert "cid:img1" in mail.html_sanitized
    assert "t.example" not in mail.html_sanitized


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(multipart(PLAIN, PNG, end=False), id="unclosed"),
        pytest.param(multipart(PLAIN, PNG).replace(b'; boundary="B"', b""), id="boundary_not_declared"),
        pytest.param(
            multipart(PLAIN, PNG).replace(b'boundary="B"', b'boundary="other"'), id="boundary_mistaken"
        ),
        pytest.param(
            multipart(PLAIN, PNG).replace(b'"B"', b'" B  "').replace(b"--B", b"-- B"), id="boundary_spaces"
        ),
        pytest.param(multipart(PLAIN, PNG).replace(b"\n", b"\r\n"), id="crlf"),
        pytest.param(multipart(PLAIN, PNG).replace(b"\n", b"\r"), id="cr_only"),
        pytest.param(b"\n\r\n" + multipart(PLAIN, PNG), id="leading_blank_lines"),
        pytest.param(
            b"From ann@example.org Tue Mar  5 10:00:00 2024\n" + multipart(PLAIN, PNG), id="mbox_line"
        ),
    ],
)
def test_broken_mime_is_read_as_it_was_meant(raw: bytes) -> None:
    mail = parse(raw)
    assert mail.text.strip() == "plain words"
    assert [p.content for p in mail.attachments] == [b"png"]
    assert mail.from_ == Mailbox("Ann", "ann@example.org")


def test_wrong_transfer_encodings_are_survived() -> None:
    assert parse(
        message("Content-Transfer-Encoding: base64\n", "These are simply words, as you see!")
    ).text.startswith("These")
    assert parse(message("Content-Transfer-Encoding: base64\n", "aGVs!bG8=\n*")).text == "hello"
    assert parse(message("Content-Transfer-Encoding: base64\n", "aGVsbG8")).text == "hello"
    assert parse(message("Content-Transfer-Encoding: quoted-printable\n", "a=ZZ =3D b=")).text == "a=ZZ = b"
    assert parse(message("Content-Transfer-Encoding: strange\n", "words")).text == "words"
    assert parse(message("", b"a\0b")).text == "ab"


def test_a_body_without_a_blank_line_is_found() -> None:
    mail = parse(b"From: a@example.org\nSubject: x\nThis is no header\nbut the body")
    assert mail.subject == "x"
    assert mail.text == "This is no header\nbut the body"


def test_flowed_text_is_joined() -> None:
    raw = message("Content-Type: text/plain; format=flowed\n", "one \ntwo\n from\n> q1 \n> q2\n-- \nsig")
    assert parse(raw).text == "one two\nfrom\n> q1 q2\n-- \nsig"
    joined = message("Content-Type: text/plain; format=flowed; delsp=yes; charset=utf-8\n", "你 \n好")
    assert parse(joined).text == "你好"


def test_a_uuencoded_file_is_taken_out_of_the_text() -> None:
    mail = parse(message("", "see file\nbegin 644 cat.txt\n#0V%T\n`\nend\nthat was it"))
    assert [(p.filename, p.content) for p in mail.attachments] == [("cat.txt", b"Cat")]
    assert mail.text == "see file\nthat was it"


def test_an_invitation_is_a_file_and_a_readable_line() -> None:
    invite = (
        "Content-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VEVENT\n"
        "SUMMARY:Demo\\, part 2\nDTSTART;TZID=Europe/Berlin:20240503T100000\nDTEND;TZID=Europe/Berlin:20240503T110000\n"
        "LOCATION:Room 5\nEND:VEVENT\nEND:VCALENDAR"
    )
    mail = parse(multipart(PLAIN, invite))
    assert mail.calendar
    assert "📅 Demo, part 2 · 2024-05-03 10:00–11:00 Europe/Berlin · Room 5" in mail.text
    assert [p.content_type for p in mail.attachments] == ["text/calendar"]


def test_signed_and_encrypted_mail_is_kept_and_shown_as_such() -> None:
    signature = "Content-Type: application/pgp-signature; name=signature.asc\n\n-----BEGIN PGP SIGNATURE-----"
    signed = parse(multipart(PLAIN, signature, kind="signed"))
    assert (signed.signed, signed.text, len(signed.attachments)) == (True, "plain words", 1)
    sealed = parse(
        message("Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\n", "x")
    )
    assert (sealed.encrypted, len(sealed.attachments)) == (True, 1)


def test_a_broken_winmail_dat_stays_attached() -> None:
    mail = parse(multipart(PLAIN, "Content-Type: application/ms-tnef; name=winmail.dat\n\nrubbish"))
    assert [p.filename for p in mail.attachments] == ["winmail.dat"]


# -- HTML -----------------------------------------------------------------------------------------------


def html(text: str) -> str:
    return parse(message("Content-Type: text/html; charset=utf-8\n", text)).text


@pytest.mark.parametrize(
    ("page", "want"),
    [
        ("<p>one</p><p>two<br>three</p>", "one\n\ntwo\nthree"),
        ("<ul><li>a<li>b</ul><ol start=3><li>c</li><li>d</li></ol>", "- a\n- b\n\n3. c\n4. d"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table>", "a | b\nc | d"),
        ('<a href="https://x.example/y">label</a>', "label (https://x.example/y)"),
        ('<a href="https://x.example/">https://x.example</a>', "https://x.example"),
        ('<a href="mailto:a@b.example">a@b.example</a>', "a@b.example"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ('a<span style="display:none">hidden</span><script>x</script><style>y</style>b', "ab"),
        ("&lt;tag&gt; &amp;&nbsp;&#8364;", "<tag> & €"),
        ('<img alt="a chart"> <img alt="😀">', "[a chart] 😀"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("a<!-- x --><![if !mso]>b<![endif]>", "ab"),
    ],
)
def test_html_becomes_readable_text(page: str, want: str) -> None:
    assert html(page) == want


@pytest.mark.parametrize(
    "page",
    [
        "<script>evil</script>", "<img src=x onerror=evil>", '<a href="javascript:evil">x</a>', "<style>evil</style>",
        '<p style="background:url(http://evil)">x</p>', '<p style="position:fixed">x</p>', "<iframe src=http://evil>",
        '<p style="width:expression(evil)">x</p>', '<a href="jav&#x09;ascript:evil">x</a>', "<svg onload=evil>",
        '<img src="http://evil/x.gif">', '<img src="//evil/x.gif">', '<table background="http://evil">', "<base href=http://evil>",
        '<link rel=stylesheet href="http://evil">', '<img srcset="http://evil 2x">', "<form action=http://evil><input></form>",
        '<p style="back\\67round:u\\72l(http://evil)">x</p>', '<a href="data:text/html,evil">x</a>',
    ],
)  # fmt: skip
def test_sanitised_html_has_no_tricks_and_fetches_nothing(page: str) -> None:
    clean = parse(message("Content-Type: text/html; charset=utf-8\n", page)).html_sanitized
    assert "evil" not in clean
    assert "position" not in clean


def test_links_in_sanitised_html_tell_nothing_about_us() -> None:
    clean = parse(message("Content-Type: text/html\n", '<a href="https://x.example">x</a>')).html_sanitized
    assert 'rel="noopener noreferrer nofollow"' in clean


# -- kinds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "automatic"),
    [
        ("", False),
        ("Auto-Submitted: no\n", False),
        ("Auto-Submitted: auto-replied\n", True),
        ("Auto-Submitted: auto-generated; x=y\n", True),
        ("Precedence: bulk\n", True),
        ("X-Autoreply: yes\n", True),
        ("X-Auto-Response-Suppress: All\n", True),
        ("List-Id: <l.example.org>\n", True),
        ("Return-Path: <>\n", True),
        ("Return-Path: <ann@example.org>\n", False),
    ],
)
def test_automatic_mail_is_known_by_its_headers(extra: str, automatic: bool) -> None:
    assert parse(message(extra)).auto_submitted is automatic


def test_a_vacation_subject_alone_is_no_evidence() -> None:
    person = b"From: ann@example.org\nSubject: My vacation booking\n\nPlease help."
    assert not parse(person).auto_submitted
    robot = "From: ann@example.org\nSubject: 自动回复: 订单\nIn-Reply-To: <x@y>\n\n我在休假。".encode()
    assert parse(robot).auto_submitted


DSN = """From: MAILER-DAEMON@mx.example.com
To: support@example.com
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary="B"

--B

The mail could not be delivered.

--B
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.com

Original-Recipient: rfc822;bob@example.net
Final-Recipient: rfc822; bob@example.net
Action: failed
Status: 5.0.0
Diagnostic-Code: smtp; 550 5.1.1 <bob@example.net>: user unknown

--B
Content-Type: message/rfc822

Message-ID: <our-1@example.com>
To: bob@example.net

hello
--B--
"""


def test_a_standard_bounce_names_recipient_status_and_our_message() -> None:
    bounce = parse(DSN.encode()).bounce
    assert bounce is not None
    assert (bounce.recipient, bounce.status, bounce.action, bounce.message_id) == (
        "bob@example.net", "5.1.1", "failed", "our-1@example.com",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "recipient", "status"),
    [
        (
            "From: MAILER-DAEMON@mail.example\nSubject: failure notice\n\n"
            "Hi. This is the qmail-send program at mail.example.\n"
            "I'm afraid I wasn't able to deliver your message to the following addresses.\n\n<bob@example.net>:\n"
            "Sorry, no mailbox here by that name. (#5.1.1)\n\n--- Below this line is a copy of the message.\n\n"
            "Message-ID: <our-1@example.com>\n",
            "bob@example.net", "5.1.1",
        ),
        (
            "From: Mail Delivery System <Mailer-Daemon@mx.example>\nX-Failed-Recipients: bob@example.net\n"
            "Subject: Mail delivery failed: returning message to sender\n\nThis message was created automatically.\n\n"
            "  bob@example.net\n    SMTP error from remote mail server: 552 mailbox full\n\n"
            "------ This is a copy of the message ------\n\nMessage-ID: <our-1@example.com>\n",
            "bob@example.net", "5.2.2",
        ),
        (
            "From: PostMaster@qq.example\nSubject: =?utf-8?B?" + base64.b64encode("系统退信".encode()).decode() + "?=\n"
            "Content-Type: text/plain; charset=utf-8\n\n抱歉，您的邮件被退回来了……\n收件人 bob@example.net 不存在\n"
            "Message-ID: <our-1@example.com>\n",
            "bob@example.net", "5.1.1",
        ),
    ],
)  # fmt: skip
def test_bounces_without_a_standard_are_read(raw: str, recipient: str, status: str) -> None:
    bounce = parse(raw.encode()).bounce
    assert bounce is not None
    assert (bounce.recipient, bounce.status, bounce.action, bounce.message_id) == (
        recipient, status, "failed", "our-1@example.com",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sender", "about", "body", "recipient", "status", "action"),
    [
        (
            "mailer-daemon@googlemail.com", "Delivery Status Notification (Failure)",
            "Delivery to the following recipient failed permanently:\n\n  bob@example.net\n\n550 5.1.1 User unknown\n",
            "bob@example.net", "5.1.1", "failed",
        ),
        (
            "postmaster@corp.example", "Undeliverable: Hello",
            "Your message did not reach some or all of the intended recipients.\n\n  Subject:  Hello\n\n"
            "The following recipient(s) cannot be reached:\n\n  Bob on 3/5/2024 10:22 AM\n"
            "    The e-mail account does not exist at the organization this message was sent to.\n"
            "    <mail.corp.example #5.1.1 smtp;550 5.1.1 <bob@example.net>... User unknown>\n",
            "bob@example.net", "5.1.1", "failed",
        ),
        (
            "MAILER-DAEMON@host.example", "Returned mail: see transcript for details",
            "   ----- The following addresses had permanent fatal errors -----\n<bob@example.net>\n"
            "    (reason: 550 5.7.1 Message rejected as spam)\n\n   ----- Transcript of session follows -----\n",
            "bob@example.net", "5.7.1", "failed",
        ),
        (
            "MAILER-DAEMON@mx.example", "Warning: message 1abc delayed 24 hours",
            "A message that you sent has not yet been delivered to one or more of its recipients.\n\n"
            "  bob@example.net\n    host mx.example.net: Connection timed out\n",
            "bob@example.net", "4.4.1", "delayed",
        ),
        (
            "Postmaster@163.example", "系统退信",
            "抱歉，您的邮件被退回来了\n收件人：bob@163.example\n退信原因：收件人邮箱已满\n",
            "bob@163.example", "5.2.2", "failed",
        ),
    ],
)  # fmt: skip
def test_the_bounces_of_many_servers(
    sender: str, about: str, body: str, recipient: str, status: str, action: str
) -> None:
    bounce = parse(f"From: {sender}\nTo: support@example.com\nSubject: {about}\n\n{body}".encode()).bounce
    assert bounce is not None
    assert (bounce.recipient, bounce.status, bounce.action) == (recipient, status, action)


def test_a_person_writing_about_a_bounce_is_no_bounce() -> None:
    raw = message("", "My mail to bob@example.net was rejected, user unknown. Can you help?")
    assert parse(raw.replace(b"Subject: s", b"Subject: delivery problem")).bounce is None


def test_a_feedback_report_is_told_from_a_bounce() -> None:
    raw = DSN.replace("delivery-status", "feedback-report")
    mail = parse(raw.encode())
    assert mail.feedback_report
    assert mail.bounce is None


# -- the outside ----------------------------------------------------------------------------------------


def test_the_json_form_has_every_key_and_is_serialisable() -> None:
    answer = read(multipart(PLAIN, HTML, PNG))
    json.dumps(answer)
    assert answer["from"] == {"name": "Ann", "address": "ann@example.org"}
    assert answer["to"] == [{"name": "", "address": "support@example.com"}]
    assert answer["bounce"] is None
    assert set(answer["attachments"][0]) == {
        "filename",
        "content_type",
        "size",
        "sha256",
        "inline",
        "content_id",
    }


def test_importing_the_parser_loads_no_library() -> None:
    code = (
        "import sys, channels.email.parse;"
        "heavy = {'nh3', 'flufl.bounce', 'tnefparse', 'selectolax', 'aiosmtpd', 'email.message'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
