"""Hostile messages: no exception, all keys, little CPU, and time that grows with size and not faster."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channels.email.parse import parse, read

KEYS = {
    "message_id", "in_reply_to", "references", "subject", "from", "to", "cc", "reply_to", "date", "text", "reply",
    "html_sanitized", "attachments", "auto_submitted", "feedback_report", "bounce", "language",
}  # fmt: skip
HEAD = b"From: a@example.org\nTo: b@example.com\nMessage-ID: <1@example.org>\n"


def _text(body: bytes) -> bytes:
    return HEAD + b"Content-Type: text/plain; charset=utf-8\n\n" + body


def _html(body: bytes) -> bytes:
    return HEAD + b"Content-Type: text/html; charset=utf-8\n\n" + body


def _cpu(raw: bytes) -> float:
    start = time.process_time()
    answer = read(raw)
    took = time.process_time() - start
    assert answer.keys() >= KEYS
    assert not any(d.startswith("parser_failed") for d in answer["defects"])
    return took


HOSTILE: dict[str, Callable[[int], bytes]] = {  # n is about kilobytes
    "on_newline": lambda n: _text(b"On \n" * (n * 256)),
    "on_x": lambda n: _text(b"On " + b"x " * (n * 512)),
    "on_x_lines": lambda n: _text((b"On " + b"x " * 500 + b"\n") * n),
    "wrote": lambda n: _text(b"On 1 Jan 2020 10:00 a@b.example wrote\n" * (n * 27)),
    "headers_in_text": lambda n: _text(b"From: a@b.example\nTo: c@d.example\n" * (n * 30)),
    "angle_lines": lambda n: _text(b"> hello there\n" * (n * 73)),
    "angle_deep": lambda n: _text((b">" * 1000 + b"x\n") * n),
    "mixed_quotes": lambda n: _text(b"> a\nb\n" * (n * 170)),
    "dashes": lambda n: _text((b"-" * 60 + b"\n") * (n * 16)),
    "thanks": lambda n: _text(b"Thanks,\n" * (n * 128)),
    "underscores": lambda n: _text((b"_" * 390 + b":\n") * (n * 2)),
    "colons": lambda n: _text(b":" * (n * 1024)),
    "blanks": lambda n: _text(b" \n" * (n * 512)),
    "to_list": lambda n: b"To: " + b"a@b.example, " * (n * 78) + b"\n" + HEAD + b"\nhi",
    "to_run": lambda n: b"To: " + b"\xff" * (n * 1024) + b"\n" + HEAD + b"\nhi",
    "to_quotes": lambda n: b"To: " + b'"\\' * (n * 512) + b"\n" + HEAD + b"\nhi",
    "to_angles": lambda n: b"To: " + b"a <b, " * (n * 170) + b"\n" + HEAD + b"\nhi",
    "to_comments": lambda n: b"To: " + b"(" * (n * 1024) + b"\n" + HEAD + b"\nhi",
    "parameters": lambda n: b"Content-Type: text/plain; " + b"a*1=xx;" * (n * 146) + b"\n" + HEAD + b"\nhi",
    "references": lambda n: b"References: " + b"<a@b> " * (n * 170) + b"\n" + HEAD + b"\nhi",
    "encoded_words": lambda n: b"Subject: " + b"=?utf-8?Q?=E4=BD?= " * (n * 54) + b"\n" + HEAD + b"\nhi",
    "encoded_unclosed": lambda n: b"Subject: " + b"=?u?q?x " * (n * 128) + b"\n" + HEAD + b"\nhi",
    "continuations": lambda n: b"X-A: b\n" + b" c\n" * (n * 341) + HEAD + b"\nhi",
    "nested_divs": lambda n: _html(b"<div>" * (n * 205) + b"x"),
    "nested_quotes": lambda n: _html(b"<blockquote>" * (n * 85) + b"x"),
    "nested_tables": lambda n: _html(b"<table><tr><td>" * (n * 68) + b"x"),
    "nested_links": lambda n: _html(b"<a href=http://x.example/z>w " * (n * 35) + b"</a>" * (n * 35)),
    "huge_table": lambda n: _html(b"<table>" + b"<tr><td>a</td><td>b</td></tr>" * (n * 35) + b"</table>"),
    "open_tags": lambda n: _html(b"<a " * (n * 341)),
    "open_quotes": lambda n: _html(b'<a "' * (n * 256)),
    "ampersands": lambda n: _html(b"&" * (n * 1024)),
    "comments": lambda n: _html(b"<!--" * (n * 256)),
    "base64_padding": lambda n: HEAD + b"Content-Transfer-Encoding: base64\n\n" + b"QQ==\n" * (n * 205),
    "uuencode": lambda n: _text(b"begin 644 a\n" * (n * 85)),
    "bounce": lambda n: (
        b"From: MAILER-DAEMON@x.example\nSubject: failure notice\n\n" + b"<a@b.example>:\n" * (n * 68)
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_time_grows_with_size_and_not_faster(name: str) -> None:
    small, large = 25, 200
    read(HOSTILE[name](2))  # imports and caches
    first = min(_cpu(HOSTILE[name](small)) for _ in range(2))
    second = min(_cpu(HOSTILE[name](large)) for _ in range(2))
    assert second < 2.0
    # eight times the size: linear is 8, quadratic 64; below 60 ms the clock says nothing
    assert second < max(0.06, 24 * first), f"{first:.4f} s at {small} KB, {second:.4f} s at {large} KB"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(
            HEAD
            + b"".join(
                b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (i, i) for i in range(3000)
            ),
            id="3000_nested_parts",
        ),
        pytest.param(
            HEAD + b'Content-Type: multipart/mixed; boundary="b"\n\n' + b"--b\n\nx\n" * 50_000 + b"--b--",
            id="50000_parts",
        ),
        pytest.param(HEAD + b"Content-Type: message/rfc822\n\n" * 3000, id="3000_nested_messages"),
        pytest.param(_text(b"> line of a quote\n" * 580_000), id="10MB_of_quotes"),
        pytest.param(_text(b"On \n" * 500_000), id="2MB_of_On"),
        pytest.param(_html(b"<div>" * 50_000 + b"x" + b"</div>" * 50_000), id="50000_divs"),
        pytest.param(_html(b"<p>hello <b>world</b></p>\n" * 80_000), id="2MB_of_html"),
        pytest.param(HEAD + b"X-A: b\n" * 300_000 + b"\nhi", id="2MB_of_headers"),
    ],
)
def test_a_large_hostile_message_costs_less_than_two_seconds(raw: bytes) -> None:
    assert _cpu(raw) < 2.0


def test_limits_are_told() -> None:
    parts = HEAD + b'Content-Type: multipart/mixed; boundary="b"\n\n' + b"--b\n\nx\n" * 1_500 + b"--b--"
    assert "parts_dropped:500" in parse(parts).defects
    nested = b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (i, i) for i in range(200)
    )
    assert "truncated_nesting" in parse(HEAD + nested + b"\n\nx").defects


_PIECES = st.sampled_from(
    [
        b"From: ", b"To: ", b"Subject: ", b"Content-Type: multipart/mixed; boundary=b\n", b"--b\n", b"--b--\n", b"\n",
        b"\n\n", b"Content-Type: text/html\n", b"Content-Transfer-Encoding: base64\n", b"=?utf-8?Q?=E4=BD?=", b"=?x?b?",
        b"charset=gb2312", b"; name*0*=utf-8''%E4", b"<div>", b"<blockquote>", b"> ",
        b"On Mon, 1 Jan 2020 10:00, a@b.c wrote:",
        b"-- \n", b"\x1b$B", b"\xff\xfe", b"\x00", b"\r", b"Date: ", b"Message-ID: <", b">", b'"', b"(", b"\xe4\xbd",
        b"Content-Type: message/delivery-status\n", b"Final-Recipient: rfc822; a@b.c\n", b"begin 644 x\n", b"a@b.c",
        b"Content-Disposition: attachment; filename=\"", b"Content-Type: application/ms-tnef\n", b"BEGIN:VEVENT\n",
    ]
)  # fmt: skip


@settings(max_examples=150, deadline=2_000, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(_PIECES, st.binary(max_size=30)), max_size=60))
def test_parse_never_raises_and_gives_every_key(pieces: list[bytes]) -> None:
    answer = read(b"".join(pieces))
    assert answer.keys() >= KEYS
    assert not [d for d in answer["defects"] if d.startswith("parser_failed")]


@settings(max_examples=60, deadline=2_000)
@given(st.data())
def test_a_cut_or_flipped_message_is_still_read(data: st.DataObject) -> None:
    raw = bytearray(
        HEAD
        + b'Content-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: text/plain; charset=gb2312\n\n'
        b"\xc4\xe3\xba\xc3\n"
        b"--b\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<p>=E4=BD=A0 <b>x</b></p>\n"
        b'--b\nContent-Type: image/png; name="=?utf-8?B?5L2g?="\n'
        b"Content-Transfer-Encoding: base64\n\niVBORw0KGgo=\n--b--\n"
    )
    for _ in range(data.draw(st.integers(0, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    answer = read(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
    assert answer.keys() >= KEYS
    assert not [d for d in answer["defects"] if d.startswith("parser_failed")]
