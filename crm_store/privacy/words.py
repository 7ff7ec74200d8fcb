"""A person's words, and whether a text that belongs to nobody repeats them.

An answer to a colleague ("/customer Li Wei"), a raw event of a staff room, a line in an audit: no column says
whose they are. They are known by what they say: an address, a name, a number, or a piece of what the person
or somebody about them wrote. A piece is a run of characters, so that a shortened quote is found too. What is
found too often is a copy that nobody needs any more; what is not found stays for ever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

RUN = 12  # letters; a Chinese character counts for two
LONGEST = 20_000  # characters of one text that are looked at
_SPACE = re.compile(r"\s+")


class Words:
    """`names` are looked for whole, `texts` in pieces."""

    def __init__(self, names: Iterable[str], texts: Iterable[str] = ()) -> None:
        wanted = {plain(name) for name in names}
        self.names = sorted((n for n in wanted if _telling(n)), key=len, reverse=True)
        self._runs = {hash(run) for text in texts for run in _runs(plain(text[:LONGEST]))}
        edges = [f"{_edge(n, 0)}{re.escape(n)}{_edge(n, -1)}" for n in self.names]
        self._pattern = re.compile("|".join(edges), re.IGNORECASE) if edges else None

    def __bool__(self) -> bool:
        return bool(self._pattern or self._runs)

    def named_in(self, text: str) -> bool:
        """Whether a name, an address or a number of theirs stands in a text."""
        return bool(self._pattern and self._pattern.search(plain(text)))

    def without(self, text: str) -> str:
        """A text with a dash for each name, address and number of theirs."""
        return self._pattern.sub("–", text) if self._pattern else text

    def in_(self, text: str) -> bool:
        """Whether a text names them or repeats a piece of what was written."""
        flat = plain(text)
        if self._pattern and self._pattern.search(flat):
            return True
        return bool(self._runs) and any(hash(run) in self._runs for run in _runs(flat))


def plain(text: str) -> str:
    return _SPACE.sub(" ", text).strip().casefold()


def strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value; keys too: a custom field's name is a column of somebody's file."""
    match value:
        case str():
            yield value
        case dict():
            for key, part in value.items():
                yield str(key)
                yield from strings(part)
        case list() | tuple():
            for part in value:
                yield from strings(part)
        case bool() | None:
            return
        case int() | float():
            yield str(value)


def said(body: str | bytes) -> str:
    """What a stored body says: the texts of its JSON, or itself."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    if text[:1] in "[{":
        try:
            return "\n".join(strings(json.loads(text)))
        except (ValueError, RecursionError):
            return text
    return text


def _telling(name: str) -> bool:
    """Whether finding a name says anything: "a" and "12" do not."""
    if name.isascii():
        return len(name) >= 5 if name.isdigit() else len(name) >= 3
    return len(name) >= 2


def _edge(name: str, at: int) -> str:
    """ASCII names are whole words; Chinese has none."""
    character = name[at]
    if not (character.isascii() and character.isalnum()):
        return ""
    return "(?<![a-z0-9])" if at == 0 else "(?![a-z0-9])"


def _runs(text: str) -> Iterator[str]:
    """Every run of RUN letters."""
    weights = [1 if c < "\u2e80" else 2 for c in text]
    end = weight = 0
    for start in range(len(text)):
        while weight < RUN and end < len(text):
            weight += weights[end]
            end += 1
        if weight < RUN:
            return
        yield text[start:end]
        weight -= weights[start]
