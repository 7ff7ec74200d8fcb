"""A mail that a colleague passed on: who wrote it, about what, and what the colleague adds."""

from __future__ import annotations

import re
from dataclasses import dataclass

from channels.email import quote_words
from channels.email.mail import Mail

LINES_LIMIT = 2_000
BLOCK_LINES = 12  # a header block is not longer, folded lines included
_ADDRESS = re.compile(r"[^\s<>()\[\]\"',;:]+@[^\s<>()\[\]\"',;:]+\.[^\s<>()\[\]\"',;:]+")
_LABEL = re.compile(r"^[\s>*|]*([^:：\n]{1,40}?)[\s*]*[:：][\s*]*(.*)$")
_PREFIX = re.compile(
    r"^\s*(?:fwd?|wg|tr|rv|enc|i|doorst|vb|pd|转发|轉寄|転送|전달|fw|vl|ilt)\s*[:：]\s*", re.IGNORECASE
)
_SEPARATOR = re.compile(r"^[\s>]*[-_=—–─━*]{3,}.*$|^[\s>]*\S.{0,60}[:：]\s*$")


@dataclass(frozen=True, slots=True)
class Forwarded:
    """The first mail inside a forward."""

    name: str
    address: str  # lower-cased
    subject: str
    text: str
    note: str  # what stands above it
    message_id: str = ""


def find(mail: Mail) -> Forwarded | None:
    """The mail that this one passes on, as an attachment or in its text; None where there is none."""
    return _attached(mail) or _in_text(mail)


def _attached(mail: Mail) -> Forwarded | None:
    from channels.email.parse import parse

    for part in mail.attachments:
        if part.content_type == "message/rfc822":
            inner = parse(part.content)
            if inner.from_ is not None and inner.from_.address:
                return Forwarded(
                    inner.from_.name,
                    inner.from_.address.lower(),
                    inner.subject,
                    inner.text,
                    mail.text.strip(),
                    inner.message_id,
                )
    return None


def _in_text(mail: Mail) -> Forwarded | None:
    """The first run of header lines, in any language, that names a sender with an address and something else."""
    lines = mail.text.split("\n")[:LINES_LIMIT]
    for start, line in enumerate(lines):
        role, value = _labelled(line)
        if role != "from":
            continue
        found = _ADDRESS.search(" ".join([value, *_folded(lines, start)]))
        roles, subject, end = _block(lines, start)
        if found is None or not roles & {"date", "subject", "to"}:
            continue
        above = lines[:start]
        while above and (not above[-1].strip() or _SEPARATOR.match(above[-1])):
            above.pop()
        name = value.replace(found[0], "").replace("mailto:", "").strip(" <>[]()\"'*;,")
        text = "\n".join(re.sub(r"^\s?>\s?", "", row) for row in lines[end:]).strip()
        return Forwarded(
            name,
            found[0].lower(),
            subject or _PREFIX.sub("", mail.subject),
            text or mail.text,
            "\n".join(above).strip(),
        )
    return None


def _block(lines: list[str], start: int) -> tuple[set[str], str, int]:
    """The roles of the header lines from `start`, the subject, and where the text begins."""
    roles: set[str] = set()
    subject = ""
    end = start + 1
    for n in range(start, min(len(lines), start + BLOCK_LINES)):
        role, value = _labelled(lines[n])
        if role:
            roles.add(role)
            end = n + 1
            if role == "subject":
                subject = value.strip("* ")
        elif not lines[n].strip(" >") and len(roles) > 1:
            break
    return roles, subject, end


def _folded(lines: list[str], start: int) -> list[str]:
    """The next line, where it goes on with the sender's."""
    following = [line[:500] for line in lines[start + 1 : start + 2]]
    return [] if following and _labelled(following[0])[0] else following


def _labelled(line: str) -> tuple[str, str]:
    """("from", "Dora <dora@x>") for a header line in any language; ("", "") for anything else."""
    match = _LABEL.match(line[:500])
    if match is None:
        return "", ""
    label = " ".join(match[1].lower().split())
    known = quote_words.LABELS.get(label) or quote_words.LABELS.get(label.replace(" ", ""))
    return (known[0], match[2]) if known is not None else ("", "")
