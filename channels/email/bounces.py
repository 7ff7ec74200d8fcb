"""Bounces."""

from __future__ import annotations

from channels.email import body, headers
from channels.email.mail import Bounce, Mailbox


def find(
    raw: bytes, fields: headers.Fields, root: body.Node, subject: str, text: str, sender: Mailbox | None
) -> Bounce | None:
    return None
