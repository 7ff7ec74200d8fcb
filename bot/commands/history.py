"""/history: every conversation with a customer, over all channels: when, about what, and how it ended."""

from __future__ import annotations

from bot.commands import Ask, command
from bot.commands._whom import whom
from bot.i18n import UserError
from bot.roles import AGENTS
from bot.service import card, wording
from bot.service.portrait import outcome_word
from channels.rich import Heading, Reply, Table, Text
from crm_store import profile

SHOWN = 20


@command("history", roles=AGENTS, reads=True)
def history(ask: Ask) -> Reply:
    contact_id, rest = whom(ask, ask.args)
    if rest:
        raise UserError("staff.usage", usage=ask.say("usage.history"))
    ask.found_of.append(f"contact:{contact_id}")
    name = wording.short(card.called(ask.turn, contact_id), 80) or f"C{contact_id}"
    talks = profile.talks(ask.turn.tx, contact_id, limit=SHOWN + 1)
    if not talks:
        return Reply.of(ask.say("history.none", name=name))
    columns = ("when", "channel", "subject", "messages", "outcome")
    rows = tuple(
        (
            wording.ago(ask.turn, talk.at, ask.lang),
            wording.space(talk.channel, ask.lang),
            wording.short(talk.subject, 60),
            f"{talk.received} ↓ {talk.sent} ↑",
            " ".join(
                part
                for part in (
                    f"#{talk.ticket}" if talk.ticket else "",
                    outcome_word(talk.outcome, ask.lang),
                    f"{talk.rating} ★" if talk.rating else "",
                )
                if part
            ),
        )
        for talk in talks[:SHOWN]
    )
    table = Table(tuple(ask.say(f"history.header_{name}") for name in columns), rows)
    heading = Heading(ask.say("history.title", name=name))
    if len(talks) > SHOWN:
        return Reply((heading, table, Text(ask.say("history.more", shown=SHOWN), small=True)))
    return Reply((heading, table))
