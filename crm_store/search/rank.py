"""How well a name fits what somebody typed, from 0 to 100, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import permutations

from crm_store.search import pinyin, tokens
from crm_store.search.fold import is_cjk, is_han, name_parts

LEAST = 55.0  # what fits less is not shown
WORDS = 5  # that are tried in every order


class Asked:
    """What somebody typed, taken apart once."""

    def __init__(self, text: str) -> None:
        self.typed = text.strip()
        parts = name_parts(text[:200])[:8]
        self.key = " ".join(parts)
        self.words = tuple(part[: tokens.WORD_LIMIT] for part in parts if not is_cjk(part))
        self.run = "".join(part for part in parts if is_cjk(part))[:20]
        self.runs = sorted(part for part in parts if is_cjk(part))
        self.readings = [r for r in pinyin.readings(self.run) if r] if self.run and is_han(self.run) else []
        self.heard = {pinyin.slurred("".join(reading)) for reading in self.readings}
        self.letters = _letters(self.words)
        self.slurred = {pinyin.slurred(letters) for letters in self.letters}

    def __bool__(self) -> bool:
        return bool(self.key)

    def fits(self, key: str) -> tuple[float, str]:
        """How well a name's key fits, and why: one of the words' keys `why.*`."""
        if key == self.key:
            return 100.0, "exact"
        if self.run and not self.words and " " not in key and self.run in key:  # what most names are
            return self._inside(key), "part"
        found: list[tuple[float, str]] = []
        if self.run:
            found.append(self._as_characters(key))
        if self.words:
            spelt = self._as_words(key)
            found.append(max(spelt, self._as_pinyin(key)) if self.letters else spelt)
        if len(found) == 1:
            return found[0]
        return sum(score for score, _ in found) / 2, min(found)[1]

    def _as_words(self, key: str) -> tuple[float, str]:
        words = [part for part in key.split(" ") if not is_cjk(part)]
        if not words:
            return 0.0, "similar"
        joined = " ".join(self.words)
        if key.startswith(joined) and not self.run:
            return 97.0 - min(4.0, 0.2 * (len(key) - len(joined))), "prefix"
        left, total, weight = list(words), 0.0, 0
        for word in sorted(self.words, key=len, reverse=True):
            best, taken = 0.0, ""
            for other in left:
                like = likeness(word, other)
                if like > best:
                    best, taken = like, other
            if taken:
                left.remove(taken)
            total += best * len(word)
            weight += len(word)
        score = total / weight
        if (len(words) != len(self.words) or score < 0.8) and len(
            "".join(words)
        ) > 3:  # a space too many or few
            score = max(score, likeness("".join(self.words), "".join(words)) - 0.02)
        covered = 1 - sum(map(len, left)) / sum(map(len, words))
        why = "words" if score > 0.99 else "similar"
        return 93.0 * score + 4.0 * covered * score, why

    def _as_pinyin(self, key: str) -> tuple[float, str]:
        best = (0.0, "pinyin")
        for part in key.split(" "):
            if is_cjk(part) and is_han(part):
                best = max(
                    best, *(self._read_as(reading, i) for i, reading in enumerate(pinyin.readings(part)))
                )
        return best

    def _read_as(self, reading: tuple[str, ...], unlikely: int) -> tuple[float, str]:
        if not reading:
            return 0.0, "pinyin"
        full, first = "".join(reading), pinyin.initials(reading)
        best = (0.0, "pinyin")
        for place, letters in enumerate(self.letters):
            late = 0.5 * unlikely + place
            if letters == full:
                best = max(best, (96.0 - late, "pinyin"))
            elif letters == first:
                best = max(best, (88.0 - late, "initials"))
            elif letters == reading[0] + pinyin.initials(reading[1:]):
                best = max(best, (90.0 - late, "pinyin"))
            elif full.startswith(letters) and len(letters) > 1:
                best = max(best, (91.0 - late - 4 * (1 - len(letters) / len(full)), "pinyin"))
            elif letters in ("".join(reading[i:]) for i in range(1, len(reading))):
                best = max(best, (84.0 - late, "pinyin"))
            elif pinyin.slurred(full) == pinyin.slurred(letters):
                best = max(best, (86.0 - late, "pinyin"))
            elif first.startswith(letters):
                best = max(best, (78.0 - late - len(first), "initials"))
            elif len(letters) > 4 and best[0] < 80:
                best = max(best, (80.0 * likeness(letters, full) - late, "pinyin"))
        return best

    def _as_characters(self, key: str) -> tuple[float, str]:
        best = (0.0, "similar")
        runs = [part for part in key.split(" ") if is_cjk(part)]
        if len(self.runs) > 1 and sorted("".join(runs)) == sorted("".join(self.runs)):
            return 94.0, "words"
        for run in runs:
            if self.run in run:
                best = max(best, (self._inside(run), "part"))
                continue
            best = max(best, self._heard_as(run), self._written_as(run))
        return best

    def _inside(self, run: str) -> float:
        place = 95.0 if run.startswith(self.run) else 93.0
        return place - min(6.0, 0.4 * (len(run) - len(self.run)))

    def _heard_as(self, run: str) -> tuple[float, str]:
        if not self.readings or not is_han(run):
            return 0.0, "sound"
        same = sum(a == b for a, b in zip(self.run, run, strict=False)) / max(len(run), len(self.run))
        best = 0.0
        for reading in pinyin.readings(run):
            if reading in self.readings:
                best = max(best, 86.0 + 5.0 * same)
            elif any(reading[: len(asked)] == asked for asked in self.readings):
                best = max(best, 74.0 + 5.0 * same)
            elif pinyin.slurred("".join(reading)) in self.heard:
                best = max(best, 80.0 + 5.0 * same)
        return best, "sound"

    def _written_as(self, run: str) -> tuple[float, str]:
        if sorted(run) == sorted(self.run):
            return 87.0, "similar"
        if min(len(run), len(self.run)) < 2:
            return 0.0, "similar"
        fewer = 0.0 if len(run) == len(self.run) else 2.0  # a wrong character is likelier than one too few
        return 50.0 + 45.0 * (likeness(self.run, run) - 0.25) - fewer, "similar"


def likeness(a: str, b: str) -> float:
    """From 0 to 1: by the fewest letters to insert, drop, change or swap; a beginning counts as such."""
    if a == b:
        return 1.0
    if not a or not b:
        return 0.0
    like: float = _osa()(a, b)
    if a[0] == b[0]:
        like += 0.02
    if len(a) > 1 and b.startswith(a):
        like = max(like, 0.78 + 0.2 * len(a) / len(b))
    elif len(a) == 1 and b.startswith(a):
        like = max(like, 0.7)
    return min(like, 0.99)


@lru_cache(maxsize=1)
def _osa() -> Callable[[str, str], float]:
    # 40 ms of import; only whoever searches by name pays it
    from rapidfuzz.distance import OSA

    return OSA.normalized_similarity


def _letters(words: Sequence[str]) -> tuple[str, ...]:
    """What could be pinyin: the words in the order given, then in others ("San Zhang", "san feng zhang")."""
    if not words or len(words) > WORDS or not all(word.isascii() and word.isalpha() for word in words):
        return ()
    turned = [words, (*words[-1:], *words[:-1]), (*words[1:], *words[:1])]
    if len(words) == 3:
        turned += list(permutations(words))
    return tuple(dict.fromkeys("".join(some) for some in turned if sum(map(len, some)) <= 30))
