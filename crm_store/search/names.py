"""Candidates by name: the narrowest question first, wider ones only while too few fit.

Words are looked up in the index of distinct words (a misspelt one by what it shares with the right one), so
that the names are only ever asked for by whole words, readings and characters, of which few fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from typing import Any

from sqlalchemy import Connection

from crm_store.rows import is_postgresql
from crm_store.search import naming, pinyin, tokens, veil
from crm_store.search.answering import TAIL, asking
from crm_store.search.asking import NAMES, Soon
from crm_store.search.query import Query, all_of, any_of, fetched, prefix, token
from crm_store.search.rank import Asked, likeness

SPELLINGS = 12  # of one word that are tried
_CALLED_SO = (
    "SELECT id FROM contact WHERE id > coalesce((SELECT value FROM search_state WHERE name = 'contact'), 0)"
    " AND merged_into_id IS NULL AND {same} LIMIT 20"
)
GOOD = 84.0  # with names that fit so well, wider questions are not asked


class Found:
    """Names by id, with their keys, how many bear them and how well they fit."""

    def __init__(self, tx: Connection, asked: Asked, wanted: int) -> None:
        self.tx = tx
        self.index = asking(tx)
        self.asked = asked
        self.wanted = wanted
        self.names: dict[int, tuple[str, int, float, str]] = {}

    def take(self, rows: Iterable[Any]) -> None:
        for number, key, n in rows:
            if number not in self.names:
                self.names[number] = (key, n, *self.asked.fits(key))

    def ask(self, query: Query, limit: int = NAMES) -> int:
        """Take the names that fit a question and return how many those were."""
        rows = self.index.names(query, limit)
        self.take(rows)
        return len(rows)

    def most_borne(self, *queries: Query) -> None:
        """Take, of thousands that fit each of these equally well, those that most people bear."""
        self.take(self.index.most_borne(queries, 60))

    def enough(self, good: float = GOOD) -> bool:
        return sum(score >= good for _, _, score, _ in self.names.values()) >= self.wanted

    def best(self) -> float:
        return max((score for _, _, score, _ in self.names.values()), default=0.0)


def candidates(tx: Connection, asked: Asked, wanted: int) -> Found:
    """The names that may be meant, scored."""
    found = Found(tx, asked, wanted)
    likely = list(_likely(asked))
    found.index.soon(Soon([*likely, *_perhaps(asked)], [] if asked.run else _spelt_like(asked.words)))
    found.index.soon(Soon(likely, rows=True))
    _whole(found)
    if asked.run:
        _by_characters(found)
    elif asked.words:
        _by_letters(found)
    return found


def _likely(asked: Asked) -> Iterable[Query]:
    """What most searches come to ask of names, first what they certainly do."""
    words = [token("w" + word) for word in asked.words]
    if asked.run:
        yield all_of([*words, *map(token, tokens.pairs(asked.run) or [asked.run])])
        yield token(tokens.of_key(asked.key))
        yield from map(_read_so, asked.readings)
        yield from (token(kind + heard) for heard in asked.heard for kind in "qp")
        return
    if words:
        yield all_of(words)
    yield token(tokens.of_key(asked.key))
    if asked.letters and len(asked.words) < 4:
        yield from (token("p" + letters) for letters in asked.letters)
        if max(map(len, asked.letters)) > 3:
            yield from (token(kind + letters) for letters in asked.slurred for kind in "qp")
            yield from (prefix("p" + letters) for letters in asked.letters[:2])


def _perhaps(asked: Asked) -> Iterable[Query]:
    """What some come to ask, where the likely questions bring too few."""
    if len(asked.run) in (2, 3):  # of longer ones each character by itself: thousands
        yield _turned(asked.run)
        yield from map(token, _patterns(asked.run))
    yield from (token("w" + word) for word in _splits(asked))


def _patterns(run: str) -> list[str]:
    """What thousands of names share with a short one."""
    return [*tokens.gapped(run), *(tokens.pairs(run) if len(run) == 3 else ())]


def _read_so(reading: Sequence[str]) -> Query:
    return token("p" + "".join(reading[: pinyin.SYLLABLES]))


def _spelt_like(words: Sequence[str]) -> list[Query]:
    return [*map(_less, words), *map(_threes, filter(_has_threes, words))]


def _less(word: str) -> Query:
    """Of words: one mistake away."""
    return any_of(token("d" + shorter) for shorter in sorted(tokens.shortened(word)))


def _threes(word: str) -> Query:
    """Of words: with three letters in common."""
    return any_of(token("t" + three) for three in sorted(tokens.threes(word)))


def _has_threes(word: str) -> bool:
    return len(word) > 4


def _whole(found: Found) -> None:
    """The name as it was typed, and those that begin with it."""
    asked = found.asked
    found.ask(token(tokens.of_key(asked.key)))
    if asked.words and not asked.run and not all(word.isalpha() for word in asked.words):
        *first, last = asked.words  # words of letters are in the index of words, with their beginnings
        found.ask(all_of([*(token("w" + word) for word in first), prefix("w" + last)]), 50)


def _by_characters(found: Found) -> None:
    asked, run = found.asked, found.asked.run
    words = [token("w" + word) for word in asked.words]
    if words:
        found.ask(all_of([*words, *map(token, tokens.pairs(run) or [run])]))
    together = tokens.pairs(run) or [run]
    found.ask(all_of(map(token, together)))
    if found.best() == 100 and found.enough():
        return
    if asked.readings:
        whole = any_of(map(_read_so, asked.readings))
        found.ask(whole, NAMES // 3 if found.enough() else NAMES)
        if found.enough():
            return
        found.ask(any_of(token(kind + heard) for heard in asked.heard for kind in "qp"))
    if len(run) > 1 and not found.enough():
        found.ask(_turned(run))
        if patterns := _patterns(run):
            found.most_borne(*map(token, patterns))
        elif found.best() < GOOD:
            found.ask(any_of(all_of(map(token, some)) for some in _all_but_one(run[:8])))
    if found.best() < GOOD and len(run) > 2:  # "张三先生", "王伟经理"
        shorter = [run[:length] for length in (3, 2)]
        found.ask(any_of(token(tokens.of_key(key)) for key in shorter))


def _turned(run: str) -> Query:
    """The same characters in another order. Of so few, side by side: each by itself is in thousands of names."""
    if len(run) == 2:
        first, second = run[0], run[1]
        return any_of(map(token, (second + first, f"{first}0{second}", f"{second}0{first}")))
    if len(run) == 3:
        return any_of(all_of(map(token, tokens.pairs("".join(some)))) for some in permutations(run))
    return all_of(map(token, run))


def _all_but_one(run: str) -> list[str]:
    return [run[:i] + run[i + 1 :] for i in range(len(run))]


def _by_letters(found: Found) -> None:
    asked = found.asked
    if found.enough(99.5):
        return
    known = found.index.known([*asked.words, *_splits(asked)])
    if all(word in known for word in asked.words):
        found.ask(all_of(token("w" + word) for word in asked.words))
    if asked.letters and len(asked.words) < 4:
        _as_pinyin(found)
    if any(why in ("exact", "words") for *_, why in found.names.values()) and len(asked.words) > 1:
        return
    found.index.soon(Soon(words=_spelt_like(asked.words), longer=asked.words, rows=True))
    _beginnings(found)
    if found.enough():
        return
    _misspelt(found, known)


def _as_pinyin(found: Found) -> None:
    asked = found.asked
    full = any_of(token("p" + letters) for letters in asked.letters)
    if found.ask(full) >= found.wanted:
        return
    longest = max(map(len, asked.letters))
    if longest <= tokens.INITIALS_LIMIT:
        found.most_borne(any_of(token("i" + letters) for letters in asked.letters))
    if longest > 3:
        found.ask(any_of(token(kind + letters) for letters in asked.slurred for kind in "qp"))
        found.ask(any_of(prefix("p" + letters) for letters in asked.letters[:2]), 100)
    if longest in (2, 3) and not found.enough(70):
        found.ask(prefix("i" + asked.letters[0]), 100)


def _splits(asked: Asked) -> list[str]:
    """The two words that one may be which was typed without the space between."""
    if len(asked.words) != 1 or not 6 <= len(asked.words[0]) <= 24:
        return []
    word = asked.words[0]
    return [part for i in range(2, len(word) - 1) for part in (word[:i], word[i:])]


def _beginnings(found: Found) -> None:
    """Words that were not typed to their end: "joh smi"."""
    choices = found.index.longer(found.asked.words)
    if all(choices):
        found.ask(all_of(any_of(token("w" + other) for other in longer) for longer in choices), 100)


def _misspelt(found: Found, known: set[str]) -> None:
    asked = found.asked
    spellings = _spellings(found, asked.words)
    _combined(found, [spellings[word] for word in asked.words])
    words = asked.words
    if found.best() < GOOD:
        for i in range(len(words) - 1):  # a space too many
            joined = [*words[:i], words[i] + words[i + 1], *words[i + 2 :]]
            spellings |= _spellings(found, [word for word in joined if word not in spellings])
            _combined(found, [spellings[word] for word in joined])
    if len(words) == 1:  # a space too few
        word = words[0]
        parts = [(word[:i], word[i:]) for i in range(2, len(word) - 1)]
        whole = [(a, b) for a, b in parts if a in known and b in known]
        half = [(a, b) for a, b in parts if len(a) > 2 and len(b) > 2 and (a in known) != (b in known)]
        for a, b in whole:
            found.ask(all_of([token("w" + a), token("w" + b)]), 50)
        if found.best() < GOOD:
            half.sort(key=lambda pair: -max(len(part) for part in pair if part in known))
            for pair in half[:4]:
                likely = _spellings(found, [part for part in pair if part not in known])
                _combined(found, [likely.get(part, [part]) for part in pair])
    elif found.best() < 75:  # a word that is not in the name
        for word in words:
            if len(word) > 2:
                for spelling in spellings[word][:2]:
                    found.ask(token("w" + spelling), 100)


def _combined(found: Found, choices: Sequence[Sequence[str]]) -> None:
    """Names that have one of the spellings of each word; the likeliest spellings first, they are few."""
    if not all(choices):
        return
    few, many = (
        all_of(any_of(token("w" + word) for word in some[:width]) for some in choices)
        for width in (2, SPELLINGS)
    )
    found.index.soon(Soon([many], rows=True))
    if not (found.ask(few) and found.enough(90.0)):
        found.ask(many)


def _spellings(found: Found, words: Sequence[str]) -> dict[str, list[str]]:
    """The words there are that each of these may be meant for, the likeliest first."""
    found.index.soon(Soon(words=_spelt_like(words), rows=True))
    likely: dict[str, list[str]] = {}
    for word in words:
        close = _close(word, found.index.words(_less(word)))
        if _has_threes(word) and (len(close) < 4 or len(word) > 6):
            close |= _close(word, found.index.words(_threes(word)))
        ordered = sorted(close, key=_by_likeness(word, close))
        likely[word] = ordered[:SPELLINGS]
    return likely


def _by_likeness(word: str, close: dict[str, int]) -> Callable[[str], tuple[float, int]]:
    return lambda other: (-round(likeness(word, other), 2), -close[other])


def _close(word: str, others: Iterable[tuple[str, int]]) -> dict[str, int]:
    return {other: n for other, n in others if likeness(word, other) > 0.6}


def behind(found: Found) -> list[tuple[int, float, str]]:
    """Contacts that the index has not read yet, scored one by one: (contact, score, why)."""
    ids = list(found.index.behind())
    if len(ids) >= TAIL:  # an import is just being indexed
        ids += [number for number in _called_so(found.tx, found.asked.typed) if number not in ids]
    if not ids:
        return []
    scored = []
    names = naming.names_of(found.tx, lambda column: column.in_(ids))
    for number in ids:  # those too who bear none any more: the index still believes it
        score, why = max((found.asked.fits(key) for key in names.get(number, ())), default=(0.0, ""))
        scored.append((number, score, why))
    return scored


def _called_so(tx: Connection, typed: str) -> list[int]:
    """Whose whole name it is, of all whom the index has not read yet."""
    if veil.seal_of(tx) is not None:
        return []
    same = "lower(name) = lower(:typed)" if is_postgresql(tx) else "name = :typed COLLATE NOCASE"
    return [number for (number,) in fetched(tx, _CALLED_SO.format(same=same), typed=typed)]
