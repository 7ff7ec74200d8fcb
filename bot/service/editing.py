"""Editing: changes of what is kept about a customer, by command or form; each is in the audit log."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from bot import i18n, masking
from bot.access import Member
from bot.i18n import UserError, say
from bot.office import Turn
from crm_store import audit, contacts, people, places

LONGEST = 2000  # characters of a value
LONGEST_NAME = 80  # … of a custom field's name
LONGEST_TAG = 60
MOST_TAGS = 50
MOST_FIELDS = 100
_TEXTS = ("name", "company", "city")
_WORDS = {  # how they are called where they are shown, in any language
    "form.name": "name",
    "profile.company": "company",
    "form.city": "city",
    "form.country": "country",
    "profile.language": "language",
    "profile.timezone": "timezone",
    "profile.owner": "owner",
}
EMPTY = frozenset(("-", "–", "—"))  # takes a value away


def understood(turn: Turn, row: Any, field: str, value: str) -> dict[str, Any]:
    """Columns to change when somebody sets a field. Raise UserError."""
    aliases = {say(key, lang).casefold(): name for key, name in _WORDS.items() for lang in i18n.languages()}
    name = field[:LONGEST_NAME]
    column = aliases.get(field.casefold(), field.lower())
    said = " ".join(value.split())[:LONGEST]
    empty = said in EMPTY
    if column in _TEXTS:
        return {column: "" if empty else said[:200]}
    match column:
        case "country":
            code = "" if empty else places.region(said)
            if not code and not empty:
                raise UserError("fields.wrong", field=field, value=said[:40])
            return {"country": code}
        case "language":
            spoken = None if empty else places.language(said)
            if spoken == "":
                raise UserError("fields.wrong", field=field, value=said[:40])
            return {"language": spoken}
        case "timezone":
            try:
                zone = None if empty else ZoneInfo(said).key
            except (KeyError, ValueError, OSError) as error:
                raise UserError("fields.wrong", field=field, value=said[:40]) from error
            return {"timezone": zone}
        case "owner":
            person = None if empty else people.by_name(turn.tx, said.removeprefix("@"))
            if not empty and (person is None or person.disabled_at is not None):
                raise UserError("tickets.no_such_person", who=said[:40])
            return {"owner_id": person.id if person is not None else None}
    fields = dict(row.fields)
    if empty:
        fields.pop(name, None)
    else:
        fields[name] = said
    if len(fields) > MOST_FIELDS:
        raise UserError("fields.wrong", field=field, value=said[:40])
    return {"fields": fields}


def change(turn: Turn, member: Member, row: Any, values: dict[str, Any]) -> bool:
    """Change columns of a contact; whether anything was another. What comes back from a form as it was masked
    is no change."""
    region = turn.office.config.desk.country
    changed = {
        key: value
        for key, value in values.items()
        if value != getattr(row, key)
        and not (isinstance(value, str) and value == masking.text(str(getattr(row, key) or ""), region))
    }
    if not changed:
        return False
    contacts.set_values(turn.tx, turn.now, row.id, **changed)
    audit.record(
        turn.tx,
        turn.now,
        member.actor,
        "customer",
        f"contact:{row.id}",
        via=turn.via,
        fields=sorted(changed),
    )
    return True
