"""Belonging: who wrote, and to which conversation what they wrote belongs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bot.office import Turn
from bot.service import quotes
from channels.conversation import Inbound, Kind
from crm_store import contacts, conversations, tickets
from crm_store.contacts import Identity


@dataclass(frozen=True, slots=True)
class Met:
    """Who wrote: their contact, and the account they wrote from."""

    contact_id: int
    identity: Identity

    @property
    def known(self) -> bool:
        """Whether we had met this account before."""
        return not self.identity.created

    @property
    def new(self) -> bool:
        """Whether the contact, too, came into being just now: nothing is known of them but this message."""
        return self.identity.created and self.identity.contact_id == self.contact_id


def find_or_open(
    turn: Turn, inbound: Inbound, met: Met, language: str = "", *, spoken: bool = False
) -> tuple[Any, bool]:
    """The conversation a message belongs to, and whether it was there already. `language`: what its
    words were found to be in, by who knew no more of its author than the message says. `spoken`: a message
    of theirs follows at once, so a new conversation counts it already."""
    channel, address = inbound.address.channel, inbound.address
    caps = turn.office.can(channel)
    found = None
    if caps.subject_threads:
        found = by_hints(turn, inbound)
    else:
        found = conversations.at_address(turn.tx, channel, address.room_id, thread_of(turn, inbound))
    if found is not None:
        return conversations.lock(turn.tx, found.id), True
    office = turn.office
    own = _own_language(turn, inbound, met)
    fallback = office.customer_language(own, inbound.author.language)
    if not language or fallback != office.customer_language(inbound.author.language):
        from bot.answers.language import detect

        language = office.customer_language(detect(f"{inbound.subject}\n{inbound.text}", fallback))
    opened = conversations.open_at(
        turn.tx,
        turn.now,
        channel=channel,
        room_id=address.room_id,
        thread_id=thread_of(turn, inbound),
        contact_id=met.contact_id,
        language=language,
        subject=inbound.subject,
        identity_id=met.identity.id,
        spoken=spoken,
    )
    if own is None:
        contacts.set_language(turn.tx, met.contact_id, language, turn.now)
    return opened, False


def _own_language(turn: Turn, inbound: Inbound, met: Met) -> str | None:
    """The contact's language, None while it is not known."""
    if met.new:
        return _says(turn, inbound)
    row = contacts.get(turn.tx, met.contact_id)
    return None if row is None else row.language


def _says(turn: Turn, inbound: Inbound) -> str | None:
    """The language that a platform says its user has, as far as we speak it."""
    language = inbound.author.language
    return turn.office.customer_language(language) if language else None


def thread_of(turn: Turn, inbound: Inbound) -> str:
    """The thread replies go to: the message's own, or the one a reply to it would open."""
    if inbound.address.thread_id or inbound.private:
        return inbound.address.thread_id
    starts = (h.removeprefix("thread:") for h in inbound.thread_hints if h.startswith("thread:"))
    return next(starts, "")


def meet(turn: Turn, inbound: Inbound) -> Met:
    """Who wrote; what the platform attests is noted."""
    author, office = inbound.author, turn.office
    space = office.space(inbound.address.channel)
    identity = contacts.meet(
        turn.tx,
        turn.now,
        space=space,
        user_id=author.user_id,
        name=author.name,
        handle=author.handle,
        language=_says(turn, inbound),
    )
    contact_id = identity.contact_id
    if identity.gone_at is not None:
        contacts.back(turn.tx, space, author.user_id)
    if office.can(inbound.address.channel).attests:
        contacts.verify(turn.tx, turn.now, identity.id, "platform")
    if author.verified_phone:
        contact_id = contacts.prove(
            turn.tx, turn.now, contact_id, space="phone", user_id=author.verified_phone, how="shared"
        )
    if author.verified_email:
        contact_id = contacts.prove(
            turn.tx,
            turn.now,
            contact_id,
            space="email",
            user_id=author.verified_email.lower(),
            how="attested",
        )
    return Met(contact_id, identity)


def by_hints(turn: Turn, inbound: Inbound) -> Any:
    """The conversation a mail says it belongs to, as far as that may be believed; None for a new one."""
    channel = inbound.address.channel
    refs = []
    for hint in inbound.thread_hints:
        kind, _, value = hint.partition(":")
        if kind == "key":
            found = conversations.by_key(turn.tx, value)
            if found is not None and found.channel == channel:
                return found
        elif kind == "ref":
            refs.append(value)
    found = _by_refs(turn, inbound, refs)
    if found is not None:
        return found
    for hint in inbound.thread_hints:  # weak: they only count for somebody who is in the conversation already
        kind, _, value = hint.partition(":")
        candidate = None
        if kind == "weakref":  # the marker in a quoted body: the conversation's key
            candidate = conversations.by_key(turn.tx, value)
        elif kind == "subject" and (number := whole(value)) is not None:
            ticket = tickets.by_number(turn.tx, number)
            candidate = conversations.get(turn.tx, ticket.conversation_id) if ticket is not None else None
        if candidate is not None and candidate.channel == channel and _is_in(turn, inbound, candidate):
            return candidate
    return None


def whole(text: str) -> int | None:
    """A number that somebody wrote into a button or a subject; None for what no database takes."""
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= 9 else None


def _by_refs(turn: Turn, inbound: Inbound, refs: list[str]) -> Any:
    """The conversation that knows one of the ids a mail refers to, or the mail's own (a reply came first).

    An id of one of its messages joins anybody: they have that mail. An id that was only ever mentioned there
    (the parent we never saw) joins who shares people with it; else a stranger who mentions the id of somebody's
    mail would catch that person's next one.
    """
    channel = inbound.address.channel
    for ref in refs:
        found = conversations.by_ref(turn.tx, channel, [ref])
        if found is not None and (
            conversations.holds(turn.tx, found.id, ref) or _shares_people(turn, inbound, found)
        ):
            return found
    found = conversations.by_ref(turn.tx, channel, [inbound.event_id])
    return found if found is not None and _shares_people(turn, inbound, found) else None


def people_in(turn: Turn, conversation: Any) -> set[str]:
    others = conversations.participants(turn.tx, conversation.id)
    return {conversation.room_id, *(p.user_id for p in others)}


def _shares_people(turn: Turn, inbound: Inbound, conversation: Any) -> bool:
    named = {inbound.author.user_id, *(p.user_id for p in inbound.participants)}
    return bool(named & people_in(turn, conversation))


def _is_in(turn: Turn, inbound: Inbound, conversation: Any) -> bool:
    """Whether a sender is part of a conversation, beyond doubt: a forged one is not."""
    verified = inbound.author.verified_email is not None
    return verified and inbound.author.user_id in people_in(turn, conversation)


def as_seen_here(turn: Turn, inbound: Inbound, conversation: Any) -> Inbound:
    """A mail in a conversation we know: quotes of what we sent are no news, who is new in it is."""
    sent = [m.text for m in conversations.history(turn.tx, conversation.id, limit=50) if m.kind == "out"]
    text = quotes.without_ours(inbound.text, sent)
    stranger = inbound.kind is Kind.MESSAGE and inbound.author.user_id not in people_in(turn, conversation)
    warnings = (*inbound.warnings, "new_participant") if stranger else inbound.warnings
    return replace(inbound, text=text, warnings=warnings)
