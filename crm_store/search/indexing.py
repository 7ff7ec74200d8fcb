"""Keep the index true, behind the line: what is new is found by its id, what changed by a note of it.

Writing a message or a contact costs the line nothing: the index remembers up to which id it has come and
catches up in batches (the tokens of a mail of 1 KB cost 0.25 ms in its own savepoint, 0.11 in a batch);
whoever searches looks at the few rows behind that by themselves. Only a change to what is indexed already
leaves a note.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, select

from crm_store import schema
from crm_store.db import Store
from crm_store.rows import is_postgresql
from crm_store.search import phones, tables, tokens, veil
from crm_store.search.asking import asking
from crm_store.search.fold import name_key
from crm_store.search.query import any_of, listing, sql, token

Kind = Literal["contact", "order", "article", "message"]
KINDS: tuple[Kind, ...] = ("contact", "order", "article", "message")
BATCH = 500  # rows a transaction: the writer is free again after 40 ms
MANY = 100_000
PG_LOCK = 0x73656172  # one process indexes at a time: "sear"

_SOURCES = {
    "contact": schema.contact,
    "order": schema.order,
    "article": schema.article,
    "message": schema.message,
}


def step(tx: Connection, *, limit: int = BATCH) -> int:
    """Index some of what is new or changed and return how much; 0 when nothing waits."""
    if not _alone(tx):
        return 0
    state = cursors(tx)
    if state.get("format") != veil.format_of(tx):
        tables.clear(tx)
        _set(tx, "format", veil.format_of(tx))
        state = {}
    done = _due(tx, limit)
    for kind in KINDS:
        if done >= limit:
            break
        last = state.get(kind, 0)
        ids = _fresh(tx, kind, last, limit - done)
        if ids:
            _INDEXERS[kind](tx, ids)
            _set(tx, kind, ids[-1])
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
    state = cursors(tx)
    count: int = tx.execute(sql("SELECT count(*) FROM search_due")).scalar_one()
    for kind, table in _SOURCES.items():
        highest = tx.execute(select(table.c.id).order_by(table.c.id.desc()).limit(1)).scalar()
        count += max(0, (highest or 0) - state.get(kind, 0))
    return count


def cursors(tx: Connection) -> dict[str, int]:
    """How far the index has come: kind → id."""
    return dict(tx.execute(sql("SELECT name, value FROM search_state")).all())


def changed(tx: Connection, kind: Kind, ids: Iterable[int]) -> None:
    """Note that what these rows are found by has changed; messages have `message_changed`."""
    numbers = set(ids)
    if numbers and not is_postgresql(tx):  # there another process may be reading it right now
        read = cursors(tx).get(kind, 0)
        numbers = {number for number in numbers if number <= read}
    rows = [{"kind": kind, "id": number} for number in numbers]
    if rows:
        tx.execute(sql("INSERT INTO search_due (kind, id) VALUES (:kind, :id) ON CONFLICT DO NOTHING"), rows)


def message_changed(tx: Connection, message_id: int, subject: str, before: str, after: str | None) -> None:
    """Index a message's new text instead of the old one; None when it is to be forgotten."""
    _wait_alone(tx)
    if message_id > cursors(tx).get("message", 0):
        return  # it was not read yet
    tables.remove(tx, "search_message", [(message_id, tokens.of_text(subject, before))])
    if after is not None:
        tables.add(tx, "search_message", [(message_id, tokens.of_text(subject, after))])


def forget_contact(tx: Connection, contact_id: int) -> None:
    """Take a contact and their orders and messages out of the index, before they are deleted.

    Afterwards call tables.scrub until it is done: only then nothing is left in the file.
    """
    _wait_alone(tx)
    order, message, conversation = schema.order, schema.message, schema.conversation
    orders = list(tx.execute(select(order.c.id).where(order.c.contact_id == contact_id)).scalars())
    _forget_texts(tx, "order", orders)
    rows = tx.execute(
        select(message.c.id, message.c.subject, message.c.text)
        .join(conversation, conversation.c.id == message.c.conversation_id)
        .where(conversation.c.contact_id == contact_id)
    ).all()
    read = cursors(tx).get("message", 0)
    tables.remove(
        tx, "search_message", [(r.id, tokens.of_text(r.subject, r.text)) for r in rows if r.id <= read]
    )
    _write_names(tx, {contact_id: set()}, _held(tx, [contact_id]))
    phones.drop(tx, [contact_id])
    gone: dict[Kind, list[int]] = {"contact": [contact_id], "order": orders, "message": [r.id for r in rows]}
    for kind, ids in gone.items():
        tx.execute(
            sql("DELETE FROM search_due WHERE kind = :kind AND id = :id"),
            [{"kind": kind, "id": number} for number in ids] or [{"kind": kind, "id": 0}],
        )
        _lower(tx, kind, ids)


def forget_contacts(tx: Connection, contact_ids: Sequence[int]) -> None:
    """Take many contacts that nothing refers to out of the index, before they are deleted. What they are found
    by is what they have, unless a change waits; their orders and messages must be gone already."""
    _wait_alone(tx)
    read = cursors(tx).get("contact", 0)
    known = [number for number in contact_ids if number <= read]
    for some in _slices(known):
        listed = _listed(some)
        due = set(
            tx.execute(
                sql_once(f"SELECT id FROM search_due WHERE kind = 'contact' AND id IN ({listed})")
            ).scalars()
        )
        names = names_of(tx, lambda column, some=some: column.in_(some))
        ids = named(tx, {key for keys in names.values() for key in keys})
        held = {
            number: {ids[key] for key in names.get(number, ()) if key in ids}
            for number in some
            if number not in due
        }
        held |= _held(tx, sorted(due)) if due else {}
        _write_names(tx, {number: set() for number in some}, held)
        tails = _tails(tx, some)
        if due:
            phones.drop(tx, sorted(due))
            tx.execute(sql_once(f"DELETE FROM search_due WHERE kind = 'contact' AND id IN ({_listed(due)})"))
        phones.drop(tx, some, tails)


def lowered(tx: Connection, kind: Kind) -> None:
    """After rows were deleted: SQLite gives their ids to the next ones, which are new to the index."""
    highest = tx.execute(select(_SOURCES[kind].c.id).order_by(_SOURCES[kind].c.id.desc()).limit(1)).scalar()
    if (highest or 0) < cursors(tx).get(kind, 0):
        _set(tx, kind, highest or 0)


def names_of(tx: Connection, where: Any) -> dict[int, set[str]]:
    """What the contacts that fit are found by: names, companies, handles."""
    contact, identity = schema.contact, schema.identity
    found: dict[int, set[str]] = {}
    for number, name, company in tx.execute(
        select(contact.c.id, contact.c.name, contact.c.company).where(
            where(contact.c.id), contact.c.merged_into_id.is_(None)
        )
    ):
        found[number] = {name, company}
    for number, name, handle in tx.execute(
        select(identity.c.contact_id, identity.c.name, identity.c.handle)
        .where(where(identity.c.contact_id))
        .where((identity.c.name != "") | (identity.c.handle != ""))
    ):
        if number in found:
            found[number] |= {name, handle}
    return {number: {key for key in map(name_key, names) if key} for number, names in found.items()}


def _alone(tx: Connection) -> bool:
    if is_postgresql(tx):
        return bool(tx.execute(sql("SELECT pg_try_advisory_xact_lock(:k)"), {"k": PG_LOCK}).scalar())
    return True


def _wait_alone(tx: Connection) -> None:
    if is_postgresql(tx):
        tx.execute(sql("SELECT pg_advisory_xact_lock(:k)"), {"k": PG_LOCK})


def _set(tx: Connection, name: str, value: int) -> None:
    tx.execute(
        sql(
            "INSERT INTO search_state (name, value) VALUES (:name, :value)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        ),
        {"name": name, "value": value},
    )


def _lower(tx: Connection, kind: Kind, ids: Sequence[int]) -> None:
    """SQLite gives the id of a deleted last row to the next one: that one is new to the index."""
    table = _SOURCES[kind]
    if not ids:
        return
    remaining = select(table.c.id).where(table.c.id.not_in(ids)).order_by(table.c.id.desc()).limit(1)
    highest = tx.execute(remaining).scalar() or 0
    if highest < cursors(tx).get(kind, 0):
        _set(tx, kind, highest)


def _fresh(tx: Connection, kind: Kind, last: int, limit: int) -> list[int]:
    table = _SOURCES[kind]
    query = select(table.c.id).where(table.c.id > last).order_by(table.c.id).limit(limit)
    if not is_postgresql(tx):
        return list(tx.execute(query).scalars())
    settled = _settled(tx, kind, last)
    ids = list(tx.execute(query.where(table.c.id <= settled)).scalars()) if settled > last else []
    if not ids and settled > last:  # they were deleted
        _set(tx, kind, settled)
    return ids


def _settled(tx: Connection, kind: Kind, last: int) -> int:
    """Up to which id nobody can be writing any more: ids are given in order, but committed in any.

    Whoever draws an id has locked the table for writing before. So once those are done that held such a lock
    when the highest id was seen, no lower one can appear. On a busy table that is a moment later: the id is
    kept as a mark, with the time.
    """
    state = cursors(tx)
    mark, at = (state.get(f"{kind}:{name}", 0) for name in ("mark", "at"))
    table = _SOURCES[kind]
    if mark <= last:
        highest = tx.execute(select(table.c.id).order_by(table.c.id.desc()).limit(1)).scalar()
        if not highest or highest <= last:
            return last
        now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        mark, at = highest, tx.execute(sql(now)).scalar_one()
        _set(tx, f"{kind}:mark", mark)
        _set(tx, f"{kind}:at", at)
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
    by_kind: dict[Kind, list[int]] = {}
    for kind, number in rows:
        by_kind.setdefault(kind, []).append(number)
    for kind, ids in by_kind.items():
        if kind in ("order", "article"):
            _forget_texts(tx, kind, ids)
        elif kind == "contact":
            phones.drop(tx, ids)
        read = cursors(tx).get(kind, 0)
        known = [number for number in ids if number <= read]  # what is new is read as such
        if known and kind == "contact":
            _index_contacts(tx, known, _held(tx, known))
        elif known:
            _INDEXERS[kind](tx, known)
        tx.execute(
            sql("DELETE FROM search_due WHERE kind = :kind AND id = :id"),
            [{"kind": kind, "id": number} for number in ids],
        )
    return len(rows)


def _index_contacts(tx: Connection, ids: Sequence[int], held: dict[int, set[int]] | None = None) -> None:
    found = names_of(tx, lambda column: column.in_(ids))
    _write_names(tx, {number: found.get(number, set()) for number in ids}, held)
    phones.add(tx, _tails(tx, ids))


def _tails(tx: Connection, ids: Sequence[int]) -> list[phones.Tail]:
    """The phones of these contacts, from their end."""
    identity = schema.identity
    known = tx.execute(  # asked for phones only, SQLite would read everybody's
        select(identity.c.contact_id, identity.c.space, identity.c.user_id).where(
            identity.c.contact_id.in_(ids)
        )
    )
    return [
        (tail, number)
        for number, space, user_id in known
        if space == "phone" and len(digits := "".join(filter(str.isdecimal, user_id))) >= 4
        for tail in veil.tails(tx, digits, phones.tail_of(digits))
    ]


def _held(tx: Connection, contact_ids: Sequence[int]) -> dict[int, set[int]]:
    """Which names these contacts bear in the index. It is ordered by name: this reads all of it (100 ms at a
    million contacts), for which it is half the size."""
    held: dict[int, set[int]] = {}
    listed = _listed(contact_ids)
    statement = (
        f"SELECT contact_id, id FROM search_name WHERE contact_id IN ({listed})"
        f" UNION ALL SELECT contact_id, name_id FROM search_contact WHERE contact_id IN ({listed})"
    )
    for contact_id, name_id in tx.execute(sql_once(statement)):
        held.setdefault(contact_id, set()).add(name_id)
    return held


def _write_names(
    tx: Connection, wanted: dict[int, set[str]], held: dict[int, set[int]] | None = None
) -> None:
    """Write who bears which names, instead of those `held`, and keep the counts of names and words."""
    held = held or {}
    ids = _ensure(tx, "search_name", "key", {key for keys in wanted.values() for key in keys})
    gone = [
        (name_id, contact_id)
        for contact_id, before in held.items()
        for name_id in before - {ids[key] for key in wanted.get(contact_id, ())}
    ]
    new = [
        (ids[key], contact_id)
        for contact_id, keys in wanted.items()
        for key in keys
        if ids[key] not in held.get(contact_id, ())
    ]
    counts = Counter(name_id for name_id, _ in new)
    counts.subtract(name_id for name_id, _ in gone)
    if gone:
        _take_away(tx, gone)
    if new:
        _give(tx, new)
    _count(tx, "search_name", counts)
    for some in _slices(sorted({name_id for name_id, _ in gone})):
        rows = tx.execute(
            sql_once(f"SELECT id, key FROM search_name WHERE n <= 0 AND id IN ({_listed(some)})")
        )
        orphans = [(number, veil.opened(tx, key)) for number, key in rows]
        tables.remove(tx, "search_name", [(number, _name_tokens(key)) for number, key in orphans])
        _delete(tx, "search_name", [number for number, _ in orphans])
        _count_words(tx, [key for _, key in orphans], -1)


def _give(tx: Connection, new: list[tuple[int, int]]) -> None:
    """Note who bears a name: most names have one bearer, who stands beside the name itself."""
    free: set[int] = set()
    for some in _slices(sorted({name_id for name_id, _ in new})):
        statement = f"SELECT id FROM search_name WHERE contact_id IS NULL AND id IN ({_listed(some)})"
        free.update(tx.execute(sql_once(statement)).scalars())
    first: dict[int, int] = {}
    others: list[dict[str, int]] = []
    for name_id, contact_id in new:
        if name_id in free and name_id not in first:
            first[name_id] = contact_id
        else:
            others.append({"name": name_id, "contact": contact_id})
    if first:
        tx.execute(
            sql("UPDATE search_name SET contact_id = :contact WHERE id = :name"),
            [{"name": name_id, "contact": contact_id} for name_id, contact_id in first.items()],
        )
    if others:
        tx.execute(sql("INSERT INTO search_contact (contact_id, name_id) VALUES (:contact, :name)"), others)


def _take_away(tx: Connection, gone: list[tuple[int, int]]) -> None:
    """The contacts do not bear the names any more; another bearer moves up beside the name."""
    rows = [{"name": name_id, "contact": contact_id} for name_id, contact_id in gone]
    tx.execute(sql("DELETE FROM search_contact WHERE contact_id = :contact AND name_id = :name"), rows)
    tx.execute(
        sql(
            "UPDATE search_name SET contact_id ="
            " (SELECT min(c.contact_id) FROM search_contact c WHERE c.name_id = search_name.id)"
            " WHERE id = :name AND contact_id = :contact"
        ),
        rows,
    )
    tx.execute(
        sql(
            "DELETE FROM search_contact WHERE name_id = :name"
            " AND contact_id = (SELECT contact_id FROM search_name WHERE id = :name)"
        ),
        [{"name": row["name"]} for row in rows],
    )


def _ensure(tx: Connection, table: tables.Index, column: str, keys: set[str]) -> dict[str, int]:
    """The ids of these names or words; those that are new are added, with their tokens."""
    is_name = table == "search_name"
    known = named(tx, keys) if is_name else _ids(tx, table, column, keys)
    fresh = sorted(keys - known.keys())
    if not fresh:
        return known
    highest = tx.execute(sql(f"SELECT max(id) FROM {table}")).scalar() or 0
    added = {key: highest + i for i, key in enumerate(fresh, 1)}
    tx.execute(
        sql(f"INSERT INTO {table} (id, {column}, n) VALUES (:id, :key, 0)"),
        [{"id": number, "key": veil.shut(tx, key)} for key, number in added.items()],
    )
    rows = [(number, _name_tokens(key) if is_name else tokens.of_word(key)) for key, number in added.items()]
    tables.add(tx, table, rows)
    if is_name:
        _count_words(tx, fresh, 1)
    return known | added


def named(tx: Connection, keys: Iterable[str]) -> dict[str, int]:
    """The ids of names by their keys."""
    wanted = set(keys)
    known: dict[str, int] = {}
    for some in _slices(sorted(wanted)):
        query = any_of(token(tokens.of_key(key)) for key in some)
        found = asking(tx).names(query, 4 * len(some) + 100)
        known |= {key: number for number, key, _ in found if key in wanted}
    return known


def _ids(tx: Connection, table: tables.Index, column: str, keys: set[str]) -> dict[str, int]:
    known: dict[str, int] = {}
    for some in _slices(sorted(keys)):
        statement = listing(f"SELECT {column}, id FROM {table} WHERE {column} IN :keys", is_postgresql(tx))
        stored = {veil.shut(tx, key): key for key in some}
        known |= {stored[key]: number for key, number in tx.execute(statement, {"keys": list(stored)})}
    return known


def _name_tokens(key: str) -> set[str]:
    return tokens.of_name(key) | {tokens.of_key(key)}


def _count_words(tx: Connection, names: Sequence[str], by: int) -> None:
    words = Counter(word for key in names for word in set(tokens.words_of(key)))
    if not words:
        return
    ids = _ensure(tx, "search_word", "word", set(words))
    _count(tx, "search_word", Counter({ids[word]: by * count for word, count in words.items()}))
    if by < 0:
        for some in _slices(list(ids.values())):
            rows = tx.execute(
                sql_once(f"SELECT id, word FROM search_word WHERE n <= 0 AND id IN ({_listed(some)})")
            )
            orphans = [(number, veil.opened(tx, word)) for number, word in rows]
            tables.remove(tx, "search_word", [(number, tokens.of_word(word)) for number, word in orphans])
            _delete(tx, "search_word", [number for number, _ in orphans])


def _count(tx: Connection, table: str, counts: Counter[int]) -> None:
    rows = [{"id": number, "by": by} for number, by in counts.items() if by]
    if rows:
        tx.execute(sql(f"UPDATE {table} SET n = n + :by WHERE id = :id"), rows)


def _delete(tx: Connection, table: str, ids: Sequence[int]) -> None:
    if ids:
        tx.execute(sql(f"DELETE FROM {table} WHERE id = :id"), [{"id": number} for number in ids])


def _index_orders(tx: Connection, ids: Sequence[int]) -> None:
    order, line = schema.order, schema.order_line
    texts = {
        number: [name, tracking]
        for number, name, tracking in tx.execute(
            select(order.c.id, order.c.number, order.c.tracking).where(order.c.id.in_(ids))
        )
    }
    for number, sku, name in tx.execute(
        select(line.c.order_id, line.c.sku, line.c.name).where(line.c.order_id.in_(ids)).order_by(line.c.id)
    ):
        texts[number] += [sku, name]
    _add_texts(tx, "order", {number: " · ".join(filter(None, said)) for number, said in texts.items()})


def _index_articles(tx: Connection, ids: Sequence[int]) -> None:
    article = schema.article
    rows = tx.execute(select(article).where(article.c.id.in_(ids)))
    _add_texts(tx, "article", {r.id: "\n".join([r.title, r.body, *map(str, r.phrasings)]) for r in rows})


def _add_texts(tx: Connection, kind: Kind, texts: dict[int, str]) -> None:
    if not texts:
        return
    highest = tx.execute(sql("SELECT max(id) FROM search_text")).scalar() or 0
    rows = [(highest + i, ref, said) for i, (ref, said) in enumerate(texts.items(), 1)]
    tx.execute(
        sql("INSERT INTO search_text (id, kind, ref, text) VALUES (:id, :kind, :ref, :text)"),
        [{"id": number, "kind": kind, "ref": ref, "text": said} for number, ref, said in rows],
    )
    tables.add(tx, "search_text", [(number, tokens.of_text(said)) for number, _, said in rows])


def _forget_texts(tx: Connection, kind: Kind, refs: Sequence[int]) -> None:
    for some in _slices(list(refs)):
        rows = tx.execute(
            sql_once(f"SELECT id, text FROM search_text WHERE kind = :kind AND ref IN ({_listed(some)})"),
            {"kind": kind},
        ).all()
        tables.remove(tx, "search_text", [(number, tokens.of_text(said)) for number, said in rows])
        _delete(tx, "search_text", [number for number, _ in rows])


def _index_messages(tx: Connection, ids: Sequence[int]) -> None:
    message = schema.message
    rows = tx.execute(select(message.c.id, message.c.subject, message.c.text).where(message.c.id.in_(ids)))
    tables.add(tx, "search_message", [(r.id, tokens.of_text(r.subject, r.text)) for r in rows])


_INDEXERS: dict[Kind, Callable[[Connection, Sequence[int]], None]] = {
    "contact": _index_contacts,
    "order": _index_orders,
    "article": _index_articles,
    "message": _index_messages,
}


def _slices(items: Sequence[Any]) -> Iterator[Any]:
    for start in range(0, len(items), 500):
        yield items[start : start + 500]


def _listed(ids: Iterable[int]) -> str:
    """Numbers of ours for an IN: five hundred parameters cost more than the query."""
    return ", ".join(str(int(number)) for number in ids)


def sql_once(statement: str) -> Any:
    """A statement that will not come again."""
    from sqlalchemy import text

    return text(statement)
