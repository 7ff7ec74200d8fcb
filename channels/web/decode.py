"""What a browser sent, as values of the conversation model. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

from channels.conversation import Address, Attachment, Author, Inbound, Kind, Raw

KINDS = {
    "say": Kind.MESSAGE,
    "start": Kind.START,
    "act": Kind.ACTION,
    "edit": Kind.EDIT,
    "delete": Kind.DELETE,
}


def decode(raw: Raw) -> Sequence[Inbound]:
    """Read the JSON that `frames.body` wrote; anything else becomes one value of an unknown kind."""
    try:
        frame = json.loads(raw.body)
    except (ValueError, RecursionError):
        frame = None
    if not isinstance(frame, dict):
        frame = {}
    user = _text(frame, "user")
    room = _text(frame, "room") or user or raw.lane
    kind = KINDS.get(_text(frame, "t"), Kind.UNKNOWN)
    if not user:
        kind = Kind.UNKNOWN
    values = frame.get("values")
    return [
        Inbound(
            address=Address(raw.channel, room, _text(frame, "thread")),
            event_id=raw.event_id,
            author=Author(user, handle=_handle(user), language=_text(frame, "lang") or None),
            text=_text(frame, "text"),
            sent_at=raw.received_at,
            kind=kind,
            attachments=tuple(_files(frame.get("files"))),
            action=_text(frame, "action"),
            values={str(k): str(v) for k, v in values.items()} if isinstance(values, Mapping) else {},
            target_id=_text(frame, "target"),
            trigger=f"{user}|{_text(frame, 'id')}" if kind is Kind.ACTION else "",
            private=room == user,
        )
    ]


def _handle(user: str) -> str:
    """What people may call a visitor who has said no name: short, and the same every time."""
    side, _, ident = user.partition(":")
    return f"web-{ident[:6]}" if side == "v" else ""


def _files(files: Any) -> Sequence[Attachment]:
    found = []
    for file in files if isinstance(files, list) else ():
        if not isinstance(file, Mapping):
            continue
        try:
            content = base64.b64decode(_text(file, "data"), validate=True)
        except (binascii.Error, ValueError):
            continue
        content_type = _text(file, "type") or "application/octet-stream"
        found.append(
            Attachment(
                filename=_text(file, "name"),
                content_type=content_type,
                size=len(content),
                content=content,
                kind=_file_kind(content_type),
            )
        )
    return found


def _file_kind(content_type: str) -> str:
    family = content_type.partition("/")[0]
    return {"image": "photo", "audio": "audio", "video": "video"}.get(family, "file")


def _text(frame: Mapping[str, Any], key: str) -> str:
    value = frame.get(key)
    return value if isinstance(value, str) else ""
