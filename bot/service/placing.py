"""Placing: in which room of each staff side a ticket's card stands."""

from __future__ import annotations

from typing import Any

from bot.office import StaffRoom, Turn
from channels.settings import Route
from crm_store import contacts, conversations, moves, tickets


def new_rooms(turn: Turn, ticket: Any) -> tuple[StaffRoom, ...]:
    """One room a staff side for a card that stands nowhere yet: the first route that fits, else the side's own."""
    return tuple(_room(turn, ticket, side) for side in turn.office.sides)


def rooms_for(turn: Turn, ticket: Any) -> tuple[StaffRoom, ...]:
    """The same, but where the card stands already: a ticket stays where it was opened, its thread is there."""
    there = {
        t.channel: StaffRoom(t.channel, t.room_id)
        for t in tickets.threads(turn.tx, ticket.id)
        if turn.office.is_staff_room(t.channel, t.room_id) or learn(turn, t.channel, t.room_id)
    }
    return tuple(there.get(side) or _room(turn, ticket, side) for side in turn.office.sides)


def _room(turn: Turn, ticket: Any, side: str) -> StaffRoom:
    settings = turn.office.settings(side)
    if settings.routes:
        language = conversations.get(turn.tx, ticket.conversation_id).language
        contact = contacts.get(turn.tx, ticket.contact_id)
        tags = {str(t).casefold() for t in contact.tags} if contact is not None else set()
        for route in settings.routes:
            if _fits(route, ticket, language, tags):
                return StaffRoom(side, turn.office.room_now(side, route.room))
    return StaffRoom(side, turn.office.room_now(side, settings.staff_channel))


def _fits(route: Route, ticket: Any, language: str, tags: set[str]) -> bool:
    return (
        (not route.inboxes or ticket.channel in route.inboxes)
        and (not route.kinds or ticket.kind in route.kinds)
        and (not route.languages or language in route.languages)
        and (not route.tags or any(t.casefold() in tags for t in route.tags))
    )


def moved(turn: Turn, channel: str, old: str, new: str) -> None:
    """A room got a new id: what is there follows, and it is a room of staff if it was one."""
    moves.move(turn.tx, channel, old, new)
    turn.office.learn(moves.known(turn.tx))


def learn(turn: Turn, channel: str, room_id: str) -> bool:
    """Whether a room that we do not know is one of staff that moved, as another process has seen."""
    if channel not in turn.office.sides:
        return False
    known = moves.known(turn.tx)
    if known == turn.office.moved:
        return False
    turn.office.learn(known)
    return turn.office.is_staff_room(channel, room_id)
