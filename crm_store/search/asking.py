"""What is asked of the index for names and words: one interface, answered by FTS5 on SQLite and by postings on
PostgreSQL (answering.py), and asked through a veil where contact data is sealed (veil.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from crm_store.search.query import Query

Index = Literal["search_name", "search_word", "search_message", "search_text"]
NAMES = 300  # that one question brings
Name = tuple[int, str, int]  # its id, its key, how many bear it
Word = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Soon:
    """What will be asked of names and of words, with the answers (`rows`: of the first question about names all, of
    the others a part) or only their parts; and of which words the longer ones."""

    names: Sequence[Query] = ()
    words: Sequence[Query] = ()
    longer: Sequence[str] = ()
    rows: bool = False


class Asking(Protocol):
    """What a search asks, within one transaction."""

    def soon(self, what: Soon) -> None:
        """Say what will be asked soon: where each question is a trip to the database, one brings all."""

    def names(self, query: Query, limit: int = NAMES) -> Sequence[Name]:
        """The first names that fit."""

    def some(self, query: Query) -> bool:
        """Whether any name fits."""

    def most_borne(self, queries: Sequence[Query], limit: int) -> Sequence[Name]:
        """Of thousands that fit each question equally well those that most people bear."""

    def words(self, query: Query) -> Sequence[Word]:
        """Words that bear one of the tokens, and in how many names they are."""

    def known(self, words: Sequence[str]) -> set[str]:
        """Which of the words are in names."""

    def longer(self, words: Sequence[str]) -> Sequence[Sequence[str]]:
        """To each word those that begin with it, the most frequent first."""

    def bearers(self, ids: Sequence[int], further: Sequence[int], limit: int) -> dict[int, list[int]]:
        """The first contact that bears each of the names, and up to so many others of some (`further`)."""

    def behind(self) -> Sequence[int]:
        """The contacts that the index has not read yet."""
