"""Keep the index true, behind the line: what is new is found by its id, what changed by a note of it.

Writing a message or a contact costs the line nothing: the index remembers up to which id it has come and
catches up in batches (the tokens of a mail of 1 KB cost 0.25 ms in its own savepoint, 0.11 in a batch);
whoever searches looks at the few rows behind that by themselves. Only a change to what is indexed already
leaves a note.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import Connection, select

from crm_store import schema
from crm_store.db import Store
from crm_store.rows import is_postgresql
from crm_store.search import naming, phones, state, tables, texts, tokens, veil
from crm_store.search.bearers import book
from crm_store.search.query import listed, slices, sql, sql_once

BATCH = 500  # rows a transaction: the writer is free again after 40 ms
MANY = 100_000


def step(tx: Connection, *, limit: int = BATCH) -> int:
    """Index some of what is new or changed and return how much; 0 when nothing waits."""
    if not state.alone(tx):
        return 0
    come = state.cursors(tx)
    if come.get("format") != veil.format_of(tx):
        tables.clear(tx)
        state.keep(tx, "format", veil.format_of(tx))
        come = {}
    done = _due(tx, limit)
    for kind in state.KINDS:
        if done >= limit:
            break
        last = come.get(kind, 0)
        ids = _fresh(tx, kind, last, limit - done)
        if ids:
            _INDEXERS[kind](tx, ids)
            state.keep(tx, kind, ids[-1])
            done += len(ids)
    if done:
        tables.tidy(tx, done)
    return done


async def catch_up(store: Store, *, progress: Callable[[int], None] | None = None, limit: int = 2000) -> int:
    """Index everything there is, and return how many rows that were. `progress` is told how many are done."""
    done = 0
    while True:
        found = await store.write(step, limit=limit)
        done += found
        if progress is not None and found:
            progress(done)
        if not found:
            if not await store.read(waiting):
                if done >= MANY:
                    while not await store.write(tables.scrub, whole=True):
                        pass  # one segment takes a sixth less than the many it was built from
                    await store.write(tables.settle)
                return done
            await asyncio.sleep(0.1)  # on PostgreSQL until those who write now have committed


def waiting(tx: Connection) -> int:
    """How many rows are not in the index yet, by their ids."""
    come = state.cursors(tx)
    count: int = tx.execute(sql("SELECT count(*) FROM search_due")).scalar_one()
    for kind, table in state.SOURCES.items():
        highest = tx.execute(select(table.c.id).order_by(table.c.id.desc()).limit(1)).scalar()
        count += max(0, (highest or 0) - come.get(kind, 0))
    return count


def changed(tx: Connection, kind: state.Kind, ids: Iterable[int]) -> None:
    """Note that what these rows are found by has changed; messages have `message_changed`."""
    numbers = set(ids)
    if numbers and not is_postgresql(tx):  # there another process may be reading it right now
        read = state.cursors(tx).get(kind, 0)
        numbers = {number for number in numbers if number <= read}
    rows = [{"kind": kind, "id": number} for number in numbers]
    if rows:
        tx.execute(sql("INSERT INTO search_due (kind, id) VALUES (:kind, :id) ON CONFLICT DO NOTHING"), rows)


def message_changed(tx: Connection, message_id: int, subject: str, before: str, after: str | None) -> None:
    """Index a message's new text instead of the old one; None when it is to be forgotten."""
    state.wait_alone(tx)
    if message_id > state.cursors(tx).get("message", 0):
        return  # it was not read yet
    tables.remove(tx, "search_message", [(message_id, tokens.of_text(subject, before))])
    if after is not None:
        tables.add(tx, "search_message", [(message_id, tokens.of_text(subject, after))])


def forget_contact(tx: Connection, contact_id: int) -> None:
    """Take a contact and their orders and messages out of the index, before they are deleted.

    Afterwards call tables.scrub until it is done: only then nothing is left in the file.
    """
    state.wait_alone(tx)
    order, message, conversation = schema.order, schema.message, schema.conversation
    orders = list(tx.execute(select(order.c.id).where(order.c.contact_id == contact_id)).scalars())
    texts.forget(tx, "order", orders)
    rows = tx.execute(
        select(message.c.id, message.c.subject, message.c.text)
        .join(conversation, conversation.c.id == message.c.conversation_id)
        .where(conversation.c.contact_id == contact_id)
    ).all()
    read = state.cursors(tx).get("message", 0)
    tables.remove(
        tx, "search_message", [(r.id, tokens.of_text(r.subject, r.text)) for r in rows if r.id <= read]
    )
    naming.write(tx, {contact_id: set()}, book(tx).held_by([contact_id]))
    phones.drop(tx, [contact_id])
    gone: dict[state.Kind, list[int]] = {
        "contact": [contact_id],
        "order": orders,
        "message": [r.id for r in rows],
    }
    for kind, ids in gone.items():
        tx.execute(
            sql("DELETE FROM search_due WHERE kind = :kind AND id = :id"),
            [{"kind": kind, "id": number} for number in ids] or [{"kind": kind, "id": 0}],
        )
        _lower(tx, kind, ids)


def forget_contacts(tx: Connection, contact_ids: Sequence[int]) -> None:
    """Take many contacts that nothing refers to out of the index, before they are deleted. What they are found
    by is what they have, unless a change waits; their orders and messages must be gone already."""
    state.wait_alone(tx)
    read = state.cursors(tx).get("contact", 0)
    known = [number for number in contact_ids if number <= read]
    for some in slices(known):
        these = listed(some)
        due = set(
            tx.execute(
                sql_once(f"SELECT id FROM search_due WHERE kind = 'contact' AND id IN ({these})")
            ).scalars()
        )
        names = naming.names_of(tx, lambda column, some=some: column.in_(some))
        ids = naming.named(tx, {key for keys in names.values() for key in keys})
        held = {
            number: {ids[key] for key in names.get(number, ()) if key in ids}
            for number in some
            if number not in due
        }
        held |= book(tx).held_by(sorted(due)) if due else {}
        naming.write(tx, {number: set() for number in some}, held)
        tails = naming.tails(tx, some)
        if due:
            phones.drop(tx, sorted(due))
            tx.execute(sql_once(f"DELETE FROM search_due WHERE kind = 'contact' AND id IN ({listed(due)})"))
        phones.drop(tx, some, tails)


def lowered(tx: Connection, kind: state.Kind) -> None:
    """After rows were deleted: SQLite gives their ids to the next ones, which are new to the index."""
    highest = tx.execute(
        select(state.SOURCES[kind].c.id).order_by(state.SOURCES[kind].c.id.desc()).limit(1)
    ).scalar()
    if (highest or 0) < state.cursors(tx).get(kind, 0):
        state.keep(tx, kind, highest or 0)


def _lower(tx: Connection, kind: state.Kind, ids: Sequence[int]) -> None:
    """SQLite gives the id of a deleted last row to the next one: that one is new to the index."""
    table = state.SOURCES[kind]
    if not ids:
        return
    remaining = select(table.c.id).where(table.c.id.not_in(ids)).order_by(table.c.id.desc()).limit(1)
    highest = tx.execute(remaining).scalar() or 0
    if highest < state.cursors(tx).get(kind, 0):
        state.keep(tx, kind, highest)


def _fresh(tx: Connection, kind: state.Kind, last: int, limit: int) -> list[int]:
    table = state.SOURCES[kind]
    query = select(table.c.id).where(table.c.id > last).order_by(table.c.id).limit(limit)
    if not is_postgresql(tx):
        return list(tx.execute(query).scalars())
    settled = _settled(tx, kind, last)
    ids = list(tx.execute(query.where(table.c.id <= settled)).scalars()) if settled > last else []
    if not ids and settled > last:  # they were deleted
        state.keep(tx, kind, settled)
    return ids


def _settled(tx: Connection, kind: state.Kind, last: int) -> int:
    """Up to which id nobody can be writing any more: ids are given in order, but committed in any.

    Whoever draws an id has locked the table for writing before. So once those are done that held such a lock
    when the highest id was seen, no lower one can appear. On a busy table that is a moment later: the id is
    kept as a mark, with the time.
    """
    come = state.cursors(tx)
    mark, at = (come.get(f"{kind}:{name}", 0) for name in ("mark", "at"))
    table = state.SOURCES[kind]
    if mark <= last:
        highest = tx.execute(select(table.c.id).order_by(table.c.id.desc()).limit(1)).scalar()
        if not highest or highest <= last:
            return last
        now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        mark, at = highest, tx.execute(sql(now)).scalar_one()
        state.keep(tx, f"{kind}:mark", mark)
        state.keep(tx, f"{kind}:at", at)
    writing = tx.execute(
        sql(
            "SELECT 1 FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid"
            " WHERE l.relation = CAST(:table AS regclass) AND l.mode = 'RowExclusiveLock'"
            " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND l.pid <> pg_backend_pid() AND coalesce(extract(epoch FROM a.xact_start) * 1000000, 0) <= :at"
            " LIMIT 1"
        ),
        {"table": table.name, "at": at},
    ).first()
    return mark if writing is None else last


def _due(tx: Connection, limit: int) -> int:
    rows = tx.execute(sql("SELECT kind, id FROM search_due LIMIT :limit"), {"limit": limit}).all()
    by_kind: dict[state.Kind, list[int]] = {}
    for kind, number in rows:
        by_kind.setdefault(kind, []).append(number)
    for kind, ids in by_kind.items():
        if kind in ("order", "article"):
            texts.forget(tx, kind, ids)
        elif kind == "contact":
            phones.drop(tx, ids)
        read = state.cursors(tx).get(kind, 0)
        known = [number for number in ids if number <= read]  # what is new is read as such
        if known and kind == "contact":
            naming.index(tx, known, book(tx).held_by(known))
        elif known:
            _INDEXERS[kind](tx, known)
        tx.execute(
            sql("DELETE FROM search_due WHERE kind = :kind AND id = :id"),
            [{"kind": kind, "id": number} for number in ids],
        )
    return len(rows)


_INDEXERS: dict[state.Kind, Callable[[Connection, Sequence[int]], None]] = {
    "contact": naming.index,
    "order": texts.index_orders,
    "article": texts.index_articles,
    "message": texts.index_messages,
}
