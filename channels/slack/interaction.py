"""Turn button presses, submitted forms, shortcuts and slash commands into values. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from channels.conversation import Author, Inbound, Kind, Raw
from channels.slack.envelope import Json, Us, as_dict, is_direct, metadata, unknown
from channels.slack.text import understand


def decode_slash(us: Us, raw: Raw, payload: Json) -> Sequence[Inbound]:
    """A slash command: text is "/name args", the trigger opens a form."""
    room = str(payload["channel_id"])
    said = understand(str(payload.get("text") or ""))
    author = us.author(
        str(payload["user_id"]), str(payload.get("team_id") or ""), {"name": payload.get("user_name")}
    )
    return [
        Inbound(
            address=us.address(room),
            event_id=raw.event_id,
            author=author,
            text=f"{payload['command']} {said.text}".strip(),
            sent_at=us.received_at,
            kind=Kind.COMMAND,
            trigger=str(payload.get("trigger_id") or ""),
            private=is_direct(room),
            mentions=tuple(f"{us.team_id}:{user}" for user in said.mentions),
        )
    ]


def decode_interactive(us: Us, raw: Raw, payload: Json) -> Sequence[Inbound]:
    match payload.get("type"):
        case "block_actions":
            return _pressed(us, raw, payload)
        case "view_submission":
            return [_submitted(us, raw, payload)]
        case "message_action" | "shortcut":
            return [_shortcut(us, raw, payload)]
        case other:
            return [unknown(us, raw, str(other), user=str(as_dict(payload.get("user")).get("id", "")))]


def _person(us: Us, payload: Json) -> Author:
    user = as_dict(payload["user"])
    team = user.get("team_id") or as_dict(payload.get("team")).get("id") or ""
    return us.author(str(user["id"]), str(team), user)


def _pressed(us: Us, raw: Raw, payload: Json) -> Sequence[Inbound]:
    """Pressed buttons. The address is the thread under a card; in a direct message there is no thread."""
    message, container = as_dict(payload.get("message")), as_dict(payload.get("container"))
    room = str(as_dict(payload.get("channel")).get("id") or container.get("channel_id") or "")
    ts = str(message.get("ts") or container.get("message_ts") or "")
    thread = str(message.get("thread_ts") or container.get("thread_ts") or "")
    author = _person(us, payload)
    target = f"{room}:{ts}" if room else str(as_dict(payload.get("view")).get("id") or "")
    if not room:
        room = f"home:{as_dict(payload['user'])['id']}"
    elif not thread and not is_direct(room) and not container.get("is_ephemeral"):
        thread = ts
    found: list[Inbound] = []
    for number, entry in enumerate(payload.get("actions") or ()):
        action = as_dict(entry)
        if action.get("url") and not action.get("value"):
            continue  # the browser opened it; there is nothing to do here
        chosen = as_dict(action.get("selected_option")).get("value")
        found.append(
            Inbound(
                address=us.address(room, thread),
                event_id=f"{raw.event_id}:{number}" if number else raw.event_id,
                author=author,
                text="",
                sent_at=us.received_at,
                kind=Kind.ACTION,
                action=str(action.get("value") or chosen or action.get("action_id") or ""),
                target_id=target,
                trigger=str(payload.get("trigger_id") or ""),
                private=is_direct(room) or room.startswith("home:"),
            )
        )
    return found


def _submitted(us: Us, raw: Raw, payload: Json) -> Inbound:
    view = as_dict(payload["view"])
    room, thread, action = metadata(view)
    author = _person(us, payload)
    values: dict[str, str] = {}
    for inputs in as_dict(as_dict(view.get("state")).get("values")).values():
        for name, entry in as_dict(inputs).items():
            chosen = as_dict(entry.get("selected_option")).get("value")
            values[str(name)] = str(entry.get("value") or chosen or "")
    return Inbound(
        address=us.address(room or f"home:{as_dict(payload['user'])['id']}", thread),
        event_id=raw.event_id,
        author=author,
        text="",
        sent_at=us.received_at,
        kind=Kind.ACTION,
        action=action or str(view.get("callback_id") or ""),
        values=values,
        target_id=str(view.get("id") or ""),
        trigger=str(payload.get("trigger_id") or ""),
        private=is_direct(room) or not room or room.startswith("home:"),
    )


def _shortcut(us: Us, raw: Raw, payload: Json) -> Inbound:
    """A message shortcut: action is its callback_id, values carry the message's text and author."""
    message = as_dict(payload.get("message"))
    room = str(as_dict(payload.get("channel")).get("id") or "")
    ts = str(message.get("ts") or payload.get("message_ts") or "")
    author = _person(us, payload)
    values = {}
    if message:
        values["text"] = understand(str(message.get("text") or ""), us.bot_user_id).text
        if message.get("user"):
            team = str(message.get("user_team") or message.get("team") or us.team_id)
            values["author"] = f"{team}:{message['user']}"
    thread = "" if is_direct(room) else str(message.get("thread_ts") or ts)
    return Inbound(
        address=us.address(room or f"home:{as_dict(payload['user'])['id']}", thread if room else ""),
        event_id=raw.event_id,
        author=author,
        text="",
        sent_at=us.received_at,
        kind=Kind.ACTION,
        action=str(payload.get("callback_id") or ""),
        values=values,
        target_id=f"{room}:{ts}" if room else "",
        trigger=str(payload.get("trigger_id") or ""),
        private=is_direct(room) or not room,
    )
