"""Who may be the same customer: shown to staff with the evidence in words, for them to confirm or reject."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bot import access, posting
from bot.access import Member
from bot.i18n import UserError, say
from bot.office import Turn
from bot.service import merging, wording
from channels.rich import Block, Button, Buttons, Reply, Text
from crm_store import audit, merges, suggestions, tickets

ON_CARD = 3  # likeliest first; the others follow when these are decided
REASONS = 5
LONGEST = 600  # characters of one on a card
TELL_FROM = 60  # the same name alone is 55: it stands on the card, and disturbs nobody who answers


def blocks(
    turn: Turn, member: Member, contact_id: int, short: Callable[[str, int], str] = wording.short
) -> list[Block]:
    """What there is to decide about a customer, for their card; nothing for who may not decide it."""
    if not turn.office.access.may(member, "merge"):
        return []
    lang = turn.language_of(member)
    found: list[Block] = []
    seen = [
        (row, other)
        for row, other in suggestions.of(turn.tx, contact_id)
        if access.sees_contact(turn, member, other)
    ]
    for row, other in seen[:ON_CARD]:
        text, buttons = _shown(turn, row, contact_id, other, lang)
        found += [replace(text, text=short(text.text, LONGEST)), buttons]
    if len(seen) > ON_CARD:
        found.append(Text(say("suggest.more", lang, count=len(seen) - ON_CARD), small=True))
    return found


def listed(turn: Turn, member: Member, lang: str, limit: int = 5) -> list[Block]:
    """The likeliest of all pairs."""
    found: list[Block] = []
    for row in suggestions.best(turn.tx, limit=limit):
        one, other = (merges.current(turn.tx, number) for number in (row.low_id, row.high_id))
        if one != other and all(access.sees_contact(turn, member, who) for who in (one, other)):
            found += _shown(turn, row, one, other, lang)
    return found


def tell(turn: Turn, row: Any) -> bool:
    """Say it in the threads of the tickets of both, when it is more than a name; whether there were any."""
    if row.state != "open" or row.score < TELL_FROM:
        return False
    one, other = (merges.current(turn.tx, number) for number in (row.low_id, row.high_id))
    if one == other:
        return False
    lang = turn.office.staff_language
    opened = [
        (ticket, who, whom)
        for who, whom in ((one, other), (other, one))
        for ticket in tickets.listing(turn.tx, contact_id=who)
    ]
    for ticket, who, whom in opened:
        shown = Reply(tuple(_shown(turn, row, who, whom, lang)))
        posting.to_threads(turn, tickets.get(turn.tx, ticket.id), access.shown_to_all(turn, shown))
    return bool(opened)


def reject(turn: Turn, member: Member, suggestion_id: int) -> Reply:
    """They are two, and that is not asked again. Raise UserError."""
    lang = turn.language_of(member)
    row = suggestions.get(turn.tx, suggestion_id)
    if row is None:
        raise UserError("suggest.decided")
    for number in (row.low_id, row.high_id):
        access.seen_contact(turn, member, merges.current(turn.tx, number))
    if not suggestions.reject(turn.tx, turn.now, row.id, member.actor):
        raise UserError("suggest.decided")
    detail = {"other": row.high_id, "suggestion": row.id}
    audit.record(turn.tx, turn.now, member.actor, "reject_merge", f"contact:{row.low_id}", **detail)
    names = [merging.named(turn, merges.current(turn.tx, n), lang) for n in (row.low_id, row.high_id)]
    return Reply.of(say("suggest.rejected", lang, one=names[0], other=names[1]))


def in_words(evidence: list[list[str]], lang: str) -> str:
    said = (
        say(f"suggest.{kind}", lang, value=wording.short(value, 80)) for kind, value in evidence[:REASONS]
    )
    return say("suggest.between", lang).join(said)


def _shown(turn: Turn, row: Any, contact_id: int, other: int, lang: str) -> tuple[Text, Buttons]:
    text = say(
        "suggest.may_be",
        lang,
        one=merging.named(turn, contact_id, lang),
        other=merging.described(turn, other, lang),
        score=row.score,
        why=in_words(row.evidence, lang),
    )
    keep, drop = sorted((contact_id, other))
    return (
        Text(text),
        Buttons(
            (
                Button(say("suggest.confirm", lang), action=f"command:merge {keep} {drop}"),
                Button(say("suggest.reject", lang), action=f"suggestion:{row.id}:no"),
            )
        ),
    )
