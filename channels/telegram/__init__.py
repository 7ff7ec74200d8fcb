"""Telegram: customers in private chats and groups, staff in a supergroup with one topic per ticket."""

from channels.base import Channel, Setup


def build(setup: Setup) -> Channel:
    """Make the channel. aiogram is imported here and not before: it costs 2.6 s of CPU."""
    from channels.telegram.channel import TelegramChannel

    return TelegramChannel(setup)
