"""Questions to the index, and statements that are compiled once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, TextClause, bindparam, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import await_only

from crm_store.rows import is_postgresql

Token = str
Query = tuple[Any, ...]  # ("token", t) ("few", t) ("prefix", t) ("all", (q, …)) ("any", (q, …))


_NAMED = re.compile(r"(?<![:\w]):(\w+)")


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


def few(word: Token) -> Query:
    """A token of which the first ids will do, however many there are; only postings are asked so."""
    return ("few", word)


def prefix(word: Token) -> Query:
    return ("prefix", word)


def all_of(queries: Iterable[Query]) -> Query:
    found = tuple(dict.fromkeys(queries))
    return found[0] if len(found) == 1 else ("all", found)


def any_of(queries: Iterable[Query]) -> Query:
    found = tuple(dict.fromkeys(queries))
    return found[0] if len(found) == 1 else ("any", found)


def given(name: str, kind: str) -> str:
    """A parameter that is an array, as PostgreSQL is to see it: without its length. Knowing that, it would plan a
    statement anew for each new length, which takes as long as to run it."""
    return f"ARRAY(SELECT unnest(CAST(:{name} AS {kind}[])))"


def sql_once(statement: str) -> TextClause:
    """A statement that will not come again."""
    return text(statement)


def slices(items: Sequence[Any]) -> Iterator[Any]:
    for start in range(0, len(items), 500):
        yield items[start : start + 500]


def listed(ids: Iterable[int]) -> str:
    """Numbers of ours for an IN: five hundred parameters cost more than the query."""
    return ", ".join(str(int(number)) for number in ids)


def fetched(tx: Connection, statement: str, **values: Any) -> Sequence[Any]:
    """All rows of a question. On PostgreSQL, inside a transaction, asyncpg is asked itself: through SQLAlchemy a
    trip takes twice as long (0.14 and 0.06 ms for one row, 0.60 and 0.32 for three hundred)."""
    if not is_postgresql(tx):
        return tx.execute(sql(statement), values).all()
    driver: Any = tx.connection.driver_connection
    if not driver.is_in_transaction():  # SQLAlchemy begins it, with the first statement it is given
        return tx.execute(sql(statement), values).all()
    numbered, names = _numbered(statement)
    try:
        rows: Sequence[Any] = await_only(driver.fetch(numbered, *(values[name] for name in names)))
    except Exception as error:
        if not hasattr(error, "sqlstate"):
            raise
        raise DBAPIError(numbered, None, error, hide_parameters=True) from error
    return rows


@lru_cache(maxsize=64)
def _numbered(statement: str) -> tuple[str, list[str]]:
    """:name as $1, and the names in that order."""
    names = list(dict.fromkeys(_NAMED.findall(statement)))
    return _NAMED.sub(lambda found: f"${names.index(found[1]) + 1}", statement), names
