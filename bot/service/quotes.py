"""What of a mail repeats our own words: found by comparing with what we sent, where the parser could only guess."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

LONG = 30  # letters: such a line alone is ours; shorter ones need a neighbour
SHORT = 8
LINES_LIMIT = 5_000
_UNLETTERED = re.compile(r"[\W_]+")
_INTRODUCES = re.compile(r"[:：]\s*[*_]*\s*$")
_DATED = re.compile(r"\d{1,4}\D{1,3}\d{1,2}|@")


def without_ours(text: str, sent: Iterable[str]) -> str:
    """Take our own lines out of a text, with the line that introduces them. All of it ours: left as it is."""
    known = {key for said in sent for line in said.splitlines() if len(key := _key(line)) >= 4}
    lines = text.splitlines()
    if not known or len(lines) > LINES_LIMIT:
        return text
    ours = _repeated(lines, known)
    if not any(ours):
        return text
    for place in range(1, len(lines)):
        if ours[place] and not ours[place - 1]:
            _introduction(lines, ours, place - 1)
    left = "\n".join(line for line, is_ours in zip(lines, ours, strict=True) if not is_ours)
    return re.sub(r"\n{3,}", "\n\n", left).strip() or text


def _repeated(lines: Sequence[str], known: set[str]) -> list[bool]:
    """One long line, or two short ones that follow each other; blank lines between them do not count."""
    weights = [len(key) if (key := _key(line)) in known else 0 for line in lines]
    texts = [n for n, line in enumerate(lines) if line.strip(" \t>|")]
    out = [False] * len(lines)
    for place, n in enumerate(texts):
        before = place > 0 and weights[texts[place - 1]] > 0
        after = place + 1 < len(texts) and weights[texts[place + 1]] > 0
        out[n] = (
            weights[n] >= LONG
            or ((before or after) and weights[n] >= SHORT)
            or (weights[n] > 0 and before and after)
        )
    return out


def _introduction(lines: Sequence[str], ours: list[bool], last: int) -> None:
    """Mark "On Monday … wrote:" above our words; it names a date or an address and ends in a colon."""
    while last >= 0 and not lines[last].strip():
        last -= 1
    for first in (last, last - 1):
        if first < 0 or ours[first]:
            return
        said = " ".join(lines[first : last + 1])
        if len(said) < 300 and _INTRODUCES.search(said) and _DATED.search(said):
            ours[first : last + 1] = [True] * (last + 1 - first)
            return


def _key(line: str) -> str:
    return _UNLETTERED.sub("", line[:2_000]).lower()
