"""The web channel: writes into room logs, and answers the browsers that read them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from channels import rich
from channels.base import (
    Capabilities,
    Check,
    ConfigError,
    Door,
    Journal,
    Quiet,
    RetryLater,
    Setup,
    Undeliverable,
    forever,
)
from channels.conversation import Address, Inbound, Op, Outbound, Raw, Sent
from channels.web import entries
from channels.web.decode import decode
from channels.web.frames import TEXT_LIMIT, Frames
from channels.web.limits import Limits
from channels.web.serve import Pages
from channels.web.settings import Settings

if TYPE_CHECKING:
    from aiohttp.web import RouteDef

SEND_S = 20
PERSON = re.compile(r"[vs]:[0-9a-f]{32}")


class WebChannel(Quiet):
    """One web chat. `mails` and `names` are optional hooks that the owner may set after building it:
    `mails()` lists what the demo's outbox holds, `await names(user_id)` says what to call a staff person."""

    kind: ClassVar[str] = "web"
    CAPS: ClassVar[Capabilities] = Capabilities(
        threads=True,
        buttons=True,
        forms=True,
        edit=True,
        delete=True,
        marks=True,
        files_out=True,
        private=True,
        commands=True,
        safe_repeat=True,
        text_limit=TEXT_LIMIT,
    )

    def __init__(self, setup: Setup) -> None:
        self.name = setup.name
        self.setup = setup
        self.settings = Settings.model_validate(dict(setup.settings))
        chat = f"/chat/{self.settings.path_prefix}" if self.settings.path_prefix else "/chat"
        start_link = f"{setup.public_url}{chat}?start=" if setup.public_url else ""
        self.caps = replace(self.CAPS, start_link=start_link)
        self.mails: Callable[[], Sequence[Mapping[str, Any]]] | None = None
        self.frames = Frames(self.name, self.settings, setup.clock, Limits(setup.clock))
        self._pages: Pages | None = None

    @property
    def names(self) -> Callable[[str], Awaitable[str]] | None:
        return self.frames.names

    @names.setter
    def names(self, look_up: Callable[[str], Awaitable[str]] | None) -> None:
        self.frames.names = look_up

    @property
    def journal(self) -> Journal:
        if self.setup.journal is None:
            raise ConfigError(f"[channels.{self.name}] keeps its rooms in the store and was given none")
        return self.setup.journal

    async def run(self, door: Door) -> None:
        door.report(None)
        await forever()

    def decode(self, raw: Raw) -> Sequence[Inbound]:
        return decode(raw)

    def routes(self, door: Door) -> Sequence[RouteDef]:
        self._pages = Pages(self, self.journal, door)
        return self._pages.routes()

    async def close(self) -> None:
        if self._pages is not None:
            await self._pages.close()

    async def check(self) -> Sequence[Check]:
        if self.settings.demo and not self.setup.public_url.startswith("http://127."):
            return [Check("web demo page", "warn", "demo = true", "set demo = false outside of a demo")]
        return [Check("web chat", "ok", "/chat/" + self.settings.path_prefix)]

    async def send(self, message: Outbound) -> Sent:
        try:
            async with asyncio.timeout(SEND_S):
                return await self._send(message)
        except (TimeoutError, OSError) as error:
            raise RetryLater(f"journal: {type(error).__name__}") from error

    async def _send(self, message: Outbound) -> Sent:
        room = self._room(message)
        entry: dict[str, Any] = {"at": self.setup.clock().isoformat()}
        if message.address.thread_id:
            entry["thread"] = message.address.thread_id
        match message.op:
            case Op.SEND:
                entry |= {"type": "message", "from": "", "blocks": await self._blocks(message)}
                entry |= {"card": True} if message.opens_thread else {}
                entry |= {"automatic": True} if message.automatic else {}
                entry |= {"private": True} if message.private_to else {}
                entry |= {"subject": message.subject} if message.subject else {}
                entry |= {"reply_to": message.in_reply_to_id} if message.in_reply_to_id else {}
            case Op.EDIT:
                entry |= {"type": "edit", "target": message.target_id, "blocks": await self._blocks(message)}
            case Op.DELETE:
                entry |= {"type": "delete", "target": message.target_id}
            case Op.MARK:
                entry |= {"type": "mark", "target": message.target_id, "mark": message.mark}
            case Op.FORM:
                client = message.trigger.rpartition("|")[2]
                entry |= {"type": "form", "trigger": client, "blocks": await self._blocks(message)}
            case Op.TYPING | Op.MENU:
                raise Undeliverable(f"the web chat has no {message.op}")
        number = await self.journal.append(room, f"out:{message.key}", entries.dumped(entry))
        event_id = f"{room}:{number}"
        address = Address(self.name, room, message.address.thread_id)
        if message.op in (Op.EDIT, Op.DELETE, Op.MARK):
            return Sent(message.target_id, address)
        if message.opens_thread:
            address = Address(self.name, room, event_id)
        return Sent(event_id, address, (event_id,))

    async def _blocks(self, message: Outbound) -> list[entries.Plain]:
        if message.op is Op.FORM and not any(isinstance(b, rich.Form) for b in message.reply.blocks):
            raise Undeliverable("a form to open holds no form")
        return await entries.blocks(self.journal, message.reply)

    def _room(self, message: Outbound) -> str:
        """The room whose log it goes into; a trigger names the person who asked for the form."""
        room = message.private_to or message.address.room_id
        if message.op is Op.FORM and not message.private_to:
            room = message.trigger.rpartition("|")[0] or room
        if PERSON.fullmatch(room) or (room and room == self.settings.staff_channel):
            return room
        raise Undeliverable("no such room", gone=True)
