"""Who bears which names, in the index: names and words once each, with how many there are of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, select

from crm_store import schema
from crm_store.rows import is_postgresql
from crm_store.search import phones, tables, tokens, veil
from crm_store.search.asking import asking
from crm_store.search.fold import name_key
from crm_store.search.query import any_of, listed, listing, slices, sql, sql_once, token


def index(tx: Connection, ids: Sequence[int], held: dict[int, set[int]] | None = None) -> None:
    found = names_of(tx, lambda column: column.in_(ids))
    write(tx, {number: found.get(number, set()) for number in ids}, held)
    phones.add(tx, tails(tx, ids))


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


def tails(tx: Connection, ids: Sequence[int]) -> list[phones.Tail]:
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


def held_by(tx: Connection, contact_ids: Sequence[int]) -> dict[int, set[int]]:
    """Which names these contacts bear in the index. It is ordered by name: this reads all of it (100 ms at a
    million contacts), for which it is half the size."""
    held: dict[int, set[int]] = {}
    these = listed(contact_ids)
    statement = (
        f"SELECT contact_id, id FROM search_name WHERE contact_id IN ({these})"
        f" UNION ALL SELECT contact_id, name_id FROM search_contact WHERE contact_id IN ({these})"
    )
    for contact_id, name_id in tx.execute(sql_once(statement)):
        held.setdefault(contact_id, set()).add(name_id)
    return held


def write(tx: Connection, wanted: dict[int, set[str]], held: dict[int, set[int]] | None = None) -> None:
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
    for some in slices(sorted({name_id for name_id, _ in gone})):
        rows = tx.execute(
            sql_once(f"SELECT id, key FROM search_name WHERE n <= 0 AND id IN ({listed(some)})")
        )
        orphans = [(number, veil.opened(tx, key)) for number, key in rows]
        tables.remove(tx, "search_name", [(number, _name_tokens(key)) for number, key in orphans])
        tables.delete(tx, "search_name", [number for number, _ in orphans])
        _count_words(tx, [key for _, key in orphans], -1)


def _give(tx: Connection, new: list[tuple[int, int]]) -> None:
    """Note who bears a name: most names have one bearer, who stands beside the name itself."""
    free: set[int] = set()
    for some in slices(sorted({name_id for name_id, _ in new})):
        statement = f"SELECT id FROM search_name WHERE contact_id IS NULL AND id IN ({listed(some)})"
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


def named(tx: Connection, keys: Iterable[str]) -> dict[str, int]:
    """The ids of names by their keys."""
    wanted = set(keys)
    known: dict[str, int] = {}
    for some in slices(sorted(wanted)):
        query = any_of(token(tokens.of_key(key)) for key in some)
        found = asking(tx).names(query, 4 * len(some) + 100)
        known |= {key: number for number, key, _ in found if key in wanted}
    return known


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


def _ids(tx: Connection, table: tables.Index, column: str, keys: set[str]) -> dict[str, int]:
    known: dict[str, int] = {}
    for some in slices(sorted(keys)):
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
        for some in slices(list(ids.values())):
            rows = tx.execute(
                sql_once(f"SELECT id, word FROM search_word WHERE n <= 0 AND id IN ({listed(some)})")
            )
            orphans = [(number, veil.opened(tx, word)) for number, word in rows]
            tables.remove(tx, "search_word", [(number, tokens.of_word(word)) for number, word in orphans])
            tables.delete(tx, "search_word", [number for number, _ in orphans])


def _count(tx: Connection, table: str, counts: Counter[int]) -> None:
    rows = [{"id": number, "by": by} for number, by in counts.items() if by]
    if rows:
        tx.execute(sql(f"UPDATE {table} SET n = n + :by WHERE id = :id"), rows)
