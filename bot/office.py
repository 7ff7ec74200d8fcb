"""What decisions are made with: the configuration, what each channel can do, the words, the articles."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from bot import i18n
from bot.access import Access, Member
from bot.config import Config
from channels.base import Capabilities
from channels.settings import ChannelSettings

if TYPE_CHECKING:
    from bot.answers.index import ArticleIndex
    from bot.mind import Mind


@dataclass(frozen=True, slots=True)
class StaffRoom:
    """A room whose threads are tickets."""

    channel: str
    room_id: str


@dataclass(slots=True)
class Office:
    """Shared by everything that decides. Only `index` and where rooms are change while the service
    runs."""

    config: Config
    caps: Mapping[str, Capabilities]
    secret: bytes
    index: ArticleIndex | None = None
    sides: tuple[str, ...] = field(init=False)  # channels with a staff side
    rooms: tuple[StaffRoom, ...] = field(init=False)
    moved: Mapping[tuple[str, str], str] = field(init=False)  # (channel, old room) → its new id
    access: Access = field(init=False)
    offered: tuple[str, ...] = field(init=False)  # languages that customers are answered in

    def __post_init__(self) -> None:
        self.offered = tuple(i18n.pick(code) for code in self.config.desk.languages)
        self.sides = tuple(
            name
            for name, settings in self.config.channels.items()
            if settings.staff_channel and self.caps.get(name, Capabilities()).threads
        )
        self.access = Access(self.config.access.roles)
        self.learn({})

    def learn(self, moved: Mapping[tuple[str, str], str]) -> None:
        """Where rooms have gone; the configuration may still call them by their old ids."""
        self.moved = moved
        rooms = ((s, self.room_now(s, room)) for s in self.sides for room in self.settings(s).staff_rooms)
        self.rooms = tuple(StaffRoom(*room) for room in dict.fromkeys(rooms))

    def room_now(self, channel: str, room_id: str) -> str:
        """A room's id after all its moves."""
        for _ in range(len(self.moved)):
            room_id = self.moved.get((channel, room_id), room_id)
        return room_id

    def settings(self, channel: str) -> ChannelSettings:
        return self.config.channels[channel]

    def space(self, channel: str) -> str:
        """The kind of a channel: identities of two bots of one platform are the same people."""
        settings = self.config.channels.get(channel)
        return settings.kind if settings else channel

    def can(self, channel: str) -> Capabilities:
        return self.caps.get(channel, Capabilities())

    def is_staff_room(self, channel: str, room_id: str) -> bool:
        return any(r.channel == channel and r.room_id == room_id for r in self.rooms)

    @property
    def mind(self) -> Mind | None:
        """What the bot decides with; None where it answers nothing."""
        if self.index is None or not self.config.answers.enabled:
            return None
        from bot.mind import Mind  # the engine loads with the articles, not with every command line

        return Mind(self.index, self.config.answers, self.offered)

    @property
    def staff_language(self) -> str:
        """Of what is posted for all staff to read."""
        return i18n.pick(*self.config.desk.languages)

    def customer_language(self, *wanted: str | None) -> str:
        return i18n.pick(*wanted, offered=self.offered)

    def sign(self, purpose: str, text: str) -> str:
        """A signature that only we can make, 16 letters; `purpose` keeps links of one kind from another."""
        return hmac.new(self.secret, f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()[:16]

    def signed(self, purpose: str, token: str) -> str | None:
        """The text of a "text.signature" token, None when we did not make it."""
        text, _, signature = token.rpartition(".")
        return text if hmac.compare_digest(self.sign(purpose, text).encode(), signature.encode()) else None


@dataclass(frozen=True, slots=True)
class Turn:
    """One decision being written: its transaction, the office, the time, and by which channel it came (for
    the audit log)."""

    tx: Connection
    office: Office
    now: datetime
    via: str = ""

    def language_of(self, member: Member) -> str:
        return i18n.pick(member.language, self.office.staff_language)
