"""What the Bot API refuses, and with which words: the strict half of the fake Telegram."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

TEXT_LIMIT = 4096  # sendMessage.text, code points after entity parsing
CAPTION_LIMIT = 1024  # sendPhoto.caption
MARKUP_LIMIT = 10_000  # of a keyboard as JSON: seen, not documented
UPLOAD_LIMIT = 50 << 20
PHOTO_LIMIT = 10 << 20


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENTITY_TYPES = _words(
    "mention hashtag cashtag bot_command url email phone_number bold italic underline "
    "strikethrough spoiler blockquote expandable_blockquote code pre text_link "
    "text_mention custom_emoji"
)
REACTIONS = _words(
    "👍 👎 ❤ 🔥 🥰 👏 😁 🤔 🤯 😱 🤬 😢 🎉 🤩 🤮 💩 🙏 👌 🕊 🤡 🥱 🥴 😍 🐳 ❤\u200d🔥 🌚 🌭 💯 🤣 ⚡ 🍌 🏆 "
    "💔 🤨 😐 🍓 🍾 💋 🖕 😈 😴 😭 "
    "🤓 👻 👨\u200d💻 👀 🎃 🙈 😇 😨 🤝 ✍ 🤗 🫡 🎅 🎄 ☃ 💅 "
    "🤪 🗿 🆒 💘 🙉 🦄 😘 💊 🙊 😎 👾 🤷\u200d♂ 🤷 🤷\u200d♀ 😡"
)
_SEND = "chat_id message_thread_id reply_parameters reply_markup disable_notification protect_content"
_CAPTION = " caption caption_entities parse_mode show_caption_above_media has_spoiler"
PARAMETERS: dict[str, frozenset[str]] = {
    method: frozenset(names.split())
    for method, names in {
        "getMe": "",
        "getUpdates": "offset limit timeout allowed_updates",
        "setWebhook": "url secret_token allowed_updates max_connections drop_pending_updates ip_address",
        "deleteWebhook": "drop_pending_updates",
        "getWebhookInfo": "",
        "setMyCommands": "commands scope language_code",
        "deleteMyCommands": "scope language_code",
        "sendMessage": f"{_SEND} text entities parse_mode link_preview_options",
        "sendPhoto": f"{_SEND} photo {_CAPTION}",
        "sendDocument": f"{_SEND} document thumbnail disable_content_type_detection {_CAPTION}",
        "sendVideo": f"{_SEND} video duration width height supports_streaming {_CAPTION}",
        "sendAnimation": f"{_SEND} animation duration width height {_CAPTION}",
        "sendAudio": f"{_SEND} audio duration performer title {_CAPTION}",
        "sendVoice": f"{_SEND} voice duration {_CAPTION}",
        "sendMediaGroup": "chat_id message_thread_id media reply_parameters disable_notification",
        "sendChatAction": "chat_id message_thread_id action",
        "editMessageText": "chat_id message_id text entities parse_mode link_preview_options reply_markup",
        "editMessageCaption": "chat_id message_id caption caption_entities parse_mode reply_markup",
        "editMessageReplyMarkup": "chat_id message_id reply_markup",
        "deleteMessage": "chat_id message_id",
        "setMessageReaction": "chat_id message_id reaction is_big",
        "answerCallbackQuery": "callback_query_id text show_alert url cache_time",
        "createForumTopic": "chat_id name icon_color icon_custom_emoji_id",
        "editForumTopic": "chat_id message_thread_id name icon_custom_emoji_id",
        "closeForumTopic": "chat_id message_thread_id",
        "reopenForumTopic": "chat_id message_thread_id",
        "getFile": "file_id",
        "getChat": "chat_id",
        "getChatMember": "chat_id user_id",
    }.items()
}


class Refused(Exception):
    """An answer with ok=false."""

    def __init__(self, status: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.status = status
        self.description = description
        self.parameters = parameters


def bad(description: str) -> Refused:
    return Refused(400, f"Bad Request: {description}")


def utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def parsed(value: Any, what: str) -> Any:
    """A parameter that is JSON when it came through a form."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise bad(f"can't parse {what} JSON object") from None


def check_names(method: str, params: Mapping[str, Any], files: Mapping[str, Any]) -> None:
    """Refuse parameters a method does not have. (The real one ignores them.)"""
    for name in params:
        if name not in PARAMETERS[method] and name not in files:
            raise bad(f"unknown parameter {name!r}")


def check_text(text: Any, entities: Any, *, limit: int, caption: bool = False) -> list[dict[str, Any]]:
    """Check a text with its entities and return these."""
    text = "" if text is None else str(text)
    if not caption and not text.strip():
        raise bad("message text is empty")
    if len(text) > limit:
        raise bad("message caption is too long" if caption else "message is too long")
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise bad("strings must be encoded in UTF-8")
    if text != text.strip() and entities:
        raise bad("text has outer white space: entity offsets would shift")
    found = parsed(entities, "MessageEntity") if entities else []
    if not isinstance(found, list):
        raise bad("expected an Array of MessageEntity")
    units = text.encode("utf-16-le")
    spans: list[tuple[int, int, str]] = []
    for entity in found:
        kind, start, length = entity.get("type"), entity.get("offset"), entity.get("length")
        if kind not in ENTITY_TYPES:
            raise bad("unsupported MessageEntity type specified")
        if not isinstance(start, int) or not isinstance(length, int) or start < 0 or length <= 0:
            raise bad("entity has a wrong offset or length")
        end = start + length
        if 2 * end > len(units):
            raise bad(f"entity beginning at UTF-16 offset {start} ends after the end of the text")
        for edge in (start, end):
            if 2 * edge < len(units) and 0xDC <= units[2 * edge + 1] <= 0xDF:
                raise bad(f"entity beginning at UTF-16 offset {start} ends in a middle of a UTF-16 symbol")
        if kind == "text_link" and urlsplit(str(entity.get("url"))).scheme not in ("http", "https", "tg"):
            raise bad("entity has a wrong URL")
        for other_start, other_end, other in spans:
            if start < other_end and other_start < end:
                if "pre" in (kind, other) or "code" in (kind, other):
                    raise bad("pre and code entities can't contain other entities")
                nested = (start >= other_start and end <= other_end) or (
                    start <= other_start and end >= other_end
                )
                if not nested:
                    raise bad("entities overlap without being nested")
        spans.append((start, end, kind))
    return found


def check_markup(value: Any) -> dict[str, Any] | None:
    """Check a reply_markup and return it."""
    if value in (None, ""):
        return None
    markup = parsed(value, "reply keyboard markup")
    if not isinstance(markup, dict):
        raise bad("object expected as reply markup")
    if "force_reply" in markup:
        if len(markup.get("input_field_placeholder") or "x") > 64:
            raise bad("input field placeholder is too long")
        return markup
    if "inline_keyboard" not in markup:
        raise bad("unsupported reply markup")
    rows = markup["inline_keyboard"]
    if sum(len(row) for row in rows) > 100 or any(len(row) > 8 for row in rows):
        raise bad("reply markup is too long")
    if len(json.dumps(markup, ensure_ascii=False, separators=(",", ":")).encode()) > MARKUP_LIMIT:
        raise bad("reply markup is too long")  # fewer than a hundred buttons can be too long, too
    for button in (b for row in rows for b in row):
        if not str(button.get("text") or "").strip():
            raise bad("inline keyboard button text is empty")
        doing = [k for k in ("callback_data", "url", "web_app", "login_url") if button.get(k) is not None]
        if len(doing) != 1:
            raise bad("text buttons are unallowed in the inline keyboard")
        if "callback_data" in doing and not 1 <= len(button["callback_data"].encode()) <= 64:
            raise bad("BUTTON_DATA_INVALID")
        if "url" in doing:
            url = urlsplit(button["url"])
            if url.scheme not in ("http", "https", "tg") or (url.scheme != "tg" and "." not in url.netloc):
                raise bad(f"inline keyboard button URL '{button['url']}' is invalid: Wrong HTTP URL")
    return markup


def check_reaction(value: Any) -> list[str]:
    """Check the reactions a bot sets: at most one, from the list of allowed emoji."""
    reactions = parsed(value, "ReactionType") if value else []
    if len(reactions) > 1:
        raise bad("REACTIONS_TOO_MANY")
    for reaction in reactions:
        if reaction.get("type") != "emoji" or reaction.get("emoji") not in REACTIONS:
            raise bad("REACTION_INVALID")
    return [r["emoji"] for r in reactions]


def check_commands(value: Any) -> list[dict[str, str]]:
    commands = parsed(value, "BotCommand")
    if not isinstance(commands, list) or len(commands) > 100:
        raise bad("too many bot commands")
    for command in commands:
        name, description = str(command.get("command")), str(command.get("description"))
        if not 1 <= len(name) <= 32 or not all(c in "abcdefghijklmnopqrstuvwxyz0123456789_" for c in name):
            raise bad("BOT_COMMAND_INVALID")
        if not 1 <= len(description) <= 256:
            raise bad("BOT_COMMAND_DESCRIPTION_INVALID")
    return commands
