"""/orders and /order: what a customer bought, page by page, and one order with what was in it."""

from __future__ import annotations

import re

from bot import access
from bot.commands import Ask, command
from bot.commands._whom import whom
from bot.i18n import UserError
from bot.service import card, merging, wording
from bot.service.portrait import order_line, status_word
from channels.rich import Block, Button, Buttons, Fields, Heading, Reply, Table, Text
from crm_store import merges, sales

PAGE = 20
MIDNIGHT = " 00:00"  # a day without a time of day
LINES = 30  # of one order
_FROM = re.compile(r"(?:(?:from|从)\s*)?(\d{1,6})", re.IGNORECASE)


@command("orders", reads=True)
def orders(ask: Ask) -> Reply:
    contact_id, rest = whom(ask, ask.args)
    paged = _FROM.fullmatch(rest)
    if rest and paged is None:
        raise UserError("staff.usage", usage=ask.say("usage.orders"))
    first = max(1, int(paged[1])) if paged else 1
    ask.found_of.append(f"contact:{contact_id}")
    name = wording.short(card.called(ask.turn, contact_id), 80) or f"C{contact_id}"
    sold = sales.summary(ask.turn.tx, contact_id)
    rows = sales.orders_of(ask.turn.tx, contact_id, limit=PAGE, skip=first - 1)
    if not rows:
        return Reply.of(ask.say("orders.none", name=name))
    columns = tuple(ask.say(f"profile.{name}") for name in ("order", "date", "status", "amount"))
    paid = [sales.money(value.amount_minor, value.currency) for value in sold.values]
    keys = ("profile.orders_value_one", "profile.orders_value")
    value = ", ".join(wording.some(paid, 4, ask.lang)) or "0"
    blocks: list[Block] = [
        Heading(ask.say("orders.title", name=name)),
        Text(wording.counted(*keys, ask.lang, sold.count, value=value), small=True),
        Table(columns, tuple(order_line(ask.turn, row, ask.lang) for row in rows)),
    ]
    after = first + len(rows)
    if after <= sold.count:
        older = f"orders C{contact_id} from {after}"
        blocks.append(Buttons((Button(ask.say("audit.older"), action=f"command:{older}"),)))
        blocks.append(Text(f"/{older}", small=True))
    else:
        blocks.append(Text(ask.say("orders.hint"), small=True))
    return Reply(tuple(blocks))


@command("order", reads=True)
def order(ask: Ask) -> Reply:
    if not ask.args:
        raise UserError("staff.usage", usage=ask.say("usage.order"))
    row = sales.order_by_number(ask.turn.tx, ask.args[:200])
    contact_id = merges.current(ask.turn.tx, row.contact_id) if row is not None else 0
    if row is None or not access.sees_contact(ask.turn, ask.member, contact_id):
        raise UserError("orders.no_such", number=wording.short(ask.args, 40))
    ask.found_of.append(f"contact:{contact_id}")
    say = ask.say
    pairs = [
        (say("card.customer"), merging.named(ask.turn, contact_id, ask.lang)),
        (say("profile.date"), card.local(ask.turn, row.ordered_at).removesuffix(MIDNIGHT)),
        (say("profile.status"), wording.short(status_word(row.status, ask.lang), 60)),
        (say("profile.amount"), sales.money(row.amount_minor, row.currency)),
        (say("orders.tracking"), wording.short(row.tracking, 80)),
    ]
    blocks: list[Block] = [
        Heading(say("orders.one", number=wording.short(row.number, 80))),
        Fields(tuple((label, value) for label, value in pairs if value)),
    ]
    if held := sales.lines(ask.turn.tx, row.id):
        columns = tuple(say(f"deal.header_{name}") for name in ("product", "quantity", "sum"))
        lines = tuple(
            (
                wording.short(one.name, 60),
                f"{one.quantity:,}",
                sales.money(one.amount_minor, row.currency) if one.amount_minor else "–",  # no price was told
            )
            for one in held[:LINES]
        )
        blocks.append(Table(columns, lines))
        if len(held) > LINES:
            blocks.append(Text(say("profile.more", count=f"{len(held) - LINES:,}"), small=True))
    profile = Button(say("card.profile"), action=f"profile:{contact_id}")
    every = Button(say("orders.all"), action=f"command:orders C{contact_id}")
    return Reply((*blocks, Buttons((profile, every))))
