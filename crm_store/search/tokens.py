"""What names, words and texts are found by. Tokens are letters and digits only, so that no query can be broken.

The first letter tells kinds apart: w a word, p a reading in full, i initials, q a slurred reading; in the
index of words d a word without one of its letters and t three letters. Chinese characters stand for
themselves, with 0 for "any": 张0丰. k and four letters or digits stand for the whole name: they are what it is
found by where an index over all names in full would be larger than the names.
"""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

from crm_store.search import pinyin
from crm_store.search.fold import fold, is_cjk, is_han, parts

FORMAT = 3  # of everything below: another number, and the index is built anew
WORD_LIMIT = 40  # characters; what is longer is no word
TEXT_LIMIT = 50_000  # characters of a text that are found
INITIALS_LIMIT = 8
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def of_name(key: str) -> set[str]:
    """The tokens of a name as fold.name_key gave it."""
    found: set[str] = set()
    for part in key.split(" "):
        if not is_cjk(part):
            found.add("w" + part[:WORD_LIMIT])
            continue
        found.update(part)
        found.update(pairs(part))
        found.update(gapped(part))
        if is_han(part):
            for reading in pinyin.readings(part):
                if reading:
                    found.update("p" + letters for letters in pinyin.typed(reading))
                    found.add("i" + pinyin.initials(reading)[:INITIALS_LIMIT])
                    whole = "".join(reading[: pinyin.SYLLABLES])
                    if (heard := pinyin.slurred(whole)) != whole:
                        found.add("q" + heard)
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
    """What a short name is found by with one wrong character, beside its pairs: 张三丰 by 张0丰, 张三 by 张0, 0三."""
    if len(run) == 3:
        return [f"{run[0]}0{run[2]}"]
    return [f"{run[0]}0", f"0{run[1]}"] if len(run) == 2 else []


def of_key(key: str) -> str:
    """One token for a whole name; a few other names may share it."""
    number, letters = crc32(key.encode()) % 36**4, ""
    while len(letters) < 4:
        number, digit = divmod(number, 36)
        letters += _DIGITS[digit]
    return "k" + letters


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
