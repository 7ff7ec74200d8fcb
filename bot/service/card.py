"""The card that stands for a ticket on a staff side, and the lines posted below it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from bot.i18n import say
from bot.office import StaffRoom, Turn
from bot.service import sla
from channels.rich import Block, Button, Buttons, Fields, Heading, Reply, Text
from crm_store import contacts, conversations, people, tickets

FIRST_WORDS = 300  # characters of the message that the card shows
KNOWN_WARNINGS = {
    "spf_fail",
    "dkim_fail",
    "dmarc_fail",
    "unverified_sender",
    "undecodable",
    "new_participant",
    "reply_to_differs",
    "truncated",
    "unfetchable",
    "forwarded",
}


@dataclass(frozen=True, slots=True)
class Known:
    """What whoever writes a card knows already, so that the store need not be asked again."""

    conversation: Any  # the ticket's
    newcomer: str | None = None  # what to call a customer who came with this ticket: they have no others
    recipients: Sequence[str] | None = None


NOTHING = Known(None)


def recipients(
    turn: Turn, conversation: Any, frozen: Sequence[str] | None = None, name: str | None = None
) -> str:
    """Who will receive a reply, in words: shown before anything is sent. `frozen`: who was to receive one that
    was written, whoever has joined since. `name`: the customer's, where it is known already."""
    name = called(turn, conversation.contact_id) if name is None else name
    caps = turn.office.can(conversation.channel)
    if caps.subject_threads:
        if not frozen:
            others = conversations.participants(turn.tx, conversation.id)
            frozen = [conversation.room_id, *(p.user_id for p in others)]
        room, *cc = frozen
        return ", ".join([f"{name} <{room}>" if name else room, *cc])
    lang = turn.office.staff_language
    name = name or say("card.unnamed", lang)
    if caps.shared_rooms and re.fullmatch(caps.shared_rooms, conversation.room_id):
        return say("card.group", lang, name=name, channel=conversation.channel)
    return f"{name} ({conversation.channel})"


def called(turn: Turn, contact_id: int) -> str:
    """What to call a contact: their name, else a handle of theirs, else nothing."""
    row = contacts.get(turn.tx, contact_id)
    if row is None or row.name:
        return row.name if row is not None else ""
    return next((i.handle for i in contacts.identities(turn.tx, contact_id) if i.handle), "")


def build(
    turn: Turn,
    ticket: Any,
    *,
    first_words: str = "",
    warnings: tuple[str, ...] = (),
    known: Known = NOTHING,
    lang: str = "",
) -> Reply:
    """The ticket's card, in the staff's language or that of the one who asked."""
    lang = lang or turn.office.staff_language
    conversation = known.conversation or conversations.get(turn.tx, ticket.conversation_id)
    assignee = people.get(turn.tx, ticket.assignee_id) if ticket.assignee_id else None
    newcomer = known.newcomer is not None
    name = known.newcomer if known.newcomer is not None else called(turn, ticket.contact_id)
    if not first_words:
        first_words = _first_words(turn, ticket)
    pairs = [
        (say("card.customer", lang), name or say("card.unnamed", lang)),
        (say("card.channel", lang), ticket.channel),
        (say("card.status", lang), say(f"status.{ticket.status}", lang)),
        (say("card.assignee", lang), assignee.name if assignee else say("card.nobody", lang)),
    ]
    if ticket.kind != "enquiry":
        pairs.append((say("card.kind", lang), say(f"kind.{ticket.kind}", lang)))
    if ticket.priority != "normal":
        pairs.append((say("card.priority", lang), say(f"priority.{ticket.priority}", lang)))
    if due := clock(turn, ticket, lang):
        pairs.append(due)
    if ticket.snoozed_until:
        pairs.append((say("card.snoozed", lang), local(turn, ticket.snoozed_until)))
    if ticket.rating:
        pairs.append((say("card.rating", lang), say(f"rating.{ticket.rating}", lang)))
    others = [] if newcomer else tickets.numbers_open(turn.tx, ticket.contact_id, but=ticket.id)
    if others:
        pairs.append((say("card.others", lang), " ".join(f"#{number}" for number in others)))
    blocks: list[Block] = [
        Heading(say("card.title", lang, number=ticket.number, subject=ticket.subject)),
        Fields(tuple(pairs)),
        *(Text(warning(key, lang)) for key in warnings),
        Text(first_words, quote=True),
        Buttons(_buttons(ticket, lang)),
    ]
    if conversation is None:
        return Reply(tuple(blocks))
    own = name if conversation.contact_id == ticket.contact_id else None
    return Reply((*blocks, _mode(turn, conversation, lang, own, known.recipients)))


def clock(turn: Turn, ticket: Any, lang: str) -> tuple[str, str] | None:
    """Until when the customer is to be answered, and how near that is."""
    due = sla.respond_by(turn.office, ticket)
    if due is None:
        return None
    at = local(turn, due)
    near = sla.state(turn.office, ticket, turn.now)
    return say("card.respond", lang), at if near == "due" else say(f"card.respond_{near}", lang, at=at)


def local(turn: Turn, at: datetime) -> str:
    """A moment on the desk's clock."""
    return at.astimezone(ZoneInfo(turn.office.config.desk.timezone)).strftime("%Y-%m-%d %H:%M")


def warning(key: str, lang: str) -> str:
    return (
        say(f"card.warning_{key}", lang)
        if key in KNOWN_WARNINGS
        else say("card.warning_other", lang, what=key)
    )


def mode_of(turn: Turn, room: StaffRoom) -> tuple[str, float]:
    """How replies go out from a staff room: the mode and the hold in seconds."""
    settings = turn.office.settings(room.channel)
    return settings.reply_mode, settings.hold_s


def _mode(turn: Turn, conversation: Any, lang: str, name: str | None, known: Sequence[str] | None) -> Text:
    rooms = turn.office.rooms
    mode, hold = mode_of(turn, rooms[0]) if rooms else ("direct", 0.0)
    who = recipients(turn, conversation, known, name=name)
    return Text(say(f"card.{mode}", lang, recipients=who, hold=f"{hold:g}"), small=True)


def _buttons(ticket: Any, lang: str) -> tuple[Button, ...]:
    if ticket.status == "closed":
        return (
            Button(say("card.reopen", lang), action=f"ticket:{ticket.number}:reopen"),
            Button(say("card.profile", lang), action=f"profile:{ticket.contact_id}"),
        )
    buttons = [Button(say("card.reply", lang), action=f"ticket:{ticket.number}:reply")]
    if ticket.assignee_id is None:
        buttons.insert(
            0, Button(say("card.take", lang), action=f"ticket:{ticket.number}:take", style="primary")
        )
    buttons += [
        Button(say(f"card.{verb}", lang), action=f"ticket:{ticket.number}:{verb}")
        for verb in ("note", "macro", "snooze", "close")
    ]
    buttons.append(Button(say("card.profile", lang), action=f"profile:{ticket.contact_id}"))
    buttons.append(Button(say("card.fields", lang), action=f"ticket:{ticket.number}:fields"))
    return tuple(buttons)


def _first_words(turn: Turn, ticket: Any) -> str:
    for message in conversations.history(turn.tx, ticket.conversation_id, limit=200):
        if message.kind == "in" and message.ticket_id == ticket.id:
            return shorten(message.text, FIRST_WORDS)
    return ticket.subject or ""


def shorten(text: str, limit: int) -> str:
    text = text.strip()
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
