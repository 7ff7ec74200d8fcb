"""/macro: answers that are given again and again: list them, write them, send them."""

from __future__ import annotations

import re

from bot import i18n
from bot.commands import Ask, command
from bot.commands.tickets import named, origin
from bot.i18n import UserError
from bot.roles import AGENTS
from bot.service import canned, card
from channels.rich import Heading, Reply, Table, Text
from crm_store import audit, conversations, macros

_NAME = re.compile(r"[\w-]{1,40}")
LONGEST = 4000  # characters


@command("macro", roles=AGENTS)
def macro(ask: Ask) -> Reply:
    verb, _, rest = ask.args.partition(" ")
    match verb.lower():
        case "" | "list":
            return _listing(ask)
        case "add":
            return _add(ask, rest.strip())
        case "remove":
            name, _, language = rest.strip().partition(" ")
            if not macros.remove(ask.turn.tx, name, language.strip()):
                raise UserError("macro.unknown", name=name or "?")
            audit.record(ask.turn.tx, ask.turn.now, ask.member.actor, "macro_remove", f"macro:{name.lower()}")
            return Reply.of(ask.say("macro.removed", name=name))
        case "use":
            return _use(ask, rest.strip())
        case _:
            return _use(ask, ask.args)


def _listing(ask: Ask) -> Reply:
    rows = macros.listing(ask.turn.tx)
    if not rows:
        raise UserError("macro.none")
    header = (ask.say("macro.name"), ask.say("profile.language"), ask.say("macro.text"))
    table = Table(header, tuple((r.name, r.language, card.shorten(r.text, 80)) for r in rows))
    return Reply.of(Heading(ask.say("macro.title")), table, Text(ask.say("macro.hint"), small=True))


def _add(ask: Ask, args: str) -> Reply:
    name, _, text = args.partition(" ")
    first, _, rest = text.strip().partition(" ")
    language = first.lower() if first.lower() in i18n.languages() and rest.strip() else ""
    text = (rest if language else text).strip()
    taken = name.lower() in ("add", "list", "remove", "use")
    if not _NAME.fullmatch(name) or taken or name.isdigit() or not text or len(text) > LONGEST:
        raise UserError("staff.usage", usage=ask.say("usage.macro"))
    language = language or ask.turn.office.staff_language
    macros.put(ask.turn.tx, ask.turn.now, name, language, text)
    audit.record(ask.turn.tx, ask.turn.now, ask.member.actor, "macro_add", f"macro:{name.lower()}")
    return Reply.of(ask.say("macro.added", name=name.lower(), language=language))


def _use(ask: Ask, args: str) -> Reply:
    """`NAME` in a ticket's thread, or `N NAME`."""
    row, name = named(ask, args)
    conversation = conversations.get(ask.turn.tx, row.conversation_id)
    found = macros.find(ask.turn.tx, name.strip(), conversation.language)
    if found is None:
        raise UserError("macro.unknown", name=name.strip()[:40] or "?")
    canned.send(ask.turn, origin(ask), ask.member, row, found.id)
    return Reply.of(ask.say("staff.replied", recipients=card.recipients(ask.turn, conversation)))
