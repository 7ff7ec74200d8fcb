"""Forms: what staff are asked in a dialogue, and how one is opened on each staff side."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from bot import access, i18n, posting
from bot.access import Member
from bot.i18n import say
from bot.office import Turn
from bot.roles import AGENTS
from bot.service import card, wording
from channels.conversation import Inbound, Kind, Op
from channels.rich import Form, Input, Reply
from crm_store import conversations, macros, people, tickets

KINDS = ("enquiry", "complaint", "feedback")
SNOOZES = ("1h", "3h", "tomorrow", "3d", "7d")
OPTIONS = 100  # Slack: options of one menu


def open_form(turn: Turn, inbound: Inbound, member: Member, form: Form) -> None:
    """Open a form for whoever asked; where the platform has none its first question is posted, and the reply
    to that message is the answer."""
    opens = turn.office.can(inbound.address.channel).forms
    (form,) = access.shown(turn, member, Reply((form,))).blocks  # type: ignore[assignment]
    if not opens:
        hint = say("staff.reply_here", turn.language_of(member))
        form = replace(form, intro=f"{form.intro}\n{hint}".strip())
    posting.answer(
        turn,
        inbound.address,
        Reply((form,)),
        private_to=inbound.author.user_id if opens or not inbound.address.thread_id else "",
        trigger=inbound.trigger,
        op=Op.FORM,
    )


def origin(inbound: Inbound) -> Inbound:
    """What was typed into a form stands in no thread yet: it is posted there like something from elsewhere.
    A reply to a posted question is where it is."""
    return inbound if inbound.kind is Kind.MESSAGE else replace(inbound, private=True, attachments=())


def goes_to(turn: Turn, ticket: Any, lang: str) -> str:
    """Who will receive it and by which channel, in words."""
    conversation = conversations.get(turn.tx, ticket.conversation_id)
    who = card.recipients(turn, conversation)
    return say("staff.reply_to", lang, recipients=who, channel=conversation.channel)


def note(turn: Turn, ticket: Any, lang: str) -> Form:
    return Form(
        title=say("card.note", lang),
        action=f"ticket:{ticket.number}:noted",
        submit=say("form.save", lang),
        intro=say("form.note_for", lang, number=ticket.number),
        inputs=(Input("text", say("form.note", lang), multiline=True),),
    )


def macro(turn: Turn, ticket: Any, lang: str) -> Form | None:
    """The macros to choose from; None when there are none."""
    language = conversations.get(turn.tx, ticket.conversation_id).language
    options = tuple((str(m.id), f"{m.name}: {m.text}"[:75]) for m in in_language(turn, language)[:OPTIONS])
    if not options:
        return None
    return Form(
        title=say("card.macro", lang),
        action=f"ticket:{ticket.number}:use",
        submit=say("staff.reply_send", lang),
        intro=goes_to(turn, ticket, lang),
        inputs=(Input("macro", say("card.macro", lang), options=options),),
    )


def in_language(turn: Turn, language: str) -> list[Any]:
    """Every macro once: in the customer's language where there is one."""
    best: dict[str, Any] = {}
    for row in macros.listing(turn.tx):
        if row.name not in best or row.language == language:
            best[row.name] = row
    return list(best.values())


def snooze(ticket: Any, lang: str) -> Form:
    options = tuple((value, say(f"snooze.{value}", lang)) for value in SNOOZES)
    return Form(
        title=say("card.snooze", lang),
        action=f"ticket:{ticket.number}:snoozed",
        submit=say("card.snooze", lang),
        inputs=(Input("until", say("form.until", lang), options=options),),
    )


def fields(turn: Turn, ticket: Any, lang: str) -> Form:
    like = turn.office.access.like
    able = [row for row in people.everyone(turn.tx) if row.disabled_at is None and like(row.role) in AGENTS]
    staff = tuple((str(row.id), row.name) for row in able[: OPTIONS - 1])
    nobody = ("0", say("card.nobody", lang))
    return Form(
        title=say("form.ticket", lang, number=ticket.number),
        action=f"ticket:{ticket.number}:set",
        submit=say("form.save", lang),
        inputs=(
            Input(
                "priority",
                say("card.priority", lang),
                ticket.priority,
                options=tuple((p, say(f"priority.{p}", lang)) for p in tickets.PRIORITIES),
            ),
            Input(
                "kind",
                say("card.kind", lang),
                ticket.kind,
                options=tuple((k, say(f"kind.{k}", lang)) for k in KINDS),
            ),
            Input(
                "assignee",
                say("card.assignee", lang),
                str(ticket.assignee_id or 0),
                options=(nobody, *staff),
            ),
        ),
    )


def customer(contact: Any, lang: str, shown: Callable[[str], str] = str) -> Form:
    """What is kept of a customer. The action carries what the form showed (as `shown` to who opened it), so that
    what is left as it was does not undo what somebody else changes meanwhile."""
    languages = tuple((code, wording.language(code, lang)) for code in i18n.languages())
    current = contact.language if contact.language in i18n.languages() else ""
    inputs = (
        Input("name", say("form.name", lang), contact.name, required=False),
        Input("company", say("profile.company", lang), contact.company, required=False),
        Input("city", say("form.city", lang), contact.city, required=False),
        Input("country", say("form.country", lang), contact.country, required=False),
        Input("language", say("profile.language", lang), current, required=False, options=languages),
        Input("tags", say("profile.tags", lang), ", ".join(contact.tags), required=False),
    )
    marks = "".join(mark(shown(one.value)) for one in inputs)
    return Form(
        title=say("form.customer", lang),
        action=f"profile:{contact.id}:set:{marks}",
        submit=say("form.save", lang),
        inputs=inputs,
    )


def mark(value: str) -> str:
    """Four letters that tell one value of a form from another."""
    return f"{zlib.crc32(' '.join(value.split()).encode()) & 0xFFFF:04x}"


def untouched(marks: str, values: Mapping[str, str]) -> set[str]:
    """Which inputs of the customer's form came back as they had been shown."""
    names = ("name", "company", "city", "country", "language", "tags")
    shown = {name: marks[4 * place : 4 * place + 4] for place, name in enumerate(names)}
    return {name for name in names if name in values and shown[name] == mark(values[name])}


def contact_note(turn: Turn, contact_id: int, lang: str) -> Form:
    return Form(
        title=say("card.note", lang),
        action=f"profile:{contact_id}:noted",
        submit=say("form.save", lang),
        intro=card.called(turn, contact_id) or f"C{contact_id}",
        inputs=(Input("text", say("form.note", lang), multiline=True),),
    )


def merge(turn: Turn, contact_id: int, lang: str) -> Form:
    return Form(
        title=say("profile.merge", lang),
        action=f"profile:{contact_id}:merged",
        submit=say("profile.merge", lang),
        intro=card.called(turn, contact_id) or f"C{contact_id}",
        inputs=(Input("text", say("profile.merge_with", lang)),),
    )


def lost(number: int, lang: str) -> Form:
    return Form(
        title=f"D{number}",
        action=f"deal:{number}:lost",
        submit=say("deal.stage_lost", lang),
        inputs=(Input("reason", say("deal.reason", lang)),),
    )


def search(lang: str) -> Form:
    return Form(
        title=say("home.search", lang),
        action="home:found",
        submit=say("home.search", lang),
        inputs=(Input("text", say("form.search", lang)),),
    )
