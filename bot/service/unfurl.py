"""Unfurl: "#123" said among staff is followed by a line about that ticket."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from bot import access, posting
from bot.access import Member
from bot.i18n import say
from bot.office import Turn
from bot.service import card
from channels.conversation import Inbound
from channels.rich import Reply, Text
from crm_store import audit, people, tickets

MOST = 3  # tickets of one message
_NUMBER = re.compile(r"(?<![\w#&/])#(\d{1,9})\b")


def mentioned(turn: Turn, inbound: Inbound, ticket: Any, member: Member) -> None:
    """Answer a message of staff that names tickets, in its thread. Not the thread's own, and never a bot:
    two of those would go on for ever."""
    if inbound.author.is_bot:
        return
    own = ticket.number if ticket is not None else 0
    numbers = [n for n in dict.fromkeys(int(d) for d in _NUMBER.findall(inbound.text)) if n != own]
    named = (tickets.by_number(turn.tx, n) for n in numbers[:MOST])
    rows = [row for row in named if access.sees_ticket(turn, member, row)]
    if not rows:
        return
    for row in rows:
        audit.record(turn.tx, turn.now, member.actor, "found", f"ticket:{row.number}", via=turn.via)
    lang = turn.office.staff_language
    thread = inbound.address.thread_id or next(
        (h.removeprefix("thread:") for h in inbound.thread_hints if h.startswith("thread:")), ""
    )
    lines = "\n".join(line(turn, row, lang) for row in rows)
    said = access.shown_to_all(turn, Reply.of(Text(lines, small=True)))
    posting.answer(turn, replace(inbound.address, thread_id=thread), said)


def line(turn: Turn, ticket: Any, lang: str) -> str:
    """A ticket in one line: number, subject, customer, status, whose it is."""
    owner = people.get(turn.tx, ticket.assignee_id) if ticket.assignee_id else None
    parts = [
        f"#{ticket.number} {card.shorten(ticket.subject, 60)}",
        card.called(turn, ticket.contact_id) or say("card.unnamed", lang),
        say(f"status.{ticket.status}", lang),
        owner.name if owner else say("card.nobody", lang),
    ]
    return " · ".join(parts)
