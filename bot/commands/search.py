"""/search: every word that was written, in messages, notes, articles and orders."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from bot import access
from bot.access import AGENTS
from bot.commands import Ask, command
from bot.commands.customer import moment
from bot.i18n import UserError
from bot.service.card import shorten
from channels.rich import Heading, Reply, Table, Text
from crm_store.search import text
from crm_store.search.syntax import QueryError

SHOWN = 15


@command("search", roles=AGENTS, reads=True)
def search(ask: Ask) -> Reply:
    if not ask.args:
        raise UserError("staff.usage", usage=ask.say("usage.search"))
    try:
        asked = text.parse(ask.args, ZoneInfo(ask.turn.office.config.desk.timezone))
    except QueryError as error:
        raise UserError(f"search.wrong_{error.reason}", at=error.at + 1, text=error.text) from error
    scope = access.scope_of(ask.turn, ask.member)
    found = text.search(ask.turn.tx, asked, ask.turn.now, limit=SHOWN, scope=scope)
    if not found:
        return Reply.of(ask.say("search.nothing", text=shorten(ask.args, 80)))
    columns = ("where", "who", "age", "what")
    rows = tuple(
        (
            _where(ask, one),
            shorten(one.who or one.title, 24),
            moment(ask.turn, one.at, ask.lang),
            shorten(one.snippet, 140),
        )
        for one in found
    )
    ask.found_of.extend(dict.fromkeys(f"contact:{one.contact_id}" for one in found if one.contact_id))
    hint = ask.say("search.more") if len(found) == SHOWN else ask.say("search.hint")
    return Reply.of(
        Heading(ask.say("search.title", text=shorten(ask.args, 60))),
        Table(tuple(ask.say(f"search.header_{name}") for name in columns), rows),
        Text(hint, small=True),
    )


def _where(ask: Ask, one: text.Match) -> str:
    if one.ticket is not None:
        return f"#{one.ticket}" + (f" {ask.say('search.kind_note')}" if one.kind == "note" else "")
    return ask.say(f"search.kind_{one.kind}")
