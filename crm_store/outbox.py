"""The outbox: what is to be done on platforms, in order per lane, at least once, and saying so.

The attempt is recorded (state `sending`) before the call. A row found in `sending` after its lease ran out
has an unknown outcome: `maybe_sent`. The recipient stands in the row and is never resolved again; only the
thread of a ticket's own card is filled in at claim, since it exists once the card was sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal

from sqlalchemy import (
    Boolean,
    Connection,
    Integer,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    update,
)

from crm_store import schema
from crm_store.rows import is_postgresql
from crm_store.statement import Statement
from crm_store.wakeups import notify

outbox = schema.outbox
OPEN = ("pending", "sending")
# as text: a partial index is only used where its condition is
PENDING: Any = literal_column("'pending'")
SENDING: Any = literal_column("'sending'")

_put = Statement(outbox.insert())
_lease = Statement(
    update(outbox)
    .where(outbox.c.id == bindparam("row"))
    .values(
        state="sending",
        attempts=outbox.c.attempts + 1,
        maybe_sent=bindparam("maybe"),
        fence=outbox.c.fence + 1,
        lease_until=bindparam("until"),
    )
)
_settle = Statement(
    update(outbox)
    .where(outbox.c.id == bindparam("row"), outbox.c.fence == bindparam("held"), outbox.c.state == SENDING)
    .values(
        state=bindparam("outcome"),
        event_id=bindparam("event"),
        error=bindparam("reason"),
        settled_at=bindparam("now"),
        lease_until=None,
    )
)


@dataclass(frozen=True, slots=True)
class Order:
    """Something to do on a platform. `options` are the remaining fields of channels' Outbound, as JSON."""

    channel: str
    room_id: str
    thread_id: str
    lane: str
    op: str
    purpose: str  # reply answer notice post card mark command: who cares how it ends
    body: str
    due_at: datetime
    options: Mapping[str, Any] = field(default_factory=dict)
    conversation_id: int | None = None
    message_id: int | None = None
    ticket_id: int | None = None


@dataclass(frozen=True, slots=True)
class Leaving:
    """A claimed outbox row."""

    id: int
    lane: str
    channel: str
    room_id: str
    thread_id: str
    op: str
    purpose: str
    body: str
    options: dict[str, Any]
    conversation_id: int | None
    message_id: int | None
    ticket_id: int | None
    attempts: int
    maybe_sent: bool
    repeated: bool  # an attempt that knew of an unknown outcome has an unknown outcome itself
    fence: int
    created_at: datetime


def put(tx: Connection, order: Order, now: datetime) -> int:
    """Write an outbox row and return its id: the key of the message."""
    if order.due_at <= now:
        notify(tx, "outbox")
    return _put.insert(
        tx,
        lane=order.lane,
        channel=order.channel,
        room_id=order.room_id,
        thread_id=order.thread_id,
        op=str(order.op),
        purpose=order.purpose,
        body=order.body,
        options=dict(order.options),
        conversation_id=order.conversation_id,
        message_id=order.message_id,
        ticket_id=order.ticket_id,
        due_at=order.due_at,
        created_at=now,
    )


def claim(
    tx: Connection, now: datetime, *, limit: int, lease_s: float, skip: Sequence[str] = ()
) -> list[Leaving]:
    """Lease the due heads of up to `limit` lanes and count the attempt; channels in `skip` are left alone."""
    skipped = {f"skip{i}": channel for i, channel in enumerate(skip)}
    rows: list[Leaving] = []
    states: tuple[Literal["pending", "sending"], ...] = ("sending", "pending")
    for state in states:
        query = _due_heads(state, tuple(skipped), is_postgresql(tx))
        rows += [Leaving(*r) for r in query.all(tx, now=now, most=limit - len(rows), **skipped)]
    until = now + timedelta(seconds=lease_s)
    _lease.many(tx, [{"row": r.id, "maybe": r.maybe_sent, "until": until} for r in rows])
    return rows


@cache
def _due_heads(state: Literal["pending", "sending"], skip: tuple[str, ...], shared: bool) -> Statement:
    """Heads of lanes that are due (pending), or whose lease ran out (sending), oldest first: read in the order
    of an index, as far as needed. The work is that of what is found, not of all that waits."""
    now = bindparam("now", type_=outbox.c.due_at.type)
    since = outbox.c.due_at if state == "pending" else outbox.c.lease_until
    earlier, other = outbox.alias("earlier"), outbox.alias("other")
    waits = select(earlier.c.id).where(
        earlier.c.state.in_([PENDING, SENDING]), earlier.c.lane == outbox.c.lane, earlier.c.id < outbox.c.id
    )
    again = literal_column("false" if state == "pending" else "true", Boolean)
    query = (
        select(
            outbox.c.id,
            outbox.c.lane,
            outbox.c.channel,
            outbox.c.room_id,
            outbox.c.thread_id,
            outbox.c.op,
            outbox.c.purpose,
            outbox.c.body,
            outbox.c.options,
            outbox.c.conversation_id,
            outbox.c.message_id,
            outbox.c.ticket_id,
            (outbox.c.attempts + 1).label("attempts"),
            or_(outbox.c.maybe_sent, again).label("maybe_sent"),
            and_(outbox.c.maybe_sent, again).label("repeated"),
            (outbox.c.fence + 1).label("fence"),
            outbox.c.created_at,
        )
        .where(
            outbox.c.state == (PENDING if state == "pending" else SENDING),
            since <= now if state == "pending" else since < now,
            *(outbox.c.channel != bindparam(name) for name in skip),
            ~waits.exists(),
        )
        .order_by(since, outbox.c.id)
        .limit(bindparam("most", type_=Integer))
    )
    if shared:
        # Of two that were written at once the second may be committed first and be on its way as the head.
        on_its_way = select(other.c.id).where(
            other.c.lane == outbox.c.lane,
            other.c.id != outbox.c.id,
            other.c.state == SENDING,
            other.c.lease_until >= now,
        )
        query = query.where(~on_its_way.exists()).with_for_update(skip_locked=True, of=outbox)
    return Statement(query)


def unclaim(tx: Connection, rows: Sequence[Leaving]) -> None:
    """Give claimed rows back of which nothing was tried. Those whose repeat is used up stay as they are."""
    given = [{"row": r.id, "held": r.fence} for r in rows if not r.repeated]
    if given:
        tx.execute(
            update(outbox)
            .where(
                outbox.c.id == bindparam("row"),
                outbox.c.fence == bindparam("held"),
                outbox.c.state == "sending",
            )
            .values(state="pending", attempts=outbox.c.attempts - 1, lease_until=None),
            given,
        )


def renew(tx: Connection, rows: Sequence[Leaving], until: datetime) -> None:
    """Keep rows that are still being sent; what somebody else claimed since is not touched."""
    tx.execute(
        update(outbox)
        .where(
            outbox.c.id == bindparam("row"),
            outbox.c.fence == bindparam("held"),
            outbox.c.state == "sending",
        )
        .values(lease_until=until),
        [{"row": r.id, "held": r.fence} for r in rows],
    )


def settle(
    tx: Connection,
    row: Leaving,
    state: str,
    now: datetime,
    *,
    event_id: str = "",
    error: str = "",
) -> bool:
    """End a claimed row as sent, dead or unknown. False when another worker has it by now."""
    found = _settle.run(
        tx, row=row.id, held=row.fence, outcome=state, event=event_id, reason=error[:2000], now=now
    )
    return found == 1


def postpone(tx: Connection, row: Leaving, due_at: datetime, *, error: str, maybe_sent: bool) -> bool:
    """Try again later. False when another worker has it by now."""
    return _own(
        tx,
        row,
        state="pending",
        due_at=due_at,
        error=error[:2000],
        maybe_sent=maybe_sent,
        lease_until=None,
    )


def withdraw(tx: Connection, row_id: int, now: datetime) -> bool:
    """Take back what has certainly not been sent."""
    result = tx.execute(
        update(outbox)
        .where(outbox.c.id == row_id, outbox.c.state == "pending", outbox.c.maybe_sent.is_(False))
        .values(state="withdrawn", settled_at=now)
    )
    return result.rowcount == 1


def amend(tx: Connection, row_id: int, body: str, options: Mapping[str, Any] | None = None) -> bool:
    """Change what has certainly not been sent."""
    values: dict[str, Any] = {"body": body} | ({"options": dict(options)} if options is not None else {})
    result = tx.execute(
        update(outbox)
        .where(outbox.c.id == row_id, outbox.c.state == "pending", outbox.c.maybe_sent.is_(False))
        .values(**values)
    )
    return result.rowcount == 1


def waiting(tx: Connection, lane: str, *, op: str, purpose: str) -> int | None:
    """The newest row of a kind in a lane that has certainly not been sent."""
    return tx.execute(
        select(outbox.c.id)
        .where(outbox.c.lane == lane, outbox.c.op == op, outbox.c.purpose == purpose)
        .where(outbox.c.state == "pending", outbox.c.maybe_sent.is_(False))
        .order_by(outbox.c.id.desc())
        .limit(1)
    ).scalar()


def release_now(tx: Connection, row_id: int, now: datetime) -> bool:
    """End the hold of a row: send it at once."""
    result = tx.execute(
        update(outbox).where(outbox.c.id == row_id, outbox.c.state == "pending").values(due_at=now)
    )
    return result.rowcount == 1


def forget_leases(tx: Connection, now: datetime) -> None:
    """At the start of the only process on a store: what was being sent has an unknown outcome."""
    tx.execute(
        update(outbox).where(outbox.c.state == "sending").values(lease_until=now - timedelta(seconds=1))
    )


def of_message(tx: Connection, message_id: int) -> list[Any]:
    """The rows that carry a message to its recipients, oldest first."""
    return list(
        tx.execute(
            select(outbox)
            .where(outbox.c.message_id == message_id, outbox.c.purpose.in_(["reply", "answer", "notice"]))
            .order_by(outbox.c.id)
        ).all()
    )


def note_parts(tx: Connection, row_id: int, event_ids: Sequence[str]) -> None:
    """Remember that a row became several messages over there."""
    options = tx.execute(select(outbox.c.options).where(outbox.c.id == row_id)).scalar_one()
    tx.execute(
        update(outbox).where(outbox.c.id == row_id).values(options={**options, "parts": list(event_ids)})
    )


def recent(tx: Connection, channel: str, event_id: str, *, op: str, among: int = 20_000) -> Any:
    """The newest row that became this message over there, among the latest; None when it is none of ours."""
    newest = tx.execute(select(func.max(outbox.c.id))).scalar() or 0
    return tx.execute(
        select(outbox)
        .where(outbox.c.id > newest - among, outbox.c.op == op)
        .where(outbox.c.channel == channel, outbox.c.event_id == event_id)
        .order_by(outbox.c.id.desc())
        .limit(1)
    ).first()


def next_due(tx: Connection) -> datetime | None:
    """When the next row falls due or its lease runs out."""
    return tx.execute(
        select(func.min(func.coalesce(outbox.c.lease_until, outbox.c.due_at))).where(
            outbox.c.state.in_(OPEN),
            outbox.c.id.in_(
                select(func.min(outbox.c.id)).where(outbox.c.state.in_(OPEN)).group_by(outbox.c.lane)
            ),
        )
    ).scalar()


def card_may_stand(tx: Connection, channel: str, room_id: str, before: datetime) -> bool:
    """Whether a card that was written before a time may stand in a room already, though nobody has said so."""
    return (
        tx.execute(
            select(outbox.c.id)
            .where(
                outbox.c.channel == channel,
                outbox.c.room_id == room_id,
                outbox.c.purpose == "card",
                outbox.c.op == "send",
                outbox.c.created_at <= before,
                or_(outbox.c.state == "sending", and_(outbox.c.state == "pending", outbox.c.maybe_sent)),
            )
            .limit(1)
        ).first()
        is not None
    )


def dead(tx: Connection, *, limit: int = 200) -> list[Any]:
    """What could not be delivered or has an unknown outcome, oldest first."""
    return list(
        tx.execute(
            select(outbox).where(outbox.c.state.in_(["dead", "unknown"])).order_by(outbox.c.id).limit(limit)
        ).all()
    )


def retry(tx: Connection, row_id: int, now: datetime) -> bool:
    """Send again what is dead or unknown, because a person wants it. The attempts stay counted: a channel
    that can look for an earlier one does."""
    result = tx.execute(
        update(outbox)
        .where(outbox.c.id == row_id, outbox.c.state.in_(["dead", "unknown"]))
        .values(state="pending", due_at=now, maybe_sent=False, settled_at=None)
    )
    return result.rowcount == 1


def came_back(tx: Connection, message_id: int, reason: str, now: datetime) -> None:
    """What was sent did not arrive after all."""
    tx.execute(
        update(outbox)
        .where(outbox.c.message_id == message_id, outbox.c.op == "send", outbox.c.state == "sent")
        .values(state="dead", error=reason[:2000], settled_at=now)
    )


def discard(tx: Connection, row_id: int, now: datetime) -> bool:
    result = tx.execute(
        update(outbox)
        .where(outbox.c.id == row_id, outbox.c.state.in_(["dead", "unknown"]))
        .values(state="withdrawn", settled_at=now)
    )
    return result.rowcount == 1


def counts(tx: Connection, states: Sequence[str] = ("pending", "sent", "unknown", "dead")) -> dict[str, int]:
    """Rows by state; what is being sent counts as pending."""
    found: dict[str, int] = dict(
        tx.execute(select(outbox.c.state, func.count()).group_by(outbox.c.state)).all()
    )
    found["pending"] = found.get("pending", 0) + found.pop("sending", 0)
    return {state: found.get(state, 0) for state in states}


def _own(tx: Connection, row: Leaving, **values: Any) -> bool:
    result = tx.execute(
        update(outbox)
        .where(outbox.c.id == row.id, outbox.c.fence == row.fence, outbox.c.state == "sending")
        .values(**values)
    )
    return result.rowcount == 1
