"""The Telegram channel: puts receiving, decoding and sending together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from aiogram.methods import GetChat, GetChatMember, GetFile, GetMe, GetWebhookInfo
from aiohttp import web
from structlog import get_logger

from channels.base import Capabilities, Check, Door, FetchFailed, Quiet, RetryLater, Setup, Undeliverable
from channels.conversation import Address, Attachment, Author, Inbound, Outbound, Raw, Sent
from channels.telegram import decode as decoding
from channels.telegram.api import DOWNLOAD_LIMIT, Api, Refused
from channels.telegram.keyboards import Keyboards
from channels.telegram.limits import Limits
from channels.telegram.receive import Receiver, Sleep, webhook_problem
from channels.telegram.render import TEXT_LIMIT
from channels.telegram.sender import Sender
from channels.telegram.settings import Settings

log = get_logger()


class TelegramChannel(Quiet):
    """One bot. `sleep` is given in tests."""

    kind: ClassVar[str] = "telegram"

    def __init__(self, setup: Setup, *, sleep: Sleep = asyncio.sleep) -> None:
        self.name = setup.name
        self.caps = Capabilities(
            attests=True,
            threads=True,
            buttons=True,
            edit=True,
            delete=True,
            marks=True,
            files_out=True,
            private=True,
            commands=True,
            text_limit=TEXT_LIMIT,
            typing=True,
            menus=True,
            shared_rooms=r"-\d+",
        )
        self._setup = setup
        self._settings = Settings.model_validate(dict(setup.settings))
        self._named(self._settings.username)
        self.exclusive = self._settings.mode == "polling"  # Telegram answers one long poll a bot
        token = self._settings.token.get_secret_value()
        self._api = Api(token, self._settings.api_base, self._settings.request_timeout_s)
        limits = Limits(self._settings.messages_per_s, self._settings.group_per_minute)
        keyboards = Keyboards()
        self._receiver = Receiver(setup, self._settings, self._api, limits, keyboards, sleep, self._named)
        self._sender = Sender(setup.name, self._api, limits, keyboards, sleep)

    def _named(self, username: str) -> None:
        if username:
            self.caps = replace(self.caps, start_link=f"https://t.me/{username.lstrip('@')}?start=")

    async def run(self, door: Door) -> None:
        await self._receiver.run(door)

    def decode(self, raw: Raw) -> Sequence[Inbound]:
        return decoding.decode(
            raw,
            username=self._settings.username,
            all_addressed=self._settings.group_messages == "all",
        )

    async def send(self, message: Outbound) -> Sent:
        return await self._sender.send(message)

    async def types(self, address: Address) -> None:
        try:
            await self._sender.types(address)
        except (RetryLater, Undeliverable) as error:
            log.debug("telegram_not_typing", channel=self.name, reason=error.reason)

    async def close(self) -> None:
        await self._api.close()

    def routes(self, door: Door) -> Sequence[web.RouteDef]:
        if self._settings.mode != "webhook":
            return ()

        async def receive(request: web.Request) -> web.Response:
            return await self._receiver.receive(door, request)

        return (web.post(self._receiver.path, receive),)

    async def fetch(self, attachment: Attachment) -> bytes:
        """Download by file_id; up to 20 MB, which is what bots may have."""
        if (attachment.size or 0) > DOWNLOAD_LIMIT:
            raise FetchFailed("larger than the 20 MB that Telegram gives to bots", final=True)
        try:
            found = await self._api.call(GetFile(file_id=attachment.ref))
            path = found.get("file_path") if isinstance(found, dict) else None
            if not path:
                raise FetchFailed("Telegram names no place to fetch the file from")
            content = await self._api.download(str(path))
        except RetryLater as later:
            raise FetchFailed(later.reason) from later
        except Refused as refused:
            passing = refused.status in (401, 404) or refused.says("temporarily unavailable", "try again")
            raise FetchFailed(refused.description, final=not passing) from refused
        expected = found.get("file_size")
        if isinstance(expected, int) and expected != len(content):
            raise FetchFailed(f"{len(content)} of {expected} bytes came")
        page = content[:15].lstrip().lower().startswith((b"<!doctype html", b"<html"))
        if page and expected is None and "html" not in attachment.content_type:
            raise FetchFailed("a web page came in place of the file")
        return content

    async def profile(self, user_id: str) -> Author | None:
        try:
            chat = await self._api.call(GetChat(chat_id=user_id))
        except (Refused, RetryLater):
            return None
        if not isinstance(chat, dict) or chat.get("type") != "private":
            return None
        name = f"{chat.get('first_name') or ''} {chat.get('last_name') or ''}".strip()
        handle = chat.get("username")
        return Author(user_id, name, f"@{handle}" if handle else "")

    async def check(self) -> Sequence[Check]:
        table = f"[channels.{self.name}]"
        try:
            me = await self._api.call(GetMe())
        except Refused as refused:
            fix = f"Put the token @BotFather gave you into {table}."
            return [Check("Telegram token", "fail", refused.description, fix)]
        except RetryLater as later:
            fix = "Look at the network, a proxy, and api_base."
            return [Check("Telegram", "fail", later.reason, fix)]
        me = me if isinstance(me, dict) else {}
        found = [Check("Telegram token", "ok", f"@{me.get('username', '')}")]
        try:
            found += await self._check_delivery(table)
            found += await self._check_staff_room(me)
        except (Refused, RetryLater) as error:
            found.append(Check("Telegram", "warn", str(error)))
        return found

    async def _check_delivery(self, table: str) -> list[Check]:
        info = await self._api.call(GetWebhookInfo())
        url = info.get("url") if isinstance(info, dict) else ""
        if self._settings.mode == "webhook":
            if not self._setup.public_url:
                fix = "Set [http] public_url, or point Telegram here yourself."
                return [Check("Telegram webhook", "warn", "public_url is not set", fix)]
            problem = webhook_problem(info, self._setup.public_url.rstrip("/") + self._receiver.path)
            if problem is None:
                return [Check("Telegram webhook", "ok", str(url))]
            fix = "It is set when the service starts; look at [http] public_url and the proxy before us."
            return [Check("Telegram webhook", "fail", problem, fix)]
        if url:
            fix = "It is removed when the service starts. If another program needs it, give it its own bot."
            return [Check("Telegram polling", "warn", "a webhook is set for this bot", fix)]
        try:
            # Without an offset nothing is confirmed by looking.
            await self._api.post("getUpdates", {"timeout": "0", "limit": "1"})
        except Refused as refused:
            if refused.status != 409:
                raise
            fix = f"Stop it, or use another bot in {table}."
            detail = "another program polls with this token (409 Conflict)"
            return [Check("Telegram polling", "fail", detail, fix)]
        return [Check("Telegram polling", "ok")]

    async def _check_staff_room(self, me: dict[str, object]) -> list[Check]:
        room = self._settings.staff_channel
        if not room:
            return []
        what = "Telegram staff group"
        try:
            chat = await self._api.call(GetChat(chat_id=room))
            member = await self._api.call(GetChatMember(chat_id=room, user_id=int(str(me.get("id") or 0))))
        except Refused as refused:
            fix = "Add the bot to the group; staff_channel is its id (-100…)."
            if refused.migrate_to:
                fix = f'The group has a new id: write staff_channel = "{refused.migrate_to}" into the configuration.'
            return [Check(what, "fail", refused.description, fix)]
        if not (isinstance(chat, dict) and chat.get("is_forum")):
            return [Check(what, "fail", "topics are off", "Turn on Topics in the group's settings.")]
        admin = isinstance(member, dict) and member.get("status") in ("administrator", "creator")
        if not admin or not member.get("can_manage_topics", True):
            fix = "Make the bot an administrator that may manage topics."
            return [Check(what, "fail", "the bot may not open topics", fix)]
        return [Check(what, "ok", str(chat.get("title") or ""))]
