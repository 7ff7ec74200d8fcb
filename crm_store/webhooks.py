"""Webhooks: what other systems are to be told, written in the transaction of what it tells.

The rows are written by triggers, so that no code path can forget them: a merge, an import and a person at the
command line tell as much as the line does. The triggers exist only for the events that somebody asked for;
a desk without webhooks pays nothing. A row names what it is about and never says it: the words are read when
it is sent, so what was erased meanwhile is not told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, and_, func, or_, select, text, update

from crm_store import schema
from crm_store.rows import is_postgresql

event = schema.webhook_event
EVENTS = (
    "message.received",
    "message.sent",
    "ticket.opened",
    "ticket.changed",
    "ticket.closed",
    "rating.given",
    "customer.created",
    "customer.changed",
    "customer.merged",
    "customer.unmerged",
    "order.changed",
    "deal.changed",
)
OPEN = ("pending", "sending")
BATCH = 500
PREFIX = "webhook_"
PG_LOCK = 0x686F6F6B  # one process installs at a time: "hook"


@dataclass(frozen=True, slots=True)
class Leaving:
    """A claimed row. `key` is the event's id, the same at each repeat; `object_id` is a row's, by the type."""

    id: int
    key: str
    url: str
    lane: str
    type: str
    object_id: int
    created_at: datetime
    attempts: int
    fence: int


@dataclass(frozen=True, slots=True)
class _Source:
    """A change of a row that is an event. `when` is SQL over NEW and OLD; {is_not} compares NULLs too."""

    event: str
    table: Table
    on: str  # INSERT, UPDATE, DELETE
    object_id: str
    lane: str
    when: str = ""
    but: tuple[str, ...] = ()  # columns whose change alone is nothing to tell; for UPDATE


_KNOWN = "EXISTS (SELECT 1 FROM contact WHERE id = NEW.contact_id AND created_at <> NEW.created_at)"
_TO_CUSTOMERS = "NEW.purpose IN ('reply', 'answer', 'notice')"
_TICKET_QUIET = (
    "first_response_at",
    "acknowledged",
    "rating",
    "rating_comment",
    "rating_asked_at",
    "rated_at",
    "waiting_since",
    "clock_at",
)
_SOURCES = (
    _Source(
        "message.received",
        schema.message,
        "INSERT",
        "NEW.id",
        "'conversation:' || NEW.conversation_id",
        "NEW.kind = 'in'",
    ),
    _Source(
        "message.sent",
        schema.outbox,
        "UPDATE",
        "NEW.message_id",
        "'conversation:' || NEW.conversation_id",
        f"NEW.state = 'sent' AND OLD.state <> 'sent' AND NEW.message_id IS NOT NULL AND {_TO_CUSTOMERS}",
    ),
    _Source("ticket.opened", schema.ticket, "INSERT", "NEW.id", "'ticket:' || NEW.id"),
    _Source(
        "ticket.closed",
        schema.ticket,
        "UPDATE",
        "NEW.id",
        "'ticket:' || NEW.id",
        "NEW.status = 'closed' AND OLD.status <> 'closed'",
    ),
    _Source(
        "ticket.changed",
        schema.ticket,
        "UPDATE",
        "NEW.id",
        "'ticket:' || NEW.id",
        "NOT (NEW.status = 'closed' AND OLD.status <> 'closed')",
        _TICKET_QUIET,
    ),
    _Source(
        "rating.given",
        schema.ticket,
        "UPDATE",
        "NEW.id",
        "'ticket:' || NEW.id",
        "NEW.rating IS NOT NULL AND NEW.rating {is_not} OLD.rating",
    ),
    _Source("customer.created", schema.contact, "INSERT", "NEW.id", "'customer:' || NEW.id"),
    _Source(
        "customer.changed",
        schema.contact,
        "UPDATE",
        "NEW.id",
        "'customer:' || NEW.id",
        but=("updated_at", "source", "created_at", "merged_into_id"),
    ),
    _Source(  # a new customer's first identities belong to customer.created
        "customer.changed",
        schema.identity,
        "INSERT",
        "NEW.contact_id",
        "'customer:' || NEW.contact_id",
        _KNOWN,
    ),
    _Source(
        "customer.changed",
        schema.identity,
        "UPDATE",
        "NEW.contact_id",
        "'customer:' || NEW.contact_id",
        but=("name", "handle"),
    ),
    _Source(  # whose it was has changed too
        "customer.changed",
        schema.identity,
        "UPDATE",
        "OLD.contact_id",
        "'customer:' || OLD.contact_id",
        "NEW.contact_id <> OLD.contact_id",
    ),
    _Source("customer.changed", schema.identity, "DELETE", "OLD.contact_id", "'customer:' || OLD.contact_id"),
    _Source("customer.merged", schema.merge, "INSERT", "NEW.keep_id", "'customer:' || NEW.keep_id"),
    _Source(  # who is a customer of their own again
        "customer.unmerged",
        schema.merge,
        "UPDATE",
        "NEW.drop_id",
        "'customer:' || NEW.drop_id",
        "NEW.undone_at IS NOT NULL AND OLD.undone_at IS NULL",
    ),
    _Source("order.changed", schema.order, "INSERT", "NEW.id", "'order:' || NEW.id"),
    _Source("order.changed", schema.order, "UPDATE", "NEW.id", "'order:' || NEW.id"),
    _Source("deal.changed", schema.deal, "INSERT", "NEW.id", "'deal:' || NEW.id"),
    _Source("deal.changed", schema.deal, "UPDATE", "NEW.id", "'deal:' || NEW.id"),
)


# --- who is told --------------------------------------------------------------------------------------------


def install(tx: Connection, wanted: Mapping[str, Sequence[str]]) -> None:
    """From now on write rows for these URLs and the events each asked for; what waits for others is withdrawn."""
    if is_postgresql(tx):
        tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": PG_LOCK})
    tx.execute(
        update(event)
        .where(event.c.state.in_([*OPEN, "dead"]), event.c.url.not_in(list(wanted) or [""]))
        .values(
            state="withdrawn",
            error="not configured any more",
            settled_at=func.coalesce(event.c.settled_at, event.c.created_at),
        )
    )
    statements = _statements(wanted, postgresql=is_postgresql(tx))
    if _installed(tx) == {name: _digest(body) for name, _, body in statements}:
        return
    uninstall(tx)
    for _, _, body in statements:
        for statement in body:
            tx.exec_driver_sql(statement)
    state = {name: _digest(body) for name, _, body in statements}
    if is_postgresql(tx):
        for (name, table, _), digest in zip(statements, state.values(), strict=True):
            tx.exec_driver_sql(f"COMMENT ON TRIGGER {name} ON {table} IS '{digest}'")


def uninstall(tx: Connection) -> None:
    """Write no rows any more: for a restore, whose rows are no news."""
    for name, table in _existing(tx):
        tx.exec_driver_sql(f"DROP TRIGGER {name}" + (f" ON {table}" if is_postgresql(tx) else ""))
        if is_postgresql(tx):
            tx.exec_driver_sql(f"DROP FUNCTION IF EXISTS {name}()")


def _statements(wanted: Mapping[str, Sequence[str]], *, postgresql: bool) -> list[tuple[str, str, list[str]]]:
    """(trigger, its table, the statements that make it) for all that is wanted."""
    made = []
    for number, source in enumerate(_SOURCES):
        urls = [url for url, events in wanted.items() if source.event in events]
        if not urls:
            continue
        name = f"{PREFIX}{number:02}_{source.event.replace('.', '_')}"
        table = source.table.name
        condition = _condition(source, "IS DISTINCT FROM" if postgresql else "IS NOT")
        key = "replace(gen_random_uuid()::text, '-', '')" if postgresql else "lower(hex(randomblob(16)))"
        now = "clock_timestamp()" if postgresql else "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
        long_ago = "'1970-01-01 00:00:00+00'" if postgresql else "'1970-01-01 00:00:00.000000'"  # due at once
        rows = ", ".join(
            f"({key}, {_quoted(url)}, {source.lane}, '{source.event}', {source.object_id}, {now}, {long_ago})"
            for url in urls
        )
        columns = "key, url, lane, type, object_id, created_at, due_at"
        fill = f"INSERT INTO {event.name} ({columns}) VALUES {rows};"
        if postgresql:
            body = [
                f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF {condition} THEN {fill}"
                " PERFORM pg_notify('wellheard', 'webhook'); END IF; RETURN NULL; END $$",
                f"CREATE TRIGGER {name} AFTER {source.on} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
            ]
        else:
            body = [f"CREATE TRIGGER {name} AFTER {source.on} ON {table} WHEN {condition} BEGIN {fill} END"]
        made.append((name, table, body))
    return made


def _condition(source: _Source, is_not: str) -> str:
    parts = [source.when.format(is_not=is_not)] if source.when else []
    if source.but:
        columns = [c.name for c in source.table.columns if c.name not in source.but and not c.primary_key]
        parts.append("(" + " OR ".join(f"NEW.{name} {is_not} OLD.{name}" for name in columns) + ")")
    return " AND ".join(parts) or "1 = 1"


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _digest(statements: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(statements).encode()).hexdigest()[:32]


def _existing(tx: Connection) -> list[tuple[str, str]]:
    return [(name, table) for name, table, _ in _triggers(tx)]


def _installed(tx: Connection) -> dict[str, str]:
    """What is there, by a digest of how it was made. A migration that rebuilt a table has dropped some."""
    if is_postgresql(tx):
        return {name: str(comment) for name, _, comment in _triggers(tx)}
    return {name: _digest([sql]) for name, _, sql in _triggers(tx)}


def _triggers(tx: Connection) -> list[Any]:
    query = (
        "SELECT t.tgname, c.relname, obj_description(t.oid, 'pg_trigger') FROM pg_trigger t"
        " JOIN pg_class c ON c.oid = t.tgrelid WHERE t.tgname LIKE 'webhook\\_%' AND NOT t.tgisinternal"
        " AND c.relnamespace = current_schema()::regnamespace"
        if is_postgresql(tx)
        else "SELECT name, tbl_name, sql FROM sqlite_master"
        " WHERE type = 'trigger' AND name LIKE 'webhook\\_%' ESCAPE '\\'"
    )
    return list(tx.execute(text(query)).all())


# --- telling ------------------------------------------------------------------------------------------------


def claim(
    tx: Connection, now: datetime, *, limit: int, lease_s: float, skip: Sequence[str] = ()
) -> list[Leaving]:
    """Lease the due heads of lanes (a URL and an object) and count the attempt; URLs in `skip` rest."""
    earlier, other = event.alias(), event.alias()
    lane = and_(earlier.c.url == event.c.url, earlier.c.lane == event.c.lane)
    waits = select(earlier.c.id).where(earlier.c.state.in_(OPEN), lane, earlier.c.id < event.c.id)
    query = (
        select(event)
        .where(
            or_(
                and_(event.c.state == "pending", event.c.due_at <= now),
                and_(event.c.state == "sending", event.c.lease_until < now),
            ),
            ~waits.exists(),
        )
        .order_by(event.c.id)
        .limit(limit)
    )
    if skip:
        query = query.where(event.c.url.not_in(list(skip)))
    if is_postgresql(tx):
        # of two that were written at once the second may be committed first and be on its way as the head
        on_its_way = select(other.c.id).where(
            other.c.url == event.c.url,
            other.c.lane == event.c.lane,
            other.c.id != event.c.id,
            other.c.state == "sending",
            other.c.lease_until >= now,
        )
        query = query.where(~on_its_way.exists()).with_for_update(skip_locked=True, of=event)
    rows = tx.execute(query).all()
    if rows:
        tx.execute(
            update(event)
            .where(event.c.id.in_([r.id for r in rows]))
            .values(
                state="sending",
                attempts=event.c.attempts + 1,
                fence=event.c.fence + 1,
                lease_until=now + timedelta(seconds=lease_s),
            )
        )
    return [
        Leaving(r.id, r.key, r.url, r.lane, r.type, r.object_id, r.created_at, r.attempts + 1, r.fence + 1)
        for r in rows
    ]


def is_due(tx: Connection, now: datetime, skip: Sequence[str] = ()) -> bool:
    """Whether a look for work is worth a write."""
    query = select(event.c.id).where(event.c.state.in_(OPEN), event.c.due_at <= now)
    query = query.where(or_(event.c.lease_until.is_(None), event.c.lease_until < now))
    if skip:
        query = query.where(event.c.url.not_in(list(skip)))
    return tx.execute(query.limit(1)).first() is not None


def settle(tx: Connection, row: Leaving, state: str, now: datetime, error: str = "") -> bool:
    """End a claimed row as sent or dead. False when another worker has it by now."""
    return _own(tx, row, state=state, error=error[:500], settled_at=now, lease_until=None)


def postpone(tx: Connection, row: Leaving, due_at: datetime, error: str) -> bool:
    """Try again later. False when another worker has it by now."""
    return _own(tx, row, state="pending", error=error[:500], due_at=due_at, lease_until=None)


def unclaim(tx: Connection, rows: Sequence[Leaving]) -> None:
    """Give back what was claimed and not tried."""
    for row in rows:
        _own(tx, row, state="pending", attempts=event.c.attempts - 1, lease_until=None)


def forget_leases(tx: Connection) -> None:
    """At the start of the only process on a store: what was being sent is sent again."""
    tx.execute(update(event).where(event.c.state == "sending").values(state="pending", lease_until=None))


def dead(tx: Connection, *, limit: int = 200) -> list[Any]:
    """What nobody took for days, oldest first."""
    query = select(event).where(event.c.state == "dead", event.c.settled_at.is_not(None))
    return list(tx.execute(query.order_by(event.c.id).limit(limit)).all())


def retry(tx: Connection, row_id: int, now: datetime) -> bool:
    """Take one from the shelf, with days ahead of it again."""
    return _shelved(tx, row_id, state="pending", due_at=now, created_at=now, settled_at=None)


def discard(tx: Connection, row_id: int, now: datetime) -> bool:
    return _shelved(tx, row_id, state="withdrawn", settled_at=now)


def counts(tx: Connection) -> dict[str, int]:
    """Rows by state; what is being sent counts as pending."""
    found: dict[str, int] = dict(
        tx.execute(select(event.c.state, func.count()).group_by(event.c.state)).all()
    )
    found["pending"] = found.get("pending", 0) + found.pop("sending", 0)
    return {state: found.get(state, 0) for state in ("pending", "sent", "dead", "withdrawn")}


def forget(tx: Connection, before: datetime) -> int:
    """Remove what was told long ago."""
    old = (
        select(event.c.id)
        .where(event.c.settled_at < before, event.c.state.in_(["sent", "withdrawn"]))
        .limit(BATCH)
    )
    return tx.execute(event.delete().where(event.c.id.in_(old))).rowcount


def _own(tx: Connection, row: Leaving, **values: Any) -> bool:
    result = tx.execute(
        update(event)
        .where(event.c.id == row.id, event.c.fence == row.fence, event.c.state == "sending")
        .values(**values)
    )
    return result.rowcount == 1


def _shelved(tx: Connection, row_id: int, **values: Any) -> bool:
    result = tx.execute(update(event).where(event.c.id == row_id, event.c.state == "dead").values(**values))
    return result.rowcount == 1
