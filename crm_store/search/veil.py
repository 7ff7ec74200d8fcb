"""What the index holds where contact data is sealed: keyed hashes of tokens, and names that are sealed themselves.

An index only asks whether two tokens are the same, and of hashes one can tell that too. A beginning ("joh…") is
a token of its own then: every word is indexed with all its beginnings. What a thief of the file sees of it is
which names and messages share a part, and how many; not which part.

Without a key everything here hands back what it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection

from crm_store import sealing
from crm_store.search import tokens
from crm_store.search.asking import NAMES, Asking, Index, Name, Soon, Word
from crm_store.search.query import Query, Token, prefix, token

LABEL = "search"  # names and words of names, as they are stored in the index
BEGINNINGS = 10  # letters of a beginning that are told apart
SHORTEST, LONGEST = 4, 9  # digits of a phone's end


def seal_of(tx: Connection) -> sealing.Seal | None:
    return sealing.of(tx.dialect)


def shut(tx: Connection, name: str) -> str:
    """A name or a word as it is stored."""
    seal = seal_of(tx)
    return name if seal is None else seal.shut(LABEL, name)


def opened(tx: Connection, name: str) -> str:
    seal = seal_of(tx)
    return name if seal is None else seal.open(LABEL, name)


def format_of(tx: Connection) -> int:
    """What changes when the index is to be built anew: how tokens are made, and with which key."""
    seal = seal_of(tx)
    return tokens.FORMAT if seal is None else tokens.FORMAT + (seal.number("format") >> 16 << 8)


def indexed(
    tx: Connection, index: Index, rows: Sequence[tuple[int, Iterable[Token]]]
) -> Sequence[tuple[int, Iterable[Token]]]:
    """Rows and their tokens as they are written."""
    seal = seal_of(tx)
    if seal is None:
        return rows
    return [(number, {seal.token(one) for one in _all(index, found)}) for number, found in rows]


def _all(index: Index, found: Iterable[Token]) -> Iterator[Token]:
    """The tokens, and the beginnings that may be asked for."""
    found = set(found)
    yield from found
    if index == "search_word":  # of_word has the word itself among those without a letter
        whole = max((one[1:] for one in found if one[0] == "d"), key=len, default="")
        found = {"w" + whole}
    for one in found:
        for end in range(1, min(len(one), BEGINNINGS) + 1):
            yield "^" + one[:end]


def asked(tx: Connection, query: Query) -> Query:
    """A question as it is asked of what is stored."""
    seal = seal_of(tx)
    return query if seal is None else _asked(seal, query)


def _asked(seal: sealing.Seal, query: Query) -> Query:
    match query:
        case ("token", word):
            return ("token", seal.token(word))
        case ("prefix", word):
            return ("token", seal.token("^" + word[:BEGINNINGS]))
        case (how, inner):
            return (how, tuple(_asked(seal, one) for one in inner))
    raise ValueError(query)


def tails(tx: Connection, digits: str, plain: int) -> list[int]:
    """What a phone number is found by from its end: a number that sorts, or each of its ends by itself."""
    seal = seal_of(tx)
    if seal is None:
        return [plain]
    return [_tail(seal, digits[-n:]) for n in range(SHORTEST, min(len(digits), LONGEST) + 1)]


def tail_asked(tx: Connection, national: str, low: int, width: int) -> tuple[int, int]:
    """From which tail to below which the numbers are that end so."""
    seal = seal_of(tx)
    if seal is None:
        return low, low + width
    found = _tail(seal, national[-LONGEST:])
    return found, found + 1


def _tail(seal: sealing.Seal, digits: str) -> int:
    number: int = seal.number(f"tail {digits}") % 10**LONGEST
    return number


class UnderKey:
    """The index, asked under a key."""

    def __init__(self, inner: Asking, seal: sealing.Seal) -> None:
        self._inner = inner
        self._seal = seal

    def soon(self, what: Soon) -> None:
        names, words = ([_asked(self._seal, query) for query in some] for some in (what.names, what.words))
        self._inner.soon(Soon(names, words, rows=what.rows))

    def names(self, query: Query, limit: int = NAMES) -> Sequence[Name]:
        return self._named(self._inner.names(_asked(self._seal, query), limit))

    def most_borne(self, queries: Sequence[Query], limit: int) -> Sequence[Name]:
        return self._named(self._inner.most_borne([_asked(self._seal, query) for query in queries], limit))

    def words(self, query: Query) -> Sequence[Word]:
        found = self._inner.words(_asked(self._seal, query))
        return [(self._seal.open(LABEL, word), n) for word, n in found]

    def some(self, query: Query) -> bool:
        return self._inner.some(_asked(self._seal, query))

    def known(self, words: Sequence[str]) -> set[str]:
        asked = {word: token("w" + word) for word in words}
        self.soon(Soon(list(asked.values())))
        return {word for word, query in asked.items() if self.some(query)}

    def longer(self, words: Sequence[str]) -> Sequence[Sequence[str]]:
        found = (self.words(prefix("w" + word)) for word in words)
        return [[word for word, _ in sorted(some, key=lambda row: -row[1])[:40]] for some in found]

    def bearers(self, ids: Sequence[int], further: Sequence[int], limit: int) -> dict[int, list[int]]:
        return self._inner.bearers(ids, further, limit)

    def behind(self) -> Sequence[int]:
        return self._inner.behind()

    def _named(self, rows: Iterable[Any]) -> Sequence[Name]:
        return [(number, self._seal.open(LABEL, key), n) for number, key, n in rows]
