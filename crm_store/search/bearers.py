"""Names in the index, how many contacts bear each, and who: as they are written.

SQLite      a row each in search_name with its first bearer, most names have but one; the others in search_contact
PostgreSQL  where a row takes 28 bytes beside what it says, and as much again in its key: GROUP names to a row, in
            the order of their ids, and the further bearers in postings
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from sqlalchemy import Connection

from crm_store.rows import is_postgresql
from crm_store.search import postings
from crm_store.search.query import listed, slices, sql, sql_once, token

Pair = tuple[int, int]  # a name's id and a contact's
GROUP = 32  # names in a row on PostgreSQL; their ids begin with 1


class Book(Protocol):
    """Who bears which names."""

    def add(self, keys: Sequence[str]) -> list[int]:
        """Take new names in, as they are stored, and return their ids."""

    def change(self, new: Sequence[Pair], gone: Sequence[Pair]) -> list[tuple[int, str]]:
        """Note who bears a name now, and who does not any more. Names that nobody bears any more leave the book and
        are returned, as they were stored."""

    def held_by(self, contact_ids: Sequence[int]) -> dict[int, set[int]]:
        """Which names these contacts bear. The book is ordered by name: this reads all of it (100 ms at a million
        contacts), for which it is half the size."""


def book(tx: Connection) -> Book:
    return _Groups(tx) if is_postgresql(tx) else _Rows(tx)


class _Rows:
    def __init__(self, tx: Connection) -> None:
        self._tx = tx

    def add(self, keys: Sequence[str]) -> list[int]:
        highest = self._tx.execute(sql("SELECT max(id) FROM search_name")).scalar() or 0
        ids = list(range(highest + 1, highest + 1 + len(keys)))
        self._tx.execute(
            sql("INSERT INTO search_name (id, key, n) VALUES (:id, :key, 0)"),
            [{"id": number, "key": key} for number, key in zip(ids, keys, strict=True)],
        )
        return ids

    def change(self, new: Sequence[Pair], gone: Sequence[Pair]) -> list[tuple[int, str]]:
        if gone:
            self._take_away(gone)
        if new:
            self._give(new)
        counts = Counter(name_id for name_id, _ in new)
        counts.subtract(name_id for name_id, _ in gone)
        rows = [{"id": number, "by": by} for number, by in counts.items() if by]
        if rows:
            self._tx.execute(sql("UPDATE search_name SET n = n + :by WHERE id = :id"), rows)
        orphans: list[tuple[int, str]] = []
        for some in slices(sorted({name_id for name_id, _ in gone})):
            statement = f"DELETE FROM search_name WHERE n <= 0 AND id IN ({listed(some)}) RETURNING id, key"
            orphans += [(number, key) for number, key in self._tx.execute(sql_once(statement))]
        return orphans

    def _give(self, new: Sequence[Pair]) -> None:
        free: set[int] = set()
        for some in slices(sorted({name_id for name_id, _ in new})):
            statement = f"SELECT id FROM search_name WHERE contact_id IS NULL AND id IN ({listed(some)})"
            free.update(self._tx.execute(sql_once(statement)).scalars())
        first: dict[int, int] = {}
        others: list[dict[str, int]] = []
        for name_id, contact_id in new:
            if name_id in free and name_id not in first:
                first[name_id] = contact_id
            else:
                others.append({"name": name_id, "contact": contact_id})
        if first:
            self._tx.execute(
                sql("UPDATE search_name SET contact_id = :contact WHERE id = :name"),
                [{"name": name_id, "contact": contact_id} for name_id, contact_id in first.items()],
            )
        if others:
            statement = "INSERT INTO search_contact (contact_id, name_id) VALUES (:contact, :name)"
            self._tx.execute(sql(statement), others)

    def _take_away(self, gone: Sequence[Pair]) -> None:
        """Another bearer moves up beside the name."""
        rows = [{"name": name_id, "contact": contact_id} for name_id, contact_id in gone]
        self._tx.execute(
            sql("DELETE FROM search_contact WHERE contact_id = :contact AND name_id = :name"), rows
        )
        self._tx.execute(
            sql(
                "UPDATE search_name SET contact_id ="
                " (SELECT min(c.contact_id) FROM search_contact c WHERE c.name_id = search_name.id)"
                " WHERE id = :name AND contact_id = :contact"
            ),
            rows,
        )
        self._tx.execute(
            sql(
                "DELETE FROM search_contact WHERE name_id = :name"
                " AND contact_id = (SELECT contact_id FROM search_name WHERE id = :name)"
            ),
            [{"name": row["name"]} for row in rows],
        )

    def held_by(self, contact_ids: Sequence[int]) -> dict[int, set[int]]:
        these = listed(contact_ids)
        statement = (
            f"SELECT contact_id, id FROM search_name WHERE contact_id IN ({these})"
            f" UNION ALL SELECT contact_id, name_id FROM search_contact WHERE contact_id IN ({these})"
        )
        return _by_contact(self._tx.execute(sql_once(statement)))


def place_of(name_id: int) -> tuple[int, int]:
    """The row that a name stands in, and its place there, from 0."""
    return divmod(name_id - 1, GROUP)


def term_of(name_id: int) -> str:
    """What stands in the postings for a name's further bearers."""
    return f"{name_id:07x}"


class _Groups:
    def __init__(self, tx: Connection) -> None:
        self._tx = tx

    def add(self, keys: Sequence[str]) -> list[int]:
        last = self._tx.execute(
            sql("SELECT id, cardinality(counts) FROM search_name ORDER BY id DESC LIMIT 1")
        ).first()
        highest = last[0] * GROUP + last[1] if last else 0
        ids = list(range(highest + 1, highest + 1 + len(keys)))
        groups: dict[int, list[str]] = {}
        for number, key in zip(ids, keys, strict=True):
            groups.setdefault(place_of(number)[0], []).append(key)
        self._tx.execute(
            sql(
                "INSERT INTO search_name AS s (id, keys, counts, contacts)"
                " SELECT id, keys, array_fill(0, ARRAY[size]), array_fill(0, ARRAY[size]) FROM unnest("
                "CAST(:ids AS integer[]), CAST(:keys AS text[]), CAST(:sizes AS integer[])) t(id, keys, size)"
                " ON CONFLICT (id) DO UPDATE SET keys = s.keys || chr(10) || excluded.keys,"
                " counts = s.counts || excluded.counts, contacts = s.contacts || excluded.contacts"
            ),
            {
                "ids": list(groups),
                "keys": ["\n".join(some) for some in groups.values()],
                "sizes": [len(some) for some in groups.values()],
            },
        )
        return ids

    def change(self, new: Sequence[Pair], gone: Sequence[Pair]) -> list[tuple[int, str]]:
        numbers = {place_of(name_id)[0] for name_id, _ in (*new, *gone)}
        if not numbers:
            return []
        counts, first = self._read(numbers)
        vacant, left = [], []
        for name_id, contact_id in gone:
            group, place = place_of(name_id)
            counts[group][place] -= 1
            if first[group][place] == contact_id:
                first[group][place] = 0
                vacant.append(name_id)
            else:
                left.append((name_id, contact_id))
        self._note(left, gone=True)
        self._move_up([one for one in vacant if _at(counts, one) > 0], first)
        further = []
        for name_id, contact_id in new:
            group, place = place_of(name_id)
            counts[group][place] += 1
            if first[group][place]:
                further.append((name_id, contact_id))
            else:
                first[group][place] = contact_id
        self._note(further)
        self._write(counts, first)
        return self._drop({name_id for name_id, _ in gone if _at(counts, name_id) <= 0})

    def _read(self, numbers: Iterable[int]) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
        statement = (
            "SELECT id, counts, contacts FROM search_name WHERE id = ANY(CAST(:ids AS integer[])) ORDER BY id"
        )
        rows = self._tx.execute(sql(statement), {"ids": list(numbers)}).all()
        return {number: some for number, some, _ in rows}, {number: some for number, _, some in rows}

    def _write(self, counts: dict[int, list[int]], first: dict[int, list[int]]) -> None:
        self._tx.execute(
            sql(
                "UPDATE search_name s SET counts = CAST(t.counts AS integer[]),"
                " contacts = CAST(t.contacts AS integer[]) FROM unnest("
                "CAST(:ids AS integer[]), CAST(:counts AS text[]), CAST(:contacts AS text[]))"
                " t(id, counts, contacts) WHERE s.id = t.id"
            ),
            {
                "ids": list(counts),
                "counts": list(map(_array, counts.values())),
                "contacts": list(map(_array, first.values())),
            },
        )

    def _note(self, pairs: Sequence[Pair], *, gone: bool = False) -> None:
        """Further bearers, in the postings."""
        rows = [(contact_id, (term_of(name_id),)) for name_id, contact_id in pairs]
        postings.write(self._tx, postings.BEARER, rows, gone=gone)

    def _move_up(self, vacant: Sequence[int], first: dict[int, list[int]]) -> None:
        """Another bearer moves up beside the name."""
        asked = [postings.of(postings.BEARER, token(term_of(name_id))) for name_id in vacant]
        moved: list[Pair] = []
        for name_id, others in zip(vacant, postings.Postings(self._tx).ids(*asked), strict=True):
            if others:
                group, place = place_of(name_id)
                first[group][place] = min(others)
                moved.append((name_id, min(others)))
        self._note(moved, gone=True)

    def _drop(self, orphans: set[int]) -> list[tuple[int, str]]:
        """Names that nobody bears; their places stay empty, until a row has nobody left."""
        if not orphans:
            return []
        numbers = sorted({place_of(name_id)[0] for name_id in orphans})
        statement = "SELECT id, keys FROM search_name WHERE id = ANY(CAST(:ids AS integer[]))"
        rows = self._tx.execute(sql(statement), {"ids": numbers})
        keys = {number: said.split("\n") for number, said in rows}
        found = []
        for name_id in sorted(orphans):
            group, place = place_of(name_id)
            found.append((name_id, keys[group][place]))
            keys[group][place] = ""
        self._tx.execute(
            sql("UPDATE search_name SET keys = :keys WHERE id = :id"),
            [{"id": number, "keys": "\n".join(some)} for number, some in keys.items()],
        )
        self._tx.execute(
            sql("DELETE FROM search_name WHERE id = ANY(CAST(:ids AS integer[])) AND 0 >= ALL (counts)"),
            {"ids": numbers},
        )
        return found

    def held_by(self, contact_ids: Sequence[int]) -> dict[int, set[int]]:
        statement = (
            f"SELECT u.contact_id, s.id * {GROUP} + u.place FROM search_name s"
            " CROSS JOIN LATERAL unnest(s.contacts) WITH ORDINALITY u(contact_id, place)"
            " WHERE s.contacts && CAST(:ids AS integer[]) AND u.contact_id = ANY(CAST(:ids AS integer[]))"
        )
        held = _by_contact(self._tx.execute(sql(statement), {"ids": list(contact_ids)}))
        for contact_id, terms in postings.tokens_of(self._tx, postings.BEARER, contact_ids).items():
            held.setdefault(contact_id, set()).update(int(term, 16) for term in terms)
        return held


def _at(found: dict[int, list[int]], name_id: int) -> int:
    group, place = place_of(name_id)
    return found[group][place]


def _array(numbers: Sequence[int]) -> str:
    """As PostgreSQL reads it."""
    return "{" + ",".join(map(str, numbers)) + "}"


def _by_contact(rows: Iterable[Sequence[int]]) -> dict[int, set[int]]:
    held: dict[int, set[int]] = {}
    for contact_id, name_id in rows:
        held.setdefault(contact_id, set()).add(name_id)
    return held
