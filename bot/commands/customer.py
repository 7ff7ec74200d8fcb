"""/customer: who somebody is, what they bought, what is open, when we last spoke."""

from __future__ import annotations

from bot import access, lookups
from bot.access import Member
from bot.commands import Ask, command
from bot.i18n import UserError
from bot.office import Turn
from bot.service import wording
from bot.service.portrait import Portrait, status_word
from channels.rich import Button, Buttons, Reply
from crm_store import contacts, merges, tickets
from crm_store.erase import was_erased
from crm_store.scope import only
from crm_store.search import find_contacts

__all__ = ["customer", "look_for", "profile", "status_word"]

FITTING = 8  # customers that are offered when several fit
AMONG = 25  # … for who sees only some of them: so many times more are looked through


@command("customer", reads=True)
def customer(ask: Ask) -> Reply:
    if not ask.args:
        if ask.ticket is not None:
            return _shown(ask, tickets.get(ask.turn.tx, ask.ticket.id).contact_id)
        raise UserError("staff.usage", usage=ask.say("usage.customer"))
    found = look_for(ask.turn, ask.member, ask.args)
    if not found:
        raise UserError("profile.nobody", text=wording.short(ask.args, 80))
    if len(found) > 1:
        ask.found_of.extend(f"contact:{contact_id}" for contact_id in found)
        buttons = (
            Button(wording.choice(ask.turn, contact_id, ask.lang), action=f"profile:{contact_id}")
            for contact_id in found
        )
        return Reply.of(ask.say("profile.several", text=wording.short(ask.args, 80)), Buttons(tuple(buttons)))
    return _shown(ask, found[0])


def _shown(ask: Ask, contact_id: int) -> Reply:
    shown = profile(ask.turn, ask.member, contact_id)
    ask.read_of.append(f"contact:{merges.current(ask.turn.tx, contact_id)}")
    return shown


def look_for(turn: Turn, member: Member, text: str, limit: int = FITTING) -> list[int]:
    """Whom somebody means by a name, a number (C12) or an address, best first; of those whom they may see."""
    scope = access.scope_of(turn, member)
    if text[:1] in "Cc" and text[1:].isascii() and text[1:].isdigit() and len(text) < 11:
        row = contacts.get(turn.tx, int(text[1:]))
        return only(turn.tx, scope, [merges.current(turn.tx, row.id)]) if row is not None else []
    hits = find_contacts(turn.tx, text, limit if scope is None else limit * AMONG)
    found = (merges.current(turn.tx, h.contact_id) if h.why == "id" else h.contact_id for h in hits)
    return only(turn.tx, scope, list(dict.fromkeys(found)))[:limit]


def profile(turn: Turn, member: Member, contact_id: int) -> Reply:
    """A customer's card, for somebody who may see it. Raise UserError: they may not, or read too many."""
    row = contacts.get(turn.tx, contact_id)
    if row is None:
        raise UserError("profile.nobody", text=str(contact_id))
    if was_erased(turn.tx, contact_id):
        raise UserError("erase.already", id=contact_id)
    now = merges.current(turn.tx, contact_id)
    access.seen_contact(turn, member, now)
    lookups.check(turn, member, now)
    return Portrait(turn, member, row if now == contact_id else contacts.get(turn.tx, now)).draw()
