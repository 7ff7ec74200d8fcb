"""/export: customers, orders and the like as a file, by a link, after a second confirmation."""

from __future__ import annotations

from typing import get_args
from zoneinfo import ZoneInfo

from bot import access, confirm, exports
from bot.commands import Ask, command
from bot.i18n import UserError
from bot.roles import MANAGERS
from bot.service import wording
from channels.rich import Button, Buttons, Reply
from crm_store import exporter, segments

FORMS = ("csv", "xlsx", "json", "jsonl")
WHATS = get_args(exporter.What)


@command("export", roles=MANAGERS, confirms=True)
def export(ask: Ask) -> Reply:
    what, form, query = _asked(ask)
    if ask.confirmed is None:
        return confirm.ask(ask, Reply.of(_preview(ask, what, form, query)), f"{what} {form} {query}".strip())
    link = exports.link(ask.turn, ask.member, what, form, query)
    if not link:
        return Reply.of(ask.say("export.by_command", what=what, form=form, name=ask.member.name))
    return Reply.of(ask.say("export.ready"), Buttons((Button(ask.say("takeout.get"), url=link),)))


def _asked(ask: Ask) -> tuple[str, str, str]:
    """What, in which form, and which customers: "orders xlsx", "country:DE", "customers csv tag:vip"."""
    first, _, rest = ask.args.strip().partition(" ")
    what, rest = (first.lower(), rest.strip()) if first.lower() in WHATS else ("customers", ask.args.strip())
    second, _, query = rest.partition(" ")
    form, query = (second.lower(), query.strip()) if second.lower() in FORMS else ("csv", rest)
    if query and what != "customers":
        raise UserError("staff.usage", usage=ask.say("usage.export"))
    return what, form, query


def _preview(ask: Ask, what: str, form: str, query: str) -> str:
    if not query:
        return ask.say("export.all", what=ask.say(f"export.{what}"), form=form)
    turn, desk = ask.turn, ask.turn.office.config.desk
    currency = desk.currency.upper()
    try:
        asked = segments.parse(query, zone=ZoneInfo(desk.timezone), currency=currency)
    except segments.QueryError as error:
        raise UserError(f"segment.wrong_{error.reason}", at=error.at + 1, text=error.text) from error
    scope = access.scope_of(turn, ask.member)
    count = segments.count(turn.tx, asked, turn.now, currency=currency, scope=scope)
    return ask.say("export.some", count=f"{count:,}", query=wording.short(query, 200), form=form)
