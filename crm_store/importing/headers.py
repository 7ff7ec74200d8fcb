"""Which row of a table names its columns, and what separates them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

DELIMITERS = ",;\t|，；^~"
Known = Callable[[str], bool]


class Header(NamedTuple):
    """`after` is how many lines are before the first row of data."""

    names: list[str]
    delimiter: str
    after: int


def named(cell: object) -> str:
    """A column's name on one line."""
    return " ".join(str(cell).replace("\ufeff", "").split())


def header_among(rows: Sequence[Sequence[object]], known: Known) -> int:
    """The place of the row that names the columns: the first filled one, unless a title stands before it."""
    counts = [sum(1 for cell in row if (name := named(cell)) and known(name)) for row in rows]
    filled = [sum(1 for cell in row if named(cell)) for row in rows]
    first = next((place for place, count in enumerate(filled) if count), 0)
    best = max(range(len(rows)), key=lambda place: counts[place], default=first)
    is_title = not counts[first] or (filled[first] == 1 and counts[best] > 1)
    return best if is_title and counts[best] else first


def header_of(lines: list[str], known: Known, only: str = "") -> Header | None:
    """The header among the first lines of a file, by the delimiter that makes most sense of it; None when no
    delimiter makes any. `only` is the delimiter where the file names it."""
    best, found = (-1, -1), None
    for sign in only or DELIMITERS:
        records = list(_records(lines, sign))
        if not records:
            continue
        names, after = records[header_among([cells for cells, _ in records], known)]
        fit = sum(1 for name in names if named(name) and known(named(name))), len(names)
        if fit > best:
            best, found = fit, Header([named(name) for name in names], sign, after)
    return found


def _records(lines: list[str], delimiter: str) -> Iterator[tuple[list[str], int]]:
    """The records that begin there, each with how many lines it takes with those before it."""
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        try:
            cells = next(reader)
        except (StopIteration, csv.Error):
            return
        yield cells, reader.line_num
