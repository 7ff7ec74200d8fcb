"""Asking the index for names and words: one interface, FTS5 on SQLite and postings on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nsmallest
from typing import Any, Protocol

from sqlalchemy import Connection

from crm_store.rows import is_postgresql
from crm_store.search import tables, veil
from crm_store.search.postings import LAST, NAME, WORD, Postings, of
from crm_store.search.query import Query, fetched, listing, sql, token

NAMES = 300  # that one question brings
WORDS = 1500  # that share three letters with a misspelt one
WORDS_READ = 150  # … where those are known that share most
MOST = 5000  # names among which those are looked for that most people bear
MOST_READ = 600  # … where each is looked up by its id: a name that many bear came early, and its id is low
LONGER = (
    "SELECT word FROM (SELECT word, n FROM search_word WHERE word >= {word} AND word < {after}"
    " ORDER BY word LIMIT 2000) w ORDER BY n DESC LIMIT 40"
)
Name = tuple[int, str, int]  # its id, its key, how many bear it
Word = tuple[str, int]


class Asking(Protocol):
    """What a search asks, within one transaction."""

    def soon(
        self,
        *,
        names: Iterable[Query] = (),
        words: Iterable[Query] = (),
        longer: Sequence[str] = (),
        rows: bool = False,
    ) -> None:
        """Say what will be asked soon of names and of words, with the answers (`rows`) or only their parts, and
        which words' `longer` ones: where each question is a trip to the database, one brings all."""

    def names(self, query: Query, limit: int = NAMES) -> Sequence[Name]:
        """The first names that fit."""

    def most_borne(self, query: Query, limit: int) -> Sequence[Name]:
        """Of thousands that fit equally well those that most people bear."""

    def words(self, query: Query) -> Sequence[Word]:
        """Words that bear one of the tokens, and in how many names they are."""

    def known(self, words: Sequence[str]) -> set[str]:
        """Which of the words are in names."""

    def longer(self, words: Sequence[str]) -> Sequence[Sequence[str]]:
        """To each word those that begin with it, the most frequent first."""


def asking(tx: Connection) -> Asking:
    index: Asking = _OfPostings(tx) if is_postgresql(tx) else _OfFts5(tx)
    seal = veil.seal_of(tx)
    return index if seal is None else veil.UnderKey(index, seal)


class _OfFts5:
    def __init__(self, tx: Connection) -> None:
        self._tx = tx

    def soon(
        self,
        *,
        names: Iterable[Query] = (),
        words: Iterable[Query] = (),
        longer: Sequence[str] = (),
        rows: bool = False,
    ) -> None:
        """A question costs no trip here."""

    def names(self, query: Query, limit: int = NAMES) -> Sequence[Name]:
        return self._ask("s.id, s.key, s.n", "search_name", query, limit)

    def most_borne(self, query: Query, limit: int) -> Sequence[Name]:
        return self._ask(
            "s.id, s.key, s.n", "search_name", query, MOST, f" ORDER BY s.n DESC LIMIT {limit:d}"
        )

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

    def _ask(self, what: str, index: tables.Index, query: Query, limit: int, then: str = "") -> Sequence[Any]:
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
        self._words: dict[int, Word] = {}
        self._longer: dict[str, list[str]] = {}

    def soon(
        self,
        *,
        names: Iterable[Query] = (),
        words: Iterable[Query] = (),
        longer: Sequence[str] = (),
        rows: bool = False,
    ) -> None:
        of_names = [of(NAME, query) for query in names]
        of_words = [of(WORD, query) for query in words]
        self._postings.soon([*of_names, *of_words])
        if rows:
            self._read_names([number for query in of_names for number in self._first(query, NAMES)])
            self._read_words([number for query in of_words for number in self._nearest(query)], longer)

    def names(self, query: Query, limit: int = NAMES) -> Sequence[Name]:
        numbers = self._first(of(NAME, query), limit)
        self._read_names(numbers)
        return [self._names[number] for number in numbers if number in self._names]

    def most_borne(self, query: Query, limit: int) -> Sequence[Name]:
        numbers = self._first(of(NAME, query), MOST_READ)
        if len(numbers) <= NAMES:  # they may have been read already
            return sorted(self.names(query), key=lambda name: -name[2])[:limit]
        statement = (
            "SELECT id, key, n FROM search_name WHERE id = ANY(CAST(:ids AS integer[]))"
            " ORDER BY n DESC, id LIMIT :limit"
        )
        rows = fetched(self._tx, statement, ids=numbers, limit=limit)
        return [(number, key, n) for number, key, n in rows]

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

    def _first(self, query: Query, limit: int) -> list[int]:
        (ids,) = self._postings.ids(query)
        return nsmallest(limit, ids) if len(ids) > limit else sorted(ids)

    def _nearest(self, query: Query) -> list[int]:
        return self._postings.nearest(query, WORDS_READ)

    def _read_names(self, numbers: Sequence[int]) -> None:
        missing = [number for number in numbers if number not in self._names]
        if missing:
            statement = "SELECT id, key, n FROM search_name WHERE id = ANY(CAST(:ids AS integer[]))"
            for number, key, n in fetched(self._tx, statement, ids=missing):
                self._names[number] = (number, key, n)

    def _read_words(self, numbers: Sequence[int], longer: Sequence[str] = ()) -> None:
        missing = [number for number in numbers if number not in self._words]
        begun = [word for word in longer if word not in self._longer]
        if not missing and not begun:
            return
        statement = (
            "SELECT id, word, n, NULL FROM search_word WHERE id = ANY(CAST(:ids AS integer[])) UNION ALL"
            " SELECT 0, f.word, 0, t.word FROM unnest(CAST(:words AS text[])) t(word)"
            f" CROSS JOIN LATERAL ({LONGER.format(word='t.word', after='t.word || :last')}) f"
        )
        self._longer |= {word: [] for word in begun}
        for number, word, n, beginning in fetched(self._tx, statement, ids=missing, words=begun, last=LAST):
            if beginning is None:
                self._words[number] = (word, n)
            else:
                self._longer[beginning].append(word)
