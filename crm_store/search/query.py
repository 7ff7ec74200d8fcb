"""Questions to the index, and statements that are compiled once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import TextClause, bindparam, text

Token = str
Query = tuple[Any, ...]  # ("token", t) ("prefix", t) ("all", (q, …)) ("any", (q, …))


@lru_cache(maxsize=512)
def sql(statement: str) -> TextClause:
    """A statement in words, compiled once."""
    return text(statement)


@lru_cache(maxsize=64)
def listing(statement: str, postgresql: bool = False) -> TextClause:
    """A statement with `IN :keys`, words in a list of any length; on PostgreSQL one text for all lengths, which
    it plans but once."""
    if postgresql:
        return text(statement.replace("IN :keys", "= ANY(CAST(:keys AS text[]))"))
    return text(statement).bindparams(bindparam("keys", expanding=True))


def token(word: Token) -> Query:
    return ("token", word)


def prefix(word: Token) -> Query:
    return ("prefix", word)


def all_of(queries: Iterable[Query]) -> Query:
    found = tuple(dict.fromkeys(queries))
    return found[0] if len(found) == 1 else ("all", found)


def any_of(queries: Iterable[Query]) -> Query:
    found = tuple(dict.fromkeys(queries))
    return found[0] if len(found) == 1 else ("any", found)


def sql_once(statement: str) -> TextClause:
    """A statement that will not come again."""
    return text(statement)


def slices(items: Sequence[Any]) -> Iterator[Any]:
    for start in range(0, len(items), 500):
        yield items[start : start + 500]


def listed(ids: Iterable[int]) -> str:
    """Numbers of ours for an IN: five hundred parameters cost more than the query."""
    return ", ".join(str(int(number)) for number in ids)
