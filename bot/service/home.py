"""Home: an agent's own page (Slack's App Home): their queue, who waits longest, the numbers of the day."""

from __future__ import annotations

from bot import access, posting
from bot.access import Member
from bot.i18n import say
from bot.office import Turn
from bot.service import forms, unfurl
from channels.conversation import Inbound
from channels.rich import Button, Buttons, Heading, Reply
from crm_store import audit, tickets

ROOM = "home:"  # a page that belongs to one person: what is sent there replaces it


def is_home(inbound: Inbound) -> bool:
    return inbound.address.room_id.startswith(ROOM)


def take(turn: Turn, inbound: Inbound, member: Member, what: str) -> None:
    """Show the page, ask what to search for, or show what was found."""
    lang = turn.language_of(member)
    if what == "search":
        forms.open_form(turn, inbound, member, forms.search(lang))
    elif what == "found":
        private_to = "" if inbound.private else inbound.author.user_id
        posting.answer(turn, inbound.address, _found(turn, inbound, member), private_to=private_to)
    else:
        _show(turn, inbound, member)


def refresh(turn: Turn, inbound: Inbound, member: Member) -> None:
    """Bring the page up to date after something was done on it."""
    if is_home(inbound):
        _show(turn, inbound, member)


def _show(turn: Turn, inbound: Inbound, member: Member) -> None:
    from bot import commands

    done = commands.perform(turn, member, "/home", inbound=inbound)
    commands.audited(turn, member, done)
    private_to = "" if inbound.private else inbound.author.user_id
    posting.answer(turn, inbound.address, done.reply, private_to=private_to)


def _found(turn: Turn, inbound: Inbound, member: Member) -> Reply:
    from bot import commands

    lang, text = turn.language_of(member), " ".join(inbound.values.get("text", "").split())[:200]
    back = Buttons((Button(say("home.back", lang), action="home"), _search(lang)))
    number = text.lstrip("#")
    ticket = tickets.by_number(turn.tx, int(number)) if number.isdigit() and len(number) < 10 else None
    if ticket is not None and access.sees_ticket(turn, member, ticket):
        audit.record(turn.tx, turn.now, member.actor, "found", f"ticket:{ticket.number}", via=turn.via)
        found = Reply.of(Heading(f"#{ticket.number}"), unfurl.line(turn, ticket, lang), back)
        return access.shown(turn, member, found)
    done = commands.perform(turn, member, f"/customer {text}", inbound=inbound)
    commands.audited(turn, member, done)
    return Reply((*done.reply.blocks, back))


def _search(lang: str) -> Button:
    return Button(say("home.search", lang), action="home:search")
