"""Read a file of rows, whatever its encoding, delimiter and form, a row at a time."""

from __future__ import annotations

import codecs
import csv
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

from crm_store.exporter import unguarded
from crm_store.importing import excel

SAMPLE = 65_536
CELL = (
    1 << 20
)  # characters: an article has more than the csv module's 131,072; a quote left open costs as many
csv.field_size_limit(CELL)
DELIMITERS = ",;\t|"
DOUBTFUL = 262_144  # bytes from the first that is not UTF-8 on which decide what it is instead
GB_USUAL = range(0xB0, 0xD8)  # lead bytes of the 3,755 most frequent characters
BIG5_USUAL = range(0xA4, 0xC7)  # … and of 5,401


class Row(NamedTuple):
    """A row as the file has it. `broken` is a reason key when it could not be read."""

    line: int
    cells: dict[str, Any]
    broken: str = ""


def read(path: Path, known: Callable[[str], bool] = lambda name: True) -> Iterator[Row]:
    """The rows of a CSV, JSON (a list of objects), JSON-lines or XLSX file. Raise OSError, ValueError.

    `known` tells whether a column's name means something: it decides between delimiters.
    """
    if excel.is_workbook(path):
        yield from (Row(line, cells) for line, cells in excel.rows(path))
        return
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
    """The one of utf-8, utf-16, gb18030, big5 and cp1252 that explains the bytes of the whole file."""
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
        stream.seek(0)
        good, rest = _well_formed(stream)
        if not rest:
            return "utf-8"
        rest += stream.read(DOUBTFUL)
    decoded = rest.decode("utf-8", "replace")
    bad = decoded.count("\ufffd")
    good += sum(character > "\x7f" for character in decoded) - bad
    if bad * 20 <= good:  # some damaged characters do not make it another encoding: their rows are reported
        return "utf-8"
    pairs, high = _pairs(rest)
    if pairs * 4 < high:
        return "cp1252"
    return "big5" if _usual(rest, "big5", BIG5_USUAL) > _usual(rest, "gb18030", GB_USUAL) else "gb18030"


def _well_formed(stream: BinaryIO) -> tuple[int, bytes]:
    """About how many characters beyond ASCII there are before the first that is not UTF-8, and the block with
    that one; b"" when there is none."""
    good = 0
    decoder = codecs.getincrementaldecoder("utf-8")()
    while block := stream.read(SAMPLE):
        before = decoder.getstate()[0]
        if block.isascii() and not before:
            continue
        try:
            good += (len(block) - len(decoder.decode(block))) // 2
        except UnicodeDecodeError:
            return good, before + block
    cut = decoder.getstate()[0]
    return good, cut


def _pairs(block: bytes) -> tuple[int, int]:
    """Count two high bytes together and all bytes over 127: in Latin text high bytes stand alone. Of Big5's
    characters three of five have two."""
    position = pairs = high = 0
    while position < len(block):
        if block[position] < 0x80:
            position += 1
            continue
        follower = block[position + 1] if position + 1 < len(block) else 0
        if 0xA1 <= block[position] <= 0xF9 and follower >= 0xA1:
            pairs, high, position = pairs + 1, high + 2, position + 2
        else:
            high, position = high + 1, position + 1
    return pairs, high


def _usual(block: bytes, encoding: str, leads: range) -> float:
    """Which share of the characters are of the frequent ones, which both character sets put together."""
    found = Counter(c for c in block.decode(encoding, "replace") if c > "\x7f")
    known = sum(n for c, n in found.items() if c.encode(encoding, "replace")[0] in leads)
    return known / max(1, found.total())


def _first_character(stream: TextIO) -> str:
    while character := stream.read(1):
        if not character.isspace() and character != "\ufeff":
            return character
    return ""


def _csv(stream: TextIO, known: Callable[[str], bool]) -> Iterator[Row]:
    start, head, delimiter = 0, "", ""
    while not head.strip():
        start += 1
        head = stream.readline(CELL + 1)
        if not head:
            return
        if (
            head[:4].lower() == "sep=" and len(head.strip()) == 5
        ):  # a spreadsheet's own line before the header
            delimiter, head = head[4], ""
    delimiter = delimiter or max(DELIMITERS, key=lambda sign: _fit(head, sign, known))
    reader = csv.reader(itertools.chain([head], stream), delimiter=delimiter)
    try:
        named = next(reader)  # may stand on several lines
    except csv.Error as error:
        raise ValueError(f"its first line names no columns: {error}") from error
    header = [" ".join(name.replace("\ufeff", "").split()) for name in named]
    width = len(header)
    plain = all(header) and len(set(header)) == width
    while True:
        line = start + reader.line_num
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield Row(line, {}, "csv")
            continue
        text = "".join(cells)
        if not text or text.isspace():
            continue
        if "'" in text:
            cells = list(map(unguarded, cells))
        broken = "encoding" if "\ufffd" in text else ""
        if len(cells) > width and any(cell.strip() for cell in cells[width:]):
            broken = "columns"
        row = dict(zip(header, cells, strict=False))
        if not plain:
            row = {}
            for name, cell in zip(header, cells, strict=False):
                if name and not row.get(name):  # of two columns of one name the first that is filled counts
                    row[name] = cell
        yield Row(line, row, broken)


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
    depth, quoted, escaped, bare, line, start = 0, False, False, False, 1, 1
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
                if depth == 1:
                    yield Row(line, {}, "json")  # a text among the objects
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
            elif depth == 1:
                was, bare = bare, not character.isspace() and character != ","
                if bare and not was:
                    yield Row(line, {}, "json")  # a number, a word
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
