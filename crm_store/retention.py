"""Retention: what is kept for so long and no longer, by kind; nothing is forgotten that nobody configured.

A conversation whose tickets are closed is emptied: its messages stay to be counted, and keep the platforms'
ids, so that an old reply is still known and a mailbox read anew brings nothing back. Whoever wrote is a
customer as before. To forget a person is another thing: see erase.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, literal, or_, select, update

from crm_store import schema
from crm_store.db import Store
from crm_store.erase import settle
from crm_store.privacy.held import ids
from crm_store.privacy.treat import ERASED, drop_files, drop_logged, files_in
from crm_store.search import indexing

BATCH = 500
KINDS = ("messages", "files", "raw", "audit", "events", "api_requests")
_STRING = re.compile(r'"([^"\\]+)"')
_PERIOD = re.compile(r"\s*(\d{1,4})\s*(day|week|month|year)s?\s*", re.IGNORECASE)
s = schema


@dataclass(frozen=True, slots=True)
class Period:
    """A length of time as people agree on it: months are the calendar's."""

    months: int = 0
    days: int = 0

    def before(self, now: datetime) -> datetime:
        """When it began if it ends now."""
        year, month = divmod(now.year * 12 + now.month - 1 - self.months, 12)
        day = now.day
        while True:  # the 31st of a month that has none is its last
            try:
                return now.replace(year=year, month=month + 1, day=day) - timedelta(days=self.days)
            except ValueError:
                day -= 1


def period(text: str) -> Period:
    """Read "24 months", "90 days", "2 years". Raise ValueError."""
    match = _PERIOD.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{text!r} is not like 24 months, 90 days or 2 years")
    count, unit = int(match[1]), match[2].lower()
    if unit in ("month", "year"):
        months = count * (12 if unit == "year" else 1)
        if months > 1200:
            raise ValueError(f"{text!r} is longer than a hundred years: leave it empty to keep for ever")
        return Period(months=months)
    return Period(days=count * (7 if unit == "week" else 1))


@dataclass(frozen=True, slots=True)
class Due:
    """What is past its time of a kind: how much, and since when."""

    kind: str
    count: int
    oldest: datetime | None
    before: datetime


def preview(tx: Connection, rules: Mapping[str, Period], now: datetime) -> list[Due]:
    """What would be forgotten now, by kind."""
    found = []
    for kind, rule in rules.items():
        before = rule.before(now)
        table, when, where = _KINDS[kind].due(before)
        count, oldest = tx.execute(select(func.count(), func.min(when)).select_from(table).where(where)).one()
        found.append(Due(kind, int(count), oldest, before))
    return found


async def apply(store: Store, rules: Mapping[str, Period], now: datetime) -> dict[str, int]:
    """Forget what is past its time, a batch a transaction, and scrub the file. Return how much, by kind."""
    done: dict[str, int] = {}
    for kind, rule in rules.items():
        while count := await store.write(_KINDS[kind].forget, rule.before(now)):
            done[kind] = done.get(kind, 0) + count
    if done:
        await settle(store)
    return done


# --- messages -----------------------------------------------------------------------------------------------


def _over(before: datetime) -> Any:
    """Conversations in which everything is closed, and was before that time."""
    c, t = s.conversation, s.ticket
    going_on = (
        select(t.c.id)
        .where(t.c.conversation_id == c.c.id, or_(t.c.status != "closed", t.c.closed_at >= before))
        .exists()
    )
    return select(c.c.id).where(~going_on)


def _messages_due(before: datetime) -> tuple[Any, Any, Any]:
    m = s.message
    said = or_(m.c.text != "", m.c.full_text != "", m.c.subject != "")
    old = (m.c.created_at < before) & said & m.c.conversation_id.in_(_over(before))
    return m, m.c.created_at, old


def _forget_messages(tx: Connection, before: datetime) -> int:
    m, a, o, r, t = s.message, s.attachment, s.outbox, s.inbox, s.ticket
    where = _messages_due(before)[2]
    rows = tx.execute(
        select(m.c.id, m.c.subject, m.c.text, m.c.channel, m.c.dedupe, m.c.ticket_id)
        .where(where)
        .order_by(m.c.id)
        .limit(BATCH)
    ).all()
    if not rows:
        return _forget_logs(tx, before)
    for row in rows:
        indexing.message_changed(tx, row.id, row.subject, row.text, None)
        if row.dedupe:
            raw = (r.c.channel == row.channel) & (r.c.event_id == row.dedupe) & (r.c.state == "done")
            tx.execute(update(r).where(raw).values(body=b"", evidence=""))
    these = ids(row.id for row in rows)
    shas = set(
        tx.execute(select(a.c.sha256).where(a.c.message_id.in_(these), a.c.sha256.is_not(None))).scalars()
    )
    tx.execute(delete(s.message_version).where(s.message_version.c.message_id.in_(these)))
    tx.execute(delete(a).where(a.c.message_id.in_(these)))
    drop_files(tx, shas)
    settled = o.c.state.not_in(["pending", "sending"])
    tx.execute(update(o).where(o.c.message_id.in_(these), settled).values(body="[]", options={}))
    tx.execute(update(m).where(m.c.id.in_(these)).values(text="", full_text="", subject="", warnings=[]))
    closed = {row.ticket_id for row in rows if row.ticket_id is not None}
    tx.execute(
        update(t).where(t.c.id.in_(ids(closed)), t.c.opened_at < before).values(subject="", rating_comment="")
    )
    return len(rows)


def _forget_logs(tx: Connection, before: datetime) -> int:
    """Entries of the web's rooms that are as old, but for visitors and threads where something goes on."""
    j, c, t, place = s.journal, s.conversation, s.ticket, s.thread
    going_on = select(t.c.conversation_id).where(or_(t.c.status != "closed", t.c.closed_at >= before))
    rooms = set(tx.execute(select(c.c.room_id).where(c.c.id.in_(going_on))).scalars())
    threads = set(
        tx.execute(
            select(place.c.thread_id)
            .join(t, t.c.id == place.c.ticket_id)
            .where(or_(t.c.status != "closed", t.c.closed_at >= before))
        ).scalars()
    )
    old = select(j.c.id, j.c.channel, j.c.room, j.c.number, j.c.body).where(
        j.c.at < before, j.c.body != ERASED, j.c.room.not_like("file:%")
    )
    gone, shas = [], set()
    for row in tx.execute(old.order_by(j.c.id)):
        in_thread = not threads.isdisjoint(_STRING.findall(row.body))
        if row.room in rooms or in_thread or f"{row.room}:{row.number}" in threads:
            continue
        gone.append(row.id)
        shas |= {(row.channel, sha) for sha in files_in(row.body)}
        if len(gone) == BATCH:
            break
    if gone:
        tx.execute(update(j).where(j.c.id.in_(ids(gone))).values(body=ERASED))
        drop_logged(tx, shas)
    return len(gone)


# --- the other kinds ----------------------------------------------------------------------------------------


def _files_due(before: datetime) -> tuple[Any, Any, Any]:
    """Files of messages that are as old, but for conversations in which a ticket is not closed: who works on it
    needs them."""
    a, m, t = s.attachment, s.message, s.ticket
    open_ = select(t.c.conversation_id).where(t.c.status != "closed")
    old = select(m.c.id).where(m.c.created_at < before, m.c.conversation_id.not_in(open_))
    joined = a.join(m, m.c.id == a.c.message_id)
    return joined, m.c.created_at, a.c.message_id.in_(old) & a.c.sha256.is_not(None)


def _forget_files(tx: Connection, before: datetime) -> int:
    a, j = s.attachment, s.journal
    joined, _, due = _files_due(before)
    rows = tx.execute(select(a.c.id, a.c.sha256).select_from(joined).where(due).limit(BATCH)).all()
    if rows:
        tx.execute(update(a).where(a.c.id.in_(ids(row.id for row in rows))).values(sha256=None, ref=""))
        drop_files(tx, {row.sha256 for row in rows})
    held = select(literal("file:") + a.c.sha256).where(a.c.sha256.is_not(None))  # by a message that keeps it
    logged = delete(j).where(j.c.room.like("file:%"), j.c.at < before, j.c.room.not_in(held))
    return len(rows) + tx.execute(logged).rowcount


def _raw_due(before: datetime) -> tuple[Any, Any, Any]:
    r = s.inbox
    done = r.c.state.in_(["done", "discarded"])
    return r, r.c.finished_at, done & (r.c.finished_at < before) & (r.c.body != b"")


def _forget_raw(tx: Connection, before: datetime) -> int:
    r = s.inbox
    some = select(r.c.id).where(_raw_due(before)[2]).limit(BATCH)
    return int(tx.execute(update(r).where(r.c.id.in_(some)).values(body=b"", evidence="")).rowcount)


@dataclass(frozen=True, slots=True)
class _Kind:
    due: Callable[[datetime], tuple[Any, Any, Any]]  # table, its time, what of it is past
    forget: Callable[[Connection, datetime], int]  # some of it; 0 when nothing is left


def _whole(table: Any, column: str) -> _Kind:
    """Rows that are deleted as they are."""

    def due(before: datetime) -> tuple[Any, Any, Any]:
        return table, table.c[column], table.c[column] < before

    def forget(tx: Connection, before: datetime) -> int:
        oldest = select(table.c[column]).where(table.c[column] < before).order_by(table.c[column])
        edge = tx.execute(oldest.offset(BATCH - 1).limit(1)).scalar()
        upto = table.c[column] < before if edge is None else table.c[column] <= edge
        return int(tx.execute(delete(table).where(upto)).rowcount)

    return _Kind(due, forget)


_KINDS = {
    "messages": _Kind(_messages_due, _forget_messages),
    "files": _Kind(_files_due, _forget_files),
    "raw": _Kind(_raw_due, _forget_raw),
    "audit": _whole(s.audit, "at"),
    "events": _whole(s.customer_event, "at"),
    "api_requests": _whole(s.api_request, "created_at"),
}
