"""What a customer says about marketing in one word: STOP ends it on every channel, START has it again.

A withdrawal is believed from whoever writes, since wrongly believed it costs a newsletter; a grant only from
whom the platform, or the mail's signature, vouches for. START alone grants nothing to somebody who never said
STOP: people type it to wake a bot.
"""

from __future__ import annotations

import re
import unicodedata

from bot import posting
from bot.i18n import say
from bot.service.allowance import may_speak, say_to
from bot.service.case import Case
from channels.rich import Reply, Text
from crm_store import consent, conversations, tickets

_STOP = re.compile(
    r"/?stop|stop ?all|/?unsubscribe|opt[ -]?out|(回复)?td|退订|退訂|取消订阅|取消訂閱|不再订阅|停止订阅"
)
_AGAIN = re.compile(r"start|unstop|恢复|恢复订阅")
_SUBSCRIBE = re.compile(r"/?subscribe|opt[ -]?in|订阅|訂閱")
ALWAYS = "marketing_email"
MARKETING = "marketing_"


def by_text(case: Case) -> bool:
    """Take a message that is one of the words and nothing else; False when it is none of them."""
    word = _word(case)
    if _STOP.fullmatch(word):
        state = consent.WITHDRAWN
        purposes = {ALWAYS, _here(case), *_standing(case, consent.GRANTED)}
    elif (anew := _SUBSCRIBE.fullmatch(word)) or _AGAIN.fullmatch(word):
        state, purposes = consent.GRANTED, _standing(case, consent.WITHDRAWN, by="customer")
        if anew:
            purposes |= {_here(case)}
        if not purposes or not _is_vouched_for(case):
            return False
    else:
        return False
    _note(case, purposes, state)
    return True


def _note(case: Case, purposes: set[str], state: str) -> None:
    turn, channel = case.turn, case.inbound.address.channel
    source = say("consent.wrote", turn.office.staff_language, text=_said(case), channel=channel)
    before = consent.current(turn.tx, case.contact_id)
    changed = {p for p in purposes if p not in before or before[p].state != state}
    for purpose in sorted(changed):
        consent.add(
            *(turn.tx, turn.now, case.contact_id, purpose, state),
            source=source,
            actor="customer",
            at=min(case.inbound.sent_at, turn.now),
            message_id=case.message_id,
        )
    ticket = tickets.unclosed(turn.tx, case.conversation.id)
    if ticket is not None:
        conversations.set_values(turn.tx, case.message_id, ticket_id=ticket.id)
        if changed:
            text = say(f"thread.consent_{state}", turn.office.staff_language)
            posting.to_threads(turn, ticket, Reply.of(Text(text, small=True)))
    if changed and may_speak(case):
        desk_name = turn.office.config.desk.name
        say_to(case, Reply.of(say(f"customer.consent_{state}", case.lang, desk=desk_name)))


def _word(case: Case) -> str:
    return " ".join(_said(case).casefold().strip("\"'“”‘’«»<>[]()（）【】.。!！ ").split())


def _said(case: Case) -> str:
    """A mail's text, or its subject where there is no text, as links in mails write it."""
    inbound = case.inbound
    if inbound.attachments:
        return ""
    text = inbound.text.strip()
    if not text and case.turn.office.can(inbound.address.channel).subject_threads:
        text = inbound.subject.strip()
    return unicodedata.normalize("NFKC", text) if len(text) <= 40 else ""


def _here(case: Case) -> str:
    """What is granted or withdrawn by writing on this channel."""
    space = case.turn.office.space(case.inbound.address.channel)
    return MARKETING + "".join(c if c.isascii() and c.isalnum() else "_" for c in space.lower())[:30]


def _standing(case: Case, state: str, by: str = "") -> set[str]:
    stands = consent.current(case.turn.tx, case.contact_id)
    return {
        purpose
        for purpose, row in stands.items()
        if purpose.startswith(MARKETING) and row.state == state and by in ("", row.actor)
    }


def _is_vouched_for(case: Case) -> bool:
    if case.turn.office.can(case.inbound.address.channel).subject_threads:
        return case.inbound.author.verified_email is not None
    return True
