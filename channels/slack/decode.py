"""Turn what Slack sent into values. Pure; what it cannot read becomes Kind.UNKNOWN."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from channels.conversation import Attachment, Author, Inbound, Kind, Raw
from channels.slack.envelope import Json, Us, as_dict, is_direct, unknown
from channels.slack.interaction import decode_interactive, decode_slash
from channels.slack.text import understand

SAID = {"", "file_share", "thread_broadcast", "me_message"}  # subtypes that a person's words come under
HOME = "home:"  # rooms of App Home: "home:U1"
KINDS = {"image": "photo", "video": "video", "audio": "audio"}
VOICE = {"slack_audio": "voice", "slack_video": "video"}  # files[].subtype of clips


def decode(raw: Raw) -> Sequence[Inbound]:
    """Decode one stored payload; never raises."""
    try:
        envelope = json.loads(raw.body)
        payload = as_dict(envelope.get("payload"))
        team = str(envelope.get("team_id") or payload.get("team_id") or "")
        us = Us(raw.channel, str(envelope.get("bot_user_id") or _bot_of(payload)), team, raw.received_at)
        match envelope.get("type"):
            case "events_api":
                return _event(us, raw, payload)
            case "history":
                event = {"channel": payload.get("channel"), **as_dict(payload.get("message"))}
                return _message(us, raw, payload, {"type": "message", **event})
            case "interactive":
                return decode_interactive(us, raw, payload)
            case "slash_commands":
                return decode_slash(us, raw, payload)
            case other:
                return [unknown(us, raw, str(other))]
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError, OverflowError):
        us = Us(raw.channel, "", "", raw.received_at)
        return [unknown(us, raw, "malformed")]


def _bot_of(payload: Json) -> str:
    for entry in payload.get("authorizations") or ():
        if as_dict(entry).get("is_bot"):
            return str(entry.get("user_id", ""))
    return ""


def _event(us: Us, raw: Raw, payload: Json) -> Sequence[Inbound]:
    event = as_dict(payload.get("event"))
    match event.get("type"):
        case "message" | "app_mention":
            return _message(us, raw, payload, event)
        case "reaction_added" | "reaction_removed":
            return _reaction(us, raw, event)
        case "app_home_opened" if event.get("tab", "home") == "home":
            user = str(event["user"])
            return [
                Inbound(
                    address=us.address(HOME + user),
                    event_id=f"{HOME}{user}:{event.get('event_ts', raw.event_id)}",
                    author=us.author(user, str(payload.get("team_id") or "")),
                    text="",
                    sent_at=at(event.get("event_ts"), us.received_at),
                    kind=Kind.ACTION,
                    action="home",
                    private=True,
                )
            ]
        case "channel_id_changed" if event.get("old_channel_id"):
            return [
                Inbound(
                    address=us.address(str(event["old_channel_id"])),
                    event_id=raw.event_id,
                    author=Author("", may_command=False),
                    text=str(event.get("new_channel_id", "")),
                    sent_at=us.received_at,
                    kind=Kind.MOVED,
                    addressed=False,
                    may_acknowledge=False,
                )
            ]
        case other:
            room = event.get("channel")
            who = event.get("user")
            return [
                unknown(
                    us,
                    raw,
                    str(other),
                    room if isinstance(room, str) else str(as_dict(room).get("id", "")),
                    who if isinstance(who, str) else str(as_dict(who).get("id", "")),
                )
            ]


def _message(us: Us, raw: Raw, payload: Json, event: Json) -> Sequence[Inbound]:
    subtype = str(event.get("subtype") or "")
    room = str(event["channel"])
    if subtype == "message_changed":
        return _changed(us, room, as_dict(event.get("message")), as_dict(event.get("previous_message")))
    if subtype == "message_deleted":
        return _deleted(us, room, str(event["deleted_ts"]), as_dict(event.get("previous_message")), event)
    if _of_a_bot(us, event) or subtype == "bot_message":
        return ()
    if subtype not in SAID or not event.get("user"):
        return [unknown(us, raw, f"message.{subtype}", room, str(event.get("user") or ""))]
    ts = str(event["ts"])
    thread = str(event.get("thread_ts") or "")
    said = understand(str(event.get("text") or ""), us.bot_user_id)
    private = event.get("channel_type") == "im" or is_direct(room)
    return [
        Inbound(
            address=us.address(room, thread),
            event_id=f"{room}:{ts}",
            dedupe=f"{room}:{ts}",
            author=_author(us, event, payload),
            text=_with_shared(said.text, event),
            full_text=_with_shared(said.text, event) if _shared(event) else "",
            sent_at=at(ts, us.received_at),
            attachments=tuple(_files(event)),
            private=private,
            mentions=tuple(f"{us.team_id}:{user}" for user in said.mentions),
            thread_hints=() if private or thread else (f"thread:{ts}",),
            addressed=private or said.to_us,
        )
    ]


def _changed(us: Us, room: str, message: Json, previous: Json) -> Sequence[Inbound]:
    """An edit is a new `edited` and a new text: previews and reply counts change messages as well."""
    if message.get("subtype") == "tombstone":  # a deleted parent that keeps its thread
        return _deleted(us, room, str(message["ts"]), previous, message)
    if _of_a_bot(us, message) or not message.get("user"):
        return ()
    edited = as_dict(message.get("edited"))
    text = str(message.get("text") or "")
    if (
        not edited
        or edited == previous.get("edited")
        or (previous and text == str(previous.get("text") or ""))
    ):
        return ()
    ts = str(message["ts"])
    said = understand(text, us.bot_user_id)
    author = _author(us, message, {})
    return [
        Inbound(
            address=us.address(room, str(message.get("thread_ts") or "")),
            event_id=f"{room}:{ts}:edit:{edited.get('ts', '')}",
            author=Author(author.user_id, author.name, may_command=False),
            text=_with_shared(said.text, message),
            sent_at=at(edited.get("ts"), us.received_at),
            kind=Kind.EDIT,
            target_id=f"{room}:{ts}",
            private=is_direct(room),
            mentions=tuple(f"{us.team_id}:{user}" for user in said.mentions),
            attachments=tuple(_files(message)),
            may_acknowledge=False,
        )
    ]


def _deleted(us: Us, room: str, ts: str, previous: Json, event: Json) -> Sequence[Inbound]:
    if _of_a_bot(us, previous):
        return ()
    author = _author(us, previous, {}) if previous.get("user") else Author("")
    return [
        Inbound(
            address=us.address(room, str(previous.get("thread_ts") or "")),
            event_id=f"{room}:{ts}:deleted",
            author=Author(author.user_id, author.name, may_command=False),
            text="",
            sent_at=at(event.get("event_ts"), us.received_at),
            kind=Kind.DELETE,
            target_id=f"{room}:{ts}",
            private=is_direct(room),
            may_acknowledge=False,
        )
    ]


def _reaction(us: Us, raw: Raw, event: Json) -> Sequence[Inbound]:
    item = as_dict(event.get("item"))
    user = str(event.get("user") or "")
    if item.get("type") != "message" or not user:
        return [unknown(us, raw, str(event["type"]), str(item.get("channel") or ""), user)]
    if user == us.bot_user_id:
        return ()
    sign = "+" if event["type"] == "reaction_added" else "-"
    name = str(event["reaction"]).partition("::")[0]  # without its skin tone
    room, ts = str(item["channel"]), str(item["ts"])
    return [
        Inbound(
            address=us.address(room),
            event_id=f"{room}:{ts}:{sign}{name}:{user}:{event.get('event_ts', '')}",
            author=us.author(user),
            text="",
            sent_at=at(event.get("event_ts"), us.received_at),
            kind=Kind.REACTION,
            action=sign + name,
            target_id=f"{room}:{ts}",
            private=is_direct(room),
            may_acknowledge=False,
        )
    ]


def _of_a_bot(us: Us, message: Json) -> bool:
    by_app = bool(message.get("bot_id")) or message.get("subtype") == "bot_message"
    return by_app or message.get("user") in (us.bot_user_id or None, "USLACKBOT")


def _author(us: Us, message: Json, payload: Json) -> Author:
    del payload  # its team_id is where the app is installed, which is not the author's in a shared channel
    profile = as_dict(message.get("user_profile"))
    team = (
        message.get("user_team") or message.get("source_team") or profile.get("team") or message.get("team")
    )
    return us.author(str(message["user"]), str(team or ""), profile)


def _shared(message: Json) -> list[Json]:
    """Messages that a person passed on: they come as attachments."""
    found = [as_dict(a) for a in message.get("attachments") or ()]
    return [a for a in found if a.get("is_share") or a.get("is_msg_unfurl")]


def _with_shared(text: str, message: Json) -> str:
    """The words, and below them what the person passed on."""
    parts = [text] if text else []
    for shared in _shared(message):
        lines = understand(str(shared.get("text") or shared.get("fallback") or "")).text.splitlines()
        parts.append("\n".join(f"> {line}" for line in lines))
    return "\n".join(p for p in parts if p)


def _files(message: Json) -> list[Attachment]:
    found = [as_dict(f) for f in message.get("files") or ()]
    for attachment in message.get("attachments") or ():
        if as_dict(attachment).get("is_share"):
            found += [as_dict(f) for f in as_dict(attachment).get("files") or ()]
    return [_file(f) for f in found if f.get("id") or f.get("url_private")]


def _file(entry: Json) -> Attachment:
    """`ref` is the private address; where Slack Connect or a limit withholds it, "id:" and the file's id."""
    url = entry.get("url_private_download") or entry.get("url_private")
    if entry.get("mode") == "external":  # somebody else's storage: not ours to fetch
        url = None
    content_type = str(entry.get("mimetype") or "application/octet-stream")
    size = entry.get("size")
    kind = VOICE.get(str(entry.get("subtype") or "")) or KINDS.get(content_type.partition("/")[0], "file")
    return Attachment(
        filename=str(entry.get("name") or entry.get("title") or entry.get("id") or "file"),
        content_type=content_type,
        size=size if isinstance(size, int) and not isinstance(size, bool) else None,
        ref=str(url) if url else f"id:{entry.get('id', '')}",
        kind=kind,
    )


def at(ts: Any, otherwise: datetime) -> datetime:
    """The time in a Slack timestamp ("1700000000.000100")."""
    if not isinstance(ts, str) or not re.fullmatch(r"\d{1,11}(\.\d{1,9})?", ts):
        return otherwise
    return datetime.fromtimestamp(float(ts), UTC)
