"""Asking the index for names and words: one interface, FTS5 on SQLite and postings on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nsmallest
from typing import Any, Protocol

from sqlalchemy import Connection

from crm_store.rows import is_postgresql
from crm_store.search import tables
from crm_store.search.postings import Postings
from crm_store.search.query import Query, Token, sql

MOST = 5000  # names among which those are looked for that most people bear
Name = tuple[int, str, int]  # its id, its key, how many bear it


class Asking(Protocol):
    """What a search asks, within one transaction."""

    def soon(self, tokens: Iterable[Token]) -> None:
        """Say what will be asked for soon: where each question is a trip to the database, one brings all."""

    def names(self, query: Query, limit: int) -> Sequence[Name]:
        """The first names that fit."""

    def most_borne(self, query: Query, limit: int) -> Sequence[Name]:
        """Of thousands that fit equally well those that most people bear."""

    def words(self, query: Query, limit: int) -> Sequence[tuple[str, int]]:
        """The first words that fit, and in how many names they are."""


def asking(tx: Connection) -> Asking:
    return _OfPostings(tx) if is_postgresql(tx) else _OfFts5(tx)


class _OfFts5:
    def __init__(self, tx: Connection) -> None:
        self._tx = tx

    def soon(self, tokens: Iterable[Token]) -> None:
        """A question costs no trip here."""

    def names(self, query: Query, limit: int) -> Sequence[Name]:
        return self._ask("s.id, s.key, s.n", "search_name", query, limit)

    def most_borne(self, query: Query, limit: int) -> Sequence[Name]:
        return self._ask(
            "s.id, s.key, s.n", "search_name", query, MOST, f" ORDER BY s.n DESC LIMIT {limit:d}"
        )

    def words(self, query: Query, limit: int) -> Sequence[tuple[str, int]]:
        return self._ask("s.word, s.n", "search_word", query, limit)

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
        self._words: dict[int, tuple[str, int]] = {}

    def soon(self, tokens: Iterable[Token]) -> None:
        self._postings.soon(tokens)

    def names(self, query: Query, limit: int) -> Sequence[Name]:
        numbers = nsmallest(limit, self._postings.ids(query))
        self._read(numbers)
        return [self._names[number] for number in numbers if number in self._names]

    def most_borne(self, query: Query, limit: int) -> Sequence[Name]:
        statement = (
            "SELECT id, key, n FROM search_name WHERE id = ANY(CAST(:ids AS integer[]))"
            " ORDER BY n DESC, id LIMIT :limit"
        )
        numbers = nsmallest(MOST, self._postings.ids(query))
        if not numbers:
            return []
        return [
            (number, key, n)
            for number, key, n in self._tx.execute(sql(statement), {"ids": numbers, "limit": limit})
        ]

    def words(self, query: Query, limit: int) -> Sequence[tuple[str, int]]:
        numbers = nsmallest(limit, self._postings.ids(query))
        missing = [number for number in numbers if number not in self._words]
        if missing:
            statement = "SELECT id, word, n FROM search_word WHERE id = ANY(CAST(:ids AS integer[]))"
            for number, word, n in self._tx.execute(sql(statement), {"ids": missing}):
                self._words[number] = (word, n)
        return [self._words[number] for number in numbers if number in self._words]

    def _read(self, numbers: Sequence[int]) -> None:
        missing = [number for number in numbers if number not in self._names]
        if missing:
            statement = "SELECT id, key, n FROM search_name WHERE id = ANY(CAST(:ids AS integer[]))"
            for number, key, n in self._tx.execute(sql(statement), {"ids": missing}):
                self._names[number] = (number, key, n)
