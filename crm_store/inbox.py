"""The inbox: raw messages, durable before they are acknowledged, finished with everything they caused.

A row is pending until the transaction that took its effect marks it done. Rows of one lane are claimed
together and in order through the lane's first row: who holds that row's lease holds the lane. The fence
counts claims, so that a worker which slept past its lease finds its finish refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, case, func, literal_column, or_, select, update

from crm_store import schema
from crm_store.rows import insert, is_postgresql
from crm_store.statement import Statement
from crm_store.wakeups import notify

LANE_SLICE = 50  # rows of one lane that one claim takes
LARGE = 1 << 20  # bytes; a larger body is not read with the claim but when its turn comes
PENDING: Any = literal_column("'pending'")  # as text: a partial index is only used where its condition is
inbox = schema.inbox

_accept = Statement(
    lambda insert: insert(inbox).on_conflict_do_nothing(index_elements=["channel", "event_id"])
)
_lane_rows = Statement(
    select(
        inbox.c.id,
        inbox.c.channel,
        inbox.c.event_id,
        inbox.c.lane,
        case((func.length(inbox.c.body) <= LARGE, inbox.c.body), else_=None).label("body"),
        inbox.c.evidence,
        inbox.c.received_at,
        inbox.c.attempts,
        (inbox.c.fence + 1).label("fence"),
    )
    .where(
        inbox.c.state == PENDING,
        inbox.c.channel == bindparam("channel"),
        inbox.c.lane == bindparam("lane"),
        inbox.c.id >= bindparam("head"),
    )
    .order_by(inbox.c.id)
    .limit(LANE_SLICE)
)
_lease = Statement(
    update(inbox)
    .where(inbox.c.id == bindparam("row"))
    .values(fence=inbox.c.fence + 1, lease_until=bindparam("until"))
)
_finish = Statement(
    update(inbox)
    .where(inbox.c.id == bindparam("row"), inbox.c.fence == bindparam("held"), inbox.c.state == PENDING)
    .values(state="done", finished_at=bindparam("now"), lease_until=None, error="")
)


class LostLease(Exception):
    """Somebody else has claimed the row since: nothing of this attempt may count."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A raw message on its way into the inbox. `wait_s` asks for companions (an album) to be waited for."""

    channel: str
    event_id: str
    lane: str
    body: bytes
    received_at: datetime
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A claimed inbox row. `body` is None where it is large: `body` reads it."""

    id: int
    channel: str
    event_id: str
    lane: str
    body: bytes | None
    evidence: str
    received_at: datetime
    attempts: int
    fence: int


def accept(
    tx: Connection, raws: Sequence[Accepted], cursors: Sequence[tuple[str, str]], now: datetime
) -> int:
    """Store raw messages and the cursors they belong to; repeats are skipped. Return how many are new."""
    new = 0
    if raws:
        found = _accept.many(
            tx,
            [
                {
                    "channel": r.channel,
                    "event_id": r.event_id,
                    "lane": r.lane,
                    "body": r.body,
                    "received_at": r.received_at,
                    "due_at": now + timedelta(seconds=r.wait_s),
                }
                for r in raws
            ],
        )
        new = max(found, 0)
        if new:
            notify(tx, "inbox")
    for channel, value in cursors:
        tx.execute(
            insert(tx, schema.cursor)
            .values(channel=channel, value=value, updated_at=now)
            .on_conflict_do_update(index_elements=["channel"], set_={"value": value, "updated_at": now})
        )
    return new


def cursor(tx: Connection, channel: str) -> str | None:
    return tx.execute(select(schema.cursor.c.value).where(schema.cursor.c.channel == channel)).scalar()


def claim(
    tx: Connection,
    now: datetime,
    *,
    lanes: int,
    lease_s: float,
    busy: Sequence[tuple[str, str]] = (),
    skip: Sequence[str] = (),
) -> list[list[Waiting]]:
    """Lease the due heads of up to `lanes` lanes, each with what waits behind it. One list a lane.

    Lanes in `busy` and all of the channels in `skip` are left alone.
    """
    skipped = {f"skip{i}": channel for i, channel in enumerate(skip)}
    query = _due_heads(tuple(skipped), is_postgresql(tx))
    owned = set(busy)
    due = query.all(tx, now=now, most=lanes + len(busy), **skipped)
    heads = [h for h in due if (h.channel, h.lane) not in owned][:lanes]
    claimed = [_lane(tx, head) for head in heads]
    until = now + timedelta(seconds=lease_s)
    _lease.many(tx, [{"row": r.id, "until": until} for lane in claimed for r in lane])
    return claimed


@cache
def _due_heads(skip: tuple[str, ...], shared: bool) -> Statement:
    """Heads of lanes that may be claimed, oldest first: read in the order of an index, as far as needed. The
    work is that of what is found, not of all that waits."""
    now = bindparam("now", type_=inbox.c.due_at.type)
    earlier, other = inbox.alias("earlier"), inbox.alias("other")
    waits = select(earlier.c.id).where(
        earlier.c.state == PENDING,
        earlier.c.channel == inbox.c.channel,
        earlier.c.lane == inbox.c.lane,
        earlier.c.id < inbox.c.id,
    )
    query = (
        select(inbox.c.id, inbox.c.channel, inbox.c.lane)
        .where(
            inbox.c.state == PENDING,
            inbox.c.due_at <= now,
            or_(inbox.c.lease_until.is_(None), inbox.c.lease_until < now),
            *(inbox.c.channel != bindparam(name) for name in skip),
            ~waits.exists(),
        )
        .order_by(inbox.c.due_at, inbox.c.id)
        .limit(bindparam("most", type_=Integer))
    )
    if shared:
        # Of two that were accepted at once the second may be committed first and be at work as the head.
        at_work = select(other.c.id).where(
            other.c.state == PENDING,
            other.c.channel == inbox.c.channel,
            other.c.lane == inbox.c.lane,
            other.c.lease_until >= now,
        )
        query = query.where(~at_work.exists()).with_for_update(skip_locked=True, of=inbox)
    return Statement(query)


def _heads() -> Any:
    """The first pending row of each lane: the rest of the lane waits for it."""
    return (
        select(func.min(inbox.c.id))
        .where(inbox.c.state == "pending")
        .group_by(inbox.c.channel, inbox.c.lane)
        .scalar_subquery()
    )


def _lane(tx: Connection, head: Any) -> list[Waiting]:
    """A head and what waits behind it, up to the first row that failed before: that one goes alone."""
    rows = _lane_rows.all(tx, channel=head.channel, lane=head.lane, head=head.id)
    return [Waiting(*r) for r in takewhile(lambda r: r.id == head.id or r.attempts == 0, rows)]


def renew(tx: Connection, rows: Sequence[Waiting], until: datetime) -> None:
    """Keep lanes that are still being worked on; what somebody else claimed since is not touched."""
    tx.execute(
        update(inbox)
        .where(
            inbox.c.id == bindparam("row"),
            inbox.c.fence == bindparam("held"),
            inbox.c.state == "pending",
            inbox.c.lease_until.is_not(None),
        )
        .values(lease_until=until),
        [{"row": r.id, "held": r.fence} for r in rows],
    )


def finish(tx: Connection, row: Waiting, now: datetime) -> None:
    """Mark done, in the transaction of everything it caused. Raise LostLease."""
    if _finish.run(tx, row=row.id, held=row.fence, now=now) != 1:
        raise LostLease(row.id)


def examined(tx: Connection, row: Waiting, evidence: str) -> None:
    _own(tx, row, evidence=evidence)


def failed(tx: Connection, row: Waiting, error: str, *, retry_at: datetime | None, now: datetime) -> None:
    """Count a failed attempt: again at `retry_at`, or to the shelf when that is None. Raise LostLease."""
    values: dict[str, Any] = {"attempts": inbox.c.attempts + 1, "error": error[:2000], "lease_until": None}
    if retry_at is None:
        _own(tx, row, state="shelved", finished_at=now, **values)
    else:
        _own(tx, row, due_at=retry_at, **values)


def release(tx: Connection, rows: Sequence[Waiting]) -> None:
    """Give claimed rows back untouched."""
    for row in rows:
        tx.execute(
            update(inbox).where(inbox.c.id == row.id, inbox.c.fence == row.fence).values(lease_until=None)
        )


def forget_leases(tx: Connection) -> None:
    """At the start of the only process on a store: nobody else can be at work, whatever leases say."""
    tx.execute(update(inbox).where(inbox.c.state == "pending").values(lease_until=None))


def next_due(tx: Connection) -> datetime | None:
    """When the head of a lane falls due or its lease runs out. What waits behind it is not due before it."""
    return tx.execute(
        select(func.min(func.coalesce(inbox.c.lease_until, inbox.c.due_at))).where(
            inbox.c.state == "pending", inbox.c.id.in_(_heads())
        )
    ).scalar()


def shelved(tx: Connection, *, limit: int = 200) -> list[Any]:
    """What could not be processed, oldest first: id, channel, event_id, received_at, attempts, error."""
    return list(
        tx.execute(
            select(
                inbox.c.id,
                inbox.c.channel,
                inbox.c.event_id,
                inbox.c.received_at,
                inbox.c.attempts,
                inbox.c.error,
            )
            .where(inbox.c.state == "shelved")
            .order_by(inbox.c.id)
            .limit(limit)
        ).all()
    )


def body(tx: Connection, row_id: int) -> bytes | None:
    return tx.execute(select(inbox.c.body).where(inbox.c.id == row_id)).scalar()


def retry(tx: Connection, row_id: int, now: datetime) -> bool:
    """Take a row off the shelf for another round of attempts."""
    return _move(tx, row_id, {"state": "pending", "attempts": 0, "due_at": now, "finished_at": None})


def discard(tx: Connection, row_id: int, now: datetime) -> bool:
    return _move(tx, row_id, {"state": "discarded", "finished_at": now})


def counts(tx: Connection) -> dict[str, int]:
    """How many are pending and shelved."""
    rows = tx.execute(
        select(inbox.c.state, func.count())
        .where(inbox.c.state.in_(["pending", "shelved"]))
        .group_by(inbox.c.state)
    )
    return {"pending": 0, "shelved": 0} | dict(rows.all())


def due_since(tx: Connection) -> datetime | None:
    """Since when the longest waiting message could have been taken. One that is to be tried again later, and what
    waits behind it in its lane, could not."""
    earlier = inbox.alias("earlier")
    waits = select(earlier.c.id).where(
        earlier.c.state == PENDING,
        earlier.c.channel == inbox.c.channel,
        earlier.c.lane == inbox.c.lane,
        earlier.c.id < inbox.c.id,
    )
    query = select(inbox.c.due_at).where(inbox.c.state == PENDING, ~waits.exists())
    return tx.execute(query.order_by(inbox.c.due_at).limit(1)).scalar()


def count_unknown(tx: Connection, channel: str, kind: str) -> None:
    """Count an event of a kind we do not know."""
    table = schema.event_count
    tx.execute(
        insert(tx, table)
        .values(channel=channel, kind=kind, count=1)
        .on_conflict_do_update(index_elements=["channel", "kind"], set_={"count": table.c.count + 1})
    )


def _own(tx: Connection, row: Waiting, **values: Any) -> None:
    result = tx.execute(
        update(inbox)
        .where(inbox.c.id == row.id, inbox.c.fence == row.fence, inbox.c.state == "pending")
        .values(**values)
    )
    if result.rowcount != 1:
        raise LostLease(row.id)


def _move(tx: Connection, row_id: int, values: dict[str, Any]) -> bool:
    result = tx.execute(
        update(inbox).where(inbox.c.id == row_id, inbox.c.state == "shelved").values(**values)
    )
    return result.rowcount == 1
