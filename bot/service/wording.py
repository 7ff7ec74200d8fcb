"""Wording: times, channels, purposes and people as somebody reads them in their language."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from bot import i18n
from bot.i18n import say
from bot.office import Turn
from bot.service import card
from crm_store import contacts, people, places, sales

PLATFORMS = {"telegram": "Telegram", "slack": "Slack", "sms": "SMS"}  # called so in any language
DATED_AFTER_DAYS = 60  # what is longer ago is told by its date: nobody counts 400 days


def moment(turn: Turn, at: datetime | None, lang: str) -> str:
    """How long something lasts already: "34 h"."""
    if at is None:
        return say("profile.never", lang)
    unit, n = _since(turn, at)
    return say(f"age.{unit}", lang, n=n)


def ago(turn: Turn, at: datetime | None, lang: str) -> str:
    """When something was: "34 h ago", or its day where that is long ago."""
    if at is None:
        return say("profile.never", lang)
    unit, n = _since(turn, at)
    if unit == "days" and n > DATED_AFTER_DAYS:
        return day(turn, at)
    return say("ago.now", lang) if not n else say(f"ago.{unit}", lang, n=n)


def day(turn: Turn, at: datetime) -> str:
    """The day of a moment on the desk's calendar."""
    return at.astimezone(ZoneInfo(turn.office.config.desk.timezone)).date().isoformat()


def counted(one: str, several: str, lang: str, count: int, **values: object) -> str:
    """A sentence with a number in it: "1 order", "2 orders"."""
    return say(one if count == 1 else several, lang, count=f"{count:,}", **values)


def known_or(key: str, lang: str, otherwise: str) -> str:
    """The words for what we have a word for; anything else as it came."""
    return say(key, lang) if key in i18n.catalogue(i18n.DEFAULT) else otherwise


def space(name: str, lang: str) -> str:
    """By what somebody is known or wrote: "E-mail", "Telegram"; a channel as it is configured."""
    return known_or(f"space.{name}", lang, PLATFORMS.get(name, name))


def account(identity: Any, lang: str) -> str:
    """Telegram @liwei, E-mail li@example.com"""
    return f"{space(identity.space, lang)} {identity.handle or identity.user_id}"


def purpose(name: str, lang: str) -> str:
    """What consent is for: marketing by some channel, or what a file or somebody named it."""
    whole, _, channel = name.partition("_")
    if whole == "marketing" and channel:
        return say("consent.marketing_by", lang, channel=space(channel, lang))
    return known_or(f"consent.for_{name}", lang, name.replace("_", " "))


def language(code: str, lang: str) -> str:
    return places.language_called(code, lang)


def field(name: str, lang: str) -> str:
    """A column of a customer or a deal, as it is called where it is shown."""
    return known_or(f"field.{name}", lang, name.replace("_", " "))


def actor(turn: Turn, who: str, lang: str) -> str:
    """Who did something, by what the store notes: staff by name, the customer, an import, the command line."""
    kind, _, key = who.partition(":")
    if kind == "staff" and key.isdigit():
        row = people.get(turn.tx, int(key))
        return row.name if row is not None else who
    return known_or(f"actor.{kind}", lang, who)


def stage(stage: str, lang: str) -> str:
    """A stage in words; one of the desk's own stays as it is written."""
    key = f"deal.stage_{stage}"
    return short(say(key, lang) if key in i18n.catalogue("en") else stage, 40)


def deal(row: Any, lang: str) -> str:
    """A deal in one line."""
    parts = [
        f"D{row.number} {card.shorten(row.title, 60)}",
        sales.money(row.amount_minor, row.currency),
        stage(row.stage, lang),
    ]
    return " · ".join([*parts, *([row.expected_on.isoformat()] if row.expected_on else [])])


def choice(turn: Turn, contact_id: int, lang: str) -> str:
    """A customer among several: Li Wei · C17 · li@example.com. By whatever tells them apart."""
    name = short(card.called(turn, contact_id), 32) or say("card.unnamed", lang)
    return " · ".join(part for part in (name, f"C{contact_id}", detail(turn, contact_id, lang)) if part)


def detail(turn: Turn, contact_id: int, lang: str) -> str:
    """What tells a customer from others of their name: an address, else an account, else where they are."""
    known = contacts.identities(turn.tx, contact_id)
    found = next((i.user_id for i in known if i.space in ("email", "phone")), "")
    if not found and known:
        found = account(known[0], lang)
    if not found:
        row = contacts.get(turn.tx, contact_id)
        found = row.company or row.city
    return short(found, 32)


def short(text: str, limit: int) -> str:
    """On one line, cut where it is too long."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def some(parts: list[str], most: int, lang: str) -> list[str]:
    """The first of many, and how many more there are."""
    if len(parts) <= most:
        return parts
    return [*parts[:most], say("profile.more", lang, count=f"{len(parts) - most:,}")]


def _since(turn: Turn, at: datetime) -> tuple[str, int]:
    minutes = max(0, int((turn.now - at).total_seconds() // 60))
    if minutes < 60:
        return "minutes", minutes
    if minutes < 60 * 48:
        return "hours", minutes // 60
    return "days", minutes // 1440
