"""Text as every database takes it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from channels.conversation import Attachment, Author, Inbound


def storable(text: str) -> str:
    """Text that every database takes: no NUL (PostgreSQL), no lone surrogates (UTF-8)."""
    if "\0" in text:
        text = text.replace("\0", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def clean(inbound: Inbound) -> Inbound:
    """The same with text that every database takes."""
    changes: dict[str, Any] = {}
    for f in fields(inbound):
        value = getattr(inbound, f.name)
        if isinstance(value, str) and (good := storable(value)) != value:
            changes[f.name] = type(value)(good) if type(value) is str else value
    author = _clean_author(inbound.author)
    people = tuple(_clean_author(p) for p in inbound.participants)
    attached = tuple(_clean_attachment(a) for a in inbound.attachments)
    return replace(inbound, author=author, participants=people, attachments=attached, **changes)


def _clean_author(author: Author) -> Author:
    return replace(
        author,
        user_id=storable(author.user_id),
        name=storable(author.name),
        handle=storable(author.handle),
    )


def _clean_attachment(attachment: Attachment) -> Attachment:
    return replace(
        attachment,
        filename=storable(attachment.filename),
        content_type=storable(attachment.content_type),
        content_id=storable(attachment.content_id),
    )
