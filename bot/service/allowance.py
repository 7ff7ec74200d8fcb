"""Allowance: sending what is automatic, when that may be done and how much of it. Two desks would
answer each other for ever."""

from __future__ import annotations

import re
from datetime import timedelta

from bot import posting
from bot.service.case import Case
from channels.rich import Reply
from crm_store import conversations, tickets

PER_DAY = 20  # automatic mails to one address
NOTICES_PER_DAY = 2  # … of them such as "we have your message"
PER_HOUR = 300  # … and from one inbox to everybody: beyond that something is wrong
ONE_DAY = timedelta(days=1)
_NUMBERS = re.compile(r"\d+")


def may_speak(case: Case, purpose: str = "answer") -> bool:
    """Whether something automatic may be sent: never where it could reach somebody who did not write, and
    not again to what writes the same again, which is a machine like us."""
    turn, inbound = case.turn, case.inbound
    caps = turn.office.can(inbound.address.channel)
    if not caps.subject_threads:
        return inbound.addressed or inbound.private
    if inbound.address.room_id != case.conversation.room_id:
        return False  # somebody else's conversation: what is automatic would go to its owner
    if not inbound.may_acknowledge:  # nobody vouches for the sender, however well we know the address
        return False
    to_them, to_all, notices = _counters(case)
    used, all_used, told = tickets.numbers_now(turn.tx, to_them, to_all, notices)
    within = used < PER_DAY and all_used < PER_HOUR
    if purpose == "notice":
        within = within and told < NOTICES_PER_DAY
    return within and not (used and _says_the_same(case))


def _counters(case: Case) -> tuple[str, str, str]:
    """The names of what is counted: automatic mails to one address, to all from an inbox, and notices to one."""
    now, address = case.turn.now, case.inbound.address
    day = now.date().isoformat()
    one = f"{address.channel}:{address.room_id}"
    return f"{day}:auto:{one}", f"{day}:auto in hour {now.hour}:{address.channel}", f"{day}:notice:{one}"


def _says_the_same(case: Case) -> bool:
    """Whether the sender wrote these words today already, but for the numbers in them."""
    turn, address = case.turn, case.inbound.address
    lately = conversations.received(turn.tx, address.channel, address.room_id, turn.now - ONE_DAY)
    own = _NUMBERS.sub("", case.inbound.text)
    return any(m.id != case.message_id and _NUMBERS.sub("", m.text) == own for m in lately)


def say_to(case: Case, reply: Reply, purpose: str = "answer") -> None:
    """Send something automatic to the customer of the case, and count it."""
    _spoke(case, purpose)
    posting.public(case.turn, case.conversation, reply, purpose=purpose)


def _spoke(case: Case, purpose: str = "answer") -> None:
    """Count something automatic against the limits of `may_speak`."""
    turn = case.turn
    if turn.office.can(case.inbound.address.channel).subject_threads:
        to_them, to_all, notices = _counters(case)
        for name in (to_them, to_all, *([notices] if purpose == "notice" else [])):
            tickets.next_number(turn.tx, name)
