"""/home: my queue, who is to be answered first, the numbers of the day. In Slack it is the app's Home tab as well."""

from __future__ import annotations

from typing import Any

from bot import access
from bot.commands import Ask, command
from bot.commands.stats import numbers
from bot.service import card, sla
from bot.service.wording import moment
from channels.rich import Block, Button, Buttons, Heading, Reply, Text
from crm_store import tickets

MINE = 8
WAITING = 5


@command("home", reads=True)
def home(ask: Ask) -> Reply:
    mine = tickets.listing(ask.turn.tx, assignee_id=ask.member.id)
    snoozed = sorted((t for t in mine if t.snoozed_until is not None), key=lambda t: t.snoozed_until)
    queue = _by_due(ask, [t for t in mine if t.snoozed_until is None])
    scope = access.scope_of(ask.turn, ask.member)
    waiting = _by_due(ask, tickets.waiting(ask.turn.tx, scope=scope))[:WAITING]
    search = Buttons(
        (
            Button(ask.say("home.search"), action="home:search"),
            Button(ask.say("home.refresh"), action="home"),
        )
    )
    blocks: list[Block] = [Heading(ask.say("home.title", name=ask.member.name)), search]
    blocks.append(Heading(ask.say("home.queue", count=len(queue))))
    for row in queue[:MINE]:
        blocks += _entry(ask, row, ("reply", "snooze", "close"))
    if not queue:
        blocks.append(Text(ask.say("tickets.none"), small=True))
    if len(queue) > MINE:
        blocks.append(Text(ask.say("home.more", count=len(queue) - MINE), small=True))
    if snoozed:
        blocks.append(Heading(ask.say("home.snoozed")))
        blocks += [Text(_line(ask, t, card.local(ask.turn, t.snoozed_until)), small=True) for t in snoozed]
    if waiting:
        blocks.append(Heading(ask.say("home.waiting")))
        for row in waiting:
            blocks += _entry(ask, row, ("take",) if row.assignee_id is None else ())
    if not ask.turn.office.access.may(ask.member, "stats"):
        return Reply(tuple(blocks))
    today = numbers(Ask(ask.turn, ask.member, "today", ask.lang))
    return Reply((*blocks, *today.blocks))


def _by_due(ask: Ask, rows: list[Any]) -> list[Any]:
    """Whose answer is due first; those that nobody waits for as they were."""
    due = {row.id: sla.respond_by(ask.turn.office, row) for row in rows}
    return sorted(rows, key=lambda row: (due[row.id] is None, due[row.id] or ask.turn.now))


def _entry(ask: Ask, row: Any, verbs: tuple[str, ...]) -> list[Block]:
    clock = card.clock(ask.turn, row, ask.lang)
    when = f"{clock[0]}: {clock[1]}" if clock else moment(ask.turn, row.opened_at, ask.lang)
    found: list[Block] = [Text(_line(ask, row, when))]
    if verbs:
        buttons = (Button(ask.say(f"card.{v}"), action=f"ticket:{row.number}:{v}") for v in verbs)
        found.append(Buttons(tuple(buttons)))
    return found


def _line(ask: Ask, row: Any, when: str) -> str:
    urgent = "❗ " if row.priority in ("high", "urgent") else ""
    name = card.shorten(row.contact_name or ask.say("card.unnamed"), 40)
    status = ask.say(f"status.{row.status}")
    return f"{urgent}#{row.number} {card.shorten(row.subject, 60)} · {name} · {status} · {when}"
