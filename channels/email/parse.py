"""Understand one e-mail: `parse` turns bytes into a `Mail`, whatever the bytes are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from channels.email import addresses, body, content, headers, kind, language, reply_text, sanitize
from channels.email.lines import to_text
from channels.email.mail import Bounce, Mail, Mailbox, Part

__all__ = ["Bounce", "Mail", "Mailbox", "Part", "parse", "read", "to_json"]

_ADDRESSED = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "x-forwarded-to", "apparently-to",
              "x-rcpt-to", "x-real-to", "resent-to")  # fmt: skip


def parse(raw: bytes, *, ours: Sequence[str] = ()) -> Mail:
    """Parse a whole message; never raise.

    `ours` are texts we sent into this conversation: quotes of them are found by comparing, not by guessing.
    """
    defects: list[str] = []
    raw = _normal(raw, defects)
    try:
        return _parse(raw, ours, defects)
    except Exception as error:  # a stranger's bytes must not stop the line: keep the headers and the raw text
        defects.append(f"parser_failed:{type(error).__name__}")
        return _last_resort(raw, defects)


def read(raw: bytes) -> dict[str, Any]:
    """Parse and give the JSON form."""
    return to_json(parse(raw))


def to_json(mail: Mail) -> dict[str, Any]:
    """Give the keys of `wellheard email parse --json`; all of them, always."""
    return {
        "message_id": mail.message_id,
        "in_reply_to": mail.in_reply_to,
        "references": list(mail.references),
        "subject": mail.subject,
        "from": _mailbox(mail.from_ or Mailbox("", "")),
        "to": [_mailbox(m) for m in mail.to],
        "cc": [_mailbox(m) for m in mail.cc],
        "reply_to": [_mailbox(m) for m in mail.reply_to],
        "date": mail.date.isoformat() if mail.date else None,
        "text": mail.text,
        "reply": mail.reply,
        "html_sanitized": mail.html_sanitized,
        "attachments": [
            {
                "filename": p.filename,
                "content_type": p.content_type,
                "size": p.size,
                "sha256": p.sha256,
                "inline": p.inline,
                "content_id": p.content_id,
            }
            for p in mail.attachments
        ],
        "auto_submitted": mail.auto_submitted,
        "feedback_report": mail.feedback_report,
        "bounce": None
        if mail.bounce is None
        else {
            "recipient": mail.bounce.recipient,
            "status": mail.bounce.status,
            "action": mail.bounce.action,
            "message_id": mail.bounce.message_id,
        },
        "language": mail.language,
        "kind": {"encrypted": mail.encrypted, "signed": mail.signed, "calendar": mail.calendar},
        "defects": list(mail.defects),
    }


def _mailbox(mailbox: Mailbox) -> dict[str, str]:
    return {"name": mailbox.name, "address": mailbox.address}


def _normal(raw: bytes, defects: list[str]) -> bytes:
    """Take off what stands before the header, and repair line ends made of CR alone."""
    raw = bytes(raw)
    if b"\n" not in raw and b"\r" in raw:
        raw = raw.replace(b"\r", b"\n")
        defects.append("cr_line_ends")
    if raw[:3] == b"\xef\xbb\xbf":
        raw = raw[3:]
    if raw[:1] in (b"\r", b"\n", b" ", b"\t", b"\0"):
        raw = raw.lstrip(b"\r\n \t\0")
        defects.append("leading_blank_lines")
    return raw


def _parse(raw: bytes, ours: Sequence[str], defects: list[str]) -> Mail:
    fields, start, odd = headers.split(raw, 0, len(raw))
    if odd:
        defects.append("odd_header")
    root = body.make_node(fields, start, len(raw))
    body.read_tree(raw, root, defects)
    found = content.collect(raw, root, defects)
    text = "\n\n".join(found.plain).strip("\n")
    if found.calendar:
        text = _with_invite(text, found)
    mail_fields = _fields(fields, root, defects)
    sender: Mailbox | None = mail_fields["from_"]
    reply, quoted = reply_text.extract(found, sender=sender, ours=ours, subject=mail_fields["subject"])
    html = ""
    if found.has_html:
        html = sanitize.clean(
            "\n<br>\n".join(found.html), nesting=found.nesting, text=to_text(found.html_lines)
        )
    facts = kind.classify(raw, fields, root, mail_fields["subject"], text, sender)
    return Mail(
        **mail_fields,
        text=text,
        reply=reply if reply else _only_invite(text, found),
        quoted_text=quoted,
        html_sanitized=html,
        attachments=tuple(found.attachments),
        auto_submitted=facts.auto_submitted,
        from_list=facts.from_list,
        feedback_report=facts.feedback_report,
        bounce=facts.bounce,
        language=language.guess(reply or text),
        encrypted=found.encrypted,
        signed=found.signed,
        calendar=found.calendar,
        defects=tuple(dict.fromkeys(defects)),
    )


def _fields(fields: headers.Fields, root: body.Node, defects: list[str]) -> dict[str, Any]:
    hint = root.params.get("charset", "")

    def boxes(name: str) -> tuple[Mailbox, ...]:
        return addresses.addresses(headers.every(fields, name), hint)

    def line(name: str) -> str:
        return headers.unstructured(headers.first(fields, name), hint)

    from_ = boxes("from")
    if not from_:
        defects.append("no_from")
    elif len(from_) > 1 or len(headers.every(fields, "from")) > 1:
        defects.append("several_from")
    sender = boxes("sender")
    message_ids = [i for v in headers.every(fields, "message-id") for i in headers.ids(v)]
    if not message_ids:
        defects.append("no_message_id")
    elif len(set(message_ids)) > 1:
        defects.append("duplicate_message_id")
    date_value = headers.first(fields, "date")
    date = headers.date(date_value)
    if date is None:
        defects.append("no_date" if date_value is None else "bad_date")
    parents = headers.ids(headers.first(fields, "in-reply-to"))
    references = tuple(dict.fromkeys(i for v in headers.every(fields, "references") for i in headers.ids(v)))
    return_path = headers.first(fields, "return-path")
    delivered = [m.address for name in _ADDRESSED for m in boxes(name) if m.address]
    return {
        "message_id": message_ids[0] if message_ids else "",
        "in_reply_to": parents[0] if parents else "",
        "references": references,
        "subject": line("subject"),
        "from_": next(
            (m for m in from_ if m.address), from_[0] if from_ else (sender[0] if sender else None)
        ),
        "to": boxes("to"),
        "cc": boxes("cc"),
        "bcc": boxes("bcc"),
        "reply_to": boxes("reply-to"),
        "sender": sender[0] if sender else None,
        "date": date,
        "return_path": None if return_path is None else headers.to_text(return_path).strip("<> "),
        "delivered_to": tuple(dict.fromkeys(delivered)),
        "list_id": line("list-id"),
        "list_unsubscribe": line("list-unsubscribe"),
        "precedence": line("precedence").lower(),
        "auto_submitted_value": line("auto-submitted").lower(),
        "x_auto_response_suppress": line("x-auto-response-suppress"),
        "authentication_results": tuple(
            headers.unstructured(v, hint) for v in headers.every(fields, "authentication-results")
        ),
        "x_headers": tuple((n, headers.unstructured(v, hint)) for n, v in fields if n.startswith("x-"))[:200],
        "disposition_notification_to": line("disposition-notification-to"),
    }


def _with_invite(text: str, found: content.Content) -> str:
    from channels.email import calendar

    lines = [calendar.summary(p.content) for p in found.attachments if p.content_type == "text/calendar"]
    invite = "\n".join(dict.fromkeys(line for line in lines if line))
    return f"{text}\n\n{invite}".strip("\n") if invite and invite not in text else text


def _only_invite(text: str, found: content.Content) -> str:
    return text if found.calendar and not found.has_plain and not found.has_html else ""


def _last_resort(raw: bytes, defects: list[str]) -> Mail:
    text = raw[:1_000_000].decode("utf-8", "replace").replace("\0", "")
    fields: dict[str, Any] = dict.fromkeys(("message_id", "in_reply_to", "subject"), "")
    try:
        split, start, _ = headers.split(raw, 0, len(raw))
        fields = _fields(split, body.make_node(split, start, len(raw)), defects)
    except Exception:  # the same: an answer without headers is better than none
        fields |= {"references": (), "from_": None, "to": (), "cc": (), "reply_to": (), "date": None}
    whole = Part("message.eml", "message/rfc822", len(raw), hashlib.sha256(raw).hexdigest(), False, "", raw)
    return Mail(
        **fields,
        text=text,
        reply=text,
        html_sanitized="",
        attachments=(whole,),
        auto_submitted=False,
        feedback_report=False,
        bounce=None,
        language="",
        defects=tuple(dict.fromkeys(defects)),
    )
