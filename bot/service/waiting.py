"""Customers who wait: when that begins, begins again because an answer did not arrive, and has gone on too long."""

from __future__ import annotations

from typing import Any

from bot import posting
from bot.i18n import say
from bot.office import Turn
from bot.service import card, sla
from channels.rich import Reply, Text
from crm_store import clocks, conversations, outbox, people, tickets

LOOKED_AT = 50  # messages


def begins(turn: Turn, ticket: Any) -> Any:
    """The customer wrote: from now on they wait, unless they do already. Return the ticket as it is then."""
    if ticket.waiting_since is not None:
        return ticket
    return tickets.set_values(turn.tx, ticket.id, waiting_since=turn.now)


def again(turn: Turn, ticket: Any) -> None:
    """An answer was taken back or did not arrive: they wait since they wrote, if nothing else answers that."""
    if ticket is None or ticket.status == "closed" or ticket.waiting_since is not None:
        return
    since = None
    for message in reversed(conversations.history(turn.tx, ticket.conversation_id, limit=LOOKED_AT)):
        if message.kind == "in":
            since = message.created_at
        elif message.kind == "out" and message.author_kind == "staff" and _stands(turn, message):
            break
    if since is not None:
        ticket = tickets.set_values(turn.tx, ticket.id, waiting_since=since)
        posting.card(turn, ticket, card.build(turn, ticket))


def _stands(turn: Turn, message: Any) -> bool:
    """Whether a reply has reached the customer, or may yet."""
    states = {row.state for row in outbox.of_message(turn.tx, message.id)}
    return not message.deleted_at and (not states or not states <= {"dead", "withdrawn"})


def sweep(turn: Turn) -> int:
    """Bring the cards up to date on which an answer is due soon, or overdue; then the thread is told, once."""
    rows = [row for row in clocks.due(turn.tx, turn.now) if clocks.take(turn.tx, row)]
    lang = turn.office.staff_language
    for row in rows:
        ticket = tickets.get(turn.tx, row.id)
        posting.card(turn, ticket, card.build(turn, ticket))
        if sla.state(turn.office, ticket, turn.now) == "overdue":
            owner = people.get(turn.tx, ticket.assignee_id) if ticket.assignee_id else None
            name = owner.name if owner else say("card.nobody", lang)
            since = card.local(turn, ticket.waiting_since)
            text = Text(say("thread.overdue", lang, name=name, since=since), small=True)
            posting.to_threads(turn, ticket, Reply.of(text))
    return len(rows)
