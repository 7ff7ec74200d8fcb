"""Editing: changes of what is kept about a customer, by command or form; each is in the audit log."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from bot import i18n, masking
from bot.access import Member
from bot.i18n import UserError, say
from bot.office import Turn
from crm_store import audit, contacts, people, places
from crm_store.importing import values
from crm_store.search import indexing

LONGEST = 2000  # characters of a value
LONGEST_NAME = 80  # … of a custom field's name
LONGEST_TAG = 60
MOST_TAGS = 50
MOST_FIELDS = 100
_TEXTS = ("name", "company", "city")
_REACHED = {  # … and by what somebody is reached, which is no column
    "form.email": "email",
    "form.phone": "phone",
}
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


def reached_by(field: str) -> str:
    """The space of identities that somebody means by a field's name, "" for none."""
    named = {say(key, lang).casefold(): space for key, space in _REACHED.items() for lang in i18n.languages()}
    plain = field.casefold()
    return named.get(plain, plain if plain in _REACHED.values() else "")


def add_identity(turn: Turn, member: Member, contact_id: int, space: str, said: str) -> str:
    """Note an address or a number that staff were told; nobody has proved it. Return it as it is kept. Raise
    UserError: it is none, or another customer's."""
    try:
        if space == "email":
            (user_id,) = values.emails(said)
        else:
            user_id = values.phone(values.clean(said), turn.office.config.desk.country.upper())
    except (values.Wrong, ValueError) as error:
        raise UserError("fields.wrong", field=space, value=said[:40]) from error
    known = contacts.find_identity(turn.tx, space, user_id)
    if known is not None and known.contact_id != contact_id:
        raise UserError("fields.taken", value=user_id)
    if known is None:
        contacts.add_identity(turn.tx, turn.now, contact_id, space=space, user_id=user_id)
        indexing.changed(turn.tx, "contact", [contact_id])
        target = f"contact:{contact_id}"
        audit.record(turn.tx, turn.now, member.actor, "customer", target, via=turn.via, fields=[space])
    return user_id


def change(turn: Turn, member: Member, row: Any, wanted: dict[str, Any]) -> bool:
    """Change columns of a contact; whether anything was another. What comes back from a form as it was masked
    is no change."""
    region = turn.office.config.desk.country
    changed = {
        key: value
        for key, value in wanted.items()
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
