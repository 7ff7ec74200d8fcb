"""Answering what is asked of names and words (asking.py): from FTS5 on SQLite, from postings on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nsmallest
from itertools import chain, repeat
from typing import Any

from sqlalchemy import Connection

from crm_store.rows import is_postgresql
from crm_store.search import bearers, tables, veil
from crm_store.search.asking import NAMES, Asking, Index, Name, Soon, Word
from crm_store.search.postings import BEARER, LAST, NAME, WORD, Postings, of
from crm_store.search.query import Query, fetched, few, given, listed, listing, sql, sql_once, token

SOON = 100  # … and one that is perhaps not asked
WORDS = 1500  # that share three letters with a misspelt one
WORDS_READ = 150  # … where those are known that share most
MOST = 5000  # names among which those are looked for that most people bear
MOST_READ = 600  # … where each is looked up by its id: a name that many bear came early, and its id is low
LONGER = (
    "SELECT word FROM (SELECT word, n FROM search_word WHERE word >= {word} AND word < {after}"
    " ORDER BY word LIMIT 2000) w ORDER BY n DESC LIMIT 40"
)
TAIL = 1000  # contacts behind the index that are looked at one by one
_BEHIND = (  # whom the index has not read yet
    "SELECT id FROM (SELECT id FROM contact WHERE id >"
    f" coalesce((SELECT value FROM search_state WHERE name = 'contact'), 0) ORDER BY id DESC LIMIT {TAIL}) n"
    " UNION SELECT id FROM search_due WHERE kind = 'contact'"
)
# … each name once by its id; `part` tells apart which question it answers
_GROUPED = f"""
SELECT t.id, split_part(s.keys, chr(10), t.place) AS key, s.counts[t.place] AS n,
    s.contacts[t.place] AS contact_id{{part}}
FROM (SELECT u.*, (id - 1) / {bearers.GROUP} AS row, (id - 1) % {bearers.GROUP} + 1 AS place FROM unnest({{ids}}) t
CROSS JOIN LATERAL (SELECT keys, counts, contacts FROM search_name WHERE id = t.row) s
"""
_IDS, _OF_PARTS = given("ids", "integer"), given("parts", "integer")
_NAMES = _GROUPED.format(part="", ids=f"{_IDS}) u(id)")
_AND_BEHIND = f"{_NAMES} UNION ALL SELECT b.id, NULL, 0, 0 FROM ({_BEHIND}) b"
_PARTS = _GROUPED.format(part=", t.part", ids=f"{_IDS}, {_OF_PARTS}) u(id, part)")
_MOST_BORNE = f"""
SELECT id, key, n, contact_id FROM (
    SELECT g.*, row_number() OVER (PARTITION BY part ORDER BY n DESC, id) AS rank FROM ({_PARTS}) g) r
WHERE rank <= :limit
"""
_WORDS = f"SELECT id, word, n, NULL FROM search_word WHERE id = ANY({_IDS})"
_BEGUN = LONGER.format(word="t.word", after=f"t.word || '{LAST}'")
_BEGINNINGS = given("words", "text")
_LONGER = f"SELECT 0, f.word, 0, t.word FROM unnest({_BEGINNINGS}) t(word) CROSS JOIN LATERAL ({_BEGUN}) f"


def asking(tx: Connection) -> Asking:
    index: Asking = _OfPostings(tx) if is_postgresql(tx) else _OfFts5(tx)
    seal = veil.seal_of(tx)
    return index if seal is None else veil.UnderKey(index, seal)


class _OfFts5:
    def __init__(self, tx: Connection) -> None:
        self._tx = tx

    def soon(self, what: Soon) -> None:
        """A question costs no trip here."""

    def names(self, query: Query, limit: int = NAMES) -> Sequence[Name]:
        return self._ask("s.id, s.key, s.n", "search_name", query, limit)

    def some(self, query: Query) -> bool:
        return bool(self.names(query, 1))

    def most_borne(self, queries: Sequence[Query], limit: int) -> Sequence[Name]:
        first = f" ORDER BY s.n DESC LIMIT {limit:d}"
        each = (self._ask("s.id, s.key, s.n", "search_name", query, MOST, first) for query in queries)
        return [name for some in each for name in some]

    def words(self, query: Query) -> Sequence[Word]:
        return self._ask("s.word, s.n", "search_word", query, WORDS)

    def known(self, words: Sequence[str]) -> set[str]:
        statement = listing("SELECT word FROM search_word WHERE word IN :keys")
        return set(self._tx.execute(statement, {"keys": list(set(words))}).scalars())

    def longer(self, words: Sequence[str]) -> Sequence[Sequence[str]]:
        statement = sql(LONGER.format(word=":word", after=":after"))
        return [
            self._tx.execute(statement, {"word": word, "after": word + LAST}).scalars().all()
            for word in words
        ]

    def bearers(self, ids: Sequence[int], further: Sequence[int], limit: int) -> dict[int, list[int]]:
        if not ids:
            return {}
        first = f"SELECT id AS name_id, contact_id FROM search_name WHERE id IN ({listed(ids)})"
        others = "SELECT * FROM (SELECT name_id, contact_id FROM search_contact WHERE name_id = {n} LIMIT {k}) t{n}"
        each = [others.format(n=int(number), k=int(limit)) for number in further]
        found: dict[int, list[int]] = {}
        for name_id, contact_id in self._tx.execute(sql_once(" UNION ALL ".join([first, *each]))):
            found.setdefault(name_id, []).append(contact_id)
        return found

    def behind(self) -> Sequence[int]:
        return [number for (number,) in fetched(self._tx, _BEHIND)]

    def _ask(self, what: str, index: Index, query: Query, limit: int, then: str = "") -> Sequence[Any]:
        statement = (
            f"SELECT {what} FROM ({tables.matching(self._tx, index)} LIMIT :limit) f"
            f" JOIN {index} s ON s.id = f.id{then}"
        )
        values = {"query": tables.rendered(self._tx, query), "limit": limit}
        return self._tx.execute(sql(statement), values).all()


class _OfPostings:
    def __init__(self, tx: Connection) -> None:
        self._tx = tx
        self._postings = Postings(tx)
        self._names: dict[int, Name] = {}
        self._behind: list[int] | None = None
        self._bearer: dict[int, int] = {}  # the first of each of these names
        self._words: dict[int, Word] = {}
        self._longer: dict[str, list[str]] = {}

    def soon(self, what: Soon) -> None:
        of_names = [of(NAME, query) for query in what.names]
        of_words = [of(WORD, query) for query in what.words]
        self._postings.soon([*of_names, *of_words])
        if what.rows:
            limits = chain([NAMES], repeat(SOON))
            each = (self._first(query, limit) for query, limit in zip(of_names, limits, strict=False))
            self._read_names(list(chain.from_iterable(each)))
            self._read_words([number for query in of_words for number in self._nearest(query)], what.longer)

    def names(self, query: Query, limit: int = NAMES) -> Sequence[Name]:
        numbers = self._first(of(NAME, query), limit)
        self._read_names(numbers)
        return [self._names[number] for number in numbers if number in self._names]

    def some(self, query: Query) -> bool:
        (ids,) = self._postings.ids(of(NAME, query))
        return bool(ids)

    def most_borne(self, queries: Sequence[Query], limit: int) -> Sequence[Name]:
        found: list[Name] = []
        ids: list[int] = []
        parts: list[int] = []
        for part, query in enumerate(queries):
            numbers = self._first(of(NAME, query), MOST_READ)
            if len(numbers) <= limit or self._names.keys() >= set(numbers):
                self._read_names(numbers)  # they may have been read already
                read = [self._names[number] for number in numbers if number in self._names]
                found += sorted(read, key=lambda name: -name[2])[:limit]
            else:
                ids += numbers
                parts += [part] * len(numbers)
        if ids:
            found += self._noted(fetched(self._tx, _MOST_BORNE, ids=ids, parts=parts, limit=limit))
        return found

    def words(self, query: Query) -> Sequence[Word]:
        numbers = self._nearest(of(WORD, query))
        self._read_words(numbers)
        return [self._words[number] for number in numbers if number in self._words]

    def known(self, words: Sequence[str]) -> set[str]:
        asked = list(set(words))
        found = self._postings.ids(*(of(NAME, token("w" + word)) for word in asked))
        return {word for word, ids in zip(asked, found, strict=True) if ids}

    def longer(self, words: Sequence[str]) -> Sequence[Sequence[str]]:
        self._read_words([], words)
        return [self._longer[word] for word in words]

    def bearers(self, ids: Sequence[int], further: Sequence[int], limit: int) -> dict[int, list[int]]:
        self._read_names([number for number in ids if number not in self._bearer])
        found = {number: [self._bearer[number]] for number in ids if self._bearer.get(number)}
        several = [number for number in further if number in found and self._several(number)]
        others = self._postings.ids(*(of(BEARER, few(bearers.term_of(number))) for number in several))
        for number, some in zip(several, others, strict=True):
            found[number] += nsmallest(limit, some)
        return found

    def _several(self, number: int) -> bool:
        return number not in self._names or self._names[number][2] > 1

    def _first(self, query: Query, limit: int) -> list[int]:
        (ids,) = self._postings.ids(query)
        return nsmallest(limit, ids) if len(ids) > limit else sorted(ids)

    def _nearest(self, query: Query) -> list[int]:
        return self._postings.nearest(query, WORDS_READ)

    def behind(self) -> Sequence[int]:
        if self._behind is None:
            self._read_names([], also_none=True)
        return self._behind or ()

    def _read_names(self, numbers: Sequence[int], *, also_none: bool = False) -> None:
        missing = [number for number in numbers if number not in self._names]
        if not missing and not also_none:
            return
        if self._behind is not None:
            rows = fetched(self._tx, _NAMES, ids=missing)
        else:  # the first question brings those with it
            found = fetched(self._tx, _AND_BEHIND, ids=missing)
            self._behind = [number for number, key, _, _ in found if key is None]
            rows = [row for row in found if row[1] is not None]
        for name in self._noted(rows):
            self._names[name[0]] = name

    def _noted(self, rows: Iterable[Any]) -> list[Name]:
        names = []
        for number, key, n, contact_id in rows:
            names.append((number, key, n))
            self._bearer[number] = contact_id
        return names

    def _read_words(self, numbers: Sequence[int], longer: Sequence[str] = ()) -> None:
        missing = [number for number in numbers if number not in self._words]
        begun = [word for word in longer if word not in self._longer]
        if not missing and not begun:
            return
        self._longer |= {word: [] for word in begun}
        said = [*([_WORDS] if missing else []), *([_LONGER] if begun else [])]
        values = ({"ids": missing} if missing else {}) | ({"words": begun} if begun else {})
        for number, word, n, beginning in fetched(self._tx, " UNION ALL ".join(said), **values):
            if beginning is None:
                self._words[number] = (word, n)
            else:
                self._longer[beginning].append(word)
