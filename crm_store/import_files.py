"""Read a file of rows, whatever its encoding, delimiter and form, a row at a time."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from crm_store.exporter import unguarded

SAMPLE = 65_536
DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Row:
    """A row as the file has it. `broken` is a reason key when it could not be read."""

    line: int
    cells: dict[str, Any]
    broken: str = ""


def read(path: Path, known: Callable[[str], bool] = lambda name: True) -> Iterator[Row]:
    """The rows of a CSV, JSON (a list of objects) or JSON-lines file. Raise OSError.

    `known` tells whether a column's name means something: it decides between delimiters.
    """
    with path.open(encoding=encoding_of(path), errors="replace", newline="") as stream:
        first = _first_character(stream)
        stream.seek(0)
        if first == "[":
            yield from _json_array(stream)
        elif first == "{":
            yield from _json_lines(stream)
        else:
            yield from _csv(stream, known)


def encoding_of(path: Path) -> str:
    """The one of utf-8, utf-16, gb18030 and cp1252 that explains the bytes of the whole file."""
    with path.open("rb") as stream:
        sample = stream.read(SAMPLE)
    if sample.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > len(sample) // 8 and odd > even:
        return "utf-16-le"
    if even > len(sample) // 8:
        return "utf-16-be"
    good, bad, pairs, high = 0, 0, 0, 0
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with path.open("rb") as stream:
        while block := stream.read(SAMPLE):
            if block.isascii() and not decoder.getstate()[0]:
                continue
            decoded = decoder.decode(block)
            broken = decoded.count("\ufffd")
            bad += broken
            good += sum(character > "\x7f" for character in decoded) - broken
            pairs, high = _gb_pairs(block, pairs, high)
    if bad * 20 <= good:  # some damaged characters do not make it another encoding: their rows are reported
        return "utf-8"
    return "gb18030" if pairs * 4 >= high else "cp1252"


def _gb_pairs(block: bytes, pairs: int, high: int) -> tuple[int, int]:
    """Count the characters of GB 2312 and all bytes over 127: in Latin text high bytes stand alone."""
    position = 0
    while position < len(block):
        if block[position] < 0x80:
            position += 1
            continue
        follower = block[position + 1] if position + 1 < len(block) else 0
        if 0xA1 <= block[position] <= 0xF7 and follower >= 0xA1:
            pairs, high, position = pairs + 1, high + 2, position + 2
        else:
            high, position = high + 1, position + 1
    return pairs, high


def _first_character(stream: TextIO) -> str:
    while character := stream.read(1):
        if not character.isspace() and character != "\ufeff":
            return character
    return ""


def _csv(stream: TextIO, known: Callable[[str], bool]) -> Iterator[Row]:
    header: list[str] = []
    start = 0
    head = ""
    while not head.strip():
        start += 1
        head = stream.readline()
        if not head:
            return
    delimiter = max(DELIMITERS, key=lambda sign: _fit(head, sign, known))
    header = [name.strip().strip("\ufeff") for name in next(csv.reader([head], delimiter=delimiter))]
    reader = csv.reader(stream, delimiter=delimiter)
    while True:
        line = start + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield Row(line, {}, "csv")
            continue
        if not any(cell.strip() for cell in cells):
            continue
        surplus = [cell for cell in cells[len(header) :] if cell.strip()]
        row = {name: unguarded(cell) for name, cell in zip(header, cells, strict=False) if name}
        damaged = any("\ufffd" in cell for cell in cells)
        yield Row(line, row, "columns" if surplus else "encoding" if damaged else "")


def _fit(head: str, delimiter: str, known: Callable[[str], bool]) -> tuple[int, int]:
    try:
        names = next(csv.reader([head], delimiter=delimiter))
    except csv.Error:
        return 0, 0
    return sum(known(name) for name in names), len(names)


def _json_lines(stream: TextIO) -> Iterator[Row]:
    for line, text in enumerate(stream, start=1):
        if text.strip():
            yield _object(line, text)


def _json_array(stream: TextIO) -> Iterator[Row]:
    """The objects of one long list, without reading it whole: each is cut out by its braces."""
    depth, quoted, escaped, line, start = 0, False, False, 1, 1
    piece: list[str] = []
    while block := stream.read(SAMPLE):
        begin = 0
        for position, character in enumerate(block):
            if character == "\n":
                line += 1
            if quoted:
                if escaped:
                    escaped = False
                elif character == "\\":
                    escaped = True
                elif character == '"':
                    quoted = False
            elif character == '"':
                quoted = True
            elif character in "{[":
                depth += 1
                if depth == 2:
                    begin, start = position, line
            elif character in "}]":
                depth -= 1
                if depth == 1:
                    piece.append(block[begin : position + 1])
                    yield _object(start, "".join(piece))
                    piece = []
        if depth > 1:
            piece.append(block[begin:])
            if sum(map(len, piece)) > 64 * SAMPLE:
                break
    if depth > 1:
        yield Row(start, {}, "json")


def _object(line: int, text: str) -> Row:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Row(line, {}, "json")
    if not isinstance(value, dict):
        return Row(line, {}, "json")
    return Row(line, value, "encoding" if "\ufffd" in text else "")
