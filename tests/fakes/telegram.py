"""The far side of the Telegram channel: a Bot API that checks and refuses like the real one.

async with FakeTelegram() as tg:                     # tg.url is the api_base, tg.token the token
    tg.user_says(7, "Where is my order?")
    await tg.until(lambda: tg.sent(7))
    tg.press(7, tg.sent(7)[-1], "Yes")
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from tests.fakes import telegram_rules as rules
from tests.fakes.telegram_api import BotApi, Call, Fault
from tests.fakes.telegram_methods import SentMessage

__all__ = ["Call", "FakeTelegram", "Fault", "SentMessage"]


class FakeTelegram(BotApi):
    """The Bot API together with the people who use it."""

    # --- what people do ------------------------------------------------------------------------------------

    def user_says(self, user_id: int, text: str, **how: Any) -> dict[str, Any]:
        """A person writes, in private or in `chat_id`. See `user_sends`."""
        entities = []
        if text.startswith("/"):
            entities = [{"type": "bot_command", "offset": 0, "length": rules.utf16(text.split()[0])}]
        content: dict[str, Any] = {"text": text}
        if entities:
            content["entities"] = entities
        return self.user_sends(user_id, **content, **how)

    def user_sends(
        self,
        user_id: int,
        *,
        chat_id: int | None = None,
        thread_id: int = 0,
        reply_to: SentMessage | dict[str, Any] | None = None,
        name: str = "",
        username: str = "",
        language: str = "",
        **content: Any,
    ) -> dict[str, Any]:
        """A person sends any content (`photo=[…]`, `location={…}` …). Return the message."""
        who = self.user(user_id, name=name, username=username, language=language)
        chat = self.chats[chat_id] if chat_id is not None else self._private(user_id)
        message: dict[str, Any] = {
            "message_id": self._message_id(chat["id"]),
            "date": int(time.time()),
            "chat": chat,
            "from": who,
        }
        if thread_id:
            message |= {"message_thread_id": thread_id, "is_topic_message": True}
        if reply_to is not None:
            message["reply_to_message"] = self._shown(reply_to)
        message |= content
        self.said[chat["id"], message["message_id"]] = message
        self.update(message=message)
        return message

    def user_sends_file(
        self, user_id: int, content: bytes, filename: str = "file.bin", *, kind: str = "document", **how: Any
    ) -> dict[str, Any]:
        """A person sends a file: document, photo, voice, audio, video, animation, video_note or sticker."""
        mime = {"photo": "", "voice": "audio/ogg", "audio": "audio/mpeg", "video": "video/mp4"}
        described: Any = self.keep(content) | {
            "mime_type": how.pop("mime_type", mime.get(kind, "text/plain"))
        }
        if kind in ("document", "audio", "video", "animation"):
            described["file_name"] = filename
        if kind == "photo":
            small = self.keep(content[:10]) | {"width": 90, "height": 60}
            described.pop("mime_type")
            described = [small, described | {"width": 1280, "height": 800}]
        return self.user_sends(user_id, **{kind: described}, **how)

    def user_sends_album(self, user_id: int, *contents: bytes, **how: Any) -> list[dict[str, Any]]:
        """A person sends several photos as one album: one update each."""
        group = str(next(self._numbers) + 13_000_000)
        caption = how.pop("caption", "")
        out = []
        for number, content in enumerate(contents):
            extra = {"caption": caption} if caption and number == 0 else {}
            out.append(
                self.user_sends_file(user_id, content, kind="photo", media_group_id=group, **extra, **how)
            )
        return out

    def edits(self, message: dict[str, Any], text: str) -> dict[str, Any]:
        """A person edits their own message."""
        changed = message | {"text": text, "edit_date": int(time.time())}
        self.said[message["chat"]["id"], message["message_id"]] = changed
        self.update(edited_message=changed)
        return changed

    def press(self, user_id: int, message: SentMessage, label: str) -> str:
        """A person presses a button under one of the bot's messages. Return the id of the callback query."""
        button = message.button(label)
        query = str(10**15 + next(self._numbers))
        self._callbacks[query] = time.monotonic()
        self.update(
            callback_query={
                "id": query,
                "from": self.user(user_id),
                "message": self._shown(message),
                "chat_instance": "1",
                "data": button["callback_data"],
            }
        )
        return query

    def reacts(self, user_id: int, message: SentMessage | dict[str, Any], new: str, old: str = "") -> None:
        """A person sets a reaction ("" takes it away)."""
        shown = self._shown(message)
        self.update(
            message_reaction={
                "chat": shown["chat"],
                "message_id": shown["message_id"],
                "user": self.user(user_id),
                "date": int(time.time()),
                "old_reaction": [{"type": "emoji", "emoji": e} for e in old.split()],
                "new_reaction": [{"type": "emoji", "emoji": e} for e in new.split()],
            }
        )

    def blocks(self, user_id: int) -> None:
        """A person blocks the bot: told as my_chat_member, sends are refused from now on."""
        self._member(user_id, "member", "kicked")
        self.blocked.add(user_id)

    def unblocks(self, user_id: int) -> None:
        self.blocked.discard(user_id)
        self._member(user_id, "kicked", "member")

    def shares_contact(self, user_id: int, phone: str, *, own: bool = True, **how: Any) -> dict[str, Any]:
        contact = {"phone_number": phone, "first_name": self.user(user_id)["first_name"]}
        return self.user_sends(user_id, contact=contact | {"user_id": user_id if own else 99}, **how)

    def add_group(self, chat_id: int, title: str = "Group", *, forum: bool = False) -> dict[str, Any]:
        """A (super)group that has the bot; ids below -10¹² are supergroups."""
        chat = {"id": chat_id, "title": title, "type": "supergroup" if chat_id < -(10**12) else "group"}
        self.chats[chat_id] = chat | ({"is_forum": True} if forum else {})
        return self.chats[chat_id]

    def migrates(self, old: int, new: int) -> None:
        """A group becomes a supergroup: service messages in both, the old id is refused from now on."""
        before = self.chats[old]
        after = self.add_group(new, before["title"])
        self.moved[old] = new
        bot = {"date": int(time.time()), "from": self.user(1)}
        told = {"chat": before, "message_id": self._message_id(old), "migrate_to_chat_id": new}
        self.update(message=bot | told)
        told = {"chat": after, "message_id": self._message_id(new), "migrate_from_chat_id": old}
        self.update(message=bot | told)

    def _member(self, user_id: int, old: str, new: str) -> None:
        bot = {k: self.me[k] for k in ("id", "is_bot", "first_name", "username")}
        self.update(
            my_chat_member={
                "chat": self._private(user_id),
                "from": self.user(user_id),
                "date": int(time.time()),
                "old_chat_member": {"user": bot, "status": old, "until_date": 0},
                "new_chat_member": {"user": bot, "status": new, "until_date": 0},
            }
        )

    # --- what tests ask ------------------------------------------------------------------------------------

    def sent(self, chat_id: int | None = None, thread_id: int | None = None) -> list[SentMessage]:
        """The bot's messages that are there now, oldest first."""
        return [
            m
            for m in self.messages
            if not m.deleted
            and (chat_id is None or m.chat_id == chat_id)
            and (thread_id is None or m.thread_id == thread_id)
        ]

    def texts(self, chat_id: int | None = None, thread_id: int | None = None) -> list[str]:
        return [m.text for m in self.sent(chat_id, thread_id)]

    def called(self, method: str) -> list[dict[str, Any]]:
        """The parameters of each call of a method."""
        return [c.params for c in self.calls if c.method == method]

    async def until(self, condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
        """Wait until the condition holds: looked at after each call, and each 20 ms."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.02), self._changed:
                        await self._changed.wait()

    def fail(self, method: str, what: str, **how: Any) -> Fault:
        """Let the next call(s) of a method ("*": any but getUpdates) go wrong; see Fault."""
        fault = Fault(what, **how)
        self._faults[method].append(fault)
        return fault
