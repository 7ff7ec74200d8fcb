"""/set, /tag and /notes: what is kept about a customer, changed in words."""

from __future__ import annotations

from bot.commands import Ask, command
from bot.commands._whom import whom
from bot.i18n import UserError
from bot.roles import AGENTS
from bot.service import card, editing, wording
from channels.rich import Heading, Reply, Table
from crm_store import contacts, notes

SHOWN = 20


@command("set", roles=AGENTS)
def set_(ask: Ask) -> Reply:
    contact_id, rest = whom(ask, ask.args)
    field, _, value = rest.partition(" ")
    if not field or not value.strip():
        raise UserError("staff.usage", usage=ask.say("usage.set"))
    row, name = contacts.get(ask.turn.tx, contact_id), field.strip(" :：=")
    if space := editing.reached_by(name):
        editing.add_identity(ask.turn, ask.member, contact_id, space, value)
        return Reply.of(ask.say("form.customer_saved", name=_name(ask, contact_id)))
    try:
        changes = editing.understood(ask.turn, row, name, value)
    except UserError as error:
        if typed := error.values.get("field"):
            error.values["field"] = wording.field(str(typed).lower(), ask.lang)
        raise
    editing.change(ask.turn, ask.member, row, changes)
    return Reply.of(ask.say("form.customer_saved", name=_name(ask, contact_id)))


@command("tag", roles=AGENTS)
def tag(ask: Ask) -> Reply:
    contact_id, rest = whom(ask, ask.args)
    row = contacts.get(ask.turn.tx, contact_id)
    words = [w.strip() for w in rest.replace("，", ",").replace(",", " ").split()]
    tags = list(row.tags)
    for word in words:
        name = word.lstrip("+-−#")[: editing.LONGEST_TAG]
        there = [t for t in tags if t.casefold() == name.casefold()]
        if word[0] in "-−":
            tags = [t for t in tags if t not in there]
        elif name and not there:
            tags.append(name)
    if len(tags) > editing.MOST_TAGS:
        raise UserError("staff.usage", usage=ask.say("usage.tag"))
    if tags != list(row.tags):
        editing.change(ask.turn, ask.member, row, {"tags": tags})
    listed = ", ".join(tags) or ask.say("profile.none")
    return Reply.of(ask.say("fields.tags_now", name=_name(ask, contact_id), tags=listed))


@command("notes", roles=AGENTS, reads=True)
def listing(ask: Ask) -> Reply:
    contact_id, _ = whom(ask, ask.args)
    ask.found_of.append(f"contact:{contact_id}")
    rows = notes.of_contact(ask.turn.tx, contact_id, limit=SHOWN)
    name = _name(ask, contact_id)
    if not rows:
        return Reply.of(ask.say("fields.no_notes", name=name))
    table = Table(
        ("", "", ""),
        tuple(
            (
                wording.ago(ask.turn, n.created_at, ask.lang),
                n.author + (f" #{n.ticket}" if n.ticket else ""),
                wording.short(n.text, 300),
            )
            for n in rows
        ),
    )
    return Reply.of(Heading(ask.say("fields.notes_on", name=name)), table)


def _name(ask: Ask, contact_id: int) -> str:
    return wording.short(card.called(ask.turn, contact_id), 80) or f"C{contact_id}"
