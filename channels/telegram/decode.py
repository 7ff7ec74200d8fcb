"""A stored update becomes values. Pure; what cannot be understood is Kind.UNKNOWN, never an exception."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from channels.conversation import Address, Author, Inbound, Kind, Raw
from channels.telegram import content
from channels.telegram.content import Json

COMMAND = re.compile(r"/([A-Za-z0-9_]{1,64})(?:@([A-Za-z0-9_]{3,64}))?(?=\s|$)")
HERE, AWAY = frozenset({"member", "administrator", "creator"}), frozenset({"kicked", "left"})


@dataclass(frozen=True, slots=True)
class Me:
    """Who we are on Telegram; "" is not known."""

    id: str
    username: str


def envelope(update: Json, me: Me) -> bytes:
    """The body of a Raw: the update, and who received it."""
    whole = {"bot": {"id": me.id, "username": me.username}, "update": update}
    return json.dumps(whole, ensure_ascii=True, separators=(",", ":")).encode()


def to_raw(channel: str, update: Json, me: Me, now: datetime) -> Raw:
    """An update as it is stored. An item of an album asks to wait for the others."""
    _, event = _event(update)
    album = isinstance(event.get("media_group_id"), str)
    return Raw(
        channel=channel,
        event_id=str(update["update_id"]),
        lane=_lane(event),
        body=envelope(update, me),
        received_at=now,
        wait_s=1.0 if album else 0.0,
    )


def decode(raw: Raw, *, username: str = "", all_addressed: bool = False) -> list[Inbound]:
    """What an update says. `username` is ours, for updates stored while it was not known."""
    try:
        whole = json.loads(raw.body)
        update, bot = whole["update"], whole.get("bot") or {}
        me = Me(str(bot.get("id") or ""), str(bot.get("username") or username))
        kind, event = _event(update)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [_unknown(raw, {})]
    try:
        found = _dispatch(raw, kind, event, me)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        # A known kind of another shape than documented: keep what can be seen of it.
        return [_unknown(raw, event)]
    return [replace(i, addressed=True) for i in found] if all_addressed else found


def _dispatch(raw: Raw, kind: str, event: Json, me: Me) -> list[Inbound]:
    match kind:
        case "message":
            return _message(raw, event, me)
        case "edited_message":
            return _edit(raw, event, me)
        case "callback_query":
            return _action(raw, event)
        case "message_reaction":
            return _reactions(raw, event)
        case "my_chat_member":
            return _membership(raw, event)
    return [_unknown(raw, event, kind)]


def _event(update: Json) -> tuple[str, Json]:
    for key, value in update.items():
        if key != "update_id" and isinstance(value, Mapping):
            return key, value
    return "", {}


def _lane(event: Json) -> str:
    for place in (event, content.mapping(event, "message")):
        chat = content.mapping(place, "chat").get("id")
        if chat is not None:
            return str(chat)
    who = content.mapping(event, "from") or content.mapping(event, "user")
    return str(who.get("id", ""))


def _message(raw: Raw, message: Json, me: Me) -> list[Inbound]:
    chat = message["chat"]
    address = _address(raw, message)
    moved = message.get("migrate_to_chat_id")
    if moved:
        return [_base(raw, message, Kind.MOVED, text=str(moved))]
    if message.get("migrate_from_chat_id"):
        old = Address(raw.channel, str(message["migrate_from_chat_id"]))
        return [replace(_base(raw, message, Kind.MOVED, text=address.room_id), address=old)]
    if content.is_service(message):
        return [_base(raw, message, Kind.UNKNOWN)]
    private = _is_private(chat)
    text = content.text_of(message)
    command = COMMAND.match(text)
    to_us = False
    if command and not private:
        named = (command[2] or me.username).lower()
        if me.username and named != me.username.lower():
            return []
        to_us = True
    if command and command[2] and command[2].lower() == me.username.lower():
        text = f"/{command[1]}{text[command.end() :]}"
    inbound = _base(raw, message, Kind.MESSAGE, text=text)
    inbound = replace(
        inbound,
        in_reply_to_id=_reply_to(message),
        attachments=content.attachments_of(message),
        mentions=_mentions(message),
        addressed=private or to_us or _names_us(message, me),
        album=content.string(message, "media_group_id"),
        full_text=_quoting(message, text),
        author=_with_phone(inbound.author, message),
    )
    start = re.fullmatch(r"/start(?:\s+(\S.*))?", inbound.text.strip(), re.S)
    if private and start and not _forwarded(message):
        return [replace(inbound, kind=Kind.START, text=(start[1] or "").strip())]
    return [inbound]


def _edit(raw: Raw, message: Json, me: Me) -> list[Inbound]:
    target = _message_id(message)
    event_id = f"{target}:edit:{raw.event_id}"
    author = replace(_author(message), may_command=False)
    edit = _base(raw, message, Kind.EDIT, text=content.text_of(message))
    private = _is_private(message["chat"])
    return [
        replace(
            edit,
            event_id=event_id,
            target_id=target,
            author=author,
            attachments=content.attachments_of(message),
            in_reply_to_id=_reply_to(message),
            mentions=_mentions(message),
            addressed=private or _names_us(message, me),
            sent_at=_when(message.get("edit_date"), raw),
        )
    ]


def _action(raw: Raw, query: Json) -> list[Inbound]:
    who = query["from"]
    message = content.mapping(query, "message")
    room = message if message else {"chat": {"id": who["id"], "type": "private"}}
    data = query.get("data")
    if not isinstance(data, str):
        return [_unknown(raw, query)]
    return [
        Inbound(
            address=_address(raw, room),
            event_id=f"cb:{query['id']}",
            author=_person(who),
            text="",
            sent_at=raw.received_at,
            kind=Kind.ACTION,
            action=data,
            target_id=_message_id(message) if message else "",
            trigger=str(query["id"]),
            private=_is_private(room["chat"]),
        )
    ]


def _reactions(raw: Raw, event: Json) -> list[Inbound]:
    who, chat = content.mapping(event, "user"), content.mapping(event, "actor_chat")
    author = _person(who) if who else _anonymous(chat)
    old, new = ([_emoji(r) for r in content.items(event, key)] for key in ("old_reaction", "new_reaction"))
    changes = [f"-{e}" for e in old if e not in new] + [f"+{e}" for e in new if e not in old]
    target = _message_id(event)
    return [
        Inbound(
            address=_address(raw, event),
            event_id=f"{target}:reaction:{raw.event_id}:{number}",
            author=author,
            text="",
            sent_at=_when(event.get("date"), raw),
            kind=Kind.REACTION,
            action=change,
            target_id=target,
            private=_is_private(event["chat"]),
        )
        for number, change in enumerate(changes)
    ]


def _membership(raw: Raw, event: Json) -> list[Inbound]:
    old, new = (content.string(content.mapping(event, f"{k}_chat_member"), "status") for k in ("old", "new"))
    kind = Kind.UNKNOWN
    if new in AWAY:
        kind = Kind.GONE
    elif new in HERE and (old in AWAY or not old):
        kind = Kind.BACK
    event_id = f"{event['chat']['id']}:member:{raw.event_id}"
    return [replace(_base(raw, {"message_id": 0, **event}, kind), event_id=event_id)]


def _base(raw: Raw, message: Json, kind: Kind, *, text: str = "") -> Inbound:
    return Inbound(
        address=_address(raw, message),
        event_id=_message_id(message),
        author=_author(message),
        text=text,
        sent_at=_when(message.get("date"), raw),
        kind=kind,
        private=_is_private(message["chat"]),
    )


def _unknown(raw: Raw, event: Json, kind: str = "") -> Inbound:
    who = content.mapping(event, "from") or content.mapping(event, "user")
    author = _person(who) if "id" in who else Author("", may_command=False)
    room = Address(raw.channel, raw.lane)
    event_id = f"update:{raw.event_id}"
    return Inbound(room, event_id, author, "", raw.received_at, Kind.UNKNOWN, action=kind, addressed=False)


def _address(raw: Raw, message: Json) -> Address:
    thread = message.get("message_thread_id") if message.get("is_topic_message") else None
    return Address(raw.channel, str(message["chat"]["id"]), str(thread or ""))


def _is_private(chat: Json) -> bool:
    """Whether it is a one-to-one chat: these have the person's id, which is positive."""
    kind = chat.get("type")
    return kind == "private" or (kind is None and content.integer(chat, "id") > 0)


def _message_id(message: Json) -> str:
    return f"{message['chat']['id']}:{message['message_id']}"


def _author(message: Json) -> Author:
    """Who wrote. Behind a sender_chat (anonymous admin, channel) `from` is an account shared by everybody."""
    sender_chat = content.mapping(message, "sender_chat")
    if sender_chat:
        return _anonymous(sender_chat)
    author = _person(message.get("from") or {})
    foreign = _forwarded(message) or any(
        message.get(k) for k in ("via_bot", "edit_date", "sender_business_bot", "guest_bot_caller_user")
    )
    return replace(author, may_command=author.may_command and not foreign)


def _anonymous(chat: Json) -> Author:
    handle = content.string(chat, "username")
    name = content.string(chat, "title")
    return Author(str(chat.get("id", "")), name, f"@{handle}" if handle else "", may_command=False)


def _person(who: Json) -> Author:
    name = f"{content.string(who, 'first_name')} {content.string(who, 'last_name')}".strip()
    handle = content.string(who, "username")
    is_bot = bool(who.get("is_bot"))
    return Author(
        user_id=str(who.get("id", "")),
        name=name,
        handle=f"@{handle}" if handle else "",
        language=content.string(who, "language_code") or None,
        is_bot=is_bot,
        may_command="id" in who and not is_bot,
    )


def _with_phone(author: Author, message: Json) -> Author:
    """A shared contact proves a number only when it is the sender's own and shared at first hand."""
    contact = content.mapping(message, "contact")
    own = str(contact.get("user_id", "")) == author.user_id != ""
    if contact and own and not _forwarded(message) and not message.get("via_bot"):
        return replace(author, verified_phone=content.phone(contact) or None)
    return author


def _forwarded(message: Json) -> bool:
    return any(message.get(k) for k in ("forward_origin", "forward_date", "is_automatic_forward"))


def _reply_to(message: Json) -> str:
    """The message this answers. In a topic everything formally answers the topic's first service message."""
    target = content.mapping(message, "reply_to_message")
    if not target or "forum_topic_created" in target or "message_id" not in target:
        return ""
    if message.get("is_topic_message") and target["message_id"] == message.get("message_thread_id"):
        return ""
    chat = content.mapping(target, "chat").get("id", message["chat"]["id"])
    return f"{chat}:{target['message_id']}"


def _quoting(message: Json, text: str) -> str:
    """The text below what it answers, or below whose words it passes on, when that is told."""
    quote = content.string(content.mapping(message, "quote"), "text")
    if not quote and _reply_to(message):
        quote = content.text_of(content.mapping(message, "reply_to_message"))
    above = [f"> {line}" for line in quote.splitlines()]
    origin = content.mapping(message, "forward_origin")
    if origin:
        above.append(f"↪ {_origin(origin)}".strip())
    return "\n".join(above) + f"\n\n{text}" if above else ""


def _origin(origin: Json) -> str:
    """Who wrote a forwarded message first."""
    user = content.mapping(origin, "sender_user")
    chat = content.mapping(origin, "sender_chat") or content.mapping(origin, "chat")
    return _person(user).name or content.string(chat, "title") or content.string(origin, "sender_user_name")


def _mentions(message: Json) -> tuple[str, ...]:
    users = (content.mapping(e, "user").get("id") for e in content.entities_of(message))
    return tuple(str(u) for u in users if u is not None)


def _names_us(message: Json, me: Me) -> bool:
    target = content.mapping(message, "reply_to_message")
    if _reply_to(message) and me.id and str(content.mapping(target, "from").get("id", "")) == me.id:
        return True
    if me.id and me.id in _mentions(message):
        return True
    text = content.string(message, "text") or content.string(message, "caption")
    return bool(me.username) and bool(
        re.search(rf"(?<![A-Za-z0-9_@])@{re.escape(me.username)}(?![A-Za-z0-9_])", text, re.I)
    )


def _emoji(reaction: Any) -> str:
    if not isinstance(reaction, Mapping):
        return "?"
    if reaction.get("type") == "custom_emoji":
        return f":{reaction.get('custom_emoji_id', '')}:"
    return content.string(reaction, "emoji") or ("⭐" if reaction.get("type") == "paid" else "?")


def _when(seconds: Any, raw: Raw) -> datetime:
    if not isinstance(seconds, int) or seconds <= 0:
        return raw.received_at
    return datetime.fromtimestamp(seconds, UTC)
