"""/search: every word that was written, in messages, notes, articles and orders."""

from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

from bot import access, i18n
from bot.commands import Ask, command
from bot.i18n import UserError
from bot.roles import AGENTS
from bot.service import card, wording
from channels.rich import Block, Button, Buttons, Heading, Reply, Table, Text
from crm_store.search import text
from crm_store.search.syntax import QueryError

SHOWN = 15
BUTTONS = 5


@command("search", roles=AGENTS, reads=True)
def search(ask: Ask) -> Reply:
    if not ask.args:
        raise UserError("staff.usage", usage=ask.say("usage.search"))
    try:
        asked = text.parse(ask.args, ZoneInfo(ask.turn.office.config.desk.timezone))
    except QueryError as error:
        raise _wrong(ask, error) from error
    asked = replace(asked, channels=tuple(_channel(ask, name) for name in asked.channels))
    scope = access.scope_of(ask.turn, ask.member)
    found = text.search(ask.turn.tx, asked, ask.turn.now, limit=SHOWN, scope=scope)
    if not found:
        return Reply.of(ask.say("search.nothing", text=wording.short(ask.args, 80)))
    columns = ("where", "who", "age", "what")
    rows = tuple(
        (
            _where(ask, one),
            wording.short(_who(ask, one), 24),
            wording.moment(ask.turn, one.at, ask.lang),
            wording.short(one.snippet, 140),
        )
        for one in found
    )
    ask.found_of.extend(dict.fromkeys(f"contact:{one.contact_id}" for one in found if one.contact_id))
    hint = ask.say("search.more") if len(found) == SHOWN else ask.say("search.hint")
    blocks: list[Block] = [
        Heading(ask.say("search.title", text=wording.short(ask.args, 60))),
        Table(tuple(ask.say(f"search.header_{name}") for name in columns), rows),
    ]
    if buttons := _buttons(ask, found):
        blocks.append(Buttons(buttons))
    return Reply((*blocks, Text(hint, small=True)))


def _wrong(ask: Ask, error: QueryError) -> UserError:
    """What is not understood, and where; of a question that is too long, how long it may be."""
    if error.reason == "long":
        return UserError("search.wrong_long", at=error.at)
    if error.reason == "value" and ask.args[error.at :].startswith(error.text):  # the filter itself: no value
        return UserError("search.wrong_missing", text=error.text)
    return UserError(f"search.wrong_{error.reason}", at=error.at + 1, text=error.text)


def _channel(ask: Ask, name: str) -> str:
    """A channel by what it is, "email" in any language, where there is one of that kind and none is called so."""
    channels = ask.turn.office.config.channels
    if any(known.lower().startswith(name) for known in channels):
        return name
    kinds = {channels[known].kind for known in channels}
    called = {wording.space(kind, lang).lower(): kind for kind in kinds for lang in i18n.languages()}
    of_kind = [known for known in channels if channels[known].kind == called.get(name, name)]
    return of_kind[0].lower() if len(of_kind) == 1 else name


def _buttons(ask: Ask, found: list[text.Match]) -> tuple[Button, ...]:
    """To open what was found: its ticket, else its customer."""
    opens: dict[str, str] = {}
    may = ask.turn.office.access.may
    for one in found:
        if one.ticket is not None and may(ask.member, "ticket"):
            opens[f"command:ticket {one.ticket}"] = ask.say("profile.open", number=one.ticket)
        elif one.contact_id is not None and may(ask.member, "customer"):
            name = wording.short(card.called(ask.turn, one.contact_id), 40)
            opens[f"profile:{one.contact_id}"] = name or f"C{one.contact_id}"
    return tuple(Button(label, action=action) for action, label in list(opens.items())[:BUTTONS])


def _who(ask: Ask, one: text.Match) -> str:
    """Who wrote it; whose an order is."""
    if one.kind == "out" and not one.who:
        return ask.say("search.by_bot")
    return one.who or one.title


def _where(ask: Ask, one: text.Match) -> str:
    if one.ticket is not None:
        return f"#{one.ticket}" + (f" {ask.say('search.kind_note')}" if one.kind == "note" else "")
    return ask.say(f"search.kind_{one.kind}")
