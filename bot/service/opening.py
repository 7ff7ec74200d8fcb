"""Opening: what staff do to any message, by shortcut or reaction: open a ticket from it, take one, close one."""

from __future__ import annotations

from typing import Any

from bot import access, posting
from bot.access import Member, recognise
from bot.i18n import UserError, say
from bot.office import Turn
from bot.service import desk, handover, verbs
from bot.service.case import Case
from channels.conversation import Address, Author, Inbound, Kind
from channels.rich import Reply
from crm_store import audit, conversations, tickets


def elsewhere(turn: Turn, inbound: Inbound, member: Member) -> bool:
    """Take what staff do in a room that is not theirs; False for what is none of this."""
    from bot.service import actions, dialogues

    if inbound.kind is Kind.REACTION:
        return reacted(turn, inbound, member)
    if inbound.kind is Kind.ACTION and inbound.action in (dialogues.OPEN, dialogues.SEND):
        actions.by_staff(turn, inbound, member, None)
        return True
    return False


def reacted(turn: Turn, inbound: Inbound, member: Member) -> bool:
    """A reaction as a verb: on a ticket's card, or, to open one, on a customer's message. What it cannot
    mean here is only a reaction."""
    channel = inbound.address.channel
    verb = turn.office.settings(channel).reactions.get(inbound.action.removeprefix("+"))
    if verb is None or not inbound.action.startswith("+"):
        return False
    message = conversations.by_event(turn.tx, channel, inbound.target_id) if verb == "open" else None
    ticket = tickets.by_card(turn.tx, channel, inbound.target_id) if verb != "open" else None
    if (message is None or message.kind != "in") and ticket is None:
        return False
    allowed = turn.office.access.may(member, "open_ticket" if verb == "open" else f"ticket {verb}")
    if not allowed or (ticket is not None and not access.sees_ticket(turn, member, ticket)):
        access.refuse(turn, member, f"ticket {verb}", inbound.target_id)
        return True
    try:
        if message is not None:
            _answer(turn, inbound, member, from_message(turn, member, message))
        elif ticket is not None:
            getattr(verbs, verb)(turn, member, ticket)
    except UserError:  # closed already, and the like: the card says so
        return True
    return True


def open_ticket(turn: Turn, inbound: Inbound, member: Member) -> None:
    """Open a ticket from the message a shortcut was chosen on. Raise UserError."""
    channel = inbound.address.channel
    message = conversations.by_event(turn.tx, channel, inbound.target_id)
    if message is not None and message.kind == "in":
        _answer(turn, inbound, member, from_message(turn, member, message))
        return
    author, text = inbound.values.get("author", ""), inbound.values.get("text", "").strip()
    writer = Author(author)
    ours = recognise(turn.tx, turn.office.space(channel), writer) is not None
    if not author or not text or ours or turn.office.is_staff_room(channel, inbound.address.room_id):
        raise UserError("opening.not_a_customer")
    dedupe = inbound.target_id
    desk.message(
        turn,
        Inbound(
            address=inbound.address,
            event_id=inbound.target_id,
            dedupe=dedupe,
            author=writer,
            text=text,
            sent_at=inbound.sent_at,
            addressed=False,  # nobody spoke to us: nothing automatic is said
            may_acknowledge=False,
            private=inbound.private,
        ),
        None,
    )
    found = conversations.by_event(turn.tx, channel, inbound.target_id)
    ticket = tickets.get(turn.tx, found.ticket_id) if found is not None and found.ticket_id else None
    if ticket is None:
        raise UserError("opening.not_a_customer")
    audit.record(turn.tx, turn.now, member.actor, "open", f"ticket:{ticket.number}", via=turn.via)
    _answer(turn, inbound, member, ticket)


def from_message(turn: Turn, member: Member, message: Any) -> Any:
    """The ticket of a customer's message: its own, the one that is open, or a new one."""
    ticket = tickets.get(turn.tx, message.ticket_id) if message.ticket_id else None
    ticket = ticket or tickets.unclosed(turn.tx, message.conversation_id)
    if ticket is not None:
        return ticket
    conversation = conversations.lock(turn.tx, message.conversation_id)
    said = Inbound(
        address=Address(conversation.channel, conversation.room_id, conversation.thread_id),
        event_id=message.event_id,
        author=Author("", message.author),
        text=message.text,
        sent_at=message.sent_at,
        subject=message.subject,
        addressed=False,
        may_acknowledge=False,
    )
    case = Case(turn, said, conversation, conversation.contact_id, message.id, None)
    handover.to_person(case)
    ticket = tickets.latest(turn.tx, conversation.id)
    audit.record(turn.tx, turn.now, member.actor, "open", f"ticket:{ticket.number}", via=turn.via)
    return ticket


def _answer(turn: Turn, inbound: Inbound, member: Member, ticket: Any) -> None:
    text = say("opening.done", turn.language_of(member), number=ticket.number)
    posting.answer(turn, inbound.address, Reply.of(text), private_to=inbound.author.user_id)
