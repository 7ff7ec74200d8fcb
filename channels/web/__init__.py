"""The web chat: a page and an embeddable bubble for visitors, a page for staff. It is its own platform.

Rooms are logs kept by `setup.journal`: "v:<visitor>" is a visitor's chat, "s:<session>" a staff person's
private room, `staff_channel` the room of cards and threads, "file:<sha256>" the bytes of one file.
"""

from __future__ import annotations

from channels.base import Channel, Setup


def build(setup: Setup) -> Channel:
    """Make the channel; aiohttp is imported only here."""
    from channels.web.channel import WebChannel

    return WebChannel(setup)
