"""Dialogues: buttons that ask something first, the forms that answer them, and message shortcuts."""

from __future__ import annotations

from functools import partial
from typing import Any

from bot import access, confirm, i18n, lookups, masking, posting, relay
from bot.access import Member
from bot.i18n import UserError, say
from bot.office import Turn
from bot.service import actions, beginning, canned, editing, forms, home, opening, snooze, suggesting, verbs
from channels.conversation import Inbound
from channels.rich import Button, Buttons, Form, Reply
from crm_store import audit, contacts, conversations, merges, people, tickets

SEND, OPEN = "send_to_customer", "open_ticket"  # callback ids of the message shortcuts
ON_TICKET = frozenset(("note", "noted", "macro", "use", "snooze", "snoozed", "fields", "set"))


def take(turn: Turn, inbound: Inbound, member: Member, ticket: Any) -> bool:
    """Take an action that belongs here; False for those that do not. Raise UserError."""
    match inbound.action.split(":"):
        case ["send_to_customer"]:
            access.require(turn, member, SEND)
            if ticket is None:
                raise UserError("staff.needs_ticket")
            access.seen_ticket(turn, member, ticket, ticket.number)
            actions.reply_form(turn, inbound, member, ticket, inbound.values.get("text", ""))
        case ["open_ticket"]:
            access.require(turn, member, OPEN)
            opening.open_ticket(turn, inbound, member)
        case ["suggestion", number, "no"] if number.isdigit():
            access.require(turn, member, "merge")
            said = access.shown(turn, member, suggesting.reject(turn, member, int(number[:9])))
            posting.answer(turn, inbound.address, said, private_to=inbound.author.user_id)
        case ["confirm", *_]:
            confirm.pressed(turn, inbound, member, ticket)
        case ["home", *rest]:
            home.take(turn, inbound, member, rest[0] if rest else "")
        case ["profile", number, ("edit" | "set") as what] if number.isdigit():
            access.require(turn, member, f"profile {what}")
            _customer(turn, inbound, member, merges.current(turn.tx, int(number[:9])), what)
        case ["profile", number, "set", marks] if number.isdigit():
            access.require(turn, member, "profile set")
            _customer(turn, inbound, member, merges.current(turn.tx, int(number[:9])), "set", marks)
        case ["profile", number, ("note" | "noted") as what] if number.isdigit():
            access.require(turn, member, "note")
            _contact_note(turn, inbound, member, merges.current(turn.tx, int(number[:9])), what)
        case ["profile", number, "message"] if number.isdigit():
            access.require(turn, member, "reply")
            _write_to(turn, inbound, member, merges.current(turn.tx, int(number[:9])))
        case ["profile", number, "begun"] if number.isdigit():
            access.require(turn, member, "reply")
            contact_id = _theirs(turn, member, merges.current(turn.tx, int(number[:9])))
            beginning.send(turn, inbound, member, contact_id)
        case ["profile", number, ("merge" | "merged") as what] if number.isdigit():
            access.require(turn, member, "merge")
            _merge(turn, inbound, member, merges.current(turn.tx, int(number[:9])), what)
        case ["deal", number, ("lose" | "lost") as what] if number.isdigit():
            access.require(turn, member, "deal")
            _deal(turn, inbound, member, int(number[:9]), what)
        case ["ticket", number, what, *rest] if what in ON_TICKET and number.isdigit():
            access.require(turn, member, f"ticket {what}")
            row = access.seen_ticket(turn, member, tickets.by_number(turn.tx, int(number[:9])), number)
            _on_ticket(turn, inbound, member, row, what, ":".join(rest))
        case _:
            return False
    return True


def _on_ticket(turn: Turn, inbound: Inbound, member: Member, ticket: Any, what: str, given: str) -> None:
    lang, values = turn.language_of(member), inbound.values
    opens = turn.office.can(inbound.address.channel).forms
    match what:
        case "note":
            forms.open_form(turn, inbound, member, forms.note(turn, ticket, lang))
        case "noted":
            if text := values.get("text", "").strip():
                relay.note(turn, ticket, member, text, inbound=forms.origin(inbound))
        case "macro":
            form = forms.macro(turn, ticket, lang)
            if form is None:
                raise UserError("macro.none")
            _choose(turn, inbound, member, form, opens)
        case "use":
            canned.send(turn, inbound, member, ticket, _number(values.get("macro") or given))
        case "snooze":
            _choose(turn, inbound, member, forms.snooze(ticket, lang), opens)
        case "snoozed":
            snooze.put_off(turn, member, ticket, values.get("until") or given)
        case "fields" if opens:
            forms.open_form(turn, inbound, member, forms.fields(turn, ticket, lang))
        case "fields":
            _fields_by_buttons(turn, inbound, member, ticket)
        case "set":
            _set(turn, member, ticket, dict(values) or dict([given.split("=", 1)] if "=" in given else []))
        case _:
            return
    home.refresh(turn, inbound, member)


def _choose(turn: Turn, inbound: Inbound, member: Member, form: Form, opens: bool) -> None:
    """A choice of one: a menu in a form, or a button each where there are no forms."""
    if opens:
        forms.open_form(turn, inbound, member, form)
        return
    options = form.inputs[0].options
    buttons = tuple(Button(label, action=f"{form.action}:{value}") for value, label in options[:20])
    head = "\n".join(t for t in (form.title, form.intro) if t)
    answer = access.shown(turn, member, Reply.of(head, Buttons(buttons)))
    posting.answer(turn, inbound.address, answer)


def _fields_by_buttons(turn: Turn, inbound: Inbound, member: Member, ticket: Any) -> None:
    form = forms.fields(turn, ticket, turn.language_of(member))
    for entry in form.inputs[:2]:
        buttons = tuple(
            Button(label, action=f"{form.action}:{entry.name}={value}") for value, label in entry.options
        )
        posting.answer(turn, inbound.address, Reply.of(entry.label, Buttons(buttons)))


def _set(turn: Turn, member: Member, ticket: Any, values: dict[str, str]) -> None:
    """Change what was changed. A form may be older than the ticket: what it leaves as it was, stays."""
    priority, kind = values.get("priority", ""), values.get("kind", "")
    changed = {}
    if priority in tickets.PRIORITIES and priority != ticket.priority:
        changed["priority"] = priority
    if kind in forms.KINDS and kind != ticket.kind:
        changed["kind"] = kind
    if changed:
        ticket = verbs.set_fields(turn, member, ticket, **changed)
    wanted = values.get("assignee", "")
    if wanted == "0" and ticket.assignee_id is not None:
        verbs.set_fields(turn, member, ticket, assignee_id=None)
    elif wanted.isdigit() and int(wanted) not in (0, ticket.assignee_id):
        row = people.get(turn.tx, _number(wanted))
        if row is None or row.disabled_at is not None:
            raise UserError("tickets.no_such_person", who=wanted)
        verbs.assign(turn, member, ticket, row.id, row.name)


def _customer(
    turn: Turn, inbound: Inbound, member: Member, contact_id: int, what: str, marks: str = ""
) -> None:
    row = contacts.get(turn.tx, _theirs(turn, member, contact_id))
    if row is None:
        raise UserError("profile.nobody", text=str(contact_id))
    if what == "edit":
        lookups.check(turn, member, contact_id)
        audit.record(turn.tx, turn.now, member.actor, "profile", f"contact:{contact_id}", via=turn.via)
        masked = turn.office.access.masks(member.role)
        shown = partial(masking.text, region=turn.office.config.desk.country) if masked else str
        forms.open_form(turn, inbound, member, forms.customer(row, turn.language_of(member), shown))
        return
    values = {k: " ".join(v.split()) for k, v in inbound.values.items()}
    for name in forms.untouched(marks, values):
        del values[name]
    changed: dict[str, Any] = {
        key: values[key]
        for key in ("name", "company", "city", "country")
        if key in values and values[key] != getattr(row, key)
    }
    if values.get("language") in i18n.languages() and values["language"] != row.language:
        changed["language"] = values["language"]
    if "tags" in values:
        tags = list(
            dict.fromkeys(t.strip() for t in values["tags"].replace("，", ",").split(",") if t.strip())
        )
        if tags != list(row.tags):
            changed["tags"] = tags
    editing.change(turn, member, row, changed)
    lang = turn.language_of(member)
    text = say("form.customer_saved", lang, name=changed.get("name", row.name) or say("card.unnamed", lang))
    answer = access.shown(turn, member, Reply.of(text))
    posting.answer(turn, inbound.address, answer, private_to=inbound.author.user_id)


def _contact_note(turn: Turn, inbound: Inbound, member: Member, contact_id: int, what: str) -> None:
    from bot import commands

    _theirs(turn, member, contact_id)
    if what == "note":
        forms.open_form(turn, inbound, member, forms.contact_note(turn, contact_id, turn.language_of(member)))
    elif text := inbound.values.get("text", "").strip():
        commands.run(turn, inbound, member, text=f"/note C{contact_id} {text}")


def _write_to(turn: Turn, inbound: Inbound, member: Member, contact_id: int) -> None:
    """Ask for a message to somebody, in their open ticket or in one opened where they wrote last; who never
    wrote gets a first mail."""
    _theirs(turn, member, contact_id)
    scope = access.scope_of(turn, member)
    opened = tickets.listing(turn.tx, contact_id=contact_id, scope=scope)
    last = conversations.latest_of(turn.tx, contact_id)
    if not opened and last is None:
        beginning.ask(turn, inbound, member, contact_id)
        return
    ticket = opened[0] if opened else opening.from_message(turn, member, last)
    actions.reply_form(turn, inbound, member, tickets.by_number(turn.tx, ticket.number))


def _merge(turn: Turn, inbound: Inbound, member: Member, contact_id: int, what: str) -> None:
    """With whom is asked first; the command finds them, shows what would become of it and asks again."""
    from bot import commands

    _theirs(turn, member, contact_id)
    lang = turn.language_of(member)
    if what == "merge":
        forms.open_form(turn, inbound, member, forms.merge(turn, contact_id, lang))
        return
    if other := " ".join(inbound.values.get("text", "").split())[:200]:
        commands.run(turn, inbound, member, text=f"/merge C{contact_id} | {other}")


def _deal(turn: Turn, inbound: Inbound, member: Member, number: int, what: str) -> None:
    """A deal is lost: why is asked first."""
    from bot import commands

    if what == "lose":
        forms.open_form(turn, inbound, member, forms.lost(number, turn.language_of(member)))
    elif reason := inbound.values.get("reason", "").strip():
        commands.run(turn, inbound, member, text=f"/deal {number} lost {reason}")


def _theirs(turn: Turn, member: Member, contact_id: int) -> int:
    """The contact, for whom somebody sees and who is still there. Raise UserError."""
    return access.present(turn, access.seen_contact(turn, member, contact_id))


def _number(text: str) -> int:
    return int(text) if text.isdigit() and len(text) < 10 else 0
