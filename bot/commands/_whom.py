"""Whom a command is about: C12, an address, a phone number, @handle or "a name" that it begins with, else the
customer of the thread."""

from __future__ import annotations

import re

from bot import access
from bot.commands import Ask
from bot.commands.customer import look_for
from bot.i18n import UserError
from crm_store import contacts, merges, tickets

_NUMBER = re.compile(r"[Cc](\d{1,9})")
_QUOTED = re.compile(r'\s*["“„«「](.+?)["”“»」]\s*(.*)', re.DOTALL)
_EXACT = re.compile(r"[^\s@]+@[^\s@]+|@[\w.-]+|(?:\+|00)\d[\d().-]{5,}")


def is_named(args: str) -> bool:
    """Whether a customer is named at the beginning."""
    first = args.split(maxsplit=1)[0] if args.split() else ""
    return bool(_QUOTED.match(args) or _NUMBER.fullmatch(first) or _EXACT.fullmatch(first))


def whom(ask: Ask, args: str, *, erased_too: bool = False) -> tuple[int, str]:
    """(contact, the rest). Raise UserError when nobody is named, or several fit, or it is none of theirs, or
    they were erased: what is written of an erased customer would be kept of somebody who is to be forgotten."""
    contact_id, rest = _named(ask, args)
    return (contact_id if erased_too else access.present(ask.turn, contact_id)), rest


def _named(ask: Ask, args: str) -> tuple[int, str]:
    if not is_named(args):
        if ask.ticket is None:
            raise UserError("whom.needed")
        row = tickets.get(ask.turn.tx, ask.ticket.id)
        return access.seen_contact(ask.turn, ask.member, row.contact_id), args
    if quoted := _QUOTED.match(args):
        name, rest = quoted[1], quoted[2]
    else:
        name, _, rest = args.partition(" ")
    if number := _NUMBER.fullmatch(name):
        contact_id = int(number[1])
        if contacts.get(ask.turn.tx, contact_id) is None:
            raise UserError("profile.nobody", text=name)
        now = merges.current(ask.turn.tx, contact_id)
        return access.seen_contact(ask.turn, ask.member, now), rest.strip()
    found = look_for(ask.turn, ask.member, name, limit=2)
    if not found:
        raise UserError("profile.nobody", text=name)
    if len(found) > 1:
        raise UserError("whom.several", text=name)
    return found[0], rest.strip()
