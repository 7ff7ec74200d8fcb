"""How text is made comparable: width, case, accents and the Chinese script do not matter; and its parts."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from crm_store.search.han_table import SIMPLIFIED, TRADITIONAL

_LETTERS = {"ø": "o", "ł": "l", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d", "ŧ": "t"}
_READ_AS = str.maketrans(dict(zip(TRADITIONAL, SIMPLIFIED, strict=True)) | _LETTERS)
_APOSTROPHES = re.compile(r"(?<=\w)['’ʼ`´](?=\w)")
_CJK = "\u3005\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
_PART = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")
_IS_CJK = re.compile(rf"[{_CJK}]")
_IS_HAN = re.compile("[\u3007\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]+")
_CONTROL = re.compile(r"[\x00\ud800-\udfff]")  # what a database refuses


def fold(text: str) -> str:
    """The text without what does not matter to a search."""
    if text.isascii():
        return text.replace("\x00", "").lower()
    folded = unicodedata.normalize("NFKC", _CONTROL.sub("", text)).casefold()
    return "".join(map(_bare, folded)).translate(_READ_AS)


@cache
def _bare(character: str) -> str:
    """A letter without its accents, where they are not letters of their own (Latin, Greek, Cyrillic)."""
    code = ord(character)
    if 0x300 <= code < 0x370:
        return ""
    if code < 0xC0 or 0x530 <= code < 0x1E00 or code >= 0x2000:
        return character
    decomposed = unicodedata.normalize("NFD", character)
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def parts(text: str) -> list[str]:
    """Words, and runs of Chinese, Japanese or Korean characters, of a folded text."""
    if "'" in text or "’" in text or "´" in text or "`" in text or "ʼ" in text:
        text = _APOSTROPHES.sub("", text)
    return _PART.findall(text)


def is_cjk(part: str) -> bool:
    """Whether a part is a run of characters without spaces between words."""
    return _IS_CJK.match(part) is not None


def is_han(part: str) -> bool:
    return _IS_HAN.fullmatch(part) is not None


def name_parts(text: str) -> list[str]:
    """A name's parts; 张 三 is 张三: a space inside so short a name says nothing."""
    found = parts(fold(text))
    if len(found) > 1 and all(map(is_cjk, found)) and sum(map(len, found)) <= 4:
        return ["".join(found)]
    return found


def name_key(text: str) -> str:
    """A name as the index keeps it: names that differ only in width, case, accents or script are one."""
    return " ".join(name_parts(text))[:200].rstrip()
