"""The relay between a ticket's thread on a staff side and its customer: replies, notes, edits, and how it went."""

from __future__ import annotations

import re
from typing import Any

from bot import posting
from bot.access import AGENTS, Member
from bot.i18n import say
from bot.office import Turn
from bot.service import card, desk
from channels import rich
from channels.conversation import Inbound, Op
from channels.rich import Reply, Text
from crm_store import audit, contacts, conversations, outbox, tickets
from crm_store.conversations import NewMessage

NOTE = re.compile(r"^\s*(?://|note\s*[:：]|备注\s*[:：]|注\s*[:：])\s*", re.IGNORECASE)
QUOTE = re.compile(r"^\s*[>＞]\s?")


def classify(mode: str, inbound: Inbound, is_staff_mention: bool) -> tuple[str, str]:
    """("reply" or "note", text without its prefix). When in doubt it is a note: a note cannot be taken back
    from a customer."""
    text = inbound.text
    if NOTE.match(text):
        return "note", NOTE.sub("", text, count=1)
    if is_staff_mention:
        return "note", text
    if mode == "explicit":
        if QUOTE.match(text):
            return "reply", "\n".join(QUOTE.sub("", line, count=1) for line in text.splitlines())
        return "note", text
    return "reply", text


def thread_message(turn: Turn, inbound: Inbound, ticket: Any, member: Member | None) -> None:
    """Something was written in a ticket's thread."""
    address = inbound.address
    if member is None or member.role not in AGENTS:
        _refuse(turn, inbound, ticket, member)
        return
    settings = turn.office.settings(address.channel)
    kind, text = classify(settings.reply_mode, inbound, bool(inbound.mentions))
    if kind == "note":
        note(turn, ticket, member, text, inbound=inbound)
    else:
        reply(turn, ticket, member, text, inbound=inbound, hold_s=settings.hold_s)


def reply(
    turn: Turn, ticket: Any, member: Member, text: str, *, inbound: Inbound, hold_s: float
) -> int | None:
    """Send an agent's public reply, after the hold. Return the message's id; None for a repeat."""
    conversation = conversations.lock(turn.tx, ticket.conversation_id)
    in_thread = bool(inbound.address.thread_id) and not inbound.private
    message_id = posting.public(
        turn,
        conversation,
        Reply.of(text),
        purpose="reply",
        member=member,
        ticket_id=ticket.id,
        hold_s=hold_s,
        dedupe=f"staff:{inbound.address.channel}:{inbound.dedupe or inbound.event_id}",
        staff_channel=inbound.address.channel if in_thread else "",
        staff_event_id=inbound.event_id if in_thread else "",
    )
    if message_id is None:
        return None
    if inbound.attachments:
        desk.store_files(turn, message_id, inbound.address.channel, inbound.attachments)
        _attach(turn, message_id, text)
    was_closed = ticket.status == "closed"
    ticket = tickets.set_values(
        turn.tx,
        ticket.id,
        status="pending" if not was_closed else "open",
        **({"closed_at": None, "reopened": ticket.reopened + 1} if was_closed else {}),
        **({"assignee_id": member.id} if ticket.assignee_id is None else {}),
    )
    conversations.mute_bot(turn.tx, conversation.id, True)
    message = conversations.get_message(turn.tx, message_id)
    if hold_s and in_thread:
        posting.mark(
            turn, message, "held", room_id=inbound.address.room_id, thread_id=inbound.address.thread_id
        )
    lang = turn.office.staff_language
    echo = [Text(say("thread.agent", lang, name=member.name), small=True), Text(text)]
    there = (inbound.address.channel, inbound.address.room_id) if in_thread else None
    posting.to_threads(turn, ticket, Reply((*echo, *posting.attached(turn, message_id))), but_not=there)
    if was_closed:
        posting.to_threads(turn, ticket, Reply.of(Text(say("thread.sent_to_closed", lang), small=True)))
    posting.card(turn, ticket, card.build(turn, ticket))
    audit.record(turn.tx, turn.now, member.actor, "reply", f"ticket:{ticket.number}")
    return message_id


def note(turn: Turn, ticket: Any, member: Member, text: str, *, inbound: Inbound) -> None:
    """Keep an internal note. It is of kind "note": nothing that makes outbound rows for customers takes it."""
    event = inbound.dedupe or inbound.event_id
    message_id = conversations.add(
        turn.tx,
        turn.now,
        ticket.conversation_id,
        NewMessage(
            kind="note",
            channel=inbound.address.channel,
            event_id=inbound.event_id,
            dedupe=f"staff:{inbound.address.channel}:{event}",
            text=text,
            author_kind="staff",
            author_id=member.id,
            author=member.name,
            sent_at=inbound.sent_at,
            staff_channel=inbound.address.channel,
            staff_event_id=inbound.event_id,
            ticket_id=ticket.id,
        ),
    )
    if message_id is None:
        return
    desk.store_files(turn, message_id, inbound.address.channel, inbound.attachments)
    lang = turn.office.staff_language
    in_thread = bool(inbound.address.thread_id) and not inbound.private
    there = (inbound.address.channel, inbound.address.room_id) if in_thread else None
    posting.to_threads(
        turn,
        ticket,
        Reply((Text(say("thread.note", lang, name=member.name), small=True), Text(text))),
        but_not=there,
    )


def edited(turn: Turn, inbound: Inbound, member: Member | None) -> None:
    """An agent changed what they wrote: a held reply changes with it, a sent one where the platform can."""
    message = conversations.by_staff_event(turn.tx, inbound.address.channel, inbound.target_id)
    if message is None or member is None or message.author_id != member.id or message.deleted_at:
        return
    ticket = tickets.get(turn.tx, message.ticket_id)
    settings = turn.office.settings(inbound.address.channel)
    kind, text = classify(settings.reply_mode, inbound, bool(inbound.mentions))
    if message.kind == "note":
        conversations.edit(turn.tx, turn.now, message.id, text)  # a note stays one, whatever it says now
        return
    rows = outbox.of_message(turn.tx, message.id)
    if kind == "note":
        if all([outbox.withdraw(turn.tx, row.id, turn.now) for row in rows]) and rows:
            conversations.edit(turn.tx, turn.now, message.id, text, kind="note")
            posting.mark(turn, message, "withdrawn")
        else:
            _tell(turn, ticket, "thread.too_late_edit", channel=message.channel)
        return
    conversations.edit(turn.tx, turn.now, message.id, text)
    body = rich.dump(Reply((*Reply.of(text).blocks, *posting.attached(turn, message.id))))
    if rows and all([outbox.amend(turn.tx, row.id, body) for row in rows]):
        return
    message = conversations.get_message(turn.tx, message.id)
    done = posting.change_public(turn, message, Op.EDIT, Reply.of(text))
    _tell(turn, ticket, "thread.changed_there" if done else "thread.too_late_edit", channel=message.channel)


def deleted(turn: Turn, inbound: Inbound) -> None:
    """An agent's message is gone from the staff side: what is held is withdrawn."""
    message = conversations.by_staff_event(turn.tx, inbound.address.channel, inbound.target_id)
    if message is None or message.deleted_at:
        return
    ticket = tickets.get(turn.tx, message.ticket_id)
    if message.kind == "note":
        conversations.set_values(turn.tx, message.id, deleted_at=turn.now)
        return
    rows = outbox.of_message(turn.tx, message.id)
    if rows and all([outbox.withdraw(turn.tx, row.id, turn.now) for row in rows]):
        conversations.set_values(turn.tx, message.id, deleted_at=turn.now)
        _tell(turn, ticket, "thread.withdrawn")
        return
    done = posting.change_public(turn, message, Op.DELETE, Reply())
    if done:
        conversations.set_values(turn.tx, message.id, deleted_at=turn.now)
    _tell(turn, ticket, "thread.deleted_there" if done else "thread.too_late", channel=message.channel)


# --- how a delivery went (called when an outbox row settles) ---------------------------------------------


def delivered(turn: Turn, row: outbox.Leaving, event_id: str, thread_id: str) -> None:
    """A row was sent: note the platform's ids, show it on the agent's message, stop the response clock."""
    if row.purpose == "card" and row.op == Op.SEND and row.ticket_id is not None:
        tickets.thread_opened(
            turn.tx, row.ticket_id, row.channel, row.room_id, thread_id or event_id, event_id
        )
        return
    if row.message_id is None or row.purpose not in ("reply", "answer", "notice"):
        return
    conversations.set_values(turn.tx, row.message_id, external_id=event_id)
    if row.conversation_id is not None and turn.office.can(row.channel).subject_threads:
        conversations.remember_refs(turn.tx, row.channel, row.conversation_id, [event_id])
    if row.purpose == "reply":
        if row.ticket_id is not None:
            tickets.responded(turn.tx, row.ticket_id, turn.now)
        posting.mark(turn, conversations.get_message(turn.tx, row.message_id), "sent")


def undelivered(turn: Turn, row: outbox.Leaving, state: str, reason: str, *, gone: bool) -> None:
    """A row is dead or its outcome unknown: say so in the thread and on the agent's message."""
    conversation = conversations.get(turn.tx, row.conversation_id) if row.conversation_id else None
    if gone and conversation is not None and row.purpose in ("reply", "answer", "notice"):
        contacts.gone(turn.tx, turn.now, turn.office.space(row.channel), conversation.room_id, reason)
    if row.message_id is None or conversation is None:
        return
    message = conversations.get_message(turn.tx, row.message_id)
    posting.mark(turn, message, "failed" if state == "dead" else "unknown")
    ticket = tickets.get(turn.tx, row.ticket_id) if row.ticket_id else None
    if ticket is not None:
        key = "thread.failed" if state == "dead" else "thread.unknown"
        _tell(turn, ticket, key, recipients=card.recipients(turn, conversation), reason=reason)


def _attach(turn: Turn, message_id: int, text: str) -> None:
    body = rich.dump(Reply((*Reply.of(text).blocks, *posting.attached(turn, message_id))))
    for row in outbox.of_message(turn.tx, message_id):
        outbox.amend(turn.tx, row.id, body)


def _refuse(turn: Turn, inbound: Inbound, ticket: Any, member: Member | None) -> None:
    """Nothing of theirs is sent, and they are told: silence would look like success."""
    if inbound.author.is_bot:
        return
    actor = (
        member.actor if member else f"{turn.office.space(inbound.address.channel)}:{inbound.author.user_id}"
    )
    audit.record(turn.tx, turn.now, actor, "reply", f"ticket:{ticket.number}", "refused")
    key = "thread.viewer" if member else "thread.not_staff"
    posting.answer(
        turn,
        inbound.address,
        Reply.of(say(key, turn.office.staff_language)),
        private_to=inbound.author.user_id,
    )


def _tell(turn: Turn, ticket: Any, key: str, **values: object) -> None:
    if ticket is not None:
        text = say(key, turn.office.staff_language, **values)
        posting.to_threads(turn, ticket, Reply.of(Text(text, small=True)))
