"""/tickets, /ticket, /note, /reply and /undo: the queue and what to do with it."""

from __future__ import annotations

from typing import Any

from bot import access, relay
from bot.commands import Ask, command
from bot.commands._whom import is_named, whom
from bot.i18n import UserError
from bot.roles import AGENTS
from bot.service import card, snooze, verbs
from bot.service.wording import moment
from channels.conversation import Address, Inbound
from channels.rich import Button, Buttons, Fields, Heading, Reply, Table, Text
from crm_store import audit, conversations, notes, people, tickets


@command("tickets", reads=True)
def listing(ask: Ask) -> Reply:
    which = ask.args.lower() or "open"
    if which not in ("open", "mine", "closed"):
        raise UserError("staff.usage", usage=ask.say("usage.tickets"))
    rows = tickets.listing(
        ask.turn.tx,
        statuses=("closed",) if which == "closed" else ("new", "open", "pending"),
        assignee_id=ask.member.id if which == "mine" else None,
        scope=access.scope_of(ask.turn, ask.member),
    )
    if not rows:
        return Reply.of(ask.say("tickets.none"))
    columns = ("number", "customer", "subject", "status", "assignee", "age")
    table = Table(
        tuple(ask.say(f"tickets.header_{name}") for name in columns),
        tuple(
            (
                str(t.number),
                card.shorten(_name(ask, t), 24),
                card.shorten(t.subject, 40),
                ask.say(f"status.{t.status}"),
                t.assignee or "–",
                moment(ask.turn, t.opened_at, ask.lang),
            )
            for t in rows
        ),
    )
    return Reply.of(Heading(ask.say(f"tickets.title_{which}")), table)


def _name(ask: Ask, row: Any) -> str:
    return row.contact_name or card.called(ask.turn, row.contact_id) or ask.say("card.unnamed")


@command("ticket", roles=AGENTS)
def ticket(ask: Ask) -> Reply:
    row, words = named(ask, ask.args)
    verb, _, rest = words.partition(" ")
    match verb.lower():
        case "":
            return _show(ask, row)
        case "take":
            verbs.take(ask.turn, ask.member, row)
            return Reply.of(ask.say("tickets.done_take", number=row.number))
        case "close":
            verbs.close(ask.turn, ask.member, row)
            return Reply.of(ask.say("tickets.done_close", number=row.number))
        case "reopen":
            verbs.reopen(ask.turn, ask.member, row)
            return Reply.of(ask.say("tickets.done_reopen", number=row.number))
        case "assign" if rest.strip():
            now = verbs.assign_by_name(ask.turn, ask.member, row, rest.strip())
            who = people.get(ask.turn.tx, now.assignee_id).name
            return Reply.of(ask.say("tickets.done_assign", number=row.number, who=who))
        case "snooze" if rest.strip():
            now = snooze.put_off(ask.turn, ask.member, row, rest.strip())
            if now.snoozed_until is None:
                return Reply.of(ask.say("tickets.done_wake", number=row.number))
            until = card.local(ask.turn, now.snoozed_until)
            return Reply.of(ask.say("tickets.done_snooze", number=row.number, until=until))
        case "priority":
            level = rest.strip().lower()
            verbs.set_priority(ask.turn, ask.member, row, level)
            return Reply.of(
                ask.say("tickets.done_priority", number=row.number, priority=ask.say(f"priority.{level}"))
            )
        case _:
            raise UserError("staff.usage", usage=ask.say("usage.ticket"))


@command("note", roles=AGENTS)
def note(ask: Ask) -> Reply:
    if is_named(ask.args):
        return _about_customer(ask)
    row, text = named(ask, ask.args)
    if not text:
        raise UserError("staff.usage", usage=ask.say("usage.note"))
    relay.note(ask.turn, row, ask.member, text, inbound=origin(ask))
    return Reply.of(ask.say("tickets.done_note", number=row.number))


def _about_customer(ask: Ask) -> Reply:
    contact_id, text = whom(ask, ask.args)
    if not text:
        raise UserError("staff.usage", usage=ask.say("usage.note"))
    turn, who = ask.turn, ask.member
    notes.add(turn.tx, turn.now, contact_id, text, staff_id=who.id, author=who.name)
    audit.record(turn.tx, turn.now, who.actor, "note", f"contact:{contact_id}", via=turn.via)
    name = card.called(turn, contact_id) or f"C{contact_id}"
    return Reply.of(ask.say("fields.noted", name=name))


@command("reply", roles=AGENTS)
def reply(ask: Ask) -> Reply:
    row, text = named(ask, ask.args)
    if not text:
        raise UserError("staff.usage", usage=ask.say("usage.reply"))
    came = origin(ask)
    room = ask.turn.office.config.channels.get(came.address.channel)
    relay.reply(ask.turn, row, ask.member, text, inbound=came, hold_s=room.hold_s if room else 0.0)
    conversation = conversations.get(ask.turn.tx, row.conversation_id)
    return Reply.of(ask.say("staff.replied", recipients=card.recipients(ask.turn, conversation)))


@command("undo", roles=AGENTS)
def undo(ask: Ask) -> Reply:
    row, _ = named(ask, ask.args)
    message = relay.last_reply(ask.turn, row, ask.member)
    if message is None:
        raise UserError("tickets.nothing_to_undo", number=row.number)
    conversation = conversations.get(ask.turn.tx, row.conversation_id)
    return Reply.of(ask.say(relay.take_back(ask.turn, message), channel=conversation.channel))


def named(ask: Ask, args: str) -> tuple[Any, str]:
    """The ticket a command is about: the number it begins with, else the thread's own. And the rest."""
    first, _, rest = args.partition(" ")
    digits = first.lstrip("#")
    if digits.isascii() and digits.isdigit() and len(digits) < 10:
        row = tickets.by_number(ask.turn.tx, int(digits))
        return access.seen_ticket(ask.turn, ask.member, row, digits), rest.strip()
    if ask.ticket is None:
        raise UserError("staff.needs_ticket")
    row = tickets.get(ask.turn.tx, ask.ticket.id)
    return access.seen_ticket(ask.turn, ask.member, row, row.number), args


def origin(ask: Ask) -> Inbound:
    """Where the words came from: an event of the platform, or the command line."""
    if ask.inbound is not None:
        return ask.inbound
    import secrets

    from channels.conversation import Author

    return Inbound(
        address=Address("cli", "cli"),
        event_id=secrets.token_hex(8),
        author=Author(ask.member.name, ask.member.name),
        text=ask.args,
        sent_at=ask.turn.now,
        private=True,
    )


def _show(ask: Ask, row: Any) -> Reply:
    ask.found_of.append(f"ticket:{row.number}")
    base = card.build(ask.turn, row, lang=ask.lang)
    heading = next(b for b in base.blocks if isinstance(b, Heading))
    fields = next(b for b in base.blocks if isinstance(b, Fields))
    buttons = next((b for b in base.blocks if isinstance(b, Buttons)), Buttons(()))
    lines = []
    for m in conversations.history(ask.turn.tx, row.conversation_id, limit=12):
        if m.kind == "out":
            who = ask.say("thread.agent", name=m.author) if m.author else ask.say("thread.bot")
        elif m.kind == "note":
            who = ask.say("thread.note", name=m.author)
        else:
            who = ask.say("thread.customer", name=m.author)
        lines.append(f"{who} {card.shorten(m.text, 300)}")
    actions = tuple(Button(b.label, b.action, b.url, b.style) for b in buttons.buttons)
    return Reply.of(
        heading, fields, Text(ask.say("tickets.history"), small=True), "\n".join(lines), Buttons(actions)
    )
