"""What names, words and texts are found by. Tokens are letters and digits only, so that no query can be broken.

The first letter tells kinds apart: w a word, p a reading in full, i initials, q a slurred reading; in the
index of words d a word without one of its letters and t three letters. Chinese characters stand for
themselves, with 0 for "any": 张0丰.
"""

from __future__ import annotations

from collections.abc import Iterable

from crm_store.search import pinyin
from crm_store.search.fold import fold, is_cjk, is_han, parts

FORMAT = 1  # of everything below: another number, and the index is built anew
WORD_LIMIT = 40  # characters; what is longer is no word
TEXT_LIMIT = 50_000  # characters of a text that are found
INITIALS_LIMIT = 8


def of_name(key: str) -> set[str]:
    """The tokens of a name as fold.name_key gave it."""
    found: set[str] = set()
    for part in key.split(" "):
        if not is_cjk(part):
            found.add("w" + part[:WORD_LIMIT])
            continue
        found.update(part)
        found.update(pairs(part))
        if len(part) in (2, 3):
            found.update(gapped(part))
        if is_han(part):
            for reading in pinyin.readings(part):
                if reading:
                    found.update("p" + letters for letters in pinyin.typed(reading))
                    found.add("i" + pinyin.initials(reading)[:INITIALS_LIMIT])
                    found.add("q" + pinyin.slurred("".join(reading[: pinyin.SYLLABLES])))
    found.discard("")
    return found


def words_of(key: str) -> list[str]:
    """The words of a name that can be misspelt; of user72a1 nobody remembers a part."""
    return [part[:WORD_LIMIT] for part in key.split(" ") if part.isalpha() and not is_cjk(part)]


def of_word(word: str) -> set[str]:
    """What a word is found by when it is misspelt: less one letter, and by threes."""
    return {"d" + shorter for shorter in shortened(word)} | {"t" + three for three in threes(word)}


def shortened(word: str) -> set[str]:
    """The word, and it without each of its letters: two words one mistake apart share one of these."""
    return {word, *(word[:i] + word[i + 1 :] for i in range(len(word)) if len(word) > 2)}


def threes(word: str) -> set[str]:
    return {word[i : i + 3] for i in range(len(word) - 2)}


def pairs(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(len(run) - 1)]


def gapped(run: str) -> list[str]:
    return [f"{run[:i]}0{run[i + 1 :]}" for i in range(len(run))]


def of_text(*texts: str) -> set[str]:
    """The tokens of a text: its words, and of Chinese every two neighbours and the last of each run."""
    found: set[str] = set()
    for text in texts:
        found |= _of_parts(parts(fold(text[:TEXT_LIMIT])))
    return found


def _of_parts(found: Iterable[str]) -> set[str]:
    tokens: set[str] = set()
    for part in found:
        if is_cjk(part):
            tokens.update(pairs(part))
            tokens.add(part[-1])
        else:
            tokens.add(part[:WORD_LIMIT])
    return tokens
