"""Settings of the console channel."""

from __future__ import annotations

from channels.settings import ChannelSettings


class Settings(ChannelSettings):
    """`[channels.NAME]` with kind = "console"."""

    user: str = "console"
