"""The relay between a ticket's thread on a staff side and its customer: replies, notes, edits, and how it went."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from bot import access, posting
from bot.access import Member
from bot.i18n import say
from bot.office import Turn
from bot.service import card, desk, presence, waiting
from channels import rich
from channels.conversation import Inbound, Kind, Op
from channels.rich import Form, Reply, Text
from crm_store import audit, contacts, conversations, outbox, tickets
from crm_store.conversations import NewMessage

NOTE = re.compile(r"^\s*(?://|note\s*[:：]|备注\s*[:：]|注\s*[:：])\s*", re.IGNORECASE)
MENTION = re.compile(r"(?<![\w.+-])@(?=[^\W\d_])[\w.-]+")  # a colleague by name; not an address
QUOTE = re.compile(r"^\s*[>＞]\s?")


def classify(mode: str, inbound: Inbound, is_staff_mention: bool) -> tuple[str, str]:
    """("reply" or "note", text without its prefix). When in doubt it is a note: a note cannot be taken back
    from a customer."""
    text = inbound.text
    if NOTE.match(text):
        return "note", NOTE.sub("", text, count=1)
    if is_staff_mention or passes_on(inbound):
        return "note", text
    if MENTION.search(text) or any(NOTE.match(line) for line in text.splitlines()):
        return "note", text
    if mode == "explicit":
        if QUOTE.match(text):
            return "reply", "\n".join(QUOTE.sub("", line, count=1) for line in text.splitlines())
        return "note", text
    return "reply", text


def passes_on(inbound: Inbound) -> bool:
    """Whether the text holds somebody else's words, passed on by the platform: they may be a note."""
    return bool(inbound.full_text) and inbound.full_text == inbound.text


def thread_message(turn: Turn, inbound: Inbound, ticket: Any, member: Member | None) -> None:
    """Something was written in a ticket's thread."""
    address = inbound.address
    settings = turn.office.settings(address.channel)
    kind, text = classify(settings.reply_mode, inbound, bool(inbound.mentions))
    if (
        member is None
        or not turn.office.access.may(member, kind)
        or not access.sees_ticket(turn, member, ticket)
    ):
        _refuse(turn, inbound, ticket, member)
        return
    if kind == "note":
        note(turn, ticket, member, text, inbound=inbound)
        if passes_on(inbound) and not NOTE.match(inbound.text):
            _tell(turn, ticket, "thread.kept_inside")
    else:
        reply(turn, ticket, member, text, inbound=inbound, hold_s=settings.hold_s)


def reply(
    turn: Turn, ticket: Any, member: Member, text: str, *, inbound: Inbound, hold_s: float
) -> int | None:
    """Send an agent's public reply, after the hold. Return the message's id; None for a repeat."""
    conversation = conversations.lock(turn.tx, ticket.conversation_id)
    in_thread = bool(inbound.address.thread_id) and not inbound.private
    written = inbound.kind is Kind.MESSAGE and inbound.address.channel in turn.office.config.channels
    message_id = posting.public(
        turn,
        conversation,
        Reply.of(text),
        purpose="reply",
        member=member,
        ticket_id=ticket.id,
        hold_s=hold_s,
        dedupe=f"staff:{inbound.address.channel}:{inbound.dedupe or inbound.event_id}",
        staff_channel=inbound.address.channel if in_thread or written else "",
        staff_event_id=inbound.event_id if in_thread or written else "",
    )
    if message_id is None:
        return None
    presence.wrote(turn, ticket, member)
    if inbound.attachments:
        desk.store_files(turn, message_id, inbound.address.channel, inbound.attachments)
        _attach(turn, message_id, text)
    was_closed = ticket.status == "closed"
    ticket = tickets.set_values(
        turn.tx,
        ticket.id,
        status="pending" if not was_closed else "open",
        waiting_since=None,
        **({"closed_at": None, "reopened": ticket.reopened + 1} if was_closed else {}),
        **({"assignee_id": member.id} if ticket.assignee_id is None else {}),
    )
    conversations.mute_bot(turn.tx, conversation.id, True)
    message = conversations.get_message(turn.tx, message_id)
    if hold_s:
        posting.typing(turn, conversation)
    if hold_s and (in_thread or written):
        posting.mark(
            turn, message, "held", room_id=inbound.address.room_id, thread_id=inbound.address.thread_id
        )
    lang = turn.office.staff_language
    echo = Reply.of(Text(say("thread.agent", lang, name=member.name), small=True), text).blocks
    there = _own_thread(turn, ticket, inbound)
    posting.to_threads(turn, ticket, Reply((*echo, *posting.attached(turn, message_id))), but_not=there)
    if was_closed:
        posting.to_threads(turn, ticket, Reply.of(Text(say("thread.sent_to_closed", lang), small=True)))
    posting.card(turn, ticket, card.build(turn, ticket))
    audit.record(turn.tx, turn.now, member.actor, "reply", f"ticket:{ticket.number}", via=turn.via)
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
    presence.wrote(turn, ticket, member)
    desk.store_files(turn, message_id, inbound.address.channel, inbound.attachments)
    lang = turn.office.staff_language
    head = Text(say("thread.note", lang, name=member.name), small=True)
    posting.to_threads(
        turn,
        ticket,
        Reply((*Reply.of(head, text).blocks, *posting.attached(turn, message_id))),
        but_not=_own_thread(turn, ticket, inbound),
    )


def _own_thread(turn: Turn, ticket: Any, inbound: Inbound) -> tuple[str, str] | None:
    """The staff room in whose thread of this ticket it was written: it is to be seen there already."""
    address = inbound.address
    here = tickets.in_thread(turn.tx, address.channel, address.room_id, address.thread_id)
    own = here is not None and here.id == ticket.id and not inbound.private
    return (address.channel, address.room_id) if own else None


def edited(turn: Turn, inbound: Inbound, member: Member | None) -> None:
    """An agent changed what they wrote: a held reply changes with it, a sent one where the platform can."""
    message = conversations.by_staff_event(turn.tx, inbound.address.channel, inbound.target_id)
    if message is None or member is None or message.author_id != member.id or message.deleted_at:
        return
    ticket = tickets.get(turn.tx, message.ticket_id)
    kind, text = _meant(turn, inbound)
    if text == message.text and kind == ("note" if message.kind == "note" else "reply"):
        return
    if message.kind == "note":
        conversations.edit(turn.tx, turn.now, message.id, text)  # a note stays one, whatever it says now
        _say_changed(turn, inbound, ticket, member, text)
        return
    rows = outbox.of_message(turn.tx, message.id)
    if kind == "note":
        if _withdraw(turn, rows):
            conversations.edit(turn.tx, turn.now, message.id, text, kind="note")
            posting.mark(turn, message, "withdrawn")
            _tell(turn, ticket, "thread.withdrawn")
            waiting.again(turn, ticket)
        else:
            _tell(turn, ticket, "thread.too_late_edit", channel=message.channel)
        return
    changed = Reply((*Reply.of(text).blocks, *posting.attached(turn, message.id)))
    body = rich.dump(changed)
    held = bool(rows) and all([outbox.amend(turn.tx, row.id, body) for row in rows])
    if held or posting.change_public(turn, message, Op.EDIT, changed):
        conversations.edit(turn.tx, turn.now, message.id, text)
        _say_changed(turn, inbound, ticket, member, text)
    else:
        _tell(turn, ticket, "thread.too_late_edit", channel=message.channel)


def deleted(turn: Turn, inbound: Inbound) -> None:
    """An agent's message is gone from the staff side: what is held is withdrawn, what is sent taken back."""
    message = conversations.by_staff_event(turn.tx, inbound.address.channel, inbound.target_id)
    if message is None or message.deleted_at:
        return
    if message.kind == "note":
        conversations.set_values(turn.tx, message.id, deleted_at=turn.now)
        return
    key = take_back(turn, message)
    if key != DELETING:
        _tell(turn, tickets.get(turn.tx, message.ticket_id), key, channel=message.channel)


DELETING = "thread.deleting"


def take_back(turn: Turn, message: Any) -> str:
    """Withdraw a public message that is held, or delete it where the customer reads it. Return the words for
    what became of it; DELETING when the platform was asked, and how that went is told later."""
    if _withdraw(turn, outbox.of_message(turn.tx, message.id)):
        conversations.set_values(turn.tx, message.id, deleted_at=turn.now)
        posting.mark(turn, message, "withdrawn")
        waiting.again(turn, tickets.get(turn.tx, message.ticket_id))
        return "thread.withdrawn"
    return DELETING if posting.change_public(turn, message, Op.DELETE, Reply()) else "thread.too_late"


def last_reply(turn: Turn, ticket: Any, member: Member) -> Any:
    """The newest public message of an agent on a ticket that is still there, or None."""
    for message in reversed(conversations.history(turn.tx, ticket.conversation_id, limit=50)):
        own = message.author_kind == "staff" and message.author_id == member.id
        if own and message.kind == "out" and message.ticket_id == ticket.id and not message.deleted_at:
            return message
    return None


def _withdraw(turn: Turn, rows: list[Any]) -> bool:
    return bool(rows) and all([outbox.withdraw(turn.tx, row.id, turn.now) for row in rows])


def _meant(turn: Turn, inbound: Inbound) -> tuple[str, str]:
    """What an edited message says now: ("reply" or "note", text). One that was a command is read as one; any
    other command is nothing for a customer."""
    from bot import commands

    command = commands.parse(inbound.text)
    if command is None and _answers_reply_form(turn, inbound):
        return ("note", inbound.text) if NOTE.match(inbound.text) else ("reply", inbound.text)
    if command is None:
        mode = turn.office.settings(inbound.address.channel).reply_mode
        return classify(mode, inbound, bool(inbound.mentions))
    name, args = command
    words = re.sub(r"^#?\d{1,9}\s+", "", args)
    return ("reply", words) if name == "reply" and words else ("note", words)


def _answers_reply_form(turn: Turn, inbound: Inbound) -> bool:
    """Whether a message is the answer to a posted question for a reply: all of it is one, in every mode."""
    if not inbound.in_reply_to_id or turn.office.can(inbound.address.channel).forms:
        return False
    asked = outbox.recent(turn.tx, inbound.address.channel, inbound.in_reply_to_id, op=Op.FORM)
    forms = [b for b in rich.load(asked.body).blocks if isinstance(b, Form)] if asked else []
    return bool(forms) and forms[0].action.endswith(":send")


def _say_changed(turn: Turn, inbound: Inbound, ticket: Any, member: Member, text: str) -> None:
    """The other staff sides show what a message says now; where it was written it is seen."""
    there = (inbound.address.channel, inbound.address.room_id)
    head = Text(say("thread.edited", turn.office.staff_language, name=member.name), small=True)
    if ticket is not None:
        posting.to_threads(turn, ticket, Reply.of(head, text), but_not=there)


# --- how a delivery went (called when an outbox row settles) ---------------------------------------------


def delivered(
    turn: Turn, row: outbox.Leaving, event_id: str, thread_id: str, parts: Sequence[str] = ()
) -> None:
    """A row was sent: note the platform's ids, show it on the agent's message, stop the response clock."""
    if row.purpose == "card" and row.op == Op.SEND and row.ticket_id is not None:
        tickets.thread_opened(
            turn.tx, row.ticket_id, row.channel, row.room_id, thread_id or event_id, event_id
        )
        return
    if row.message_id is None:
        return
    if row.purpose == "change":
        _changed_there(turn, row, parts)
    if row.purpose not in ("reply", "answer", "notice"):
        return
    conversations.set_values(turn.tx, row.message_id, external_id=event_id)
    if len(parts) > 1:
        outbox.note_parts(turn.tx, row.id, parts)
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
    if row.purpose == "change":
        if message.external_id and message.ticket_id:  # else it never arrived, and that was told
            key = "thread.too_late_edit" if row.op == Op.EDIT else "thread.too_late"
            _tell(turn, tickets.get(turn.tx, message.ticket_id), key, channel=row.channel)
        return
    posting.mark(turn, message, "failed" if state == "dead" else "unknown")
    ticket = tickets.get(turn.tx, row.ticket_id) if row.ticket_id else None
    if ticket is not None:
        key = "thread.failed" if state == "dead" else "thread.unknown"
        who = card.recipients(turn, conversation, message.recipients)
        _tell(turn, ticket, key, recipients=who, reason=reason)
        if state == "dead" and row.purpose == "reply":
            waiting.again(turn, ticket)


def withheld(turn: Turn, row: outbox.Leaving, author: str) -> None:
    """A reply did not leave, since its author works here no longer: colleagues decide what becomes of it."""
    message = conversations.get_message(turn.tx, row.message_id or 0)
    conversations.set_values(turn.tx, message.id, deleted_at=turn.now)
    posting.mark(turn, message, "withdrawn")
    ticket = tickets.get(turn.tx, row.ticket_id) if row.ticket_id else None
    _tell(turn, ticket, "thread.withheld", name=author, text=card.shorten(message.text, 200))
    waiting.again(turn, ticket)


def _changed_there(turn: Turn, row: outbox.Leaving, parts: Sequence[str]) -> None:
    """A message was edited or deleted at the customer's side: its further parts go or are new."""
    message = conversations.get_message(turn.tx, row.message_id or 0)
    sent = outbox.of_message(turn.tx, message.id)
    known = list(sent[-1].options.get("parts", ())) if sent else []
    has_files = bool(posting.attached(turn, message.id))
    if row.op == Op.DELETE or (known and not has_files):
        for part in known[1:]:
            posting.change_part(turn, message, part)
    if row.op == Op.DELETE:
        conversations.set_values(turn.tx, message.id, deleted_at=turn.now)
        waiting.again(turn, tickets.get(turn.tx, message.ticket_id) if message.ticket_id else None)
    elif sent:
        kept = known[1:] if has_files else []
        outbox.note_parts(turn.tx, sent[-1].id, [*(parts or (message.external_id,)), *kept])
    if message.ticket_id:
        key = "thread.deleted_there" if row.op == Op.DELETE else "thread.changed_there"
        _tell(turn, tickets.get(turn.tx, message.ticket_id), key)


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
    audit.record(turn.tx, turn.now, actor, "reply", f"ticket:{ticket.number}", "refused", via=turn.via)
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
