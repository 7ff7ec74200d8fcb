"""A mail that a colleague passed on to the desk: the customer's ticket, with the colleague's words as a note."""

from __future__ import annotations

from bot import posting
from bot.answers.decide import Decision
from bot.i18n import say
from bot.office import Turn
from bot.service import desk
from channels.conversation import Inbound
from channels.rich import Reply, Text
from crm_store import conversations, tickets
from crm_store.conversations import NewMessage


def take(turn: Turn, inbound: Inbound, decision: Decision | None) -> None:
    """Take it as the customer's own; what the colleague wrote above it no customer sees."""
    channel, event = inbound.address.channel, inbound.dedupe or inbound.event_id
    if conversations.seen(turn.tx, channel, event):
        return
    desk.message(turn, inbound, decision)
    stored = conversations.by_event(turn.tx, channel, inbound.event_id)
    ticket = tickets.unclosed(turn.tx, stored.conversation_id) if stored is not None else None
    words, who = inbound.values.get("note", ""), inbound.values["forwarded_by"]
    if ticket is None or not words:
        return
    conversations.add(
        turn.tx,
        turn.now,
        ticket.conversation_id,
        NewMessage(
            kind="note",
            channel=channel,
            event_id=inbound.event_id,
            dedupe=f"note:{event}",
            text=words,
            author_kind="staff",
            author=who,
            sent_at=inbound.sent_at,
            ticket_id=ticket.id,
        ),
    )
    head = Text(say("thread.note", turn.office.staff_language, name=who), small=True)
    posting.to_threads(turn, ticket, Reply((head, Text(words))))
