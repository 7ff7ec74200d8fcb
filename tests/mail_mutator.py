"""Mails as nobody should send them: built from parts, then broken where mail breaks. Seeded: the same again.

for number, content in enumerate(mails(seed=1, count=10_000)): ...
"""

from __future__ import annotations

import base64
import json
import quopri
import random
from collections.abc import Callable, Iterator
from email.header import Header
from pathlib import Path

FIXTURES = Path(__file__).parent / "fixtures" / "email"
CHARSETS = ["utf-8", "gb2312", "gb18030", "big5", "iso-2022-jp", "shift_jis", "euc-kr", "iso-8859-1", "windows-1252",
            "koi8-r", "utf-7", "utf-16", "us-ascii", "unknown-8bit", "x-nonsense", "", "utf-8; x=y", "idna", "hex",
            "rot13", "zlib_codec", "unicode_escape", "\x00"]  # fmt: skip
ENCODINGS = ["7bit", "8bit", "base64", "quoted-printable", "binary", "x-uuencode", "uuencode", "nonsense", ""]
TYPES = ["text/plain", "text/html", "text/calendar", "text/x-moz-deleted", "image/png", "application/ms-tnef",
         "application/pkcs7-mime", "application/pgp-encrypted", "message/rfc822", "message/delivery-status",
         "message/partial", "message/external-body", "multipart/mixed", "multipart/alternative", "multipart/related",
         "multipart/report; report-type=delivery-status", "multipart/report; report-type=feedback-report",
         "multipart/signed", "multipart/digest", "text", "/", "", "*/*", 
         "text/plain; format=flowed; delsp=yes"]  # fmt: skip
TOKENS = [b"=?utf-8?Q?=E4=BD?=", b"=?x?b?", b"=?gb2312?B?xOO6ww==?=", b"=?utf-8?b?!!!!?=", b"\x1b$B", b"\x1b(B",
          b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b"\r", b"\n", b"\r\n", b"\n\n", b"\r\n.\r\n", b"\n.\n", b"--", b"--b",
          b"--b--", b"> ", b">>>> ", b"On Mon, 1 Jan 2020 at 10:00 A <a@b.c> wrote:", b"-- \n", b"<div>", b"</div>",
          b"<blockquote>", b"<script>", b"<style>", b"<table><tr><td>", b"&nbsp;", b"&#1114112;", b"&#xD800;", b"<!--",
          b"]]>", b"<![CDATA[", b"begin 644 a\n", b"end\n", b"BEGIN:VCALENDAR\n", b"a@b.c", b"<a@b.c>", b"(", b")",
          b'"', b"\\", b";", b",", b":", b"=", b"=\n", b"=00", b"%00", b"*0*=utf-8''%E4", b"charset=", b"boundary=",
          b"\xe4\xbd", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"\xc0\x80", b"\xe2\x80\xae", b"[#1]", b"[ref:abc.def]",
          b"From ", b"From: ", b"Message-ID: <x@y>", b"Auto-Submitted: auto-replied", b"Content-Type: multipart/mixed",
          b"I ordered it in May.", b"/help", b"!close", b"WELL-123456"]  # fmt: skip
NAMES = [
    "Li Wei",
    "王芳",
    "Ann O'Neil",
    "=?utf-8?b?5L2g?=",
    '"a, b"',
    "",
    "<",
    "Иван",
    "\u202eevil",
    "a" * 300,
]
SUBJECTS = ["Broken parcel", "订单 A-1029", "Re: Re: [#1] Order", "=?utf-8?q?caf=C3=A9?=", "", "AW: " * 50,
            "Out of office: back soon", "Delivery Status Notification (Failure)", "x" * 900, "tab\there"]  # fmt: skip
HOSTS = ["customers.example", "example.org", "desk.example", "xn--fiqs8s.example", "localhost", "[127.0.0.1]"]
LOCALS = ["ann", "li.wei", "mailer-daemon", "no-reply", "support", "bounce+x", '"a b"', "ü", "a" * 70]


def mails(seed: int, count: int) -> Iterator[bytes]:
    """Whole messages with CRLF or whatever became of it; most of them are broken in one to four ways."""
    rng = random.Random(seed)
    texts = _texts()
    last = b""
    for number in range(count):
        mail = _built(rng, texts, number)
        if rng.random() < 0.85:
            for _ in range(rng.choice((1, 1, 2, 3, 4))):
                mail = rng.choice(MUTATIONS)(rng, mail)
        if rng.random() < 0.03:
            mail = _spliced(rng, mail, last)
        last = mail = mail[:400_000]
        yield mail


# --- whole messages ----------------------------------------------------------------------------------------


def _texts() -> list[tuple[str, str]]:
    """(kind, text) of real replies, and some of our own."""
    found = [("plain", "Hello,\n\nwhere is my order?\n\n-- \nLi Wei\n"), ("html", "<p>Hello <b>you</b></p>")]
    for name in ("replies_cjk.jsonl", "replies_european.jsonl"):
        for line in (FIXTURES / name).read_text("utf-8").splitlines():
            row = json.loads(line)
            found += [(kind, row[key]) for key, kind in (("text", "plain"), ("html", "html")) if row.get(key)]
    return found


def _built(rng: random.Random, texts: list[tuple[str, str]], number: int) -> bytes:
    sender = (
        f"{rng.choice(LOCALS)}@{rng.choice(HOSTS)}" if rng.random() < 0.3 else f"c{number}@customers.example"
    )
    head = [
        f"From: {_name(rng)} <{sender}>",
        f"To: {rng.choice(('support@desk.example', 'Support <support@desk.example>', 'undisclosed-recipients:;'))}",
        f"Subject: {_header(rng, rng.choice(SUBJECTS))}",
        f"Date: {rng.choice(('Mon, 02 Mar 2026 10:00:00 +0000', '1 Jan 99 1:1 EST', 'nonsense', '2026-03-02'))}",
        f"Message-ID: <{number}.{rng.randrange(10**9)}@customers.example>",
        "MIME-Version: 1.0",
    ]
    if rng.random() < 0.3:
        head.append(f"In-Reply-To: <{rng.randrange(number + 1)}@customers.example>")
        head.append("References: " + " ".join(f"<{n}@x.example>" for n in range(rng.choice((1, 3, 200)))))
    if rng.random() < 0.15:
        head.append(rng.choice(("Auto-Submitted: auto-replied", "Precedence: bulk", "List-Id: <l.example>",
                                "Return-Path: <>", "X-Autoreply: yes", "Reply-To: other@example.org",
                                "Cc: a@b.example, Bob <bob@example.net>, group: x@y.example;")))  # fmt: skip
    fields, body = rng.choice(BODIES)(rng, texts, 0)
    return _crlf("\n".join(head).encode("utf-8", "surrogateescape") + b"\n" + fields + b"\n\n" + body)


Body = tuple[bytes, bytes]


def _leaf(rng: random.Random, texts: list[tuple[str, str]], depth: int) -> Body:
    kind, text = rng.choice(texts)
    charset = rng.choice(CHARSETS) if rng.random() < 0.6 else "utf-8"
    try:
        raw = text.encode(charset or "utf-8", "replace")
    except (LookupError, ValueError, TypeError, UnicodeError):
        raw = text.encode()
    encoding = rng.choice(ENCODINGS) if rng.random() < 0.6 else "8bit"
    if encoding == "base64":
        raw = base64.encodebytes(raw)
    elif encoding == "quoted-printable":
        raw = quopri.encodestring(raw)
    label = rng.choice(CHARSETS) if rng.random() < 0.2 else charset
    return f"Content-Type: text/{kind}; charset={label}\nContent-Transfer-Encoding: {encoding}".encode(), raw


def _multipart(rng: random.Random, texts: list[tuple[str, str]], depth: int) -> Body:
    boundary = rng.choice(("b", "=_x", "a b", "--", "b" * 200, f"n{depth}", ""))
    parts = []
    for _ in range(rng.choice((1, 2, 2, 3, 6))):
        fields, body = (rng.choice(BODIES) if depth < 5 else _leaf)(rng, texts, depth + 1)
        parts.append(b"--" + boundary.encode() + b"\n" + fields + b"\n\n" + body + b"\n")
    kind = rng.choice(("mixed", "alternative", "related", "signed", "digest", "appledouble"))
    end = b"--" + boundary.encode() + b"--\n" if rng.random() < 0.8 else b""
    return f'Content-Type: multipart/{kind}; boundary="{boundary}"'.encode(), b"".join(parts) + end


def _file(rng: random.Random, texts: list[tuple[str, str]], depth: int) -> Body:
    name = rng.choice(
        ("a.png", "发票.pdf", "../../etc/passwd", "a" * 300, "", "=?utf-8?b?5L2g?=.txt", 'x"y.exe')
    )
    fields = (
        f"Content-Type: {rng.choice(TYPES)}; name={_header(rng, name)}\nContent-Transfer-Encoding: base64\n"
    )
    fields += f'Content-Disposition: {rng.choice(("attachment", "inline", ""))}; filename="{name}"'
    return fields.encode("utf-8", "replace"), base64.encodebytes(rng.randbytes(rng.choice((0, 10, 5000))))


def _enclosed(rng: random.Random, texts: list[tuple[str, str]], depth: int) -> Body:
    fields, body = (rng.choice(BODIES) if depth < 5 else _leaf)(rng, texts, depth + 1)
    return b"Content-Type: message/rfc822", b"From: x@y.example\nSubject: inner\n" + fields + b"\n\n" + body


def _report(rng: random.Random, texts: list[tuple[str, str]], depth: int) -> Body:
    action = rng.choice(("failed", "delayed", "delivered", "relayed", "nonsense"))
    status = (
        f"Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; {rng.choice(LOCALS)}@b.example\n"
        f"Action: {action}\nStatus: {rng.choice(('5.1.1', '4.4.7', '', '9.9.9', 'x'))}\n"
    )
    return (
        b'Content-Type: multipart/report; report-type=delivery-status; boundary="r"',
        b"--r\nContent-Type: text/plain\n\nIt did not work.\n--r\nContent-Type: message/delivery-status\n\n"
        + status.encode()
        + b"\n--r\nContent-Type: message/rfc822\n\nMessage-ID: <wh.1.00000000@desk.example>\n"
        + b"Subject: x\n\nbody\n--r--\n",
    )


def _nested(rng: random.Random, texts: list[tuple[str, str]], depth: int) -> Body:
    levels = rng.choice((5, 40, 150))
    body = b"".join(
        b'Content-Type: multipart/mixed; boundary="n%d"\n\n--n%d\n' % (i, i) for i in range(levels)
    )
    head, _, rest = body.partition(b"\n\n")
    return head, rest + b"\n\nx\n"


def _uuencoded(rng: random.Random, texts: list[tuple[str, str]], depth: int) -> Body:
    lines = b"".join(b"M" + rng.randbytes(60).replace(b"\n", b" ") + b"\n" for _ in range(20))
    return b"Content-Type: text/plain", b"see below\nbegin 644 a.bin\n" + lines + b"`\nend\n"


BODIES: list[Callable[[random.Random, list[tuple[str, str]], int], Body]] = [
    _leaf, _leaf, _leaf, _multipart, _multipart, _multipart, _file, _enclosed, _report, _nested, _uuencoded,
]  # fmt: skip


def _header(rng: random.Random, text: str) -> str:
    match rng.randrange(4):
        case 0:
            return text
        case 1:
            return Header(text, "utf-8").encode() if text else ""
        case 2:
            return "=?gb2312?B?" + base64.b64encode(text.encode("gb18030", "replace")).decode() + "?="
        case _:
            return text[: rng.randrange(len(text) + 1)]


def _name(rng: random.Random) -> str:
    return _header(rng, rng.choice(NAMES))


def _crlf(mail: bytes) -> bytes:
    return mail.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


# --- ways to break them ------------------------------------------------------------------------------------


def _place(rng: random.Random, mail: bytes) -> int:
    """Somewhere, more often in the header."""
    end = mail.find(b"\r\n\r\n") if rng.random() < 0.6 else len(mail)
    return rng.randrange(max(1, end) + 1)


def _token(rng: random.Random, mail: bytes) -> bytes:
    at = _place(rng, mail)
    return mail[:at] + rng.choice(TOKENS) * rng.choice((1, 1, 1, 2, 500)) + mail[at:]


def _flip(rng: random.Random, mail: bytes) -> bytes:
    out = bytearray(mail)
    for _ in range(rng.choice((1, 5, 50))):
        if out:
            out[rng.randrange(len(out))] = rng.randrange(256)
    return bytes(out)


def _truncate(rng: random.Random, mail: bytes) -> bytes:
    return mail[: rng.randrange(len(mail) + 1)]


def _cut(rng: random.Random, mail: bytes) -> bytes:
    at = _place(rng, mail)
    return mail[:at] + mail[at + rng.choice((1, 10, 200)) :]


def _line(rng: random.Random, mail: bytes) -> bytes:
    """Drop, double, fold or swap a line."""
    lines = mail.split(b"\r\n")
    at = rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            del lines[at]
        case 1:
            lines[at:at] = [lines[at]] * rng.choice((1, 3, 300))
        case 2:
            lines[at] = lines[at].replace(b" ", b"\r\n ")
        case 3:
            other = rng.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        case _:
            lines[at] = rng.choice((b" ", b"\t", b"", b".", b"..", b"--", b":", b"X")) + lines[at]
    return b"\r\n".join(lines)


def _long(rng: random.Random, mail: bytes) -> bytes:
    at = _place(rng, mail)
    unit = rng.choice((b"x", b"a@b.c, ", b"<a@b>", b"(", b" ", b"\xff", b"\x00", b"=?a?b?", b";a=b", b"> "))
    return mail[:at] + unit * (rng.choice((300, 3_000, 60_000)) // len(unit)) + mail[at:]


def _ends(rng: random.Random, mail: bytes) -> bytes:
    return mail.replace(b"\r\n", rng.choice((b"\n", b"\r", b"\r\r\n", b"\n\r", b"\x00\r\n")))


def _replace(rng: random.Random, mail: bytes) -> bytes:
    """Another boundary, charset, encoding or type where one stands."""
    old, new = rng.choice((
        (b"charset=utf-8", b"charset=" + rng.choice(CHARSETS).encode()),
        (b"boundary=", rng.choice((b"boundary==", b"x-boundary=", b'boundary="', b"boundary*=utf-8''"))),
        (b"8bit", rng.choice(ENCODINGS).encode()),
        (b"base64", rng.choice(ENCODINGS).encode()),
        (b"text/plain", rng.choice(TYPES).encode()),
        (b"text/html", rng.choice(TYPES).encode()),
        (b"multipart/mixed", rng.choice(TYPES).encode()),
        (b"From:", rng.choice((b"From", b"from:", b"From :", b"\xefFrom:", b"X:"))),
        (b"Message-ID:", rng.choice((b"message-id:", b"Message-ID:\r\n", b"X:", b"Message-ID: <>"))),
        (b"@", rng.choice((b"", b"@@", b"@\x00", b"\xef\xbc\xa0"))),
    ))  # fmt: skip
    return mail.replace(old, new, rng.choice((1, 3, 100)))


def _spliced(rng: random.Random, mail: bytes, other: bytes) -> bytes:
    return mail[: rng.randrange(len(mail) + 1)] + other[rng.randrange(len(other) + 1) :]


MUTATIONS: list[Callable[[random.Random, bytes], bytes]] = [
    _token, _token, _token, _flip, _truncate, _cut, _line, _line, _line, _long, _ends, _replace, _replace,
]  # fmt: skip
