"""The console: a customer at the terminal. The smallest adapter; copy it to begin a new one."""

from __future__ import annotations

from channels.base import Channel, Setup


def build(setup: Setup) -> Channel:
    from channels.console.adapter import ConsoleChannel

    return ConsoleChannel(setup)
