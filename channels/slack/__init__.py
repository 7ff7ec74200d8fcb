"""Slack: the staff side in threads, and a customer side in direct messages and channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from channels.base import Channel, Setup


def build(setup: Setup) -> Channel:
    """Make the channel. The SDK is imported here, so that only those who configure Slack pay for it."""
    from channels.slack.adapter import Slack

    return Slack(setup)
