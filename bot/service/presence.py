"""Presence: two agents in one thread see each other before the customer gets two answers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from bot import posting
from bot.access import Member
from bot.i18n import say
from bot.office import Turn
from channels.rich import Reply, Text
from crm_store import conversations

TOGETHER = timedelta(minutes=2)
LOOKED_AT = 30  # messages


def wrote(turn: Turn, ticket: Any, member: Member) -> None:
    """An agent has just written on a ticket: if another one did a moment ago, say so once."""
    since = turn.now - TOGETHER
    recent = [
        m
        for m in conversations.history(turn.tx, ticket.conversation_id, limit=LOOKED_AT)
        if m.author_kind == "staff" and m.ticket_id == ticket.id and m.created_at >= since
    ]
    if sum(m.author_id == member.id for m in recent) > 1:
        return  # they know of each other by now
    others = dict.fromkeys(m.author for m in recent if m.author_id != member.id)
    if others:
        key = "thread.together" if len(others) == 1 else "thread.together_all"
        text = say(key, turn.office.staff_language, name=", ".join(others))
        posting.to_threads(turn, ticket, Reply.of(Text(text, small=True)))
