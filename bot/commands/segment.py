"""/segment: how many customers a query describes, and who; the count comes first."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from bot import access
from bot.commands import Ask, command
from bot.i18n import UserError
from bot.roles import AGENTS
from bot.service import wording
from channels.rich import Block, Button, Buttons, Heading, Reply, Table, Text
from crm_store import contacts, profile, sales, segments
from crm_store.segments import QueryError

SHOWN = 10
BUTTONS = 5


@command("segment", roles=AGENTS, reads=True)
def segment(ask: Ask) -> Reply:
    if not ask.args:
        raise UserError("staff.usage", usage=ask.say("usage.segment"))
    desk, tx, now = ask.turn.office.config.desk, ask.turn.tx, ask.turn.now
    try:
        asked = segments.parse(ask.args, zone=ZoneInfo(desk.timezone), currency=desk.currency.upper())
    except QueryError as error:
        raise UserError(f"segment.wrong_{error.reason}", at=error.at + 1, text=error.text) from error
    scope = access.scope_of(ask.turn, ask.member)
    currency = desk.currency.upper()
    count = segments.count(tx, asked, now, currency=currency, scope=scope)
    blocks: list[Block] = [Heading(ask.say("segment.count", count=f"{count:,}"))]
    if count:
        ids = segments.select_ids(tx, asked, now, currency=currency, limit=SHOWN, scope=scope)
        ask.found_of.extend(f"contact:{number}" for number in ids)
        rows, buttons = [], []
        for number in ids:
            row, sold = contacts.get(tx, number), sales.summary(tx, number)
            last = max((one.last_at for one in profile.worth(tx, number, now)), default=None)  # as last_order
            paid = ", ".join(sales.money(one.amount_minor, one.currency) for one in sold.values)
            rows.append(
                (
                    f"C{number} {wording.short(row.name, 40)}".strip(),
                    ", ".join(wording.short(part, 40) for part in (row.city, row.country) if part),
                    paid,
                    wording.ago(ask.turn, last, ask.lang) if last is not None else "",
                )
            )
            buttons.append(Button(wording.short(row.name, 70) or f"C{number}", action=f"profile:{number}"))
        columns = tuple(
            ask.say(f"segment.header_{name}") for name in ("name", "place", "spent", "last_order")
        )
        blocks += [Table(columns, tuple(rows)), Buttons(tuple(buttons[:BUTTONS]))]
    hint = ask.say("segment.more", shown=SHOWN) if count > SHOWN else ask.say("segment.hint")
    return Reply((*blocks, Text(hint, small=True)))
