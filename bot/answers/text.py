"""What a text is made of, for the index and the intents: words, stems, characters, concepts."""

from __future__ import annotations

import json
import re
import unicodedata
from functools import cache, lru_cache
from pathlib import Path

from bot.answers.han import simplify

TEXT_LIMIT = 2_000  # characters read of one message; questions are shorter, mails are not

_QUOTES = str.maketrans("’‘`´“”", "''''\"\"")
_TOKEN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\u3040-\u30ff]+|[^\W_]+(?:'[^\W_]+)*")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\u3040-\u30ff]")
_NOT = re.compile(r"\b(ca|wo|do|does|did|is|was|are|were|has|have|had|would|could|should)n'?t\b")
_TAIL = re.compile(r"'(?:s|m|re|ve|ll|d)\b")

# Words that say little about the topic: their weight is cut, they are not removed.
_STOP_WORDS = (
    "a an and any are as at be been but by can could did do does for from get got had has have he her "
    "here hi him his how i if in into is it its just let like may me might my myself need no not of off "
    "on one or our out please she so some than thank thanks that the their them then there these they "
    "this those to too up us very want was we were what when where which who why will with would yes "
    "you your hello hey dear am about also tell know kindly ok okay "
    "im ive id much more 的 了 吗 呢 我 你 您 们 "
    "是 在 有 和 就 都 也 啊 吧 呀 请 么 这 那 个 "
    "什 怎 能 会 要 想 请问 你们 我们 您好 你好 多 少 哪 些 几 什么 怎么 可以 一下 谢谢 "
)
STOP = frozenset(_STOP_WORDS.split())


def normalise(text: str) -> str:
    """Return lower case, half width, simplified characters and straight quotes, at most TEXT_LIMIT long."""
    return simplify(unicodedata.normalize("NFKC", text[:TEXT_LIMIT]).lower().translate(_QUOTES))


def tokens(normalised: str) -> list[str]:
    """Split into alphabetic words and runs of Chinese characters, in order."""
    expanded = _NOT.sub(lambda found: found[1] + " not", normalised)
    return _TOKEN.findall(_TAIL.sub("", expanded) if "'" in expanded else expanded)


def is_han(token: str) -> bool:
    """Tell whether a token is a run of Chinese characters."""
    return not token.isascii() and _HAN.match(token) is not None


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """Cut the commonest English endings, alike for all forms of a word: deliver, delivers, delivered."""
    if len(word) <= 3 or not word.isascii():
        return word
    if word.endswith("ies"):
        word = word[:-3] + "y"
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        rest = word[: -len(ending)]
        if word.endswith(ending) and len(rest) >= 3 and re.search("[aeiouy]", rest):
            word = rest[:-1] if rest[-1] == rest[-2] and rest[-1] not in "lsz" else rest
            break
    if len(word) > 4 and word.endswith("ly"):
        word = word[:-2]
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    if len(word) > 3 and word.endswith("y"):
        word = word[:-1] + "i"
    return word


@lru_cache(maxsize=20_000)
def _pieces(word: str) -> tuple[str, ...]:
    """Character n-grams of 3 to 5 within the word's edges: what survives a typing mistake."""
    edged = f" {word} "
    return tuple("c" + edged[i : i + n] for n in (3, 4, 5) for i in range(len(edged) - n + 1))


@cache
def _concepts() -> tuple[dict[str, str], dict[str, str], int]:
    """Read the synonyms: stems (joined by a space) to concept, Chinese words to concept, longest Chinese."""
    groups = json.loads((Path(__file__).parent / "data" / "synonyms.json").read_text("utf-8"))
    latin: dict[str, str] = {}
    han: dict[str, str] = {}
    for name, group in groups.items():
        for phrase in group:
            if is_han(phrase):
                han[simplify(phrase)] = name
            else:
                latin[" ".join(stem(word) for word in phrase.split())] = name
    return latin, han, max(map(len, han), default=0)


def terms(text: str) -> list[str]:
    """Return the index terms of a text, with repeats; the first letter says the kind.

    w word stem · b two stems · c characters of a word · 1 2 3 Chinese characters · k concept (synonyms)
    """
    latin, han, longest = _concepts()
    found: list[str] = []
    before = ""
    for token in tokens(normalise(text)):
        if is_han(token):
            length = len(token)
            for n in ("1", "2", "3"):
                size = int(n)
                found += [n + token[i : i + size] for i in range(length - size + 1)]
            found += _han_concepts(token, han, longest)
            before = ""
            continue
        root = stem(token)
        found.append("w" + root)
        if concept := latin.get(root):
            found.append("k" + concept)
        if before:
            pair = f"{before} {root}"
            found.append("b" + pair)
            if concept := latin.get(pair):
                found.append("k" + concept)
        if token not in STOP and len(token) < 30:
            found += _pieces(token)
        before = root
    return found


def concept_of(root: str) -> str:
    """Return the concept of one stem, "" for none."""
    return _concepts()[0].get(root, "")


def _han_concepts(run: str, concepts: dict[str, str], longest: int) -> list[str]:
    """Find the longest known words from left to right."""
    found: list[str] = []
    at = 0
    while at < len(run):
        for size in range(min(longest, len(run) - at), 1, -1):
            if concept := concepts.get(run[at : at + size]):
                found.append("k" + concept)
                at += size - 1
                break
        at += 1
    return found
