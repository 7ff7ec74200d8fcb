"""Beginning: the first mail to a customer who never wrote. It opens a ticket, and goes on like any other."""

from __future__ import annotations

from typing import Any

from bot import access, posting, relay
from bot.access import Member
from bot.i18n import UserError, say
from bot.office import Turn
from bot.service import card, forms, merging, orders
from channels.conversation import Inbound
from channels.rich import Form, Input, Reply
from crm_store import audit, consent, contacts, conversations, tickets
from crm_store.erase import was_erased

LONGEST_SUBJECT = 120


def by(turn: Turn, contact_id: int) -> Any:
    """The e-mail identity that somebody can be written to, a verified one first; None when there is none, or
    the desk has no mail."""
    if orders.mail_channel(turn) is None:
        return None
    known = [i for i in contacts.identities(turn.tx, contact_id) if i.space == "email" and i.gone_at is None]
    return min(known, key=lambda i: i.verified_at is None, default=None)


def ask(turn: Turn, inbound: Inbound, member: Member, contact_id: int) -> None:
    """Ask what to write. Raise UserError: they cannot be reached, or do not want to be."""
    identity, channel = _reachable(turn, contact_id)
    lang = turn.language_of(member)
    opens = turn.office.can(inbound.address.channel).forms
    text = Input("text", say("begin.text", lang), multiline=True)
    subject = Input("subject", say("begin.subject", lang), _subject(turn, contact_id), required=False)
    who = f"{card.called(turn, contact_id)} <{identity.user_id}>".strip()
    form = Form(
        title=say("profile.message", lang),
        action=f"profile:{contact_id}:begun",
        submit=say("staff.reply_send", lang),
        intro=say("begin.goes_to", lang, recipients=who, channel=channel),
        inputs=(subject, text) if opens else (text,),
    )
    forms.open_form(turn, inbound, member, form)


def send(turn: Turn, inbound: Inbound, member: Member, contact_id: int) -> None:
    """Open a ticket with that mail as its first message; in one that was opened meanwhile it is a reply."""
    text = inbound.values.get("text", "").strip()
    origin = forms.origin(inbound)
    if not text and not origin.attachments:
        return
    if relay.NOTE.match(text):  # what is for colleagues must not go out, and nothing is here to note it on
        raise UserError("begin.is_a_note")
    identity, channel = _reachable(turn, contact_id)
    subject = " ".join(inbound.values.get("subject", "").split())[:LONGEST_SUBJECT]
    ticket = _opened_here(turn, contact_id, channel, identity)
    if ticket is None:
        ticket = _open(turn, contact_id, channel, identity, subject or _subject(turn, contact_id))
        audit.record(turn.tx, turn.now, member.actor, "open", f"ticket:{ticket.number}", via=turn.via)
    hold_s = turn.office.settings(inbound.address.channel).hold_s
    relay.reply(turn, ticket, member, text, inbound=origin, hold_s=hold_s)
    lang = turn.language_of(member)
    who = merging.named(turn, contact_id, lang)
    said = Reply.of(say("begin.done", lang, name=who, number=ticket.number))
    said = access.shown(turn, member, said)
    posting.answer(turn, inbound.address, said, private_to=inbound.author.user_id)


def _reachable(turn: Turn, contact_id: int) -> tuple[Any, str]:
    """Their address and the channel to it. A withdrawn consent to mail is a wish not to be written to first."""
    identity, channel = by(turn, contact_id), orders.mail_channel(turn)
    if identity is None or channel is None or was_erased(turn.tx, contact_id):
        raise UserError("profile.no_conversation")
    said = consent.current(turn.tx, contact_id).get("marketing_email")
    if said is not None and said.state == consent.WITHDRAWN:
        raise UserError("begin.not_wanted")
    return identity, channel


def _subject(turn: Turn, contact_id: int) -> str:
    name = turn.office.config.desk.name
    return say("begin.subject_of", _language(turn, contact_id), desk=name)[:LONGEST_SUBJECT]


def _language(turn: Turn, contact_id: int) -> str:
    return turn.office.customer_language(contacts.get(turn.tx, contact_id).language)


def _opened_here(turn: Turn, contact_id: int, channel: str, identity: Any) -> Any:
    """The open ticket at that address, where somebody was faster, or the form was sent twice."""
    there = conversations.at_address(turn.tx, channel, identity.user_id, "")
    if there is None or there.contact_id != contact_id:
        return None
    return tickets.unclosed(turn.tx, there.id)


def _open(turn: Turn, contact_id: int, channel: str, identity: Any, subject: str) -> Any:
    conversation = conversations.open_at(
        turn.tx,
        turn.now,
        channel=channel,
        room_id=identity.user_id,
        thread_id="",
        contact_id=contact_id,
        language=_language(turn, contact_id),
        subject=subject,
        identity_id=identity.id,
    )
    ticket = tickets.open_new(
        turn.tx,
        turn.now,
        conversation_id=conversation.id,
        contact_id=contact_id,
        kind="enquiry",
        subject=subject,
        channel=channel,
    )
    # nobody waits for us: the first word is ours
    ticket = tickets.set_values(turn.tx, ticket.id, waiting_since=None, first_response_at=turn.now)
    posting.first_card(turn, ticket, card.build(turn, ticket))
    return ticket
