"""Ratings: asked for after closing, given by button, by number or by signed link; a poor one is a complaint."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from bot import posting
from bot.i18n import say
from bot.office import Turn
from bot.service.case import Case
from channels.rich import Block, Button, Buttons, Reply, Text
from crm_store import conversations, tickets

ASK_FOR = timedelta(days=14)
CHANGE_FOR = timedelta(days=1)
COMMENT_FOR = timedelta(hours=1)
POOR = 2
_NUMBER = re.compile(
    r"^\s*([1-5１-５])\s*(?:[/／]\s*5|stars?|points?|分|星|颗星)?\s*[.!。！]?\s*$", re.IGNORECASE
)


def ask(turn: Turn, ticket: Any) -> None:
    """Ask the customer of a closed ticket how it went; by mail only where a person has answered them, since
    the sender of any other mail may be forged."""
    if turn.office.can(ticket.channel).subject_threads and not tickets.answered(turn.tx, ticket.id):
        return
    conversation = conversations.get(turn.tx, ticket.conversation_id)
    lang = conversation.language
    caps = turn.office.can(conversation.channel)
    public_url = turn.office.config.http.public_url.rstrip("/")
    blocks: list[Block] = [Text(say("customer.ask_rating", lang, number=ticket.number))]
    if caps.buttons:
        blocks.append(
            Buttons(
                tuple(
                    Button(say(f"rating.{n}", lang), action=f"rate:{ticket.number}:{n}") for n in range(1, 6)
                )
            )
        )
    elif caps.rating_link and public_url:
        url = f"{public_url}/r/{token(turn, ticket.number)}"
        blocks.append(
            Buttons(tuple(Button(say(f"rating.{n}", lang), url=f"{url}?n={n}") for n in range(1, 6)))
        )
    if not caps.buttons:
        blocks.append(Text(say("customer.ask_rating_reply", lang), small=True))
    conversations.expect(turn.tx, conversation.id, "rating", {"ticket": ticket.id}, turn.now + ASK_FOR)
    posting.public(turn, conversation, Reply(tuple(blocks)), purpose="notice", ticket_id=ticket.id)
    tickets.set_values(turn.tx, ticket.id, rating_asked_at=turn.now)


def may_rate_by_link(ticket: Any, now: datetime) -> bool:
    """A link rates a closed ticket; what was said can be changed for a day."""
    if ticket.status != "closed":
        return False
    return ticket.rated_at is None or now - ticket.rated_at <= CHANGE_FOR


def token(turn: Turn, number: int) -> str:
    """The signed part of a rating link."""
    return f"{number}.{turn.office.sign('rating', str(number))}"


def by_text(case: Case, expected: dict[str, dict[str, Any]]) -> bool:
    """Take a message as a rating or as its comment, when one was asked for and it looks like it."""
    turn = case.turn
    if not {"rating", "rating_comment"} & expected.keys():
        return False
    opened = tickets.unclosed(turn.tx, case.conversation.id)
    if "rating" in expected and opened is None:
        match = _NUMBER.match(case.inbound.text)
        ticket = tickets.get(turn.tx, expected["rating"]["ticket"])
        if match and ticket is not None and ticket.status == "closed":
            conversations.set_values(turn.tx, case.message_id, ticket_id=ticket.id)
            record(turn, ticket, int(match.group(1)))  # int() reads full-width digits too
            return True
    if "rating_comment" not in expected or not case.inbound.text.strip():
        return False
    ticket = tickets.get(turn.tx, expected["rating_comment"]["ticket"])
    if ticket is None:
        return False
    if opened is not None and opened.id == ticket.id:  # a poor rating opened it again: staff read it there
        conversations.answered(turn.tx, case.conversation.id, "rating_comment")
        comment(turn, ticket, case.inbound.text, quiet=True)
        _say(turn, ticket, "customer.comment_thanks")
        return False
    if opened is not None or not _is_comment(case):
        return False
    conversations.answered(turn.tx, case.conversation.id, "rating_comment")
    conversations.set_values(turn.tx, case.message_id, ticket_id=ticket.id)
    comment(turn, ticket, case.inbound.text)
    _say(turn, ticket, "customer.comment_thanks")
    return True


def _is_comment(case: Case) -> bool:
    """Whether words after a rating are about it: nothing that asks, complains or could be answered."""
    if case.inbound.attachments or "?" in case.inbound.text or "？" in case.inbound.text:
        return False
    if case.intent in ("complaint", "wants_person", "order_status", "greeting"):
        return False
    decision = case.decision
    courtesy = case.intent in ("thanks", "closing", "feedback", "yes", "no")
    return decision is None or courtesy or decision.kind == "handover"


def record(turn: Turn, ticket: Any, stars: int, *, quiet: bool = False) -> bool:
    """Note a rating of 1–5, once; ask for a word about it. `quiet` when the page already does."""
    if not 1 <= stars <= 5:
        return False
    before = ticket.rating
    if before == stars:
        return True
    ticket = tickets.set_values(turn.tx, ticket.id, rating=stars, rated_at=turn.now)
    conversations.answered(turn.tx, ticket.conversation_id, "rating")
    lang = turn.office.staff_language
    if not quiet:
        payload = {"ticket": ticket.id}
        conversations.expect(
            turn.tx, ticket.conversation_id, "rating_comment", payload, turn.now + COMMENT_FOR
        )
        _say(turn, ticket, "customer.rating_sorry" if stars <= POOR else "customer.rating_thanks")
    posting.to_threads(turn, ticket, Reply.of(say("thread.rated", lang, rating=stars)))
    if stars <= POOR and (before is None or before > POOR):
        _complain(turn, ticket, stars)
    else:
        refresh(turn, ticket)
    return True


def comment(turn: Turn, ticket: Any, text: str, *, quiet: bool = False) -> None:
    """Add the customer's words to their rating; `quiet` where staff read them anyway."""
    whole = f"{ticket.rating_comment}\n{text}".strip()
    tickets.set_values(turn.tx, ticket.id, rating_comment=whole)
    if quiet:
        return
    posting.to_threads(turn, ticket, Reply.of(say("thread.commented", turn.office.staff_language, text=text)))


def refresh(turn: Turn, ticket: Any) -> None:
    from bot.service import card

    posting.card(turn, ticket, card.build(turn, ticket))


def _complain(turn: Turn, ticket: Any, stars: int) -> None:
    """A poor rating opens a complaint: the ticket is open again, urgent to whoever had it."""
    lang = turn.office.staff_language
    ticket = tickets.set_values(
        turn.tx,
        ticket.id,
        status="open",
        kind="complaint",
        priority="high",
        closed_at=None,
        reopened=ticket.reopened + 1,
    )
    conversations.mute_bot(turn.tx, ticket.conversation_id, True)
    posting.to_threads(turn, ticket, Reply.of(say("thread.poor_rating", lang, rating=stars)))
    refresh(turn, ticket)


def _say(turn: Turn, ticket: Any, key: str) -> None:
    conversation = conversations.get(turn.tx, ticket.conversation_id)
    reply = Reply.of(say(key, conversation.language))
    posting.public(turn, conversation, reply, purpose="notice", ticket_id=ticket.id)
