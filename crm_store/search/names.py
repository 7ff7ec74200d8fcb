"""Candidates by name: the narrowest question first, wider ones only while too few fit.

Words are looked up in the index of distinct words (a misspelt one by what it shares with the right one), so
that the names are only ever asked for by whole words, readings and characters, of which few fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection

from crm_store.search import indexing, pinyin, tokens
from crm_store.search.asking import asking
from crm_store.search.query import Query, all_of, any_of, listing, prefix, sql, token
from crm_store.search.rank import Asked, likeness

CANDIDATES = 300  # names that one question brings
WORD_CANDIDATES = 1500  # words that share three letters with a misspelt one
SPELLINGS = 12  # of one word that are tried
TAIL = 1000  # contacts behind the index that are looked at one by one
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

    def ask(self, query: Query, limit: int = CANDIDATES) -> int:
        """Take the names that fit a question and return how many those were."""
        rows = self.index.names(query, limit)
        self.take(rows)
        return len(rows)

    def most_borne(self, query: Query) -> None:
        """Take, of thousands that fit equally well, those that most people bear."""
        self.take(self.index.most_borne(query, 60))

    def enough(self, good: float = GOOD) -> bool:
        return sum(score >= good for _, _, score, _ in self.names.values()) >= self.wanted

    def best(self) -> float:
        return max((score for _, _, score, _ in self.names.values()), default=0.0)


def candidates(tx: Connection, asked: Asked, wanted: int) -> Found:
    """The names that may be meant, scored."""
    found = Found(tx, asked, wanted)
    _whole(found)
    if asked.run:
        _by_characters(found)
    elif asked.words:
        _by_letters(found)
    return found


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
        whole = any_of(token("p" + "".join(reading[: pinyin.SYLLABLES])) for reading in asked.readings)
        found.ask(whole, CANDIDATES // 3 if found.enough() else CANDIDATES)
        if found.enough():
            return
        found.ask(any_of(token(kind + heard) for heard in asked.heard for kind in "qp"))
    if len(run) > 1 and not found.enough():
        found.ask(all_of(map(token, run)))
        if len(run) in (2, 3):
            for pattern in (*tokens.gapped(run), *(tokens.pairs(run) if len(run) == 3 else ())):
                found.most_borne(token(pattern))
        elif found.best() < GOOD:
            found.ask(any_of(all_of(map(token, some)) for some in _all_but_one(run[:8])))
    if found.best() < GOOD and len(run) > 2:  # "张三先生", "王伟经理"
        shorter = [run[:length] for length in (3, 2)]
        found.ask(any_of(token(tokens.of_key(key)) for key in shorter))


def _all_but_one(run: str) -> list[str]:
    return [run[:i] + run[i + 1 :] for i in range(len(run))]


def _by_letters(found: Found) -> None:
    asked = found.asked
    if found.enough(99.5):
        return
    known = _known(found.tx, [*asked.words, *_splits(asked)])
    if all(word in known for word in asked.words):
        found.ask(all_of(token("w" + word) for word in asked.words))
    if asked.letters and len(asked.words) < 4:
        _as_pinyin(found)
    if any(why in ("exact", "words") for *_, why in found.names.values()) and len(asked.words) > 1:
        return
    _beginnings(found, known)
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


def _known(tx: Connection, words: Sequence[str]) -> dict[str, int]:
    """Which of the words there are, and in how many names."""
    if not words:
        return {}
    rows = tx.execute(
        listing("SELECT word, n FROM search_word WHERE word IN :keys"), {"keys": list(set(words))}
    )
    return dict(rows.all())


def _splits(asked: Asked) -> list[str]:
    """The two words that one may be which was typed without the space between."""
    if len(asked.words) != 1 or not 6 <= len(asked.words[0]) <= 24:
        return []
    word = asked.words[0]
    return [part for i in range(2, len(word) - 1) for part in (word[:i], word[i:])]


def _beginnings(found: Found, known: dict[str, int]) -> None:
    """Words that were not typed to their end: "joh smi"."""
    tx, choices = found.tx, []
    for word in found.asked.words:
        longer = [
            row.word
            for row in tx.execute(
                sql(
                    "SELECT word FROM (SELECT word, n FROM search_word WHERE word >= :word AND word < :after"
                    " ORDER BY word LIMIT 2000) w ORDER BY n DESC LIMIT 40"
                ),
                {"word": word, "after": word + "\U0010fffd"},
            )
        ]
        if not longer:
            return
        choices.append(any_of(token("w" + other) for other in longer))
    found.ask(all_of(choices), 100)


def _misspelt(found: Found, known: dict[str, int]) -> None:
    asked = found.asked
    spellings = {word: _spellings(found, word) for word in asked.words}
    _combined(found, [spellings[word] for word in asked.words])
    words = asked.words
    if found.best() < GOOD:
        for i in range(len(words) - 1):  # a space too many
            joined = [*words[:i], words[i] + words[i + 1], *words[i + 2 :]]
            _combined(found, [spellings.get(word) or _spellings(found, word) for word in joined])
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
                _combined(found, [[part] if part in known else _spellings(found, part) for part in pair])
    elif found.best() < 75:  # a word that is not in the name
        for word in words:
            if len(word) > 2:
                for spelling in spellings[word][:2]:
                    found.ask(token("w" + spelling), 100)


def _combined(found: Found, choices: Sequence[Sequence[str]]) -> None:
    """Names that have one of the spellings of each word; the likeliest spellings first, they are few."""
    if not all(choices):
        return
    for width in (2, SPELLINGS):
        if found.ask(all_of(any_of(token("w" + word) for word in some[:width]) for some in choices)) and (
            found.enough(90.0)
        ):
            return


def _spellings(found: Found, word: str) -> list[str]:
    """The words there are that this one may be meant for, the likeliest first."""
    rows = found.index.words(any_of(token("d" + shorter) for shorter in tokens.shortened(word)), 200)
    close = {other: n for other, n in rows if likeness(word, other) > 0.6}
    threes = sorted(tokens.threes(word))
    if threes and len(word) > 4 and (len(close) < 4 or len(word) > 6):
        rows = found.index.words(any_of(token("t" + three) for three in threes), WORD_CANDIDATES)
        close |= {other: n for other, n in rows if likeness(word, other) > 0.6}
    ordered = sorted(close, key=lambda other: (-round(likeness(word, other), 2), -close[other]))
    return ordered[:SPELLINGS]


def behind(tx: Connection, asked: Asked) -> list[tuple[int, float, str]]:
    """Contacts that the index has not read yet, scored one by one: (contact, score, why)."""
    last = indexing.cursors(tx).get("contact", 0)
    ids = list(
        tx.execute(
            sql(
                "SELECT id FROM (SELECT id FROM contact WHERE id > :last ORDER BY id DESC LIMIT :limit) n"
                " UNION SELECT id FROM search_due WHERE kind = 'contact'"
            ),
            {"last": last, "limit": TAIL},
        ).scalars()
    )
    found = []
    if ids:
        names = indexing.names_of(tx, lambda column: column.in_(ids))
        for number in ids:  # those too who bear none any more: the index still believes it
            score, why = max((asked.fits(key) for key in names.get(number, ())), default=(0.0, ""))
            found.append((number, score, why))
    return found
