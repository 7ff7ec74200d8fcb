"""Who bears which names, in the index: names and words once each, with how many there are of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, select

from crm_store import schema
from crm_store.rows import is_postgresql
from crm_store.search import phones, tables, tokens, veil
from crm_store.search.answering import asking
from crm_store.search.bearers import book
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


def write(tx: Connection, wanted: dict[int, set[str]], held: dict[int, set[int]] | None = None) -> None:
    """Write who bears which names, instead of those `held`, and keep the counts of words."""
    held = held or {}
    ids = _ensure_names(tx, {key for keys in wanted.values() for key in keys})
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
    orphans = [(number, veil.opened(tx, key)) for number, key in book(tx).change(new, gone)]
    tables.remove(tx, "search_name", [(number, _name_tokens(key)) for number, key in orphans])
    _count_words(tx, [key for _, key in orphans], -1)


def named(tx: Connection, keys: Iterable[str]) -> dict[str, int]:
    """The ids of names by their keys."""
    wanted = set(keys)
    known: dict[str, int] = {}
    index = asking(tx)
    for some in slices(sorted(wanted)):
        query = any_of(token(tokens.of_key(key)) for key in some)
        known |= {key: number for number, key, _ in index.names(query, 4 * len(some) + 100) if key in wanted}
    return known


def bearing(tx: Connection, key: str, limit: int) -> list[int]:
    """Some of the contacts that bear just this name."""
    index = asking(tx)
    ids = [number for number, other, _ in index.names(token(tokens.of_key(key))) if other == key]
    return [contact_id for some in index.bearers(ids, ids, limit).values() for contact_id in some]


def _ensure_names(tx: Connection, keys: set[str]) -> dict[str, int]:
    """The ids of these names; those that are new are added, with their tokens and words."""
    known = named(tx, keys)
    fresh = sorted(keys - known.keys())
    if not fresh:
        return known
    added = dict(zip(fresh, book(tx).add([veil.shut(tx, key) for key in fresh]), strict=True))
    tables.add(tx, "search_name", [(number, _name_tokens(key)) for key, number in added.items()])
    _count_words(tx, fresh, 1)
    return known | added


def _ensure_words(tx: Connection, words: set[str]) -> dict[str, int]:
    """The same for words."""
    known: dict[str, int] = {}
    statement = listing("SELECT word, id FROM search_word WHERE word IN :keys", is_postgresql(tx))
    for some in slices(sorted(words)):
        stored = {veil.shut(tx, word): word for word in some}
        rows = tx.execute(statement, {"keys": list(stored)})
        known |= {stored[word]: number for word, number in rows}
    fresh = sorted(words - known.keys())
    if not fresh:
        return known
    highest = tx.execute(sql("SELECT max(id) FROM search_word")).scalar() or 0
    added = {word: highest + i for i, word in enumerate(fresh, 1)}
    tx.execute(
        sql("INSERT INTO search_word (id, word, n) VALUES (:id, :word, 0)"),
        [{"id": number, "word": veil.shut(tx, word)} for word, number in added.items()],
    )
    tables.add(tx, "search_word", [(number, tokens.of_word(word)) for word, number in added.items()])
    return known | added


def _name_tokens(key: str) -> set[str]:
    return tokens.of_name(key) | {tokens.of_key(key)}


def _count_words(tx: Connection, names: Sequence[str], by: int) -> None:
    words = Counter(word for key in names for word in set(tokens.words_of(key)))
    if not words:
        return
    ids = _ensure_words(tx, set(words))
    tx.execute(
        sql("UPDATE search_word SET n = n + :by WHERE id = :id"),
        [{"id": ids[word], "by": by * count} for word, count in words.items()],
    )
    if by < 0:
        for some in slices(list(ids.values())):
            rows = tx.execute(
                sql_once(f"SELECT id, word FROM search_word WHERE n <= 0 AND id IN ({listed(some)})")
            )
            orphans = [(number, veil.opened(tx, word)) for number, word in rows]
            tables.remove(tx, "search_word", [(number, tokens.of_word(word)) for number, word in orphans])
            tables.delete(tx, "search_word", [number for number, _ in orphans])
