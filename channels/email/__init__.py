"""E-mail: an SMTP and LMTP server or an IMAP mailbox in, a smarthost out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from channels.base import Channel, Setup


def build(setup: Setup) -> Channel:
    """Make the channel of one mailbox."""
    from channels.email.adapter import EmailChannel  # the SMTP server's library loads when configured

    return EmailChannel(setup)
