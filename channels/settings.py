"""Settings every channel has in common; each adapter's own `Settings` adds to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Verb = Literal["take", "close", "reopen", "open"]


class Route(BaseModel):
    """A staff room for some tickets: those that fit every list that is not empty."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    room: str = Field(min_length=1)
    inboxes: tuple[str, ...] = ()  # names of channels
    kinds: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()  # of the customer, any of them


class ChannelSettings(BaseModel):
    """One `[channels.NAME]` table. An unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    staff_channel: str = ""  # the room in which staff work: its threads are the tickets
    reply_mode: Literal["direct", "explicit"] = "direct"
    hold_s: float = Field(default=5.0, ge=0, le=600)  # how long an agent's reply can be taken back
    customer_channels: tuple[str, ...] = ()  # rooms in which customers write, besides private ones
    routes: tuple[Route, ...] = ()  # tickets that belong into another room than staff_channel
    reactions: Mapping[str, Verb] = Field(default_factory=dict)  # what staff do with a reaction

    @property
    def staff_rooms(self) -> tuple[str, ...]:
        """All rooms in which staff work."""
        rooms = (self.staff_channel, *(r.room for r in self.routes))
        return tuple(dict.fromkeys(rooms)) if self.staff_channel else ()
