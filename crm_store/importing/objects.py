"""JSON: a list of objects, one within an object, objects one after another, an object a line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TextIO

BLOCK = 65_536
LONGEST = 64 * BLOCK  # characters of one object


class Row(NamedTuple):
    """A row as the file has it. `broken` is a reason key when it could not be read."""

    line: int
    cells: dict[str, Any]
    broken: str = ""


_BEGINS_LIST = re.compile(r'"((?:[^"\\]|\\.)*)"\s*:\s*\[\s*\{')
_KEY = re.compile(r'"((?:[^"\\]|\\.)*)"\s*:')


def rows(stream: TextIO, first: str, known: Callable[[str], bool]) -> Iterator[Row]:
    """The objects of a stream that begins with `first`, a bracket or a brace."""
    if first == "[":
        yield from _scanned(stream, 1)
        return
    head = stream.read(BLOCK)
    stream.seek(0)
    if _is_wrapper(head, known):
        yield from _scanned(stream, 2)
    elif _is_a_line_each(head):
        yield from _lines(stream)
    else:
        yield from _scanned(stream, 0)


def _is_wrapper(head: str, known: Callable[[str], bool]) -> bool:
    """{"customers": [{…}, …], "page": 1}: nothing before the list is a column of ours."""
    found = _BEGINS_LIST.search(head)
    if found is None:
        return False
    before = head[: found.start()]
    if before.count("{") != 1 + before.count("}") or before.count("[") != before.count("]"):
        return False  # deeper in, as the lines of an order are
    return not any(known(name) for name in _KEY.findall(before))


def _is_a_line_each(head: str) -> bool:
    lines = [line.strip() for line in head.splitlines() if line.strip()]
    if len(lines) > 1:
        return lines[1].startswith("{") or _is_object(lines[0])
    return True


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _lines(stream: TextIO) -> Iterator[Row]:
    for line, text in enumerate(stream, start=1):
        if text.strip():
            yield _object(line, text)


def _scanned(stream: TextIO, inside: int) -> Iterator[Row]:
    """The objects that many brackets deep, without reading all of it: each is cut out by its braces. Where all
    stand on one line, they are counted."""
    on_one_line = "\n" not in stream.read(BLOCK).rstrip()
    stream.seek(0)
    for place, row in enumerate(_cut(stream, inside), start=1):
        yield row._replace(line=place) if on_one_line else row


def _cut(stream: TextIO, inside: int) -> Iterator[Row]:
    depth, quoted, escaped, bare, line, start = 0, False, False, False, 1, 1
    wanted = inside < 2  # of a wrapper, only what is in its list of objects
    piece: list[str] = []
    while block := stream.read(BLOCK):
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
                if depth == inside and wanted:
                    yield Row(line, {}, "json")  # a text among the objects
            elif character in "{[":
                depth += 1
                if inside == 2 and depth == 2:
                    wanted = character == "["
                if depth == inside + 1 and wanted:
                    begin, start = position, line
            elif character in "}]":
                depth -= 1
                if depth == inside and wanted:
                    piece.append(block[begin : position + 1])
                    yield _object(start, "".join(piece))
                    piece = []
                elif inside == 2 and depth == 1:
                    wanted = False
            elif depth == inside and wanted:
                was, bare = bare, not character.isspace() and character != ","
                if bare and not was:
                    yield Row(line, {}, "json")  # a number, a word
        if depth > inside and wanted:
            piece.append(block[begin:])
            if sum(map(len, piece)) > LONGEST:
                break
    if depth > inside and wanted:
        yield Row(start, {}, "json")


def _object(line: int, text: str) -> Row:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Row(line, {}, "json")
    if not isinstance(value, dict):
        return Row(line, {}, "json")
    return Row(line, value, "encoding" if "\ufffd" in text else "")
