"""Postings in few bytes: which ids bear a token, many tokens to a block, compressed.

    data = pack({"wjohn": array("I", [3, 9]), "wsmith": array("I", [3])})
    list(ids(data, "wjohn"))  # [3, 9]

A block holds its tokens in order, how many ids each has, and the ids as differences, byte by byte of equal
weight: the upper bytes are nearly all alike and cost nothing. 1.5 to 3 bytes an id, a row of a table takes 60.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate, chain
from operator import sub

Block = dict[str, "array[int]"]  # the token and its ids, in order
FULL = 640  # ids in a block, which is then 1 to 2 KB
_WORD = 4


def pack(block: Block) -> bytes:
    """A block's bytes."""
    tokens = sorted(block)
    names = "\n".join(tokens).encode()
    counts = array("I", [len(block[token]) for token in tokens])
    steps = array("I")
    for token in tokens:
        steps.extend(_steps(block[token]))
    return zlib.compress(
        len(names).to_bytes(_WORD, "little") + names + _planes(counts) + _planes(steps), level=3
    )


def unpack(data: bytes) -> Block:
    """The block again."""
    raw = zlib.decompress(data)
    names, counts, start = _head(raw)
    steps = _numbers(raw, start, sum(counts))
    block: Block = {}
    place = 0
    for token, count in zip(names, counts, strict=True):
        block[token] = array("I", accumulate(steps[place : place + count]))
        place += count
    return block


def ids(data: bytes, token: str) -> Iterable[int]:
    """The ids that the block has of a token."""
    raw = zlib.decompress(data)
    names, counts, start = _head(raw)
    at = bisect_left(names, token)
    if at == len(names) or names[at] != token:
        return ()
    return accumulate(_numbers(raw, start, sum(counts), sum(counts[:at]), counts[at]))


def beginning(data: bytes, letters: str) -> Iterator[int]:
    """The same of all tokens that begin with some letters, again and again where an id has several."""
    raw = zlib.decompress(data)
    names, counts, start = _head(raw)
    at, total = bisect_left(names, letters), sum(counts)
    while at < len(names) and names[at].startswith(letters):
        yield from accumulate(_numbers(raw, start, total, sum(counts[:at]), counts[at]))
        at += 1


def split(block: Block) -> Iterator[tuple[str, int, Block]]:
    """A block's parts of about the same size, none too full, each with its first token and id."""
    total = sum(map(len, block.values()))
    if not total:
        return
    most = room = -(-total // -(-total // FULL))
    part: Block = {}
    for token in sorted(block):
        left = block[token]
        while left:
            if not room:
                yield _begun(part)
                part, room = {}, most
            part[token] = left[:room]
            left = left[room:]
            room -= len(part[token])
    yield _begun(part)


def _begun(part: Block) -> tuple[str, int, Block]:
    token, numbers = next(iter(part.items()))
    return token, numbers[0], part


def _steps(found: array[int]) -> Iterable[int]:
    return map(sub, found, chain((0,), found))


def _planes(numbers: array[int]) -> bytes:
    """The lowest bytes of all, then the next …"""
    raw = _little(numbers).tobytes()
    return b"".join(raw[i::_WORD] for i in range(_WORD))


def _numbers(raw: bytes, start: int, total: int, skip: int = 0, count: int | None = None) -> array[int]:
    """Some of the numbers whose planes begin there."""
    count = total if count is None else count
    woven = bytearray(_WORD * count)
    for i in range(_WORD):
        place = start + i * total + skip
        woven[i::_WORD] = raw[place : place + count]
    numbers = array("I")
    numbers.frombytes(woven)
    return _little(numbers)


def _little(numbers: array[int]) -> array[int]:
    """The bytes of the numbers are kept as most machines have them."""
    if sys.byteorder == "big":
        numbers = array("I", numbers)
        numbers.byteswap()
    return numbers


def _head(raw: bytes) -> tuple[list[str], array[int], int]:
    """The tokens, how many ids each has, and where the ids begin."""
    end = _WORD + int.from_bytes(raw[:_WORD], "little")
    names = raw[_WORD:end].decode().split("\n")
    return names, _numbers(raw, end, len(names)), end + _WORD * len(names)
