"""Mail of ours that came back, or is late: the message, the address and the agent are told apart."""

from __future__ import annotations

from typing import Any

from bot import posting
from bot.i18n import say
from bot.office import Turn
from bot.service import belonging, desk
from channels.conversation import Inbound
from channels.rich import Reply, Text
from crm_store import contacts, conversations, outbox, tickets


def take(turn: Turn, inbound: Inbound) -> None:
    """A delivery report. A failure marks the message and the address; a delay is only told."""
    message = _about(turn, inbound)
    if message is None:
        desk.keep_automatic(turn, inbound)  # about nothing we know: kept like any automatic mail
        return
    recipient = inbound.values.get("recipient", "").lower()
    failed = inbound.values.get("action", "failed") == "failed"
    ticket = tickets.get(turn.tx, message.ticket_id) if message.ticket_id else None
    if failed:
        _failed(turn, inbound, message, recipient)
    if ticket is not None:
        key = "thread.bounce" if failed else "thread.delayed"
        text = say(key, turn.office.staff_language, recipient=recipient or "?", reason=inbound.text)
        posting.to_threads(turn, ticket, Reply.of(text if failed else Text(text, small=True)))


def _failed(turn: Turn, inbound: Inbound, message: Any, recipient: str) -> None:
    if "bounced" not in message.warnings:
        conversations.set_values(turn.tx, message.id, warnings=[*message.warnings, "bounced"])
    posting.mark(turn, message, "failed")
    status = inbound.values.get("status", "")
    if recipient in _recipients(message) and not status.startswith("4"):  # 4: full, or away: it may come back
        contacts.gone(turn.tx, turn.now, turn.office.space(message.channel), recipient, inbound.text)
    if not recipient or [recipient] == _recipients(message):  # nobody else has it
        outbox.came_back(turn.tx, message.id, inbound.text, turn.now)


def _about(turn: Turn, inbound: Inbound) -> Any:
    """The message of ours that a report is about: by its id, else the last one to that recipient in the
    conversation the report belongs to."""
    channel = inbound.address.channel
    if inbound.target_id:
        message = conversations.by_external(turn.tx, channel, inbound.target_id)
        if message is not None and message.kind == "out":
            return message
    recipient = inbound.values.get("recipient", "").lower()
    conversation = belonging.by_hints(turn, inbound)
    if conversation is None or not recipient:
        return None
    history = conversations.history(turn.tx, conversation.id, limit=50)
    sent = [m for m in history if m.kind == "out" and recipient in _recipients(m)]
    return sent[-1] if sent else None


def _recipients(message: Any) -> list[str]:
    return [str(address).lower() for address in message.recipients]
