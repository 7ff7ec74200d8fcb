"""Snooze: a ticket is put off until a time, or until the customer writes, and then it is back."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from bot import i18n, posting
from bot.access import Member
from bot.i18n import UserError, say
from bot.office import Office, Turn
from bot.service import card
from channels.rich import Reply, Text
from crm_store import audit, people, snoozes, tickets
from crm_store.hours import BusinessHours

LONGEST = timedelta(days=366)
_SPAN = re.compile(r"(\d{1,4})\s*(\D+)")
_UNITS = {"minutes": 1, "hours": 60, "days": 24 * 60, "weeks": 7 * 24 * 60}
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@cache
def _words(of: str) -> frozenset[str]:
    """How something is said, in every language there is."""
    return frozenset(w for lang in i18n.languages() for w in say(f"times.{of}", lang).split())


def until(text: str, now: datetime, office: Office) -> datetime | None:
    """When "2h", "3 days", "tomorrow" or "monday" is; days begin with the desk's opening. None if unclear."""
    word = text.strip().lower()
    if match := _SPAN.fullmatch(word):
        minutes = next((n for unit, n in _UNITS.items() if match.group(2).strip() in _words(unit)), 0)
        span = timedelta(minutes=minutes * int(match.group(1)))
        return now + span if timedelta() < span <= LONGEST else None
    zone = ZoneInfo(office.config.desk.timezone)
    today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    day = next((n for n, name in enumerate(_DAYS) if word in _words(name)), None)
    if word in _words("tomorrow"):
        ahead = 1
    elif day is not None:
        ahead = (day - today.weekday() - 1) % 7 + 1
    else:
        return None
    return BusinessHours.parse(office.config.desk.business_hours, zone).next_open(
        today + timedelta(days=ahead)
    )


def put_off(turn: Turn, member: Member, ticket: Any, text: str) -> Any:
    """Snooze a ticket, or wake it with "off". Raise UserError for a time nobody understands."""
    if ticket.status == "closed":
        raise UserError("tickets.already_closed", number=ticket.number)
    if text.strip().lower() in _words("now"):
        return back(turn, ticket, "thread.woken_by", name=member.name) or ticket
    at = until(text, turn.now, turn.office)
    if at is None:
        raise UserError("snooze.unclear", text=text.strip()[:40])
    ticket = tickets.set_values(turn.tx, ticket.id, snoozed_until=at)
    posting.card(turn, ticket, card.build(turn, ticket))
    lang = turn.office.staff_language
    line = say("thread.snoozed", lang, name=member.name, until=card.local(turn, at))
    posting.to_threads(turn, ticket, Reply.of(Text(line, small=True)))
    audit.record(turn.tx, turn.now, member.actor, "snooze", f"ticket:{ticket.number}", via=turn.via)
    return ticket


def back(turn: Turn, ticket: Any, key: str = "", **values: object) -> Any:
    """End a ticket's snooze, if it has one, and say why; return its row as it is then."""
    if ticket.snoozed_until is None or not snoozes.wake(turn.tx, ticket):
        return ticket
    ticket = tickets.get(turn.tx, ticket.id)
    posting.card(turn, ticket, card.build(turn, ticket))
    if key:
        line = say(key, turn.office.staff_language, **values)
        posting.to_threads(turn, ticket, Reply.of(Text(line, small=True)))
    return ticket


def wake_due(turn: Turn) -> int:
    """Bring back what is due: the thread is told, and whose ticket it is. Return how many."""
    rows = snoozes.due(turn.tx, turn.now)
    for ticket in rows:
        owner = people.get(turn.tx, ticket.assignee_id) if ticket.assignee_id else None
        name = owner.name if owner else say("card.nobody", turn.office.staff_language)
        back(turn, ticket, "thread.woken", name=name)
    return len(rows)
