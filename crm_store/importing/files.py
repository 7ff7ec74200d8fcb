"""Read a file of rows, whatever its encoding, delimiter and form, a row at a time."""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from crm_store.exporter import unguarded
from crm_store.importing import excel, objects
from crm_store.importing.encodings import encoding_of
from crm_store.importing.headers import header_of
from crm_store.importing.objects import Row

__all__ = ["CELL", "HEAD", "NoTable", "Row", "encoding_of", "read"]

HEAD = 30  # lines among which the header is
CELL = (
    1 << 20
)  # characters: an article has more than the csv module's 131,072; a quote left open costs as many
csv.field_size_limit(CELL)
_AS_TEXT = re.compile(r'="([^"]*)"')  # how spreadsheets are told to keep the zeros of a number


# packed files, pictures, pages: what their first bytes are
_NO_TABLES = re.compile(
    rb"\x1f\x8b|%PDF|\x89PNG|\xff\xd8\xff|GIF8|Rar!|7z\xbc\xaf|BZh|SQLite format|\s*<(?:!doctype|html|table|\?xml)",
    re.IGNORECASE,
)


class NoTable(ValueError):
    """A file of another kind."""


def read(path: Path, known: Callable[[str], bool] = lambda name: True) -> Iterator[Row]:
    """The rows of a CSV, JSON (a list of objects), JSON-lines or XLSX file. Raise OSError, ValueError,
    NoTable for what is another kind of file.

    `known` tells whether a column's name means something: it decides between delimiters, and what is a title.
    """
    if excel.is_workbook(path):
        yield from (Row(line, cells) for line, cells in excel.rows(path, known))
        return
    with path.open("rb") as raw:
        if _NO_TABLES.match(raw.read(64).removeprefix(codecs.BOM_UTF8)):
            raise NoTable("it is a packed file, a picture or a page, no table")
    with path.open(encoding=encoding_of(path), errors="replace", newline="") as stream:
        first = _first_character(stream)
        stream.seek(0)
        if first and first in "[{":
            yield from objects.rows(stream, first, known)
        else:
            yield from _csv(stream, known)


def _first_character(stream: TextIO) -> str:
    while character := stream.read(1):
        if not character.isspace() and character != "\ufeff":
            return character
    return ""


class _Lines:
    """The lines of a stream. Those of the row that is being read can be given back."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = iter(stream)
        self._back: list[str] = []  # the next one last
        self.taken: list[str] = []
        self.number = 0
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._back:
            line = self._back.pop()
        else:
            try:
                line = next(self._stream)
            except StopIteration:
                self.ended = True
                raise
        self.number += 1
        self.taken.append(line)
        return line

    def head(self) -> list[str]:
        """The first lines, which stay to be read."""
        lines = list(itertools.islice(self, HEAD))
        self.give_back(0)
        return lines

    def skip(self, count: int) -> None:
        for _ in itertools.islice(self, count):
            pass
        self.taken.clear()

    def give_back(self, after: int) -> None:
        """All that was taken but the first `after` lines."""
        back = self.taken[after:]
        self._back += reversed(back)
        self.number -= len(back)
        self.taken.clear()
        self.ended = False


def _csv(stream: TextIO, known: Callable[[str], bool]) -> Iterator[Row]:
    lines = _Lines(stream)
    head, delimiter, before = lines.head(), "", 0
    for text in head:
        if text[:4].lower() == "sep=" and len(text.strip("\ufeff\r\n ")) == 5:  # a spreadsheet's own line
            delimiter, before = text[4], before + 1
        elif text.strip():
            break
        else:
            before += 1
    if before == len(head):
        return
    found = header_of(head[before:], known, delimiter)
    if found is None:
        raise ValueError("its first line names no columns")
    header, width = found.names, len(found.names)
    lines.skip(before + found.after)
    plain = all(header) and len(set(header)) == width
    reader = csv.reader(lines, delimiter=found.delimiter)
    while True:
        line = lines.number + 1
        lines.taken.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield Row(line, {}, "quote" if len(lines.taken) > 1 else "cell")
            lines.give_back(1)
            continue
        if (len(lines.taken) > 1 or lines.ended) and not _is_quoted(lines.taken, found.delimiter):
            yield Row(line, {}, "quote")
            lines.give_back(1)  # what the quote that is not closed took with it are rows of their own
            continue
        text = "".join(cells)
        if not text or text.isspace():
            continue
        if "'" in text or '="' in text:
            cells = list(map(_said, cells))
        broken = "encoding" if "\ufffd" in text else ""
        if len(cells) > width and any(cell.strip() for cell in cells[width:]):
            broken = "columns"
        row = dict(zip(header, cells, strict=False))
        if not plain:
            row = {}
            for name, cell in zip(header, cells, strict=False):
                if name and not row.get(name):  # of two columns of one name the first that is filled counts
                    row[name] = cell
        elif cells[0] == header[0] and [" ".join(cell.split()) for cell in cells] == header:
            continue  # files put together have their header again
        yield Row(line, row, broken)


def _is_quoted(lines: list[str], delimiter: str) -> bool:
    """Whether what stands on several lines is one record by the rules, not by a quote that was left open."""
    try:
        return len(list(csv.reader(lines, delimiter=delimiter, strict=True))) <= 1
    except csv.Error:
        return False


def _said(cell: str) -> str:
    found = _AS_TEXT.fullmatch(cell.strip())
    return found[1] if found else unguarded(cell)
