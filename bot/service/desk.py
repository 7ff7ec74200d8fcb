"""The desk: every customer message gets an answer or a human.

A message the bot can answer with confidence is answered; everything else, a complaint or the wish for a
person opens a ticket, which staff see at once and the customer is told about, once, where that is safe.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from bot import posting
from bot.answers.decide import Decision
from bot.i18n import say
from bot.office import Turn
from bot.service import belonging, card, orders, proving, rating, wishes
from bot.service.allowance import may_speak, say_to
from bot.service.case import Case
from bot.service.handover import follow_up, post_customer, to_person
from channels.conversation import Attachment, Inbound, Kind
from channels.rich import Button, Buttons, Reply, Text
from crm_store import articles, conversations, files, tickets
from crm_store.conversations import NewMessage

HELPED_FOR = timedelta(days=2)


def message(turn: Turn, inbound: Inbound, decision: Decision | None) -> None:
    """Take a customer's message: store it, then answer it, ask back, or hand it to a person."""
    dedupe = inbound.dedupe or inbound.event_id
    if conversations.seen(turn.tx, inbound.address.channel, dedupe):
        return
    case = _open_case(turn, inbound, decision, dedupe)
    if case is None:
        return
    if _joins_album(case):
        return
    expected = _expected(case)
    if wishes.by_text(case) or rating.by_text(case, expected):
        return
    if orders.by_code(case, expected) or proving.by_code(case, expected):
        return
    ticket = None if case.opened else tickets.unclosed(turn.tx, case.conversation.id)
    if ticket is not None:
        follow_up(case, ticket)
        return
    by_bot = not case.conversation.bot_muted and _has_words(case, expected) and may_speak(case)
    if (by_bot and proving.by_address(case, expected)) or _small_talk(case):
        return
    if by_bot and (_said_if_helped(case, expected) or orders.answer(case, expected) or _answer(case)):
        return
    to_person(case, asked=case.intent == "wants_person")


def _expected(case: Case) -> dict[str, dict[str, Any]]:
    """The questions whose answers we wait for, by kind."""
    if case.opened:
        return {}
    return conversations.expected(case.turn.tx, case.conversation.id, case.turn.now)


def _has_words(case: Case, expected: dict[str, dict[str, Any]]) -> bool:
    """Whether the bot could say something of its own to a mail; else nobody need count whether it may."""
    if not case.turn.office.can(case.inbound.address.channel).subject_threads:
        return True
    by_decision = case.decision is not None and case.decision.kind in ("answer", "choices")
    return by_decision or "helped" in expected or orders.asked(case, expected)


def store_files(turn: Turn, message_id: int, channel: str, attachments: tuple[Attachment, ...]) -> None:
    """Keep what came with a message; what is only a reference is fetched when somebody should see it."""
    for a in attachments:
        files.attach(
            turn.tx,
            message_id,
            filename=a.filename,
            content_type=a.content_type,
            size=a.size if a.content is None else len(a.content),
            kind=a.kind,
            channel=channel,
            inline=a.inline,
            content_id=a.content_id,
            sha256=None if a.content is None else files.keep(turn.tx, turn.now, a.content),
            ref=a.ref,
        )


def _open_case(turn: Turn, inbound: Inbound, decision: Decision | None, dedupe: str) -> Case | None:
    met = belonging.meet(turn, inbound)
    language = decision.language if decision is not None else ""
    conversation, there = belonging.find_or_open(turn, inbound, met, language, spoken=True)
    channel = inbound.address.channel
    if there and turn.office.can(channel).subject_threads:
        inbound = belonging.as_seen_here(turn, inbound, conversation)
    message_id = conversations.add(
        turn.tx,
        turn.now,
        conversation.id,
        NewMessage(
            kind="in",
            channel=channel,
            event_id=inbound.event_id,
            dedupe=dedupe,
            external_id=inbound.event_id,
            text=inbound.text,
            full_text=inbound.full_text,
            subject=inbound.subject,
            author_kind="customer",
            author_id=met.contact_id,
            author=inbound.author.name or inbound.author.handle or inbound.author.user_id,
            sent_at=inbound.sent_at,
            warnings=inbound.warnings,
            album=inbound.album,
        ),
        first=not there,
    )
    if message_id is None:
        return None
    refs = [inbound.event_id, *(h.removeprefix("ref:") for h in inbound.thread_hints if h.startswith("ref:"))]
    if turn.office.can(channel).subject_threads:
        conversations.remember_refs(turn.tx, channel, conversation.id, refs)
    joined = _note_participants(turn, inbound, conversation)
    if joined and there:
        _tell_of(turn, conversation, joined)
    store_files(turn, message_id, channel, inbound.attachments)
    return Case(
        turn,
        inbound,
        conversation,
        met.contact_id,
        message_id,
        decision,
        new=met.new,
        opened=not there,
        joined=tuple(joined),
    )


def _note_participants(turn: Turn, inbound: Inbound, conversation: Any) -> list[str]:
    """Note who is named in a message; return the ids of those who were not in the conversation before."""
    if inbound.kind is not Kind.MESSAGE or not (inbound.may_acknowledge or inbound.author.verified_email):
        return []  # a robot, or somebody who may be forged: they write, but nothing is sent to whom they name
    people = [(p.user_id, p.name) for p in inbound.participants if p.user_id != conversation.room_id]
    if (
        turn.office.can(inbound.address.channel).subject_threads
        and inbound.author.user_id != conversation.room_id
    ):
        people.append((inbound.author.user_id, inbound.author.name))
    return conversations.add_participants(turn.tx, turn.now, conversation.id, people) if people else []


def _tell_of(turn: Turn, conversation: Any, new: list[str]) -> None:
    """Staff see who came into a conversation: they will receive what is replied."""
    ticket = tickets.unclosed(turn.tx, conversation.id)
    if ticket is not None:
        text = say("thread.joined", turn.office.staff_language, who=", ".join(new))
        posting.to_threads(turn, ticket, Reply.of(Text(text, small=True)))
        posting.card(turn, ticket, card.build(turn, ticket))  # it says who will receive a reply


def _joins_album(case: Case) -> bool:
    """A later picture of an album belongs to the message its first one made."""
    if not case.inbound.album:
        return False
    first = conversations.of_album(case.turn.tx, case.conversation.id, case.inbound.album)
    return first is not None and first.id != case.message_id and _move_files(case, first)


def _move_files(case: Case, first: Any) -> bool:
    ticket = tickets.get(case.turn.tx, first.ticket_id) if first.ticket_id else None
    if ticket is not None:
        conversations.set_values(case.turn.tx, case.message_id, ticket_id=ticket.id)
        post_customer(case, ticket)
    return True


def _small_talk(case: Case) -> bool:
    """A thank-you or a greeting needs no ticket; by mail a greeting alone still goes to a person."""
    intent = case.intent
    if case.inbound.attachments or intent not in ("thanks", "greeting", "closing"):
        return False
    if case.turn.office.can(case.inbound.address.channel).subject_threads:
        return intent == "thanks" and tickets.latest(case.turn.tx, case.conversation.id) is not None
    key = "greeting" if intent == "greeting" else "thanks"
    if may_speak(case):
        say_to(case, Reply.of(say(f"customer.{key}", case.lang, desk=case.turn.office.config.desk.name)))
    return True


def _said_if_helped(case: Case, expected: dict[str, dict[str, Any]]) -> bool:
    """A yes or no in words to "did this help?"."""
    if "helped" not in expected or case.intent not in ("yes", "no"):
        return False
    conversations.answered(case.turn.tx, case.conversation.id, "helped")
    helped = case.intent == "yes"
    articles.count(case.turn.tx, expected["helped"]["article"], helped=helped)
    if helped:
        say_to(case, Reply.of(say("customer.helped_thanks", case.lang)))
    return helped


def _answer(case: Case) -> bool:
    decision = case.decision
    if decision is None or case.inbound.attachments:
        return False
    if decision.kind == "answer" and decision.article_id is not None:
        return give_article(case, decision.article_id)
    if decision.kind == "choices" and decision.choices:
        buttons = [Button(title, action=f"article:{article_id}") for article_id, title in decision.choices]
        buttons.append(Button(say("customer.talk_to_person", case.lang), action="person"))
        if not case.turn.office.can(case.inbound.address.channel).buttons:
            return False
        say_to(case, Reply.of(say("customer.which_of_these", case.lang), Buttons(tuple(buttons))))
        return True
    return False


def give_article(case: Case, article_id: int) -> bool:
    """Answer with an article and ask whether it helped."""
    found = articles.by_id(case.turn.tx, article_id)
    if found is None:
        return False
    lang = case.lang
    buttons = Buttons(
        (
            Button(say("customer.yes", lang), action=f"helped:{article_id}", style="primary"),
            Button(say("customer.talk_to_person", lang), action="person"),
        )
    )
    reply = Reply.of(found.body, Text(say("customer.did_this_help", lang), small=True), buttons)
    conversations.expect(
        case.turn.tx, case.conversation.id, "helped", {"article": article_id}, case.turn.now + HELPED_FOR
    )
    say_to(case, reply)
    return True


def keep_automatic(turn: Turn, inbound: Inbound) -> None:
    """Store an automatic mail where it belongs: in its conversation, or with its sender; nobody answers it."""
    dedupe = inbound.dedupe or inbound.event_id
    if conversations.seen(turn.tx, inbound.address.channel, dedupe):
        return
    case = _open_case(turn, inbound, None, dedupe)
    if case is None:
        return
    ticket = tickets.unclosed(turn.tx, case.conversation.id)
    if ticket is not None:
        conversations.set_values(turn.tx, case.message_id, ticket_id=ticket.id)
        text = Text(say("thread.automatic", turn.office.staff_language), small=True)
        posting.to_threads(turn, ticket, Reply.of(text, card.shorten(inbound.text, 1000)))
