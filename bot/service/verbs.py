"""What staff do to tickets, from a button, a command or a reaction: one function each."""

from __future__ import annotations

from typing import Any

from bot import posting
from bot.access import Member
from bot.i18n import UserError, say
from bot.office import Turn
from bot.service import card, rating
from channels.rich import Reply, Text
from crm_store import audit, conversations, people, tickets


def take(turn: Turn, member: Member, ticket: Any) -> Any:
    """Make the ticket one's own."""
    return assign(turn, member, ticket, member.id, member.name)


def assign(turn: Turn, member: Member, ticket: Any, staff_id: int, who: str) -> Any:
    """Make the ticket somebody's."""
    if ticket.assignee_id == staff_id and ticket.status != "new":
        return ticket
    status = "open" if ticket.status == "new" else ticket.status
    key, values = ("thread.taken", {}) if staff_id == member.id else ("thread.assigned", {"who": who})
    return _changed(
        turn,
        member,
        ticket,
        "assign",
        key,
        values | {"name": member.name},
        assignee_id=staff_id,
        status=status,
    )


def assign_by_name(turn: Turn, member: Member, ticket: Any, name: str) -> Any:
    row = people.by_name(turn.tx, name.lstrip("@"))
    if row is None or row.disabled_at is not None:
        raise UserError("tickets.no_such_person", who=name)
    return assign(turn, member, ticket, row.id, row.name)


def close(turn: Turn, member: Member, ticket: Any) -> Any:
    """Close the ticket, let the bot speak again and ask the customer for a rating."""
    ticket = tickets.lock(turn.tx, ticket)
    if ticket.status == "closed":
        raise UserError("tickets.already_closed", number=ticket.number)
    own = {} if ticket.assignee_id else {"assignee_id": member.id}
    ticket = _changed(
        turn,
        member,
        ticket,
        "close",
        "thread.closed",
        {"name": member.name},
        status="closed",
        closed_at=turn.now,
        snoozed_until=None,
        **own,
    )
    conversations.mute_bot(turn.tx, ticket.conversation_id, False)
    if turn.office.config.desk.ask_rating and ticket.rating is None and ticket.rating_asked_at is None:
        rating.ask(turn, ticket)
    return ticket


def reopen(turn: Turn, member: Member, ticket: Any) -> Any:
    ticket = tickets.lock(turn.tx, ticket)
    if ticket.status != "closed":
        return ticket
    conversations.mute_bot(turn.tx, ticket.conversation_id, True)
    return _changed(
        turn,
        member,
        ticket,
        "reopen",
        "thread.reopened_by",
        {"name": member.name},
        status="open",
        closed_at=None,
        reopened=ticket.reopened + 1,
    )


def set_priority(turn: Turn, member: Member, ticket: Any, priority: str) -> Any:
    if priority not in tickets.PRIORITIES:
        raise UserError("tickets.no_such_priority")
    return _changed(turn, member, ticket, "priority", "", {}, priority=priority)


def set_fields(turn: Turn, member: Member, ticket: Any, **columns: Any) -> Any:
    """Change what a ticket is: priority, kind, whose."""
    return _changed(turn, member, ticket, "fields", "", {}, **columns)


def _changed(
    turn: Turn, member: Member, ticket: Any, action: str, key: str, values: dict[str, Any], **columns: Any
) -> Any:
    ticket = tickets.set_values(turn.tx, ticket.id, **columns)
    posting.card(turn, ticket, card.build(turn, ticket))
    if key:
        text = say(key, turn.office.staff_language, **values)
        posting.to_threads(turn, ticket, Reply.of(Text(text, small=True)))
    audit.record(turn.tx, turn.now, member.actor, action, f"ticket:{ticket.number}", via=turn.via)
    return ticket
