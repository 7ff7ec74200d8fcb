"""The methods of the fake Telegram, each as strict as the Bot API's own, and the chats they work on."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fakes import telegram_rules as rules
from tests.fakes.telegram_rules import Refused, bad

MEDIA = {
    "sendPhoto": "photo",
    "sendDocument": "document",
    "sendVideo": "video",
    "sendAnimation": "animation",
    "sendAudio": "audio",
    "sendVoice": "voice",
}
DEFAULT_UPDATES = {"message", "edited_message", "channel_post", "callback_query", "my_chat_member", "poll"}


@dataclass
class SentMessage:
    """A message of the bot, as it looks now."""

    chat_id: int
    message_id: int
    kind: str  # text | photo | document | …
    text: str = ""  # or the caption
    entities: list[dict[str, Any]] = field(default_factory=list)
    markup: dict[str, Any] | None = None
    thread_id: int = 0
    reply_to: int = 0
    album: str = ""
    file: bytes = b""
    filename: str = ""
    edits: int = 0
    deleted: bool = False
    reactions: list[str] = field(default_factory=list)
    at: float = 0.0
    text_mode: str = ""  # parse_mode, if somebody used one

    @property
    def id(self) -> str:
        return f"{self.chat_id}:{self.message_id}"

    @property
    def buttons(self) -> list[str]:
        return [b["text"] for row in (self.markup or {}).get("inline_keyboard", ()) for b in row]

    def button(self, label: str) -> dict[str, Any]:
        """The first button whose label is, or contains, `label`."""
        all_buttons = [b for row in (self.markup or {}).get("inline_keyboard", ()) for b in row]
        for button in sorted(all_buttons, key=lambda b: b["text"] != label):
            if label in button["text"]:
                return dict(button)
        raise LookupError(f"no button {label!r} among {self.buttons}")


class Methods:
    """What the far side remembers, and what it does when it is called."""

    def __init__(
        self, *, token: str = "4242:fake-token", username: str = "desk_bot", name: str = "Desk"
    ) -> None:
        self.token = token
        self.me = {
            "id": int(token.split(":")[0]),
            "is_bot": True,
            "first_name": name,
            "username": username,
            "can_join_groups": True,
            "can_read_all_group_messages": True,
            "supports_inline_queries": False,
        }
        self.messages: list[SentMessage] = []
        self.said: dict[tuple[int, int], dict[str, Any]] = {}  # what people wrote, by (chat, message)
        self.reactions: dict[tuple[int, int], list[str]] = {}
        self.answered: list[str] = []  # callback query ids
        self.commands: dict[tuple[str, str], list[dict[str, str]]] = {}  # by (scope as JSON, language)
        self.topics: dict[tuple[int, int], str] = {}
        self.closed_topics: set[tuple[int, int]] = set()
        self.webhook: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.chats: dict[int, dict[str, Any]] = {}
        self.blocked: set[int] = set()  # chats that refuse the bot: 403
        self.moved: dict[int, int] = {}  # old group id to new
        self.violations: list[str] = []  # sent before a retry_after was over, twice the same poll …
        self.pending: list[dict[str, Any]] = []  # updates not confirmed by an offset
        self.confirmed: list[int] = []
        self.told_at: dict[
            int, float
        ] = {}  # update id → time.monotonic() at which it was there to be fetched
        self.acks: list[float] = []  # seconds until an update was confirmed
        self._quiet_until: dict[int | None, float] = {}
        self._message_ids: dict[int, itertools.count[int]] = {}
        self._callbacks: dict[str, float] = {}
        self._numbers = itertools.count(1)
        self._changed = asyncio.Condition()
        self._poll: asyncio.Task[Any] | None = None

    async def _getMe(self, _p: dict[str, Any], _f: Any) -> Any:
        return self.me

    async def _getUpdates(self, params: dict[str, Any], _f: Any) -> Any:
        if self.webhook:
            raise Refused(
                409,
                "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete "
                "the webhook first",
            )
        offset = int(params.get("offset") or 0)
        limit = int(params.get("limit") or 100)
        kinds = set(rules.parsed(params["allowed_updates"], "list")) if "allowed_updates" in params else None
        if self._poll is not None:
            self._poll.cancel()
        self._poll = asyncio.current_task()
        me = self._poll
        try:
            if offset:
                self.confirm([u["update_id"] for u in self.pending if u["update_id"] < offset])
                self.pending = [u for u in self.pending if u["update_id"] >= offset]
            deadline = time.monotonic() + float(params.get("timeout") or 0)
            while True:
                ready = [u for u in self.pending if wanted(u, kinds)][:limit]
                left = deadline - time.monotonic()
                if ready or left <= 0:
                    return ready
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left), self._changed:
                        await self._changed.wait()
        except asyncio.CancelledError:
            if self._poll is me:
                raise
            raise Refused(
                409,
                "Conflict: terminated by other getUpdates request; make sure that only one bot instance is "
                "running",
            ) from None
        finally:
            if self._poll is me:
                self._poll = None

    def confirm(self, updates: list[int]) -> None:
        now = time.monotonic()
        self.confirmed += updates
        self.acks += [now - self.told_at[u] for u in updates if u in self.told_at]

    async def _setWebhook(self, params: dict[str, Any], _f: Any) -> Any:
        secret = params.get("secret_token", "")
        if not all(c.isascii() and (c.isalnum() or c in "_-") for c in secret) or len(secret) > 256:
            raise bad("secret token contains unallowed characters")
        kinds = params.get("allowed_updates")
        self.webhook = {"url": params.get("url", ""), "secret": secret} if params.get("url") else {}
        self.webhook |= {"kinds": set(rules.parsed(kinds, "list"))} if kinds and self.webhook else {}
        if params.get("drop_pending_updates") in ("true", "True", True):
            self.violations.append("pending updates were dropped")
        return True

    async def _deleteWebhook(self, params: dict[str, Any], files: Any) -> Any:
        return await self._setWebhook({**params, "url": ""}, files)

    async def _getWebhookInfo(self, _p: dict[str, Any], _f: Any) -> Any:
        return {
            "url": self.webhook.get("url", ""),
            "has_custom_certificate": False,
            "pending_update_count": len(self.pending),
        }

    def _scope(self, params: dict[str, Any]) -> tuple[str, str]:
        scope = rules.parsed(params.get("scope") or '{"type":"default"}', "scope")
        if scope["type"] == "chat":
            self._chat({"chat_id": str(scope.get("chat_id"))})
        return json.dumps(scope, sort_keys=True), params.get("language_code", "")

    async def _setMyCommands(self, params: dict[str, Any], _f: Any) -> Any:
        self.commands[self._scope(params)] = rules.check_commands(params["commands"])
        return True

    async def _deleteMyCommands(self, params: dict[str, Any], _f: Any) -> Any:
        self.commands.pop(self._scope(params), None)
        return True

    async def _sendMessage(self, params: dict[str, Any], _f: Any) -> Any:
        chat_id, message = self._new(params, "text")
        message.text = str(params.get("text", ""))
        message.entities = rules.check_text(message.text, params.get("entities"), limit=rules.TEXT_LIMIT)
        return self._post(chat_id, message)

    async def _media(self, params: dict[str, Any], files: Mapping[str, tuple[str, bytes]]) -> Any:
        kind = MEDIA[params["_method"]]
        chat_id, message = self._new(params, kind)
        self._caption(message, params)
        self._attach(message, params.get(kind) or kind, files)
        return self._post(chat_id, message)

    async def _sendMediaGroup(self, params: dict[str, Any], files: Mapping[str, tuple[str, bytes]]) -> Any:
        media = rules.parsed(params.get("media"), "media")
        if not 2 <= len(media) <= 10:
            raise bad("group send failed: must include 2-10 items")
        kinds = {m.get("type") for m in media}
        if not kinds <= {"photo", "video"} and len(kinds) > 1:
            raise bad("documents and audio can't be mixed with other media types")
        group = str(next(self._numbers) + 14_000_000)
        made = []
        for item in media:
            chat_id, message = self._new(params, item["type"])
            message.album = group
            self._caption(message, item)
            self._attach(message, item.get("media"), files)
            made.append((chat_id, message))
        return [self._post(c, m) for c, m in made]

    async def _sendChatAction(self, params: dict[str, Any], _f: Any) -> Any:
        if params.get("action") not in ("typing", "upload_photo", "upload_document", "upload_video"):
            raise bad("wrong parameter action in request")
        self._chat(params)
        return True

    async def _editMessageText(self, params: dict[str, Any], _f: Any) -> Any:
        message = self._own(params, "edit")
        if message.kind != "text":
            raise bad("there is no text in the message to edit")
        text = str(params.get("text", ""))
        entities = rules.check_text(text, params.get("entities"), limit=rules.TEXT_LIMIT)
        return self._edited(message, text=text, entities=entities, markup=_markup(params))

    async def _editMessageCaption(self, params: dict[str, Any], _f: Any) -> Any:
        message = self._own(params, "edit")
        if message.kind == "text":
            raise bad("there is no caption in the message to edit")
        text, entities = str(params.get("caption", "")), params.get("caption_entities")
        entities = rules.check_text(text, entities, limit=rules.CAPTION_LIMIT, caption=True)
        return self._edited(message, text=text, entities=entities, markup=_markup(params))

    async def _editMessageReplyMarkup(self, params: dict[str, Any], _f: Any) -> Any:
        return self._edited(self._own(params, "edit"), markup=_markup(params))

    async def _deleteMessage(self, params: dict[str, Any], _f: Any) -> Any:
        self._own(params, "delete").deleted = True
        return True

    async def _setMessageReaction(self, params: dict[str, Any], _f: Any) -> Any:
        chat_id = self._chat(params)
        key = chat_id, int(params.get("message_id") or 0)
        own = self._find(*key)
        if key not in self.said and own is None:
            raise bad("message to react not found")
        self.reactions[key] = rules.check_reaction(params.get("reaction"))
        if own is not None:
            own.reactions = self.reactions[key]
        return True

    async def _answerCallbackQuery(self, params: dict[str, Any], _f: Any) -> Any:
        query = str(params.get("callback_query_id"))
        if query not in self._callbacks or time.monotonic() - self._callbacks[query] > 15:
            raise bad("query is too old and response timeout expired or query ID is invalid")
        self.answered.append(query)
        return True

    async def _createForumTopic(self, params: dict[str, Any], _f: Any) -> Any:
        chat_id = self._chat(params)
        name = str(params.get("name", ""))
        if not self.chats[chat_id].get("is_forum"):
            raise bad("the chat is not a forum")
        if not len(name.strip()) >= 1 or len(name) > 128:
            raise bad("TOPIC_NAME_INVALID")
        thread = self._message_id(chat_id)
        self.topics[chat_id, thread] = name
        return {"message_thread_id": thread, "name": name, "icon_color": 7322096}

    async def _editForumTopic(self, params: dict[str, Any], _f: Any) -> Any:
        topic = self._topic(params)
        name = str(params.get("name", ""))
        if len(name) > 128:
            raise bad("TOPIC_NAME_INVALID")
        if name == self.topics[topic]:
            raise bad("TOPIC_NOT_MODIFIED")
        self.topics[topic] = name or self.topics[topic]
        return True

    async def _closeForumTopic(self, params: dict[str, Any], _f: Any) -> Any:
        topic = self._topic(params)
        if topic in self.closed_topics:
            raise bad("TOPIC_NOT_MODIFIED")
        self.closed_topics.add(topic)
        return True

    async def _reopenForumTopic(self, params: dict[str, Any], _f: Any) -> Any:
        topic = self._topic(params)
        if topic not in self.closed_topics:
            raise bad("TOPIC_NOT_MODIFIED")
        self.closed_topics.discard(topic)
        return True

    def _topic(self, params: Mapping[str, Any]) -> tuple[int, int]:
        topic = self._chat(params), int(params.get("message_thread_id") or 0)
        if topic not in self.topics:
            raise bad("TOPIC_ID_INVALID")
        return topic

    async def _getFile(self, params: dict[str, Any], _f: Any) -> Any:
        content = self.files.get(str(params.get("file_id")))
        if content is None:
            raise bad("invalid file_id")
        if len(content) > 20 << 20:
            raise bad("file is too big")
        name = str(params["file_id"])
        described = {"file_id": name, "file_unique_id": f"U{name}", "file_size": len(content)}
        return described | {"file_path": f"documents/{name}.bin"}

    async def _getChat(self, params: dict[str, Any], _f: Any) -> Any:
        return self.chats[self._chat(params)]

    async def _getChatMember(self, params: dict[str, Any], _f: Any) -> Any:
        self._chat(params)
        rights = {"can_manage_topics": True, "can_delete_messages": True}
        return {"status": "administrator", "user": self.me, **rights}

    # --- the parts -----------------------------------------------------------------------------------------

    def _chat(self, params: Mapping[str, Any]) -> int:
        try:
            chat_id = int(params["chat_id"])
        except (KeyError, ValueError):
            raise bad("chat_id is empty" if not params.get("chat_id") else "chat not found") from None
        now = time.monotonic()
        for key in (None, chat_id):
            if now < self._quiet_until.get(key, 0.0) - 0.01:
                left = int(self._quiet_until[key] - now) + 1
                self.violations.append(f"chat {chat_id} was called {left} s before retry_after was over")
                raise Refused(429, f"Too Many Requests: retry after {left}", retry_after=left)
        if chat_id in self.moved:
            new = self.moved[chat_id]
            words = "Bad Request: group chat was upgraded to a supergroup chat"
            raise Refused(400, words, migrate_to_chat_id=new)
        if chat_id in self.blocked:
            raise Refused(403, "Forbidden: bot was blocked by the user")
        if chat_id not in self.chats:
            raise bad("chat not found")
        return chat_id

    def _new(self, params: Mapping[str, Any], kind: str) -> tuple[int, SentMessage]:
        chat_id = self._chat(params)
        thread = int(params.get("message_thread_id") or 0)
        if thread and (chat_id, thread) not in self.topics:
            raise bad("message thread not found")
        message = SentMessage(chat_id, 0, kind, thread_id=thread, markup=_markup(params), at=time.monotonic())
        message.text_mode = str(params.get("parse_mode") or "")
        if params.get("reply_parameters"):
            reply = rules.parsed(params["reply_parameters"], "reply parameters")
            target = int(reply.get("message_id") or 0)
            if (chat_id, target) in self.said or self._find(chat_id, target):
                message.reply_to = target
            elif not reply.get("allow_sending_without_reply"):
                raise bad("message to be replied not found")
        return chat_id, message

    def _caption(self, message: SentMessage, params: Mapping[str, Any]) -> None:
        message.text = str(params.get("caption") or "")
        message.entities = rules.check_text(
            message.text, params.get("caption_entities"), limit=rules.CAPTION_LIMIT, caption=True
        )

    def _attach(self, message: SentMessage, source: Any, files: Mapping[str, tuple[str, bytes]]) -> None:
        name = str(source or "").removeprefix("attach://")
        if name in files:
            message.filename, message.file = files[name]
        elif name in self.files:
            message.filename, message.file = name, self.files[name]
        else:
            raise bad(f"there is no {message.kind} in the request")
        if not message.file:
            raise bad("file must be non-empty")
        if len(message.file) > (rules.PHOTO_LIMIT if message.kind == "photo" else rules.UPLOAD_LIMIT):
            raise Refused(413, "Request Entity Too Large")
        if message.kind == "photo" and not message.file.startswith(
            (b"\x89PNG", b"\xff\xd8", b"GIF8", b"RIFF")
        ):
            raise bad("IMAGE_PROCESS_FAILED")

    def _post(self, chat_id: int, message: SentMessage) -> dict[str, Any]:
        message.message_id = self._message_id(chat_id)
        self.messages.append(message)
        return self._shown(message)

    def _own(self, params: Mapping[str, Any], verb: str) -> SentMessage:
        message = self._find(self._chat(params), int(params.get("message_id") or 0))
        if message is None or message.deleted:
            raise bad(f"message to {verb} not found")
        return message

    def _find(self, chat_id: int, message_id: int) -> SentMessage | None:
        return next((m for m in self.messages if (m.chat_id, m.message_id) == (chat_id, message_id)), None)

    def _edited(self, message: SentMessage, **new: Any) -> dict[str, Any]:
        if all(getattr(message, k) == v for k, v in new.items()):
            raise bad(
                "message is not modified: specified new message content and reply markup are exactly the "
                "same as a current content and reply markup of the message"
            )
        for key, value in new.items():
            setattr(message, key, value)
        message.edits += 1
        return self._shown(message)

    def _shown(self, message: SentMessage | dict[str, Any]) -> dict[str, Any]:
        """A message as updates and answers show it."""
        if isinstance(message, dict):
            return {k: v for k, v in message.items() if k != "reply_to_message"}
        out: dict[str, Any] = {
            "message_id": message.message_id,
            "date": int(time.time()),
            "chat": self.chats[message.chat_id],
            "from": {k: self.me[k] for k in ("id", "is_bot", "first_name", "username")},
        }
        if message.kind == "text":
            out["text"] = message.text
        elif message.text:
            out["caption"] = message.text
        if message.thread_id:
            out |= {"message_thread_id": message.thread_id, "is_topic_message": True}
        if message.markup and "inline_keyboard" in message.markup:
            out["reply_markup"] = message.markup
        return out

    def _private(self, user_id: int) -> dict[str, Any]:
        who = self.user(user_id)
        chat = {"id": user_id, "type": "private", "first_name": who["first_name"]}
        chat |= {"username": who["username"]} if "username" in who else {}
        return self.chats.setdefault(user_id, chat)

    def _message_id(self, chat_id: int) -> int:
        return next(self._message_ids.setdefault(chat_id, itertools.count(11)))


def wanted(update: Mapping[str, Any], kinds: set[str] | None) -> bool:
    wanted = kinds or DEFAULT_UPDATES
    known = {"message_reaction", "chat_member", "inline_query", "poll_answer", *DEFAULT_UPDATES}
    return any(k in wanted or k not in known for k in update if k != "update_id")


def _markup(params: Mapping[str, Any]) -> dict[str, Any] | None:
    return rules.check_markup(params.get("reply_markup"))
