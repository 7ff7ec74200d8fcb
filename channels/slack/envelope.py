"""What Slack sent, wrapped for the inbox: who it is unique by, what it must stay in order with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from channels.conversation import Address, Author, Inbound, Kind, Raw

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Us:
    """Who we are, as the stored envelope says."""

    channel: str
    bot_user_id: str
    team_id: str
    received_at: datetime

    def author(self, user: str, team: str = "", profile: Json | None = None, *, bot: bool = False) -> Author:
        team = team or self.team_id
        known = as_dict(profile)
        return Author(
            user_id=f"{team}:{user}",
            name=str(known.get("display_name") or known.get("real_name") or ""),
            handle=str(known.get("name") or ""),  # a press tells no more: name and rights are looked up
            is_bot=bot,
            may_command=bool(user) and not bot and team == self.team_id,
        )

    def address(self, room: str, thread: str = "") -> Address:
        return Address(self.channel, room, thread)


def unknown(us: Us, raw: Raw, what: str, room: str = "", user: str = "") -> Inbound:
    """An event that is stored and counted; `action` says which kind it was."""
    author = us.author(user) if user else Author("", may_command=False)
    return Inbound(
        address=us.address(room),
        event_id=raw.event_id,
        author=author,
        text="",
        sent_at=us.received_at,
        kind=Kind.UNKNOWN,
        action=what,
        addressed=False,
        may_acknowledge=False,
    )


def wrap(
    channel: str, kind: str, payload: Json, *, bot_user_id: str, team_id: str, received_at: datetime
) -> Raw:
    """Make the Raw of one payload. The body carries who we are, so that decoding needs nothing else."""
    body = {"type": kind, "payload": payload, "bot_user_id": bot_user_id, "team_id": team_id}
    return Raw(
        channel=channel,
        event_id=event_id(kind, payload),
        lane=lane(kind, payload),
        # half an emoji is JSON too; json.loads reads it back from these bytes
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"),
        received_at=received_at,
    )


def event_id(kind: str, payload: Json) -> str:
    """What makes it one event: for a message its place and time, since one message comes as `message`, as
    `app_mention` and again when history is read; else Slack's event_id, or a hash of what is unique."""
    if kind == "history":
        message = as_dict(payload.get("message"))
        return f"message:{payload.get('channel', '')}:{message.get('ts', '')}"
    if kind == "events_api":
        event = as_dict(payload.get("event"))
        changes = event.get("subtype") in ("message_changed", "message_deleted", "message_replied")
        if event.get("type") in ("message", "app_mention") and event.get("ts") and not changes:
            return f"message:{event.get('channel', '')}:{event['ts']}"
        if payload.get("event_id"):
            return str(payload["event_id"])
    view = as_dict(payload.get("view"))
    actions = payload.get("actions")
    unique = [
        payload.get("type", ""),
        payload.get("trigger_id", ""),
        payload.get("action_ts", ""),
        [
            (a.get("action_ts", ""), a.get("action_id", ""))
            for a in (actions if isinstance(actions, list) else ())
            if isinstance(a, dict)
        ],
        view.get("id", ""),
    ]
    if not any(unique[1:]):
        unique.append(payload)
    digest = hashlib.sha256(json.dumps(unique, sort_keys=True, default=str).encode()).hexdigest()
    return f"{kind}:{digest[:32]}"


def lane(kind: str, payload: Json) -> str:
    """What must be handled in order: the thread in a channel, the whole of a direct message."""
    if kind == "events_api":
        return _event_lane(as_dict(payload.get("event")))
    if kind == "history":
        message = as_dict(payload.get("message"))
        return place(
            str(payload.get("channel", "")), str(message.get("thread_ts") or message.get("ts") or "")
        )
    if kind == "slash_commands":
        return place(str(payload.get("channel_id", "")), str(payload.get("user_id", "")))
    if payload.get("type") == "view_submission":
        room, thread, _ = metadata(as_dict(payload.get("view")))
        return place(room, thread) if room else str(as_dict(payload.get("user")).get("id", ""))
    room = str(as_dict(payload.get("channel")).get("id", ""))
    message = as_dict(payload.get("message"))
    container = as_dict(payload.get("container"))
    thread = message.get("thread_ts") or container.get("thread_ts") or message.get("ts") or ""
    return place(room, str(thread)) if room else str(as_dict(payload.get("user")).get("id", ""))


def _event_lane(event: Json) -> str:
    item = as_dict(event.get("item"))
    channel = event.get("channel") or item.get("channel") or ""
    if not isinstance(channel, str):  # channel_rename and others carry an object
        channel = str(as_dict(channel).get("id", ""))
    message = as_dict(event.get("message")) or as_dict(event.get("previous_message"))
    thread = (
        item.get("ts")
        or message.get("thread_ts")
        or message.get("ts")
        or event.get("thread_ts")
        or event.get("deleted_ts")
        or event.get("ts")
        or ""
    )
    return place(channel, str(thread)) if channel else str(event.get("user", ""))


def place(channel: str, thread: str) -> str:
    """The lane of a room and a thread; a direct message is one lane."""
    return channel if is_direct(channel) or not thread else f"{channel}:{thread}"


def is_direct(channel: str) -> bool:
    """Whether a room id is a one-to-one room."""
    return channel.startswith("D")


def metadata(view: Json) -> tuple[str, str, str]:
    """Room, thread and action that `render.view` put into a modal; empty strings where there are none."""
    try:
        found = json.loads(view.get("private_metadata") or "{}")
        return str(found.get("room", "")), str(found.get("thread", "")), str(found.get("action", ""))
    except (ValueError, AttributeError, TypeError):
        return "", "", ""


def is_own(payload: Json, bot_user_id: str) -> bool:
    """Whether this is only the echo of what we posted, changed or removed ourselves."""
    event = as_dict(payload.get("event"))
    if event.get("type") != "message" or not bot_user_id:
        return False
    if event.get("subtype") in ("message_changed", "message_deleted"):
        event = as_dict(event.get("previous_message")) or as_dict(event.get("message"))
    return bool(event.get("user") == bot_user_id)


def as_dict(value: object) -> Json:
    return value if isinstance(value, dict) else {}
