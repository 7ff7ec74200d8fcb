"""/company: who works there, what they bought, what is open. For whoever sees only some customers, of those."""

from __future__ import annotations

import re

from bot import access
from bot.commands import Ask, command
from bot.commands._whom import whom
from bot.i18n import UserError
from bot.service import card, wording
from channels.rich import Block, Button, Buttons, Fields, Heading, Reply, Table
from crm_store import companies, contacts, sales, tickets
from crm_store.companies import Company
from crm_store.sales import Value

_NUMBER = re.compile(r"[Cc]\d{1,9}")
FITTING = 8  # companies that are offered when several fit
PEOPLE = 10
OPEN = 5
ALSO = 8  # spellings of its name
BUTTONS = 5


@command("company", reads=True)
def company(ask: Ask) -> Reply:
    """By name, or of a customer: C12, or who the thread is about."""
    scope = access.scope_of(ask.turn, ask.member)
    said = " ".join(ask.args.removeprefix("@").split())[:200]
    if not said and ask.ticket is not None:
        row = tickets.get(ask.turn.tx, ask.ticket.id)
        access.seen_contact(ask.turn, ask.member, row.contact_id)
        said = contacts.get(ask.turn.tx, row.contact_id).company
    elif _NUMBER.fullmatch(said):  # the one this customer is of
        contact_id, _ = whom(ask, said)
        said = contacts.get(ask.turn.tx, contact_id).company
        if not said:
            raise UserError("company.of_none", name=card.called(ask.turn, contact_id) or f"C{contact_id}")
    if not said:
        raise UserError("staff.usage", usage=ask.say("usage.company"))
    found = companies.named(ask.turn.tx, said, scope)
    if not found:
        raise UserError("company.none", text=card.shorten(said, 60))
    if len(found) > 1:
        one_of = (companies.look(ask.turn.tx, names, scope, limit=1) for names in found[:FITTING])
        buttons = tuple(
            Button(wording.short(one.names[0], 70), action=f"command:company C{one.people[0].id}")
            for one in one_of
        )
        return Reply.of(ask.say("company.several", text=wording.short(said, 60)), Buttons(buttons))
    return _shown(ask, companies.look(ask.turn.tx, found[0], scope, limit=PEOPLE))


def _shown(ask: Ask, found: Company) -> Reply:
    ask.found_of.extend(f"contact:{row.id}" for row in found.people)
    blocks: list[Block] = [Heading(wording.short(found.names[0], 80)), Fields(_pairs(ask, found))]
    columns = tuple(ask.say(f"company.header_{name}") for name in ("name", "place", "spent"))
    rows = tuple(
        (
            f"C{row.id} {wording.short(row.name, 40)}".strip(),
            ", ".join(wording.short(p, 40) for p in (row.city, row.country) if p),
            _money(found.spent.get(row.id, ())),
        )
        for row in found.people
    )
    blocks.append(Table(columns, rows))
    buttons = [
        Button(wording.short(row.name, 70) or f"C{row.id}", action=f"profile:{row.id}")
        for row in found.people[:BUTTONS]
    ]
    return Reply((*blocks, Buttons(tuple(buttons))))


def _pairs(ask: Ask, found: Company) -> tuple[tuple[str, str], ...]:
    say = ask.say
    waiting = [f"#{t.number} {wording.short(t.subject, 60)}" for t in found.tickets[:OPEN]]
    if found.open_tickets > len(waiting):
        waiting.append(say("profile.more", count=f"{found.open_tickets - len(waiting):,}"))
    also = wording.some([wording.short(name, 60) for name in found.names[1:]], ALSO, ask.lang)
    keys = ("profile.orders_value_one", "profile.orders_value")
    sold = wording.counted(*keys, ask.lang, found.orders, value=_money(found.values) or "0")
    pairs = [
        ("also", ", ".join(also)),
        ("people", f"{found.count:,}"),
        ("orders", sold if found.orders else say("profile.no_orders")),
        (
            "last_order",
            wording.ago(ask.turn, found.last_ordered_at, ask.lang) if found.last_ordered_at else "",
        ),
        ("open_tickets", "\n".join(waiting) or say("profile.none")),
    ]
    if found.open_deals and ask.turn.office.access.may(ask.member, "deal"):
        pairs.append(("deals", f"{found.open_deals:,} · {_money(found.deals)}"))
    return tuple((say(f"company.{name}"), value) for name, value in pairs if value)


def _money(values: tuple[Value, ...]) -> str:
    return ", ".join(sales.money(one.amount_minor, one.currency) for one in values)
