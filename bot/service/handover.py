"""Handing over: a ticket for a customer's message, and what the staff see of it in its threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bot import posting
from bot.i18n import say
from bot.office import Turn
from bot.service import card, sla, snooze, waiting
from bot.service.allowance import may_speak, say_to
from bot.service.case import Case
from channels.conversation import Inbound
from channels.rich import Block, Reply, Text
from crm_store import conversations, tickets


def to_person(case: Case, *, asked: bool = False) -> None:
    """Open a ticket, or open the last one again, and tell the customer once."""
    turn, conversation = case.turn, case.conversation
    complaint = case.intent == "complaint"
    last = None if case.opened else tickets.latest(turn.tx, conversation.id)
    if last is not None and tickets.can_reopen(last, turn.now):
        ticket = tickets.reopen(turn.tx, last, turn.now)
        if complaint:
            ticket = tickets.set_values(turn.tx, ticket.id, kind="complaint", priority="high")
        _begin(case)
        conversations.set_values(turn.tx, case.message_id, ticket_id=ticket.id)
        posting.card(turn, ticket, card.build(turn, ticket))
        posting.to_threads(
            turn, ticket, Reply.of(Text(say("thread.reopened", turn.office.staff_language), small=True))
        )
        post_customer(case, ticket)
        if may_speak(case, "notice"):
            _notice(case, "customer.reopened", ticket)
        return
    priority = "high" if complaint else "normal"
    ticket = tickets.open_new(
        turn.tx,
        turn.now,
        conversation_id=conversation.id,
        contact_id=conversation.contact_id,
        kind="complaint" if complaint else _kind(case),
        subject=subject_of(case.inbound, conversation),
        channel=conversation.channel,
        priority=priority,
        linked_to_id=last.id if last is not None else None,
        clock_at=sla.first_alarm(turn, priority),
    )
    conversations.set_values(turn.tx, case.message_id, ticket_id=ticket.id)
    _begin(case)
    own_text = case.inbound.text
    attached = _files(case)
    if not own_text and not attached:
        own_text = say("thread.empty", turn.office.staff_language)
    first = card.shorten(own_text or ticket.subject, card.FIRST_WORDS)
    shown = card.build(turn, ticket, first_words=first, warnings=case.inbound.warnings, known=_known(case))
    threads = posting.first_card(turn, ticket, shown)
    _post_earlier(case, ticket, last)
    if attached or len(own_text) > card.FIRST_WORDS or said(case.turn, case.inbound) != case.inbound.text:
        post_customer(case, ticket, threads)
    if may_speak(case, "notice"):
        key = "acknowledged_complaint" if complaint else "handed_over" if asked else "acknowledged"
        _notice(case, f"customer.{key}", ticket)
        tickets.set_values(turn.tx, ticket.id, acknowledged=True)


def follow_up(case: Case, ticket: Any) -> None:
    """A further message on an open ticket: to the staff, nothing automatic."""
    turn = case.turn
    conversations.set_values(turn.tx, case.message_id, ticket_id=ticket.id)
    ticket = snooze.back(turn, ticket, "thread.woken_by_customer")
    waited = ticket.waiting_since is not None
    ticket = waiting.begins(turn, ticket)
    if ticket.status == "pending":
        ticket = tickets.set_values(turn.tx, ticket.id, status="open")
        posting.card(turn, ticket, card.build(turn, ticket))
    elif not waited:
        posting.card(turn, ticket, card.build(turn, ticket))
    post_customer(case, ticket)
    if case.intent == "complaint" and ticket.kind == "enquiry":
        ticket = tickets.set_values(turn.tx, ticket.id, kind="complaint", priority="high")
        posting.card(turn, ticket, card.build(turn, ticket))


def post_customer(case: Case, ticket: Any, threads: Sequence[Any] | None = None) -> None:
    """Show what the customer wrote in the ticket's threads."""
    turn, inbound = case.turn, case.inbound
    lang = turn.office.staff_language
    name = inbound.author.name or inbound.author.handle or inbound.author.user_id
    attached = _files(case)
    text = said(turn, inbound) or ("" if attached else say("thread.empty", lang))
    parts: list[Block] = [
        Text(say("thread.customer", lang, name=name), small=True),
        *(Text(card.warning(key, lang)) for key in inbound.warnings),
        *([Text(text)] if text else []),
        *attached,
    ]
    posting.to_threads(turn, ticket, Reply(tuple(parts)), threads=threads)


def said(turn: Turn, inbound: Inbound) -> str:
    """What a message says to a reader: in a chat below the words it answers or passes on. In a mail what it
    quotes is the conversation itself, which stands above already."""
    if turn.office.can(inbound.address.channel).subject_threads:
        return inbound.text
    return inbound.full_text or inbound.text


def subject_of(inbound: Inbound, conversation: Any) -> str:
    """What a ticket is about, in one line."""
    for text in (inbound.subject, conversation.subject, inbound.text):
        line = " ".join(text.split())
        if line:
            return card.shorten(line, 120)
    names = [a.filename for a in inbound.attachments if a.filename]
    return card.shorten(names[0], 120) if names else "–"


def _begin(case: Case) -> None:
    """A person has the conversation: the bot is quiet and waits for no rating of what was before."""
    tx, conversation_id = case.turn.tx, case.conversation.id
    conversations.mute_bot(tx, conversation_id, True)
    if not case.opened:
        conversations.answered(tx, conversation_id, "rating", "rating_comment", "helped")


def _known(case: Case) -> card.Known:
    author, conversation = case.inbound.author, case.conversation
    return card.Known(
        conversation,
        newcomer=author.name or author.handle if case.new else None,
        recipients=[conversation.room_id, *case.joined] if case.opened else None,
    )


def _kind(case: Case) -> str:
    return "feedback" if case.intent == "feedback" else "enquiry"


def _notice(case: Case, key: str, ticket: Any) -> None:
    say_to(case, Reply.of(say(key, case.lang, number=ticket.number)), "notice")


def _files(case: Case) -> list[Block]:
    return posting.shown(case.turn, case.message_id) if case.inbound.attachments else []


def _post_earlier(case: Case, ticket: Any, last: Any) -> None:
    """What was said before the ticket, so that nobody must ask again."""
    turn = case.turn
    lang = turn.office.staff_language
    if last is not None:
        text = say("thread.linked", lang, number=last.number)
        posting.to_threads(turn, ticket, Reply.of(Text(text, small=True)))
    if case.opened:
        return
    earlier = [
        m
        for m in conversations.history(turn.tx, case.conversation.id, limit=8)
        if m.id != case.message_id and m.ticket_id is None and m.kind != "note"
    ]
    if not earlier:
        return
    lines = []
    for m in earlier:
        who = say("thread.bot", lang) if m.kind == "out" else say("thread.customer", lang, name=m.author)
        lines.append(f"{who} {card.shorten(m.text, 400)}")
    posting.to_threads(
        turn, ticket, Reply.of(Text(say("thread.earlier", lang), small=True), "\n".join(lines))
    )
