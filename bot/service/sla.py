"""The response clock: until when a customer who waits is to be answered, in business hours, and how near that is.

`ticket.waiting_since` is when they began to wait; a reply ends it. What the card says of it changes twice by
itself, shortly before it is due and when it is: `ticket.clock_at` is the next of these moments, swept by a job.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import Any, Literal

from bot.office import Office, Turn
from crm_store import clocks
from crm_store.hours import BusinessHours

State = Literal["", "due", "soon", "overdue"]


@cache
def _hours(text: str, timezone: str) -> BusinessHours:
    return BusinessHours.parse(text, timezone)


@lru_cache(maxsize=256)  # a card asks three times: for its words, their state and the next alarm
def _due(text: str, timezone: str, since: datetime, minutes: int) -> datetime:
    return _hours(text, timezone).add(since, timedelta(minutes=minutes))


def respond_by(office: Office, ticket: Any) -> datetime | None:
    """When an answer is due; None while nobody waits, the ticket is put off, or there is no clock for it."""
    if ticket.waiting_since is None or ticket.status == "closed" or ticket.snoozed_until:
        return None
    return _respond_by(office, ticket.priority, ticket.waiting_since)


def _respond_by(office: Office, priority: str, since: datetime) -> datetime | None:
    minutes, desk = office.config.sla.minutes(priority), office.config.desk
    return _due(desk.business_hours, desk.timezone, since, minutes) if minutes else None


def state(office: Office, ticket: Any, now: datetime) -> State:
    """How near the due time is."""
    due = respond_by(office, ticket)
    if due is None:
        return ""
    return "overdue" if now >= due else "soon" if now >= due - _soon(office) else "due"


def set_alarm(turn: Turn, ticket: Any) -> None:
    """Note when the card that is being posted will have to say more."""
    at = _alarm(turn, respond_by(turn.office, ticket))
    if at != ticket.clock_at:
        clocks.set_alarm(turn.tx, ticket.id, at)


def first_alarm(turn: Turn, priority: str) -> datetime | None:
    """The same for a ticket that is being opened now."""
    return _alarm(turn, _respond_by(turn.office, priority, turn.now))


def _alarm(turn: Turn, due: datetime | None) -> datetime | None:
    if due is None or not turn.office.sides:
        return None
    return next((at for at in (due - _soon(turn.office), due) if at > turn.now), None)


def _soon(office: Office) -> timedelta:
    return timedelta(minutes=office.config.sla.soon_min)
