"""What a Telegram message holds, as text and attachments. Nothing is left out: what has no words of its own
becomes a symbol with its facts, and what we have never heard of its name in brackets."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from channels.conversation import Attachment

Json = Mapping[str, Any]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Fields that say something about a message and are not its content.
ENVELOPE = _words(
    "message_id date chat message_thread_id direct_messages_topic from sender_chat "
    "sender_boost_count sender_business_bot sender_tag guest_query_id business_connection_id "
    "forward_origin is_topic_message is_automatic_forward reply_to_message external_reply quote "
    "reply_to_story reply_to_checklist_task_id reply_to_poll_option_id via_bot guest_bot_caller_user "
    "guest_bot_caller_chat edit_date has_protected_content is_from_offline is_paid_post "
    "media_group_id author_signature paid_star_count entities link_preview_options "
    "suggested_post_info effect_id caption caption_entities show_caption_above_media "
    "has_media_spoiler reply_markup forward_date forward_from forward_from_chat "
    "forward_from_message_id forward_sender_name forward_signature receiver_user "
    "ephemeral_message_id"
)
# Service messages: things that happen to a chat. They are events of no kind we know, not somebody's words.
SERVICE = _words(
    "new_chat_members left_chat_member chat_owner_left chat_owner_changed new_chat_title "
    "new_chat_photo delete_chat_photo group_chat_created supergroup_chat_created "
    "channel_chat_created message_auto_delete_timer_changed pinned_message connected_website "
    "write_access_allowed proximity_alert_triggered boost_added chat_background_set "
    "direct_message_price_changed forum_topic_created forum_topic_edited forum_topic_closed "
    "forum_topic_reopened general_forum_topic_hidden general_forum_topic_unhidden giveaway_created "
    "giveaway_completed managed_bot_created paid_message_price_changed video_chat_scheduled "
    "video_chat_started video_chat_ended video_chat_participants_invited community_chat_added "
    "community_chat_removed community_chat_joined new_chat_participant new_chat_member "
    "left_chat_participant"
)
FILES = {  # field: (kind of attachment, extension and type when none is told)
    "document": ("file", "bin", "application/octet-stream"),
    "video": ("video", "mp4", "video/mp4"),
    "animation": ("animation", "mp4", "video/mp4"),
    "audio": ("audio", "mp3", "audio/mpeg"),
    "voice": ("voice", "ogg", "audio/ogg"),
    "video_note": ("video", "mp4", "video/mp4"),
    "sticker": ("sticker", "webp", "image/webp"),
}


def text_of(message: Json) -> str:
    """The text or caption with the addresses of its links, then a line for what is no text and no file."""
    own = linked(string(message, "text"), items(message, "entities")) or linked(
        string(message, "caption"), items(message, "caption_entities")
    )
    return "\n".join(line for line in (own, *_placeholders(message)) if line)


def linked(text: str, entities: Iterable[Any]) -> str:
    """Append the address to each text that is a link to somewhere else: "label (url)"."""
    links = [
        (integer(e, "offset") + integer(e, "length"), integer(e, "offset"), str(e.get("url") or ""))
        for e in entities
        if isinstance(e, Mapping) and e.get("type") == "text_link"
    ]
    units = text.encode("utf-16-le", "surrogatepass")
    for end, start, url in sorted(links, reverse=True):
        label = _text16(units[2 * start : 2 * end])
        if url and label.strip().rstrip("/") != url.rstrip("/") and 0 <= start < end <= len(units) // 2:
            units = units[: 2 * end] + f" ({url})".encode("utf-16-le") + units[2 * end :]
    return _text16(units)


def entity_text(message: Json, entity: Json) -> str:
    """The part of the text or caption an entity is about."""
    text = string(message, "text") or string(message, "caption")
    start = integer(entity, "offset")
    return _text16(
        text.encode("utf-16-le", "surrogatepass")[2 * start : 2 * (start + integer(entity, "length"))]
    )


def entities_of(message: Json) -> list[Json]:
    found = items(message, "entities") or items(message, "caption_entities")
    return [e for e in found if isinstance(e, Mapping)]


def attachments_of(message: Json) -> tuple[Attachment, ...]:
    """The files of a message, each with its file_id as ref."""
    out: list[Attachment] = []
    sizes = [p for p in items(message, "photo") if isinstance(p, Mapping)]
    if sizes:
        best = max(sizes, key=lambda p: (integer(p, "width") * integer(p, "height"), integer(p, "file_size")))
        out.append(_attachment(best, "photo", "jpg", "image/jpeg"))
    for name, (kind, extension, content_type) in FILES.items():
        found = mapping(message, name)
        if found and not (name == "document" and "animation" in message):  # sent along for old clients
            if name == "sticker" and (found.get("is_animated") or found.get("is_video")):
                animated = bool(found.get("is_animated"))
                extension, content_type = (
                    ("tgs", "application/x-tgsticker") if animated else ("webm", "video/webm")
                )
            out.append(_attachment(found, kind, extension, content_type))
    vcard = string(mapping(message, "contact"), "vcard")
    if vcard:
        content = vcard.encode("utf-8", "replace")
        out.append(Attachment("contact.vcf", "text/vcard", len(content), content))
    return tuple(out)


def unknown_parts(message: Json) -> list[str]:
    """Names of what a message holds beyond the known."""
    known = ENVELOPE | SERVICE | FILES.keys() | _SHOWN.keys() | {"text", "photo"}
    return [k for k, v in message.items() if k not in known and not k.startswith("migrate_") and v]


def is_service(message: Json) -> bool:
    return any(k in SERVICE for k in message)


def _attachment(found: Json, kind: str, extension: str, content_type: str) -> Attachment:
    mime = string(found, "mime_type") or content_type
    name = re.sub(r"[\x00-\x1f\x7f]|.*[/\\]", "", string(found, "file_name"))[-120:].strip(". ")
    if not name:
        guessed = mimetypes.guess_extension(mime) if "mime_type" in found and kind == "file" else None
        unique = re.sub(r"[^A-Za-z0-9_-]", "", str(found.get("file_unique_id") or ""))
        name = f"{kind}_{unique or 'x'}{guessed or '.' + extension}"
    size = found.get("file_size")
    return Attachment(
        name, mime, size if isinstance(size, int) else None, ref=str(found.get("file_id") or ""), kind=kind
    )


def _placeholders(message: Json) -> list[str]:
    lines = [show(mapping(message, name)) for name, show in _SHOWN.items() if mapping(message, name)]
    return lines + [f"[{name}]" for name in unknown_parts(message)]


def _sticker(s: Json) -> str:
    return f"[sticker {string(s, 'emoji')}]".replace(" ]", "]")


def _contact(c: Json) -> str:
    parts = ("👤", string(c, "first_name"), string(c, "last_name"), phone(c))
    return " ".join(p for p in parts if p)


def phone(contact: Json) -> str:
    """The number as +digits; Telegram leaves the plus out at will."""
    digits = re.sub(r"[^0-9]", "", string(contact, "phone_number"))
    return f"+{digits}" if digits else ""


def _location(place: Json) -> str:
    lat, lon = place.get("latitude"), place.get("longitude")
    return f"📍 {lat},{lon} https://www.openstreetmap.org/?mlat={lat}&mlon={lon}#map=17/{lat}/{lon}"


def _venue(v: Json) -> str:
    return "\n".join(p for p in (string(v, "title"), string(v, "address")) if p)


def _poll(p: Json) -> str:
    options = [f"◦ {string(o, 'text')}" for o in items(p, "options") if isinstance(o, Mapping)]
    return "\n".join([f"📊 {string(p, 'question')}", *options])


def _checklist(c: Json) -> str:
    tasks = [t for t in items(c, "tasks") if isinstance(t, Mapping)]
    lines = [f"{'☑' if t.get('completion_date') else '☐'} {string(t, 'text')}" for t in tasks]
    return "\n".join([f"[checklist] {string(c, 'title')}", *lines])


def _money(p: Json) -> str:
    parts = ("🧾", string(p, "title"), str(p.get("total_amount", "")), string(p, "currency"))
    return " ".join(x for x in parts if x)


def _dice(d: Json) -> str:
    return f"{string(d, 'emoji') or '🎲'} {d.get('value', '')}".strip()


def _game(g: Json) -> str:
    return f"🎮 {string(g, 'title')}".strip()


def _web_app(w: Json) -> str:
    return f"[web app] {string(w, 'button_text')} {string(w, 'data')}".strip()


_SHOWN: dict[str, Callable[[Json], str]] = {
    "sticker": _sticker,
    "contact": _contact,
    "venue": _venue,
    "location": _location,
    "poll": _poll,
    "dice": _dice,
    "game": _game,
    "checklist": _checklist,
    "invoice": _money,
    "successful_payment": _money,
    "refunded_payment": _money,
    "web_app_data": _web_app,
}


def _text16(units: bytes) -> str:
    return units.decode("utf-16-le", "replace")


def string(found: Json, key: str) -> str:
    """A text field; lone surrogates and NUL, which no database takes, become visible or vanish."""
    value = found.get(key)
    if not isinstance(value, str):
        return ""
    if not value.isascii():
        value = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value.replace("\0", "")


def integer(found: Json, key: str) -> int:
    value = found.get(key)
    return value if isinstance(value, int) else 0


def items(found: Json, key: str) -> Sequence[Any]:
    value = found.get(key)
    return value if isinstance(value, list) else ()


def mapping(found: Json, key: str) -> Json:
    value = found.get(key)
    return value if isinstance(value, Mapping) else {}
