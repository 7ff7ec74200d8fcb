"""Lookups: how many customers' cards one person opens, and how many they are shown in lists. Who reads many
within minutes is stopped, and managers are told: that is what taking the customers along looks like.

What is counted is what the audit log says, so it holds over restarts and for all processes together.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from bot import posting
from bot.access import Member
from bot.i18n import UserError, say
from bot.office import Turn
from channels.conversation import Address
from channels.rich import Reply, Text
from crm_store import audit

REFUSED = "lookups"  # the audit log's word for a card that was not shown
ALARM = "lookups_alarm"


LISTED = 8  # times as many as cards: customers in lists and choices, who are a name and an address each


class TooMany(UserError):
    """Somebody has opened as many cards as one may."""


def check(turn: Turn, who: Member, contact_id: int) -> None:
    """Raise TooMany when this card is one too many. One that was open within the time counts no more."""
    settings = turn.office.config.access
    object = f"contact:{contact_id}"
    since = turn.now - timedelta(minutes=settings.lookup_minutes)
    if audit.count_objects(turn.tx, who.actor, "profile", since, but={object}) >= settings.lookups:
        raise TooMany("lookups.too_many", count=settings.lookups, minutes=settings.lookup_minutes)


def check_listed(turn: Turn, who: Member, objects: Sequence[str]) -> None:
    """The same for a list of customers: raise TooMany when it would show new ones beyond what one may be shown."""
    contacts = {one for one in objects if one.startswith("contact:")}
    if not contacts:
        return
    settings = turn.office.config.access
    since = turn.now - timedelta(minutes=settings.lookup_minutes)
    most = settings.lookups * LISTED
    if audit.count_objects(turn.tx, who.actor, "found", since, like="contact:%", but=contacts) >= most:
        raise TooMany("lookups.too_many", count=most, minutes=settings.lookup_minutes)


def alarm(turn: Turn, who: Member) -> None:
    """Tell the staff rooms, once in the time that is counted."""
    settings = turn.office.config.access
    since = turn.now - timedelta(minutes=settings.lookup_minutes)
    if audit.count_objects(turn.tx, who.actor, ALARM, since):
        return
    audit.record(turn.tx, turn.now, who.actor, ALARM, who.actor, via=turn.via)
    lang = turn.office.staff_language
    said = say("lookups.alarm", lang, name=who.name, count=settings.lookups, minutes=settings.lookup_minutes)
    for room in turn.office.rooms:
        posting.answer(turn, Address(room.channel, room.room_id), Reply.of(Text(said)))


def refused(turn: Turn, who: Member) -> None:
    """Note that a card was not shown, where no command says so."""
    audit.record(turn.tx, turn.now, who.actor, REFUSED, "", "refused", via=turn.via)
    alarm(turn, who)
