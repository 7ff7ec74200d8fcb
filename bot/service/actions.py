"""Buttons and forms: what a press means, checked against who pressed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bot import access, lookups, posting, relay
from bot.access import Member
from bot.i18n import UserError, say
from bot.office import Turn
from bot.service import belonging, desk, forms, handover, home, inviting, rating, verbs
from bot.service.allowance import say_to
from bot.service.case import Case
from channels.conversation import Inbound, Kind
from channels.rich import Form, Input, Reply, Text
from crm_store import articles, audit, conversations, tickets

STARS = frozenset("12345")
FOR_CUSTOMERS = frozenset(("rate", "person", "helped", "article"))


def by_customer(turn: Turn, inbound: Inbound) -> None:
    """A customer pressed a button. What it names must be theirs: buttons can be forged."""
    verb, _, rest = inbound.action.partition(":")
    if verb == "home":  # somebody looks at our page: nothing was said
        _welcome(turn, inbound)
        return
    if verb not in FOR_CUSTOMERS:  # one of staff's, or forged
        actor = f"{turn.office.space(inbound.address.channel)}:{inbound.author.user_id}"
        audit.record(turn.tx, turn.now, actor, "action", "", "refused")
        return
    met = belonging.meet(turn, inbound)
    conversation, _ = belonging.find_or_open(turn, inbound, met)
    case = Case(turn, inbound, conversation, met.contact_id, 0, None)
    if verb == "rate":
        number, _, stars = rest.partition(":")
        wanted = belonging.whole(number)
        ticket = tickets.by_number(turn.tx, wanted) if wanted is not None else None
        if ticket is None or ticket.conversation_id != conversation.id or stars not in STARS:
            return
        if ticket.status != "closed":
            say_to(case, Reply.of(say("customer.old_button", case.lang)))
            return
        rating.record(turn, ticket, int(stars))
    elif verb == "person":
        _person(case)
    elif verb == "helped" and belonging.whole(rest) is not None:
        if "helped" in conversations.expected(turn.tx, conversation.id, turn.now):
            conversations.answered(turn.tx, conversation.id, "helped")
            articles.count(turn.tx, int(rest), helped=True)
            say_to(case, Reply.of(say("customer.helped_thanks", case.lang)))
    elif verb == "article" and belonging.whole(rest) is not None:
        desk.give_article(case, int(rest))


def _welcome(turn: Turn, inbound: Inbound) -> None:
    lang = turn.office.customer_language(inbound.author.language)
    text = say("customer.greeting", lang, desk=turn.office.config.desk.name)
    posting.answer(turn, inbound.address, Reply.of(text))


def started(turn: Turn, inbound: Inbound) -> None:
    """Somebody opened the chat for the first time, or by a link of theirs: greet them."""
    met = belonging.meet(turn, inbound)
    by_link = inviting.is_one(inbound.text)
    known = False
    if by_link:
        contact_id, known = inviting.opened(turn, inbound, met.contact_id)
        met = replace(met, contact_id=contact_id)
    conversation, there = belonging.find_or_open(turn, inbound, met)
    met_before = there and inbound.address.room_id and met.known and conversation.last_in_at is not None
    if met_before and not by_link:
        return
    case = Case(turn, inbound, conversation, met.contact_id, 0, None)
    name = turn.office.config.desk.name
    link = [say("customer.verified" if known else "customer.link_old", case.lang)] if by_link else []
    greeting = [] if met_before else [say("customer.greeting", case.lang, desk=name)]
    say_to(case, Reply.of(*link, *greeting))


def by_staff(turn: Turn, inbound: Inbound, member: Member, ticket: Any) -> None:
    """A staff member pressed a button of a card or submitted a form."""
    from bot.service import dialogues

    verb, _, rest = inbound.action.partition(":")
    try:
        if dialogues.take(turn, inbound, member, ticket):
            return
        if verb == "ticket":
            number, _, what = rest.partition(":")
            known = belonging.whole(number)
            found = tickets.by_number(turn.tx, known) if known is not None else None
            access.seen_ticket(turn, member, found, number)
            _on_ticket(turn, inbound, member, found, what)
            home.refresh(turn, inbound, member)
        elif verb == "profile" and belonging.whole(rest) is not None:
            from bot.commands import customer

            access.require(turn, member, "profile")
            reply = access.shown(turn, member, customer.profile(turn, member, int(rest)))
            audit.record(turn.tx, turn.now, member.actor, "profile", f"contact:{int(rest)}", via=turn.via)
            posting.answer(turn, inbound.address, reply, private_to=inbound.author.user_id)
        elif verb == "command":
            from bot import commands

            commands.run(turn, inbound, member, ticket, text=rest)
    except UserError as error:
        if isinstance(error, lookups.TooMany):
            lookups.refused(turn, member)
        text = say(error.key, turn.language_of(member), **error.values)
        posting.answer(turn, inbound.address, Reply.of(text), private_to=inbound.author.user_id)


def _on_ticket(turn: Turn, inbound: Inbound, member: Member, ticket: Any, what: str) -> None:
    if not turn.office.access.may(member, f"ticket {what}"):
        audit.record(
            turn.tx, turn.now, member.actor, what, f"ticket:{ticket.number}", "refused", via=turn.via
        )
        role = turn.office.access.called(member.role, turn.language_of(member))
        raise UserError("staff.refused", role=role, name=f"ticket {what}")
    match what:
        case "take":
            verbs.take(turn, member, ticket)
        case "close":
            verbs.close(turn, member, ticket)
        case "reopen":
            verbs.reopen(turn, member, ticket)
        case "reply":
            reply_form(turn, inbound, member, ticket)
        case "send":
            _sent_form(turn, inbound, member, ticket)
        case _:
            return


def _sent_form(turn: Turn, inbound: Inbound, member: Member, ticket: Any) -> None:
    """A reply by form. Its text stands in no thread yet: it is posted there like one from elsewhere. One
    that was typed below the posted question is where it is."""
    text = inbound.values.get("text", "").strip()
    origin = inbound if inbound.kind is Kind.MESSAGE else replace(inbound, private=True, attachments=())
    if not text and not origin.attachments:
        return
    if relay.NOTE.match(text):  # when in doubt it is a note
        relay.note(turn, ticket, member, relay.NOTE.sub("", text, count=1), inbound=origin)
        return
    hold_s = turn.office.settings(inbound.address.channel).hold_s
    relay.reply(turn, ticket, member, text, inbound=origin, hold_s=hold_s)


def reply_form(turn: Turn, inbound: Inbound, member: Member, ticket: Any, text: str = "") -> None:
    """Ask for a reply, with who will receive it in words; `text` is what it says before it is changed."""
    lang = turn.language_of(member)
    form = Form(
        title=say("staff.reply_title", lang),
        action=f"ticket:{ticket.number}:send",
        submit=say("staff.reply_send", lang),
        intro=forms.goes_to(turn, ticket, lang),
        inputs=(Input("text", say("staff.reply_field", lang), text, multiline=True),),
    )
    forms.open_form(turn, inbound, member, form)


def _person(case: Case) -> None:
    turn = case.turn
    ticket = tickets.unclosed(turn.tx, case.conversation.id)
    if ticket is not None:
        say_to(case, Reply.of(say("customer.already_waiting", case.lang, number=ticket.number)))
        return
    expected = conversations.expected(turn.tx, case.conversation.id, turn.now)
    if "helped" in expected:
        conversations.answered(turn.tx, case.conversation.id, "helped")
        articles.count(turn.tx, int(expected["helped"]["article"]), helped=False)
    last = [m for m in conversations.history(turn.tx, case.conversation.id) if m.kind == "in"]
    if not last:
        say_to(case, Reply.of(Text(say("customer.greeting", case.lang, desk=turn.office.config.desk.name))))
        return
    asked = replace(case, message_id=last[-1].id, inbound=replace(case.inbound, text=last[-1].text))
    handover.to_person(asked, asked=True)
