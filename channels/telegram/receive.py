"""Receiving: our own poll loop and the webhook. Nothing is confirmed to Telegram before it is durable."""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from aiogram.methods import (
    AnswerCallbackQuery,
    DeleteWebhook,
    EditMessageReplyMarkup,
    GetMe,
    GetWebhookInfo,
    SetMyCommands,
    SetWebhook,
)
from aiogram.types import BotCommand, BotCommandScopeChat
from aiohttp import web

from channels.base import ConfigError, Door, RetryLater, Setup
from channels.telegram.api import Api, Refused
from channels.telegram.decode import Me, to_raw
from channels.telegram.keyboards import Keyboards
from channels.telegram.limits import Limits
from channels.telegram.render import keyboard_without_actions
from channels.telegram.settings import Settings

log = structlog.get_logger()

# Several of these are not in Telegram's default set.
ALLOWED_UPDATES = ["message", "edited_message", "callback_query", "my_chat_member", "message_reaction"]
BATCH = 100  # getUpdates.limit
CONFLICT_WAIT_S = 3.0
PACE_S = 0.2
SETTLED_S = 5.0  # two consumers take turns: one good answer does not mean that the other is gone
ALARM_S = 3600.0  # Telegram keeps updates for 24 hours: say so well before
FORGET_OFFSET_S = 6 * 86400.0  # after a week without updates their numbers start anew, at random
PATIENCE_S = 30.0  # a keyboard that cannot be taken away by then stays: presses are recognised
WORKERS = 4  # callback queries answered at once
WEBHOOK_LOOK_S = 300.0
STORE_TIMEOUT_S = 20.0

Sleep = Callable[[float], Awaitable[None]]


class Backoff:
    """Waits that double from half a second to half a minute, with up to a quarter of chance."""

    def __init__(self) -> None:
        self.failures = 0

    def next_s(self) -> float:
        self.failures += 1
        base = min(30.0, 0.25 * 2.0 ** min(self.failures, 10))
        return base * (1 + secrets.randbelow(250) / 1000)


class Receiver:
    """One bot's updates, by either way."""

    def __init__(
        self,
        setup: Setup,
        settings: Settings,
        api: Api,
        limits: Limits,
        keyboards: Keyboards,
        sleep: Sleep,
        named: Callable[[str], None],
    ) -> None:
        self._setup = setup
        self._settings = settings
        self._api = api
        self._limits = limits
        self._keyboards = keyboards
        self._sleep = sleep
        self._named = named  # told the bot's username
        number = settings.token.get_secret_value().partition(":")[0]
        self.me = Me(number if number.isdigit() else "", settings.username)
        self._pressed: asyncio.Queue[tuple[float, Mapping[str, Any]]] = asyncio.Queue(1000)
        self._up_at = time.monotonic()
        self._conflict_at = -SETTLED_S

    async def run(self, door: Door) -> None:
        await self._ask_who_we_are(door)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WORKERS):
                tasks.create_task(self._answer_presses())
            tasks.create_task(self._register_commands())
            if self._settings.mode == "polling":
                tasks.create_task(self._poll(door))
            else:
                tasks.create_task(self._keep_webhook(door))

    # --- polling -------------------------------------------------------------------------------------------

    async def _poll(self, door: Door) -> None:
        # Without an offset Telegram begins with the oldest update that is not confirmed; what is stored
        # already is recognised at the door. A stored offset could skip updates after their numbers changed.
        offset: int | None = None
        backoff = Backoff()
        quiet_since = time.monotonic()
        up = False  # the first look, and the first after a failure, does not wait: we are soon known to be up
        await self._delete_webhook()
        while True:
            asked_at = time.monotonic()
            try:
                updates = await self._get_updates(offset, self._settings.poll_timeout_s if up else 0)
                if updates:
                    last = max(u["update_id"] for u in updates)
                    await self._store(door, updates, cursor=str(last + 1))
                    offset = last + 1
                    for update in updates:
                        self._after(update)
                now = time.monotonic()
                self._up_at = now
                quiet_since = now if updates else quiet_since
                if now - quiet_since > FORGET_OFFSET_S:
                    offset = None
                backoff.failures = 0
                hasty = up and not updates and now - asked_at < PACE_S
                up = True
                if updates or now - self._conflict_at > SETTLED_S:
                    door.report(None)
                if hasty:  # a server that does not hold the question open would be asked without a pause
                    await self._sleep(PACE_S)
                continue
            except Refused as refused:
                wait_s = await self._refused(door, refused, backoff)
            except RetryLater as later:
                wait_s = max(backoff.next_s(), later.after_s or 0.0)
                door.report(self._since(later.reason))
                log.warning("telegram_poll_failed", channel=self._setup.name, reason=later.reason)
            except Exception:
                # The store, or an answer of another shape than documented. Nothing is confirmed: go on.
                wait_s = backoff.next_s()
                door.report("Updates from Telegram cannot be stored; they wait there and are fetched again.")
                log.exception("telegram_updates_not_stored", channel=self._setup.name)
            up = False
            await self._sleep(wait_s)

    async def _get_updates(self, offset: int | None, timeout_s: int) -> list[dict[str, Any]]:
        """Ask by plain HTTP: an update of a kind aiogram does not know must be stored like any other."""
        params = {
            "timeout": str(timeout_s),
            "limit": str(BATCH),
            "allowed_updates": json.dumps(ALLOWED_UPDATES),
        }
        if offset is not None:
            params["offset"] = str(offset)
        answer = await self._api.post(
            "getUpdates", params, timeout_s=timeout_s + self._settings.request_timeout_s
        )
        if not isinstance(answer, list):
            raise RetryLater("getUpdates answered without a list")
        return [u for u in answer if isinstance(u, dict) and isinstance(u.get("update_id"), int)]

    async def _refused(self, door: Door, refused: Refused, backoff: Backoff) -> float:
        if refused.status == 409 and refused.says("webhook"):
            door.report("A webhook is set for this Telegram bot, so polling gets nothing; it is removed.")
            await self._delete_webhook()
            return backoff.next_s()
        if refused.status == 409:
            door.report(
                "Another program polls Telegram with the same token (409 Conflict): stop it, or give each "
                "its own bot."
            )
            self._conflict_at = time.monotonic()
            return CONFLICT_WAIT_S
        if refused.status in (401, 404):
            door.report("Telegram refuses the token: it was revoked or mistyped.")
        else:
            door.report(self._since(f"Telegram refuses getUpdates: {refused.status}"))
        log.warning("telegram_poll_refused", channel=self._setup.name, status=refused.status)
        return backoff.next_s()

    def _since(self, reason: str) -> str:
        down_s = time.monotonic() - self._up_at
        if down_s < ALARM_S:
            return reason
        hours = int(down_s // 3600)
        return f"{reason}; no updates for {hours} h, and Telegram keeps them for 24 h only"

    async def _delete_webhook(self) -> None:
        """Polling needs it. What waits at Telegram stays there: pending updates are never dropped."""
        try:
            await self._api.call(DeleteWebhook())
        except (Refused, RetryLater) as error:
            log.warning("telegram_webhook_not_deleted", channel=self._setup.name, reason=str(error))

    # --- webhook -------------------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        return f"/telegram/{self._setup.name}"

    async def receive(self, door: Door, request: web.Request) -> web.Response:
        """Check the secret, store, and only then say 200; 503 makes Telegram come again."""
        expected = self._settings.webhook_secret.get_secret_value().encode()
        given = request.headers.get("X-Telegram-Bot-Api-Secret-Token", "")
        if not expected or not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected):
            return web.Response(status=401)
        try:
            update = json.loads(await request.read())
        except (ValueError, RecursionError):
            return web.Response(status=400)
        if not isinstance(update, dict) or not isinstance(update.get("update_id"), int):
            return web.Response(status=400)
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                await self._store(door, [update])
        except Exception:
            log.exception("telegram_update_not_stored", channel=self._setup.name, update=update["update_id"])
            return web.Response(status=503)
        self._after(update)
        return web.Response()

    async def _keep_webhook(self, door: Door) -> None:
        """Set the webhook when we know our address, and look from time to time how it does."""
        base = self._setup.public_url.rstrip("/")
        if not base:
            door.report(None)  # somebody else points Telegram here
            await asyncio.Event().wait()
        method = SetWebhook(
            url=base + self.path,
            secret_token=self._settings.webhook_secret.get_secret_value(),
            allowed_updates=ALLOWED_UPDATES,
        )
        backoff = Backoff()
        while True:
            try:
                await self._api.call(method)
                break
            except (Refused, RetryLater) as error:
                door.report(f"Telegram does not take the webhook: {error}")
                log.warning("telegram_webhook_not_set", channel=self._setup.name, reason=str(error))
                await self._sleep(backoff.next_s())
        door.report(None)
        while True:
            await self._sleep(WEBHOOK_LOOK_S)
            try:
                found = await self._api.call(GetWebhookInfo())
            except (Refused, RetryLater) as error:
                door.report(f"Telegram cannot be asked about the webhook: {error}")
                continue
            door.report(webhook_problem(found, base + self.path))

    # --- both ----------------------------------------------------------------------------------------------

    async def _ask_who_we_are(self, door: Door) -> None:
        """Ask for our id and name; only a refused token ends the channel."""
        backoff = Backoff()
        while True:
            try:
                found = await self._api.call(GetMe())
            except Refused as refused:
                if refused.status in (401, 404):
                    raise ConfigError(
                        f"Telegram refuses the token of [channels.{self._setup.name}]: {refused.description}"
                    ) from refused
                reason, wait_s = str(refused), backoff.next_s()
            except RetryLater as later:
                reason, wait_s = later.reason, max(backoff.next_s(), later.after_s or 0.0)
            else:
                if isinstance(found, dict):
                    username = str(found.get("username") or self._settings.username)
                    self.me = Me(str(found.get("id") or self.me.id), username)
                    self._named(username)
                return
            door.report(self._since(reason))
            log.warning("telegram_unreachable", channel=self._setup.name, reason=reason)
            await self._sleep(wait_s)

    async def _store(self, door: Door, updates: list[dict[str, Any]], *, cursor: str | None = None) -> None:
        now = self._setup.clock()
        raws = [to_raw(self._setup.name, update, self.me, now) for update in updates]
        await door.accept(*raws, cursor=cursor)

    def _after(self, update: Mapping[str, Any]) -> None:
        query = update.get("callback_query")
        if isinstance(query, dict) and not self._pressed.full():
            self._pressed.put_nowait((time.monotonic(), query))

    async def _answer_presses(self) -> None:
        """Stop the button's clock and take the used keyboard away. Neither may hold up anything."""
        while True:
            pressed_at, query = await self._pressed.get()
            try:
                await self._answer_press(query)
                await self._take_keyboard(query, pressed_at)
            except (Refused, RetryLater) as error:
                # "query is too old", "message is not modified": as good as done.
                log.debug("telegram_press_not_answered", channel=self._setup.name, reason=str(error))
            except Exception:
                log.exception("telegram_press_not_answered", channel=self._setup.name)

    async def _answer_press(self, query: Mapping[str, Any]) -> None:
        try:
            await self._api.call(AnswerCallbackQuery(callback_query_id=str(query.get("id"))))
        except (Refused, RetryLater) as error:
            log.debug("telegram_press_not_answered", channel=self._setup.name, reason=str(error))

    async def _take_keyboard(self, query: Mapping[str, Any], pressed_at: float) -> None:
        message = query.get("message")
        chat = message.get("chat") if isinstance(message, dict) else None
        if not isinstance(message, dict) or not isinstance(chat, dict) or str(chat.get("id")).startswith("-"):
            return  # cards in staff rooms and groups are brought up to date by the desk
        chat_id, message_id = str(chat.get("id")), int(message["message_id"])
        held_s = self._limits.held(chat_id, time.monotonic())
        if held_s > PATIENCE_S:
            return
        await self._sleep(held_s)
        keep = keyboard_without_actions(message.get("reply_markup"))
        async with self._keyboards.removing(f"{chat_id}:{message_id}", pressed_at) as wanted:
            if wanted:
                await self._api.call(
                    EditMessageReplyMarkup(chat_id=chat_id, message_id=message_id, reply_markup=keep)
                )

    async def _register_commands(self) -> None:
        """Show the staff commands where staff work, and nowhere else: customers get no hint of them."""
        room = self._settings.staff_channel
        if not room:
            return
        for language, described in self._setup.commands.items():
            code = None if language == "en" else language.split("-")[0][:2]
            scope = BotCommandScopeChat(chat_id=room)
            try:
                method = SetMyCommands(commands=bot_commands(described), scope=scope, language_code=code)
                await self._api.call(method)
            except Exception as error:  # a convenience: it may not end the channel
                log.warning("telegram_commands_not_set", channel=self._setup.name, reason=str(error))


def bot_commands(described: Mapping[str, str]) -> list[BotCommand]:
    """Those that Telegram can list: at most a hundred, with names of small letters."""
    return [
        BotCommand(command=name, description=text[:256])
        for name, text in described.items()
        if name.isascii() and name.replace("_", "a").isalnum() and name.islower() and len(name) <= 32
        if text.strip()
    ][:100]


def webhook_problem(found: Any, expected: str) -> str | None:
    """What getWebhookInfo tells that an operator should know, in one sentence."""
    if not isinstance(found, dict):
        return None
    if found.get("url") != expected:
        return "Telegram's webhook of this bot points somewhere else; only one program can have it."
    if found.get("pending_update_count") and found.get("last_error_message"):
        return f"Telegram cannot deliver to the webhook: {found['last_error_message']}"
    return None
