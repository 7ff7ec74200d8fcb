"""Masks: a***@example.com and +49 ••• 12, wherever an address or a number stands in what is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BaseModel

from channels.rich import (
    Block,
    Buttons,
    Fields,
    File,
    Form,
    Heading,
    Image,
    Reply,
    Table,
    Text,
)

M = TypeVar("M", bound=BaseModel)
DOTS = "•••"
_EMAIL = re.compile(r"(?<![\w.+%-])([^\W_])[\w.+%'-]{0,63}@((?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24})")
# also where no such number can be dialled, or nobody said of which country it is
_BARE = re.compile(
    r"\+[1-9](?:[ ().\-/]{0,2}\d){6,14}|(?<![\d.:-])(?:1[3-9]\d{9}|0[1-9](?:[ \-]?\d){7,10})(?![\d.:])"
)
_DIGITS = re.compile(r"\d(?:\D{0,2}\d){6}")  # seven digits: fewer are no phone, and most texts have none


def email(address: str) -> str:
    """a***@example.com"""
    name, _, domain = address.rpartition("@")
    return f"{name[:1]}***@{domain}" if name else "***"


def phone(number: str, region: str = "") -> str:
    """+49 ••• 12; without a country it is ••• 12."""
    import phonenumbers  # 40 ms, for who is masked only

    digits = re.sub(r"\D", "", number)
    try:
        code = phonenumbers.parse(number, region or None).country_code
    except phonenumbers.NumberParseException:
        code = None
    return f"+{code} {DOTS} {digits[-2:]}" if code else f"{DOTS} {digits[-2:]}"


def text(said: str, region: str = "") -> str:
    """A text with the addresses and phone numbers in it masked. `region` is how numbers without a country are
    read ("DE")."""
    if "@" in said:
        said = _EMAIL.sub(lambda found: f"{found[1]}***@{found[2]}", said)
    if not _DIGITS.search(said):
        return said
    said = _BARE.sub(lambda found: phone(found[0]), said)
    import phonenumbers

    parts, at = [], 0
    for found in phonenumbers.PhoneNumberMatcher(said, region.upper() or None):
        parts += [said[at : found.start], phone(found.raw_string, region.upper())]
        at = found.end
    return "".join([*parts, said[at:]])


def identity(space: str, user_id: str, region: str = "") -> str:
    """What a contact is known by on a channel, masked where that is an address or a number."""
    match space:
        case "email":
            return email(user_id)
        case "phone":
            return phone(user_id, region)
        case _:
            return text(user_id, region)


def reply(whole: Reply, region: str = "") -> Reply:
    """A reply with everything that is shown masked; what buttons and forms send back stays."""
    return Reply(tuple(_block(one, region) for one in whole.blocks))


def _block(one: Block, region: str) -> Block:
    match one:
        case Text() | Heading():
            return replace(one, text=text(one.text, region))
        case Fields():
            return Fields(tuple((label, text(value, region)) for label, value in one.pairs))
        case Table():
            return replace(one, rows=tuple(tuple(text(cell, region) for cell in row) for row in one.rows))
        case Buttons():
            return Buttons(tuple(replace(b, label=text(b.label, region)) for b in one.buttons))
        case Form():
            inputs = tuple(
                replace(
                    i,
                    value=text(i.value, region),
                    options=tuple((value, text(label, region)) for value, label in i.options),
                )
                for i in one.inputs
            )
            return replace(one, intro=text(one.intro, region), inputs=inputs)
        case Image() | File():
            return one


def model(shown: M, region: str = "") -> M:
    """What the API answers, with every text in it masked."""
    space = getattr(shown, "channel", "") if hasattr(shown, "user_id") else ""
    changed: dict[str, Any] = {}
    for name in type(shown).model_fields:
        held = getattr(shown, name)
        known_by = name == "user_id" and isinstance(held, str)
        changed[name] = identity(space, held, region) if known_by else value(held, region)
    return shown.model_copy(update=changed)


def value(held: Any, region: str = "") -> Any:
    """Any value with every text in it masked."""
    match held:
        case str():
            return text(held, region)
        case BaseModel():
            return model(held, region)
        case list():
            return [value(one, region) for one in held]
        case Mapping():
            return {key: value(one, region) for key, one in held.items()}
        case _:
            return held
