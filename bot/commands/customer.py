"""/customer: who somebody is, what they bought, what is open, when we last spoke."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bot import access, i18n, lookups
from bot.access import Member
from bot.commands import Ask, command
from bot.i18n import UserError, say
from bot.office import Turn
from bot.service import card
from channels.rich import Block, Button, Buttons, Fields, Heading, Reply, Table
from crm_store import contacts, sales, tickets
from crm_store import profile as profiles
from crm_store.scope import only
from crm_store.search import find_contacts

RECENT_ORDERS = 5
FITTING = 8  # customers that are offered when several fit
AMONG = 25  # … for who sees only some of them: so many times more are looked through
LONG_ID = 24  # characters: a random id says nothing to anybody


@command("customer", reads=True)
def customer(ask: Ask) -> Reply:
    if not ask.args:
        if ask.ticket is not None:
            return _shown(ask, tickets.get(ask.turn.tx, ask.ticket.id).contact_id)
        raise UserError("staff.usage", usage=ask.say("usage.customer"))
    found = look_for(ask.turn, ask.member, ask.args)
    if not found:
        raise UserError("profile.nobody", text=ask.args)
    if len(found) > 1:
        buttons = []
        for contact_id in found:
            row = contacts.get(ask.turn.tx, contact_id)
            known = contacts.identities(ask.turn.tx, contact_id)
            detail = next(
                (i.user_id for i in known if i.space in ("email", "phone")), row.city or f"{row.id}"
            )
            buttons.append(
                Button(f"{card.called(ask.turn, contact_id)} · {detail}"[:70], action=f"profile:{contact_id}")
            )
        return Reply.of(ask.say("profile.several", text=ask.args), Buttons(tuple(buttons)))
    return _shown(ask, found[0])


def _shown(ask: Ask, contact_id: int) -> Reply:
    shown = profile(ask.turn, ask.member, contact_id)
    ask.read_of.append(f"contact:{contact_id}")
    return shown


def look_for(turn: Turn, member: Member, text: str, limit: int = FITTING) -> list[int]:
    """Whom somebody means by a name, a number or an address, best first; of those whom they may see."""
    scope = access.scope_of(turn, member)
    hits = find_contacts(turn.tx, text, limit if scope is None else limit * AMONG)
    return only(turn.tx, scope, [hit.contact_id for hit in hits])[:limit]


def profile(turn: Turn, member: Member, contact_id: int) -> Reply:
    """A customer's card, for somebody who may see it. Raise UserError: they may not, or read too many."""
    access.seen_contact(turn, member, contact_id)
    lookups.check(turn, member, contact_id)
    lang = turn.language_of(member)
    row = contacts.get(turn.tx, contact_id)
    if row is None:
        raise UserError("profile.nobody", text=str(contact_id))
    sold = sales.summary(turn.tx, contact_id)
    recent = sales.orders_of(turn.tx, contact_id, limit=RECENT_ORDERS)
    contacted = profiles.contacted(turn.tx, contact_id)
    pairs: list[tuple[str, str]] = [(say("profile.identities", lang), _identities(turn, contact_id, lang))]
    for key, value in (
        ("company", row.company),
        ("place", ", ".join(p for p in (row.city, row.country) if p)),
        ("language", row.language or ""),
        ("tags", ", ".join(row.tags)),
    ):
        if value:
            pairs.append((say(f"profile.{key}", lang), value))
    pairs.append((say("profile.orders", lang), _orders(sold, lang)))
    opened = tickets.listing(turn.tx, contact_id=contact_id)
    pairs.append(
        (
            say("profile.open_tickets", lang),
            "; ".join(f"#{t.number} {t.subject} ({say(f'status.{t.status}', lang)})" for t in opened)
            or say("profile.none", lang),
        )
    )
    pairs.append((say("profile.last_contact", lang), moment(turn, contacted.last_at, lang)))
    pairs.append((say("profile.rating", lang), _rating(contacted, lang)))
    blocks: list[Block] = [
        Heading(say("profile.title", lang, name=card.called(turn, contact_id) or say("card.unnamed", lang))),
        Fields(tuple(pairs)),
    ]
    if recent:
        columns = tuple(say(f"profile.{name}", lang) for name in ("order", "date", "status", "amount"))
        blocks.append(Table(columns, tuple(_order(o, lang) for o in recent)))
    if any(turn.office.can(side).forms for side in turn.office.sides):
        blocks.append(Buttons((Button(say("profile.edit", lang), action=f"profile:{contact_id}:edit"),)))
    return Reply(tuple(blocks))


def _orders(sold: sales.Sales, lang: str) -> str:
    if not sold.count:
        return say("profile.no_orders", lang)
    value = ", ".join(sales.money(v.amount_minor, v.currency) for v in sold.values) or "0"
    return say("profile.orders_value", lang, count=sold.count, value=value)


def _rating(contacted: profiles.Contacted, lang: str) -> str:
    if contacted.rating is None:
        return say("profile.none", lang)
    return say("profile.rating_value", lang, mean=f"{contacted.rating:.1f}", count=contacted.ratings)


def _order(order: Any, lang: str) -> tuple[str, str, str, str]:
    return (
        order.number,
        order.ordered_at.date().isoformat(),
        status_word(order.status, lang),
        sales.money(order.amount_minor, order.currency),
    )


def status_word(status: str, lang: str) -> str:
    """An order's status in words; one we have no word for stays as it was imported."""
    key = f"order.{status}"
    return say(key, lang) if key in i18n.catalogue("en") else status


def moment(turn: Turn, at: datetime | None, lang: str) -> str:
    """How long ago, in words."""
    if at is None:
        return say("profile.never", lang)
    minutes = max(0, int((turn.now - at).total_seconds() // 60))
    if minutes < 60:
        return say("age.minutes", lang, n=minutes)
    if minutes < 60 * 48:
        return say("age.hours", lang, n=minutes // 60)
    return say("age.days", lang, n=minutes // 1440)


def _identities(turn: Turn, contact_id: int, lang: str) -> str:
    parts = []
    for i in contacts.identities(turn.tx, contact_id):
        name = i.user_id
        if i.handle:
            handle = i.handle.lstrip("@")
            name = handle if len(name) > LONG_ID else f"@{handle} ({name})"
        state = say("profile.verified" if i.verified_at else "profile.unverified", lang)
        if i.gone_at:
            state += ", " + say("profile.unreachable", lang)
        parts.append(f"{i.space} {name} ({state})")
    return "\n".join(parts)
