"""/erase, /takeout and /consent: what customers may ask of us, and what they allowed."""

from __future__ import annotations

from typing import Any

from bot import confirm, lookups
from bot.commands import Ask, command
from bot.commands._whom import whom
from bot.i18n import UserError
from bot.privacy import takeout_link
from bot.roles import AGENTS, MANAGERS
from bot.service import card, wording
from channels.rich import Button, Buttons, Fields, Heading, Reply, Table, Text
from crm_store import consent as consents
from crm_store import erase as erasing

ROWS = 20  # of a consent ledger
SHOWN = ("message", "attachment", "ticket", "customer_order", "customer_event", "contact_note", "deal")


@command("erase", roles=MANAGERS, confirms=True)
def erase(ask: Ask) -> Reply:
    contact_id, _ = whom(ask, ask.args)
    try:
        counts = erasing.preview(ask.turn.tx, contact_id)
    except erasing.Unknown as error:
        raise UserError("profile.nobody", text=ask.args) from error
    if ask.confirmed is None:
        pairs = [(ask.say(f"erase.{name}"), str(counts[name])) for name in SHOWN if counts.get(name)]
        name = card.called(ask.turn, contact_id) or ask.say("card.unnamed")
        heading = Heading(ask.say("erase.heading", name=name, id=contact_id))
        fields = [Fields(tuple(pairs))] if pairs else []
        preview = Reply((heading, *fields, Text(ask.say("erase.what"))))
        return confirm.ask(ask, preview, f"C{contact_id}")
    tell = None
    if ask.inbound is not None:
        address = ask.inbound.address
        tell = {
            "channel": address.channel,
            "room": address.room_id,
            "thread": address.thread_id,
            "private_to": "" if ask.inbound.private else ask.inbound.author.user_id,
            "lang": ask.lang,
        }
    erasing.ask(ask.turn.tx, ask.turn.now, contact_id, ask.member.actor, tell)
    return Reply.of(ask.say("erase.begun", id=contact_id))


@command("takeout", roles=MANAGERS, confirms=True)
def takeout(ask: Ask) -> Reply:
    contact_id, _ = whom(ask, ask.args)
    name = card.called(ask.turn, contact_id) or ask.say("card.unnamed")
    if ask.confirmed is None:
        preview = Reply.of(ask.say("takeout.preview", name=name, id=contact_id))
        return confirm.ask(ask, preview, f"C{contact_id}")
    link = takeout_link(ask.turn, contact_id)
    if not link:
        return Reply.of(ask.say("takeout.by_command", id=contact_id))
    ask.found_of.append(f"contact:{contact_id}")
    return Reply.of(
        ask.say("takeout.ready", id=contact_id), Buttons((Button(ask.say("takeout.get"), url=link),))
    )


@command("consent", roles=AGENTS)
def consent(ask: Ask) -> Reply:
    contact_id, rest = whom(ask, ask.args)
    if not rest:
        return _shown(ask, contact_id)
    verb, _, rest = rest.partition(" ")
    purpose, _, source = rest.strip().partition(" ")
    state = _state(ask, verb)
    if not state or not purpose or not source.strip():
        raise UserError("staff.usage", usage=ask.say("usage.consent"))
    try:
        consents.add(
            ask.turn.tx,
            ask.turn.now,
            contact_id,
            purpose.lower(),
            state,
            source=source.strip()[:500],
            actor=ask.member.actor,
        )
    except ValueError as error:
        raise UserError("consent.purpose", purpose=wording.short(purpose, 40)) from error
    ask.audits.append(("consent", f"contact:{contact_id}", "ok"))
    return _shown(ask, contact_id)


def _state(ask: Ask, verb: str) -> str:
    for state in (consents.GRANTED, consents.WITHDRAWN):
        if verb.lower() in ask.say(f"consent.say_{state}").split():
            return state
    return ""


def _shown(ask: Ask, contact_id: int) -> Reply:
    lookups.check(ask.turn, ask.member, contact_id)
    ask.read_of.append(f"contact:{contact_id}")
    rows = consents.ledger(ask.turn.tx, contact_id)
    name = card.called(ask.turn, contact_id) or ask.say("card.unnamed")
    heading = Heading(ask.say("consent.heading", name=name))
    if not rows:
        return Reply((heading, Text(ask.say("consent.none"))))
    columns = tuple(ask.say(f"consent.{c}") for c in ("at", "for", "state", "source", "by"))
    newest = list(reversed(rows))
    table = Table(columns, tuple(_row(ask, row) for row in newest[:ROWS]))
    more = ask.say("profile.more", count=f"{len(rows) - ROWS:,}") if len(rows) > ROWS else ""
    return Reply.of(heading, table, more)


def _row(ask: Ask, row: Any) -> tuple[str, ...]:
    state = ask.say(f"consent.{row.state}")
    return (
        wording.day(ask.turn, row.at),
        f"{wording.purpose(row.purpose, ask.lang)} ({row.purpose})",  # as it is typed, too
        state,
        wording.short(row.source, 120),
        wording.actor(ask.turn, row.actor, ask.lang),
    )
