"""Settings every channel has in common; each adapter's own `Settings` adds to them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ChannelSettings(BaseModel):
    """One `[channels.NAME]` table. An unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    staff_channel: str = ""  # the room in which staff work: its threads are the tickets
    reply_mode: Literal["direct", "explicit"] = "direct"
    hold_s: float = Field(default=5.0, ge=0, le=600)  # how long an agent's reply can be taken back
    customer_channels: tuple[str, ...] = ()  # rooms in which customers write, besides private ones
