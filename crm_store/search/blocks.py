"""Postings in few bytes: which ids bear a token, many tokens to a block, compressed.

    data = pack({"wjohn": array("I", [3, 9]), "wsmith": array("I", [3])})
    list(Opened(data).ids("wjohn"))  # [3, 9]

A block holds its tokens in order, how many ids each has, and the ids as differences, byte by byte of equal
weight: the upper bytes are nearly all alike and cost nothing. 1.5 to 3 bytes an id, a row of a table takes 60.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate, chain, pairwise
from operator import sub

Block = dict[str, "array[int]"]  # the token and its ids, in order
FULL = 256  # ids in a block, which is then about 1 KB: a search opens a dozen or two
_WORD = 4


def pack(block: Block) -> bytes:
    """A block's bytes."""
    tokens = sorted(block)
    names = "\n".join(tokens).encode()
    counts = array("I", [len(block[token]) for token in tokens])
    numbers = array("i")
    numbers.frombytes(b"".join(block[token].tobytes() for token in tokens))
    steps = array("i", map(sub, numbers, chain((0,), numbers)))
    place = 0
    for count in counts:  # the first id of a token stands as it is
        steps[place] = numbers[place]
        place += count
    return zlib.compress(
        len(names).to_bytes(_WORD, "little") + names + _planes(counts) + _planes(steps), level=3
    )


def unpack(data: bytes) -> Block:
    """The block again."""
    return dict(Opened(data).items())


class Opened:
    """A block that is asked for some of its tokens: what each has is only worked out then."""

    __slots__ = ("_ends", "_raw", "_start", "tokens")

    def __init__(self, data: bytes) -> None:
        self._raw = raw = zlib.decompress(data)
        end = _WORD + int.from_bytes(raw[:_WORD], "little")
        self.tokens = raw[_WORD:end].decode().split("\n")
        size = len(self.tokens)
        self._ends = list(accumulate(_numbers(raw, end, size, 0, size), initial=0))  # of each one's ids
        self._start = end + _WORD * size

    def ids(self, token: str) -> Iterable[int]:
        """The ids of a token."""
        at = bisect_left(self.tokens, token)
        if at == len(self.tokens) or self.tokens[at] != token:
            return ()
        return self._at(at)

    def beginning(self, letters: str) -> Iterator[int]:
        """The same of all tokens that begin with some letters, again and again where an id has several."""
        at = bisect_left(self.tokens, letters)
        while at < len(self.tokens) and self.tokens[at].startswith(letters):
            yield from self._at(at)
            at += 1

    def items(self) -> Iterator[tuple[str, array[int]]]:
        """All tokens, each with its ids."""
        steps = _numbers(self._raw, self._start, self._ends[-1], 0, self._ends[-1])
        for token, (first, last) in zip(self.tokens, pairwise(self._ends), strict=True):
            yield token, array("I", accumulate(steps[first:last]))

    def _at(self, at: int) -> Iterable[int]:
        first, last = self._ends[at], self._ends[at + 1]
        return accumulate(_numbers(self._raw, self._start, self._ends[-1], first, last - first))


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


def _planes(numbers: array[int]) -> bytes:
    """The lowest bytes of all, then the next …"""
    raw = _little(numbers).tobytes()
    return b"".join(raw[i::_WORD] for i in range(_WORD))


def _numbers(raw: bytes, start: int, total: int, skip: int, count: int) -> array[int]:
    """Some of the numbers whose planes begin there."""
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
