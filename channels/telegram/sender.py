"""Sending: a neutral message becomes calls to the Bot API, and their failures what the desk understands."""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, assert_never

import structlog
from aiogram import methods
from aiogram.methods import TelegramMethod
from aiogram.types import (
    BotCommandScopeChat,
    BufferedInputFile,
    ForceReply,
    InlineKeyboardMarkup,
    InputMediaAudio,
    InputMediaDocument,
    InputMediaPhoto,
    InputMediaVideo,
    LinkPreviewOptions,
    ReactionTypeEmoji,
    ReplyParameters,
)

from channels.base import RetryLater, Undeliverable
from channels.conversation import Address, Op, Outbound, Sent
from channels.rich import Fields, to_text
from channels.telegram import render
from channels.telegram.api import Api, Refused, TooMany
from channels.telegram.keyboards import Keyboards
from channels.telegram.limits import Limits
from channels.telegram.receive import Sleep, bot_commands

log = structlog.get_logger()

AUTH_RETRY_S = 60.0  # a token is exchanged by a person
PATIENCE_S = 5.0  # how long a send waits for its turn before it says so
UNFINISHED = 1000  # messages of which only a part is out, remembered for their repeat
TOPICS = 2000  # topics whose name and state are remembered, so that they are not set again and again
TOPIC_LIMIT = 128  # createForumTopic.name
# From the emoji a bot may react with.
MARKS = {"held": "✍", "sent": "👌", "failed": "😱", "unknown": "🤔", "withdrawn": "🙈"}
NO_PREVIEW = LinkPreviewOptions(is_disabled=True)
_ALBUM = {
    "photo": InputMediaPhoto,
    "video": InputMediaVideo,
    "document": InputMediaDocument,
    "audio": InputMediaAudio,
}


@dataclass(slots=True)
class Progress:
    """How far a message of several parts got, so that its repeat goes on from there."""

    thread_id: str = ""
    parts: int = 0
    ids: list[str] = field(default_factory=list)


class Sender:
    def __init__(self, name: str, api: Api, limits: Limits, keyboards: Keyboards, sleep: Sleep) -> None:
        self._name = name
        self._api = api
        self._limits = limits
        self._keyboards = keyboards
        self._sleep = sleep
        self._unfinished: OrderedDict[str, Progress] = OrderedDict()
        self._topics: OrderedDict[tuple[str, str], tuple[str, bool]] = OrderedDict()  # name, closed

    async def send(self, message: Outbound) -> Sent:
        match message.op:
            case Op.SEND | Op.FORM:
                return await self._post(message)
            case Op.EDIT:
                async with self._keyboards.editing(message.target_id):
                    sent = await self._edit(message)
                if message.closed is not None and message.address.thread_id:
                    await self._keep_topic(message, message.closed)
                return sent
            case Op.DELETE:
                return await self._delete(message)
            case Op.MARK:
                return await self._mark(message)
            case Op.TYPING:
                await self.types(message.address)
                return Sent("", message.address)
            case Op.MENU:
                return await self._menu(message)
            case _:
                assert_never(message.op)

    # --- what is asked -------------------------------------------------------------------------------------

    async def _post(self, message: Outbound) -> Sent:
        chat = message.private_to or message.address.room_id
        thread = "" if message.private_to else message.address.thread_id
        progress = self._unfinished.setdefault(message.key, Progress(thread_id=thread))
        while len(self._unfinished) > UNFINISHED:
            self._unfinished.popitem(last=False)
        rendered = render.render(message.reply, channel=self._name)
        if not rendered.pieces and not rendered.media:
            self._unfinished.pop(message.key, None)
            raise Undeliverable("the message is empty")
        try:
            if message.opens_thread and not progress.thread_id:
                progress.thread_id = await self._open_topic(chat, message)
            parts = _parts(rendered, chat, progress.thread_id, _number_in(message.in_reply_to_id, chat))
            await self._send_parts(chat, parts, progress)
        except Undeliverable as final:
            self._unfinished.pop(message.key, None)
            if message.private_to and final.gone:  # of that person, not of the room this is about
                raise Undeliverable(final.reason) from final
            raise
        self._unfinished.pop(message.key, None)
        address = Address(message.address.channel, chat, progress.thread_id)
        return Sent(progress.ids[0], address, tuple(progress.ids))

    async def _send_parts(self, chat: str, parts: list[TelegramMethod[Any]], progress: Progress) -> None:
        for part in parts[progress.parts :]:
            try:
                result = await self._patient(chat, part, later_part=progress.parts > 0)
            except RetryLater as later:
                if progress.parts and not later.maybe_sent:
                    raise RetryLater(later.reason, after_s=later.after_s, maybe_sent=True) from later
                raise
            except Undeliverable as final:
                if progress.parts and not final.gone and not final.moved_to:
                    raise Undeliverable(f"only a part was sent: {final.reason}") from final
                raise
            posted = result if isinstance(result, list) else [result]
            progress.ids += [_event_id(chat, one) for one in posted]
            progress.parts += 1

    async def _open_topic(self, chat: str, message: Outbound) -> str:
        name = _topic_name(message)
        created = await self._call(chat, methods.CreateForumTopic(chat_id=_chat(chat), name=name))
        thread = created.get("message_thread_id") if isinstance(created, dict) else None
        if not thread:
            raise RetryLater("Telegram did not name the new topic", maybe_sent=True)
        self._note_topic(chat, str(thread), name, False)
        return str(thread)

    async def _keep_topic(self, message: Outbound, closed: bool) -> None:
        """Let a topic be called as its ticket is now, closed or open as that is. What Telegram refuses here
        is no loss: the card says it."""
        chat, thread = message.address.room_id, message.address.thread_id
        name = _topic_name(message)
        known = self._topics.get((chat, thread), ("", None))
        where: dict[str, Any] = {"chat_id": _chat(chat), "message_thread_id": int(thread)}
        wanted: list[TelegramMethod[Any]] = []
        if name != known[0]:
            wanted.append(methods.EditForumTopic(name=name, **where))
        if closed != known[1]:
            wanted.append(methods.CloseForumTopic(**where) if closed else methods.ReopenForumTopic(**where))
        for method in wanted:
            try:
                await self._call(chat, method, expected=("TOPIC_NOT_MODIFIED",), counted=False)
            except _Expected:
                continue
            except (Undeliverable, RetryLater) as error:
                log.info("telegram_topic_not_kept", channel=self._name, reason=error.reason)
                return
        self._note_topic(chat, thread, name, closed)

    def _note_topic(self, chat: str, thread: str, name: str, closed: bool) -> None:
        self._topics[chat, thread] = (name, closed)
        self._topics.move_to_end((chat, thread))
        while len(self._topics) > TOPICS:
            self._topics.popitem(last=False)

    async def _edit(self, message: Outbound) -> Sent:
        chat, number = _target(message)
        rendered = render.render(message.reply, channel=self._name)
        pieces = list(rendered.pieces) or [m.caption for m in rendered.media[:1]]
        if not pieces:
            raise Undeliverable("the message is empty")
        first, rest = pieces[0], pieces[1:]
        keyboard = rendered.keyboard if not rest else None
        try:
            await self._call(
                chat,
                methods.EditMessageText(
                    chat_id=_chat(chat),
                    message_id=number,
                    text=first.text,
                    entities=first.entities() or None,
                    reply_markup=keyboard,
                    link_preview_options=NO_PREVIEW,
                ),
                expected=("not modified", "no text in the message"),
            )
        except _Expected as expected:
            if "no text in the message" in str(expected):
                await self._edit_caption(chat, number, first, keyboard)
        ids = [message.target_id]
        if rest:
            tail = render.Rendered(tuple(rest), (), rendered.keyboard)
            progress = Progress(message.address.thread_id)
            await self._send_parts(chat, _parts(tail, chat, message.address.thread_id, number), progress)
            ids += progress.ids
        return Sent(message.target_id, message.address, tuple(ids))

    async def _edit_caption(
        self, chat: str, number: int, text: render.Piece, keyboard: InlineKeyboardMarkup | None
    ) -> None:
        if len(text.text) > render.CAPTION_LIMIT:
            raise Undeliverable("the text is too long for the caption of a picture")
        method = methods.EditMessageCaption(
            chat_id=_chat(chat),
            message_id=number,
            caption=text.text,
            caption_entities=text.entities() or None,
            reply_markup=keyboard,
        )
        try:
            await self._call(chat, method, expected=("not modified",))
        except _Expected:
            return

    async def _delete(self, message: Outbound) -> Sent:
        chat, number = _target(message)
        method = methods.DeleteMessage(chat_id=_chat(chat), message_id=number)
        try:
            await self._call(chat, method, expected=("message to delete not found",))
        except _Expected:
            log.debug("telegram_already_deleted", channel=self._name, message=message.target_id)
        return Sent(message.target_id, message.address)

    async def _mark(self, message: Outbound) -> Sent:
        """React to the agent's own message. Where that is not possible, nothing is lost: no error."""
        chat, number = _target(message)
        emoji = MARKS.get(message.mark)
        method = methods.SetMessageReaction(
            chat_id=_chat(chat),
            message_id=number,
            reaction=[ReactionTypeEmoji(emoji=emoji)] if emoji else [],
        )
        try:
            await self._call(chat, method, counted=False)
        except Undeliverable as error:
            log.info("telegram_no_reaction", channel=self._name, reason=error.reason)
        return Sent(message.target_id, message.address)

    async def types(self, address: Address) -> None:
        """Show for five seconds that somebody is writing."""
        method = methods.SendChatAction(
            chat_id=_chat(address.room_id),
            action="typing",
            message_thread_id=int(address.thread_id) if address.thread_id else None,
        )
        await self._call(address.room_id, method, counted=False)

    async def _menu(self, message: Outbound) -> Sent:
        """The list that this person sees in their chat with us: in any language, since it is in theirs."""
        chat = message.address.room_id
        pairs = [pair for block in message.reply.blocks if isinstance(block, Fields) for pair in block.pairs]
        scope = BotCommandScopeChat(chat_id=_chat(chat))
        listed = bot_commands(dict(pairs))
        method: TelegramMethod[Any] = methods.DeleteMyCommands(scope=scope)
        if listed:
            method = methods.SetMyCommands(commands=listed, scope=scope)
        await self._call(chat, method, counted=False)
        return Sent("", message.address)

    # --- how it is called ----------------------------------------------------------------------------------

    async def _patient(self, chat: str, part: TelegramMethod[Any], *, later_part: bool) -> Any:
        """Send one part. Half a message is worse than a late one: later parts wait for their turn."""
        for _ in range(3 if later_part else 0):
            try:
                return await self._call(chat, part)
            except TooMany as limited:
                if (limited.after_s or 0.0) > PATIENCE_S:
                    raise
                await self._sleep(limited.after_s or 0.0)
        return await self._call(chat, part)

    async def _call(
        self, chat: str, method: TelegramMethod[Any], *, expected: tuple[str, ...] = (), counted: bool = True
    ) -> Any:
        """Wait for our turn and call. Raise RetryLater, Undeliverable, or _Expected for such a refusal."""
        await self._turn(chat, counted)
        try:
            return await self._api.call(method)
        except TooMany as limited:
            self._limits.hold(chat, time.monotonic(), limited.after_s or 1.0)
            raise
        except Refused as refused:
            if refused.status == 400 and refused.says(*expected):
                raise _Expected(refused.description) from refused
            again = None if refused.migrate_to else _mended(method, refused)
            if again is None:
                raise final(refused) from refused
            log.info("telegram_sent_in_plainer_form", channel=self._name, reason=refused.description)
        if isinstance(again, methods.ReopenForumTopic):
            with contextlib.suppress(_Expected):
                await self._call(chat, again, expected=("TOPIC_NOT_MODIFIED",), counted=False)
            self._topics.pop((chat, str(again.message_thread_id)), None)
            again = method.model_copy(update={"disable_notification": True})
        return await self._call(chat, again, expected=expected, counted=counted)

    async def _turn(self, chat: str, counted: bool) -> None:
        now = time.monotonic()
        if counted:
            wait_s = self._limits.take(chat, now, patience_s=PATIENCE_S)
            if wait_s > PATIENCE_S:
                raise TooMany("waiting for Telegram's rate limit", after_s=wait_s)
            if wait_s:
                await self._sleep(wait_s)
        held_s = self._limits.held(chat, time.monotonic())
        if held_s > 0:  # a 429 came while we waited
            raise TooMany("waiting for Telegram's rate limit", after_s=held_s)


class _Expected(Exception):
    """A refusal that the caller knows what to make of."""


def final(refused: Refused) -> Undeliverable | RetryLater:
    """What a refusal means for the message."""
    reason = refused.description
    if refused.migrate_to:
        return Undeliverable(reason, moved_to=refused.migrate_to)
    if refused.status == 403:
        gone = not refused.says("not enough rights", "have no rights", "CHAT_WRITE_FORBIDDEN")
        return Undeliverable(reason, gone=gone)
    if refused.status in (401, 404, 409):  # about the token, not about this message
        return RetryLater(f"Telegram refuses the bot: {reason}", after_s=AUTH_RETRY_S)
    return Undeliverable(reason)


def _mended(method: TelegramMethod[Any], refused: Refused) -> TelegramMethod[Any] | None:
    """A plainer form of what was refused: a message is better without its looks than not at all."""
    if refused.status != 400:
        return None
    styled = [n for n in ("entities", "caption_entities") if getattr(method, n, None)]
    if refused.says("entit") and styled:
        return method.model_copy(update=dict.fromkeys(styled))
    if refused.says("TOPIC_CLOSED") and getattr(method, "disable_notification", True) is None:
        return methods.ReopenForumTopic(
            chat_id=getattr(method, "chat_id", 0), message_thread_id=getattr(method, "message_thread_id", 0)
        )
    markup = getattr(method, "reply_markup", None)
    if refused.says("BUTTON_", "keyboard button") and isinstance(markup, InlineKeyboardMarkup):
        return method.model_copy(update={"reply_markup": None})
    if isinstance(method, methods.SendPhoto) and refused.says("IMAGE_PROCESS", "PHOTO_"):
        kept = ("chat_id", "message_thread_id", "caption", "caption_entities", "reply_markup")
        values = {name: getattr(method, name) for name in (*kept, "reply_parameters")}
        return methods.SendDocument(document=method.photo, **values)
    if isinstance(method, methods.SendVoice) and refused.says("VOICE_MESSAGES_FORBIDDEN"):
        return methods.SendDocument(
            chat_id=method.chat_id, message_thread_id=method.message_thread_id, document=method.voice
        )
    return None


def _parts(rendered: render.Rendered, chat: str, thread: str, reply_to: int) -> list[TelegramMethod[Any]]:
    """The calls that make up a message, in order; the first of them is the answer to `reply_to`."""
    where: dict[str, Any] = {"chat_id": _chat(chat), "message_thread_id": int(thread) if thread else None}
    first: dict[str, Any] = {}
    if reply_to:
        first["reply_parameters"] = ReplyParameters(message_id=reply_to, allow_sending_without_reply=True)
    markup: InlineKeyboardMarkup | ForceReply | None = rendered.keyboard
    if markup is None and rendered.force_reply:
        markup = ForceReply(force_reply=True)
    out: list[TelegramMethod[Any]] = []
    for number, piece in enumerate(rendered.pieces, 1):
        out.append(
            methods.SendMessage(
                text=piece.text,
                entities=piece.entities() or None,
                link_preview_options=NO_PREVIEW,
                reply_markup=markup if number == len(rendered.pieces) else None,
                **where,
                **(first if not out else {}),
            )
        )
    for batch in render.batches(rendered.media):
        extra = where | (first if not out else {})
        if len(batch) > 1:
            album: Any = [
                _ALBUM[m.method](
                    media=_file(m), caption=m.caption.text, caption_entities=m.caption.entities()
                )
                for m in batch
            ]
            out.append(methods.SendMediaGroup(media=album, **extra))
        else:
            extra["reply_markup"] = markup if not rendered.pieces and not out else None
            out.append(_media(batch[0], extra))
    return out


def _media(media: render.Media, where: dict[str, Any]) -> TelegramMethod[Any]:
    caption: dict[str, Any] = {
        "caption": media.caption.text or None,
        "caption_entities": media.caption.entities(),
    }
    file = _file(media)
    match media.method:
        case "photo":
            return methods.SendPhoto(photo=file, **caption, **where)
        case "video":
            return methods.SendVideo(video=file, **caption, **where)
        case "animation":
            return methods.SendAnimation(animation=file, **caption, **where)
        case "audio":
            return methods.SendAudio(audio=file, **caption, **where)
        case "voice":
            return methods.SendVoice(voice=file, **caption, **where)
        case _:
            return methods.SendDocument(document=file, **caption, **where)


def _file(media: render.Media) -> BufferedInputFile | str:
    return media.ref or BufferedInputFile(media.content, media.filename)


def _topic_name(message: Outbound) -> str:
    name = render.clean(message.subject).strip() or to_text(message.reply).strip().partition("\n")[0]
    return name.replace("\n", " ")[:TOPIC_LIMIT].strip() or "#"


def _event_id(chat: str, posted: Any) -> str:
    number = posted.get("message_id") if isinstance(posted, dict) else None
    return f"{chat}:{number or 0}"


def _chat(room_id: str) -> int | str:
    return int(room_id) if room_id.lstrip("-").isdigit() else room_id


def _number_in(event_id: str, chat: str) -> int:
    """The message number of "chat:message" in this chat; 0 for a message of another chat or channel."""
    room, _, number = event_id.partition(":")
    return int(number) if room == chat and number.isdigit() else 0


def _target(message: Outbound) -> tuple[str, int]:
    chat, _, number = message.target_id.partition(":")
    if not chat or not number.isdigit():
        raise Undeliverable(f"not a Telegram message: {message.target_id!r}")
    return chat, int(number)
