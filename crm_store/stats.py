"""What happened in a period: volumes, answers, times in business hours, ratings, what is left to do."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from sqlalchemy import Connection, exists, func, or_, select

from crm_store import schema
from crm_store.hours import BusinessHours
from crm_store.scope import Scope, of_message, of_ticket

message, ticket = schema.message, schema.ticket


@dataclass(frozen=True, slots=True)
class Volume:
    """Messages of a channel: from customers, and to them."""

    channel: str
    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class Times:
    """Durations in business hours; None where there were none."""

    count: int
    median: timedelta | None
    p90: timedelta | None


@dataclass(frozen=True, slots=True)
class Ratings:
    """`distribution` has all of 1 to 5."""

    count: int
    mean: float | None
    distribution: dict[int, int]


@dataclass(frozen=True, slots=True)
class Stats:
    """The numbers of [since, until). `opened` and `closed` are by kind; `backlog` is what was unclosed at `until`,
    by priority; `conversations` had a customer's message, `answered_by_bot` of them needed no ticket."""

    since: datetime
    until: datetime
    volumes: tuple[Volume, ...]
    opened: dict[str, int]
    closed: dict[str, int]
    first_response: Times
    resolution: Times
    conversations: int
    answered_by_bot: int
    ratings: Ratings
    backlog: dict[str, int] = field(default_factory=dict)
    oldest_unclosed_at: datetime | None = None

    @property
    def bot_share(self) -> float | None:
        """Conversations that the bot alone answered, of all; None without any."""
        return self.answered_by_bot / self.conversations if self.conversations else None


def numbers(
    tx: Connection, since: datetime, until: datetime, hours: BusinessHours, scope: Scope | None = None
) -> Stats:
    """Count what lies in [since, until), of what is in the scope. By our clock: a mail's own date may be
    anything."""
    seen = _Seen(scope)
    conversations, answered = _bot(tx, since, until, seen)
    backlog, oldest = _backlog(tx, until, seen)
    return Stats(
        since=since,
        until=until,
        volumes=_volumes(tx, since, until, seen),
        opened=_by_kind(tx, ticket.c.opened_at, since, until, seen),
        closed=_by_kind(tx, ticket.c.closed_at, since, until, seen),
        first_response=_times(tx, ticket.c.first_response_at, ticket.c.opened_at, since, until, hours, seen),
        resolution=_times(tx, ticket.c.closed_at, ticket.c.closed_at, since, until, hours, seen),
        conversations=conversations,
        answered_by_bot=answered,
        ratings=_ratings(tx, since, until, seen),
        backlog=backlog,
        oldest_unclosed_at=oldest,
    )


class _Seen:
    """The conditions on messages and tickets that keep the numbers to a scope; none for all."""

    def __init__(self, scope: Scope | None) -> None:
        self._scope = scope

    def messages(self, table: Any = message) -> list[Any]:
        return [] if self._scope is None else [of_message(self._scope, table)]

    def tickets(self) -> list[Any]:
        return [] if self._scope is None else [of_ticket(self._scope)]


def times(durations: Iterable[timedelta]) -> Times:
    """Median, and the 90th percentile by nearest rank."""
    ordered = sorted(durations)
    if not ordered:
        return Times(0, None, None)
    middle = timedelta(seconds=median(duration.total_seconds() for duration in ordered))
    return Times(len(ordered), middle, ordered[math.ceil(0.9 * len(ordered)) - 1])


def _within(column: Any, since: datetime, until: datetime) -> Any:
    return (column >= since) & (column < until)


def _volumes(tx: Connection, since: datetime, until: datetime, seen: _Seen) -> tuple[Volume, ...]:
    rows = tx.execute(
        select(message.c.channel, message.c.kind, func.count())
        .where(
            _within(message.c.created_at, since, until),
            message.c.kind.in_(["in", "out"]),
            *seen.messages(),
        )
        .group_by(message.c.channel, message.c.kind)
    )
    counted: dict[str, dict[str, int]] = {}
    for channel, kind, count in rows:
        counted.setdefault(channel, {})[kind] = count
    return tuple(
        Volume(channel, kinds.get("in", 0), kinds.get("out", 0)) for channel, kinds in sorted(counted.items())
    )


def _by_kind(tx: Connection, column: Any, since: datetime, until: datetime, seen: _Seen) -> dict[str, int]:
    rows = tx.execute(
        select(ticket.c.kind, func.count())
        .where(_within(column, since, until), *seen.tickets())
        .group_by(ticket.c.kind)
        .order_by(ticket.c.kind)
    )
    return dict(rows.all())


def _times(
    tx: Connection,
    reached: Any,
    placed: Any,
    since: datetime,
    until: datetime,
    hours: BusinessHours,
    seen: _Seen,
) -> Times:
    """From opening to `reached`, of the tickets whose `placed` is in the period. What we began ourselves was
    answered when it was opened: it is no response."""
    rows = tx.execute(
        select(ticket.c.opened_at, reached).where(
            _within(placed, since, until), reached.is_not(None), *seen.tickets()
        )
    )
    ours = reached is ticket.c.first_response_at
    return times(hours.between(opened, done) for opened, done in rows if not ours or done > opened)


def _bot(tx: Connection, since: datetime, until: datetime, seen: _Seen) -> tuple[int, int]:
    """Conversations in which a customer wrote, and those of them that the bot answered and nobody else had to."""
    wrote = (
        select(message.c.conversation_id)
        .where(_within(message.c.created_at, since, until), message.c.kind == "in", *seen.messages())
        .distinct()
        .subquery()
    )
    reply = message.alias()
    answered = exists().where(
        reply.c.conversation_id == wrote.c.conversation_id,
        reply.c.kind == "out",
        reply.c.author_kind == "bot",
        _within(reply.c.created_at, since, until),
    )
    by_people = exists().where(
        reply.c.conversation_id == wrote.c.conversation_id,
        reply.c.kind == "out",
        reply.c.author_kind == "staff",
        _within(reply.c.created_at, since, until),
    )
    ticketed = exists().where(
        ticket.c.conversation_id == wrote.c.conversation_id,
        ticket.c.opened_at < until,
        or_(ticket.c.closed_at.is_(None), ticket.c.closed_at >= since),
    )
    every = tx.execute(select(func.count()).select_from(wrote)).scalar_one()
    alone = tx.execute(
        select(func.count()).select_from(wrote).where(answered, ~by_people, ~ticketed)
    ).scalar_one()
    return every, alone


def _ratings(tx: Connection, since: datetime, until: datetime, seen: _Seen) -> Ratings:
    rows = tx.execute(
        select(ticket.c.rating, func.count())
        .where(_within(ticket.c.rated_at, since, until), ticket.c.rating.is_not(None), *seen.tickets())
        .group_by(ticket.c.rating)
    )
    distribution = dict.fromkeys(range(1, 6), 0) | dict(rows.all())
    count = sum(distribution.values())
    total = sum(rating * given for rating, given in distribution.items())
    return Ratings(count, total / count if count else None, distribution)


def _backlog(tx: Connection, until: datetime, seen: _Seen) -> tuple[dict[str, int], datetime | None]:
    rows = tx.execute(
        select(ticket.c.priority, func.count(), func.min(ticket.c.opened_at))
        .where(
            ticket.c.opened_at < until,
            or_(ticket.c.closed_at.is_(None), ticket.c.closed_at >= until),
            *seen.tickets(),
        )
        .group_by(ticket.c.priority)
    ).all()
    return {row[0]: row[1] for row in rows}, min((row[2] for row in rows), default=None)
