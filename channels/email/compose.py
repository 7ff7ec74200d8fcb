"""An Outbound as the bytes of a mail. The same key always gives the same bytes but for the Date.

Every field is made safe here: what comes from a customer's subject or name cannot become a header.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from urllib.parse import quote

import idna

from channels.base import Undeliverable
from channels.conversation import Outbound
from channels.email import reply_address
from channels.email.render import html_body, text_body
from channels.rich import File, Image

SUBJECT_LIMIT = 400  # characters
NAME_LIMIT = 100
REFERENCES_LIMIT = 40  # ids: the first and the last ones
_WORD_BYTES = 42  # of text in one encoded word: 56 characters of base64 and 12 around them
_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]+"
)
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+\Z")
_ADDRESS = re.compile(r"[^\s@<>(),;:\\\"\[\]\x00-\x20\x7f]{1,128}@[^\s@<>(),;:\\\"\x00-\x20\x7f]{1,255}\Z")
_MESSAGE_ID = re.compile(r"[\x21-\x3b\x3d\x3f-\x7e]{1,900}\Z")  # printable ASCII without < and >
_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_REPLY_PREFIX = re.compile(
    r"\s*(re|aw|antw|antwort|sv|vs|odp|ynt|ref|rif|res|回复|回覆|答复|答覆|回信|返信)\s*(\[\d+\])?\s*[:\uff1a]",
    re.IGNORECASE,
)
_CONTENT_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,60}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,100}\Z")


@dataclass(frozen=True, slots=True)
class Sender:
    """Who we are in every mail that leaves."""

    address: str
    name: str
    secret: bytes = field(repr=False)
    ours: tuple[str, ...] = ()  # lower-cased: never among the recipients


@dataclass(frozen=True, slots=True)
class Composed:
    """A mail ready to send. `smtputf8` says that an address needs the extension of that name."""

    message_id: str  # without brackets
    mail_from: str
    rcpt_tos: tuple[str, ...]
    content: bytes = field(repr=False)
    smtputf8: bool = False


@dataclass(frozen=True, slots=True)
class _Part:
    head: tuple[str, ...]
    body: bytes


def compose(message: Outbound, sender: Sender, now: datetime) -> Composed:
    """Make the mail. Raise Undeliverable when an address cannot be one."""
    ours = wire_address(sender.address)
    domain = ours.rpartition("@")[2]
    to = wire_address(message.address.room_id)
    if to.endswith(".invalid"):
        raise Undeliverable("no_address", gone=True)
    cc = _copies(message, sender, to)
    message_id = message_id_for(message.key, domain, sender.secret)
    marker = reply_address.marker(message.thread_key, sender.secret) if message.thread_key else ""
    reply_to = reply_address.sign(ours, message.thread_key, sender.secret) if message.thread_key else ours
    recipients = (to, *(address for address, _ in cc))
    head = [
        f"From: {_mailbox(ours, sender.name)}",
        f"To: {to}",
        *([f"Cc: {_join(_mailbox(address, name) for address, name in cc)}"] if cc else []),
        f"Reply-To: {_mailbox(reply_to, sender.name)}",
        f"Subject: {_unstructured(_subject(message, sender), len('Subject: '))}",
        f"Date: {format_datetime(now)}",
        f"Message-ID: <{message_id}>",
        *_threading(message),
        "MIME-Version: 1.0",
    ]
    if message.automatic:
        kind = "auto-replied" if message.in_reply_to_id else "auto-generated"
        head += [f"Auto-Submitted: {kind}", "X-Auto-Response-Suppress: All"]
    body = _body(message, message_id, domain, marker)
    content = "\r\n".join([*head, *body.head]).encode() + b"\r\n\r\n" + body.body
    return Composed(
        message_id=message_id,
        mail_from="" if message.automatic else ours,
        rcpt_tos=recipients,
        content=content,
        smtputf8=not all(a.isascii() for a in (ours, reply_to, *recipients)),
    )


def message_id_for(key: str, domain: str, secret: bytes) -> str:
    """The Message-ID of an outbox row, without brackets: the same whenever it is sent again."""
    word = key if _KEY.match(key) else hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:32]
    digest = hmac.new(secret, b"message-id\0" + word.encode("ascii"), hashlib.sha256).hexdigest()[:8]
    return f"wh.{word}.{digest}@{domain}"


def wire_address(address: str) -> str:
    """The address as SMTP wants it, an international domain as xn--. Raise Undeliverable when it is none."""
    address = address.strip()
    if not _ADDRESS.match(address) or _UNFIT.search(address):
        raise Undeliverable("bad_address", gone=True)
    local, _, domain = address.rpartition("@")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise Undeliverable("bad_address", gone=True) from error
    return f"{local}@{domain}"


def _copies(message: Outbound, sender: Sender, to: str) -> list[tuple[str, str]]:
    """Who else receives it, each once, never ourselves; an impossible address is left out."""
    seen = {to.lower()}
    out: list[tuple[str, str]] = []
    for person in message.cc:
        try:
            address = wire_address(person.user_id)
        except Undeliverable:
            continue
        lower = address.lower()
        if (
            lower not in seen
            and not reply_address.accepts(lower, sender.ours)
            and not lower.endswith(".invalid")
        ):
            seen.add(lower)
            out.append((address, person.name))
    return out


def _subject(message: Outbound, sender: Sender) -> str:
    subject = clean(message.subject)[:SUBJECT_LIMIT] or clean(sender.name) or sender.address
    is_reply = bool(message.in_reply_to_id or message.references)
    return f"Re: {subject}" if is_reply and not _REPLY_PREFIX.match(subject) else subject


def _threading(message: Outbound) -> list[str]:
    parent = message.in_reply_to_id.strip().strip("<>")
    ids = [i.strip().strip("<>") for i in message.references]
    if parent and (not ids or ids[-1] != parent):
        ids = [i for i in ids if i != parent] + [parent]
    known = [i for i in dict.fromkeys(ids) if _MESSAGE_ID.match(i) and not i.endswith("@missing")]
    if len(known) > REFERENCES_LIMIT:
        known = known[:1] + known[1 - REFERENCES_LIMIT :]
    lines = [f"In-Reply-To: <{parent}>"] if parent in known else []
    if known:
        lines.append("References: " + "\r\n ".join(f"<{i}>" for i in known))
    return lines


def _body(message: Outbound, message_id: str, domain: str, marker: str) -> _Part:
    """text and HTML as alternatives, pictures beside the HTML, files beside it all."""
    seed = hashlib.sha256(message_id.encode()).hexdigest()[:20]
    pictures: dict[int, str] = {}
    inline: list[_Part] = []
    files: list[_Part] = []
    for place, block in enumerate(message.reply.blocks):
        if isinstance(block, Image) and block.content:
            pictures[place] = f"{seed}.{place}@{domain}"
            inline.append(
                _file(block.filename, block.content_type, block.content, content_id=pictures[place])
            )
        elif isinstance(block, File) and block.content:
            files.append(_file(block.filename, block.content_type, block.content))
    page = _text_part("html", html_body(message.reply, pictures, marker))
    if inline:
        page = _multipart("related", f"=_r{seed}", [page, *inline])
    both = _multipart(
        "alternative", f"=_a{seed}", [_text_part("plain", text_body(message.reply, marker)), page]
    )
    return _multipart("mixed", f"=_m{seed}", [both, *files]) if files else both


def _multipart(kind: str, boundary: str, parts: Sequence[_Part]) -> _Part:
    chunks: list[bytes] = []
    for part in parts:
        head = "\r\n".join(part.head).encode("ascii")
        chunks.append(b"--%b\r\n%b\r\n\r\n%b" % (boundary.encode("ascii"), head, part.body))
    body = b"\r\n".join(chunks) + b"\r\n--%b--\r\n" % boundary.encode("ascii")
    return _Part((f'Content-Type: multipart/{kind};\r\n boundary="{boundary}"',), body)


def _text_part(kind: str, text: str) -> _Part:
    """UTF-8 as quoted-printable, or base64 where that is shorter; never a long or 8-bit line."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace")
    foreign = sum(byte > 126 for byte in plain) if not plain.isascii() else 0
    if foreign * 6 > len(plain):
        encoding, body = "base64", _base64(plain.replace(b"\n", b"\r\n"))
    else:
        # b2a_qp leaves "." and "From " at a line's start: SMTP stuffs the one, nobody mangles the other
        encoding = "quoted-printable"
        body = binascii.b2a_qp(plain, istext=True).replace(b"\n", b"\r\n")
    return _Part(
        (f"Content-Type: text/{kind}; charset=utf-8", f"Content-Transfer-Encoding: {encoding}"), body
    )


def _file(filename: str, content_type: str, content: bytes, *, content_id: str = "") -> _Part:
    kind = content_type if _CONTENT_TYPE.match(content_type) else "application/octet-stream"
    if kind.lower().startswith(("multipart/", "message/")):
        kind = "application/octet-stream"  # those must not be base64
    disposition = "inline" if content_id else "attachment"
    name, encoded = _filename(filename)
    head = [
        f"Content-Type: {kind};\r\n name={name}",
        f"Content-Disposition: {disposition};\r\n filename{encoded}",
        "Content-Transfer-Encoding: base64",
        *([f"Content-ID: <{content_id}>"] if content_id else []),
    ]
    return _Part(tuple(head), _base64(content))


def _filename(name: str) -> tuple[str, str]:
    """The name for Content-Type, as old programs read it, and for Content-Disposition by RFC 2231."""
    name = re.sub(r"[/\\:*?\"<>|]", "_", clean(name)).strip(" .") or "file"
    stem, dot, extension = name.rpartition(".")
    name = f"{stem[:60]}.{extension[:12]}" if dot and stem else name[:60]
    if name.isascii():
        return f'"{name}"', f'="{name}"'
    words = "\r\n ".join(_encoded_words(name))
    return f'"{words}"', f"*=utf-8''{quote(name.encode(), safe='')}"


def clean(text: str) -> str:
    """One line without control characters, direction overrides or half characters."""
    return " ".join(_UNFIT.sub(" ", text).split())


def _mailbox(address: str, name: str) -> str:
    name = clean(name)[:NAME_LIMIT]
    if not name or "@" in name:  # an address as a name misleads: "ceo@bank" <other@host>
        return address
    if name.isascii() and "=?" not in name:
        if not _ATOMS.match(name):
            escaped = name.replace("\\", "\\\\").replace('"', '\\"')
            name = f'"{escaped}"'
        return f"{name}\r\n <{address}>" if len(name) > 40 else f"{name} <{address}>"
    return "\r\n ".join([*_encoded_words(name), f"<{address}>"])


def _join(boxes: Iterable[str]) -> str:
    return ",\r\n ".join(boxes)


def _unstructured(text: str, used: int) -> str:
    words = text.split(" ")
    if not text.isascii() or "=?" in text or any(len(word) > 70 for word in words):
        return "\r\n ".join(_encoded_words(text))
    lines, line = [], ""
    for word in words:
        if line and used + len(line) + 1 + len(word) > 76:
            lines.append(line)
            line, used = word, 1
        else:
            line = f"{line} {word}" if line else word
    return "\r\n ".join([*lines, line])


def _encoded_words(text: str) -> list[str]:
    """RFC 2047 words of at most 75 characters, never broken inside a character."""
    chunks: list[bytes] = [b""]
    for character in text:
        piece = character.encode("utf-8", "replace")
        if len(chunks[-1]) + len(piece) > _WORD_BYTES:
            chunks.append(b"")
        chunks[-1] += piece
    return [f"=?utf-8?B?{base64.b64encode(chunk).decode('ascii')}?=" for chunk in chunks]


def _base64(content: bytes) -> bytes:
    encoded = base64.b64encode(content)
    return b"\r\n".join(encoded[i : i + 76] for i in range(0, len(encoded), 76))
