"""How Chinese names are read, and the ways in which people type that: zhangsanfeng, sanfeng, zsf, zhangsf."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from importlib.util import find_spec
from itertools import islice, product
from pathlib import Path
from unicodedata import normalize

READINGS = 4  # of a name whose characters have several
SYLLABLES = 4  # that one token takes: of a company's long name every part is found, not every length

_TONES = "\u0300\u0301\u0304\u030c"  # but not the dots of ü

# Surnames that are read in a way of their own.
_SURNAMES = {
    "曾": "zeng", "单": "shan", "解": "xie", "仇": "qiu", "区": "ou", "查": "zha", "盖": "ge", "朴": "piao",
    "任": "ren", "华": "hua", "种": "chong", "重": "chong", "尉": "wei", "翟": "zhai", "员": "yun", "贠": "yun",
    "召": "shao", "折": "she", "黑": "he", "缪": "miao", "秘": "bi", "冼": "xian", "繁": "po", "乐": "yue",
    "葛": "ge", "宁": "ning", "卜": "bu", "覃": "qin", "柏": "bai", "盛": "sheng", "石": "shi", "车": "che",
    "沈": "shen", "臧": "zang", "晁": "chao", "那": "na", "万": "wan", "令": "ling", "祭": "zhai",
}  # fmt: skip
_COMPOUND = {"尉迟": ["yu", "chi"], "长孙": ["zhang", "sun"], "澹台": ["tan", "tai"], "万俟": ["mo", "qi"]}
# Characters of given names that are read in two ways in earnest, the more frequent first.
_BOTH = {
    "乐": "le yue", "长": "chang zhang", "行": "xing hang", "朝": "chao zhao", "重": "chong zhong",
    "茜": "qian xi", "晟": "sheng cheng", "柏": "bai bo", "盛": "sheng cheng", "曾": "zeng ceng",
    "翟": "zhai di", "藏": "cang zang", "单": "shan dan", "俞": "yu shu", "覃": "qin tan", "石": "shi dan",
    "琢": "zhuo zuo", "婷": "ting", "薇": "wei", "祺": "qi", "强": "qiang jiang", "省": "sheng xing",
    "夏": "xia", "都": "du dou", "发": "fa", "干": "gan", "了": "le liao", "和": "he", "为": "wei",
    "传": "chuan zhuan", "调": "diao tiao", "参": "shen can", "少": "shao", "弹": "dan tan", "会": "hui",
    "降": "jiang xiang", "系": "xi", "数": "shu", "好": "hao", "得": "de", "地": "di", "的": "de",
    "女": "nv", "绿": "lv", "卓": "zhuo", "圳": "zhen", "六": "liu lu", "秘": "mi bi", "大": "da dai",
}  # fmt: skip


@cache
def _of_character(character: str) -> tuple[str, ...]:
    if character in _BOTH:
        return tuple(_BOTH[character].split())
    said = _table().get(str(ord(character)), "").split(",")[0]
    bare = "".join(c for c in normalize("NFD", said) if c not in _TONES)
    return (normalize("NFC", bare).replace("ü", "v").replace("ê", "e"),)


@cache
def _table() -> dict[str, str]:
    """Each character's readings by its code, from pypinyin's table. Importing pypinyin itself reads the
    phrases too: 0.8 s in which nothing else runs, for a dictionary that names are not in; this takes 0.1."""
    spec = find_spec("pypinyin")
    for directory in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(directory) / "pinyin_dict.json"
        if path.exists():
            found: dict[str, str] = json.loads(path.read_text("utf-8"))
            return found
    from pypinyin.pinyin_dict import pinyin_dict

    return {str(code): said for code, said in pinyin_dict.items()}


@lru_cache(maxsize=4096)
def readings(run: str) -> list[tuple[str, ...]]:
    """The ways to read a run of Chinese characters, a syllable each; the most likely first."""
    if not run:
        return []
    options = [_of_character(character) for character in run]
    if len(run) >= 2 and run[:2] in _COMPOUND:
        options[:2] = [(syllable,) for syllable in _COMPOUND[run[:2]]]
    elif run[0] in _SURNAMES:
        surname = _SURNAMES[run[0]]
        options[0] = tuple(dict.fromkeys((surname, *options[0])))
    return [tuple(filter(None, reading)) for reading in islice(product(*options), READINGS)]


def typed(reading: tuple[str, ...]) -> set[str]:
    """What people type for it in full: from every syllable on, and the surname with the others' initials."""
    found = {"".join(reading[start : start + SYLLABLES]) for start in range(len(reading))}
    if 1 < len(reading) <= SYLLABLES:
        found.add(reading[0] + initials(reading[1:]))
    return found


def initials(reading: tuple[str, ...]) -> str:
    return "".join(syllable[0] for syllable in reading)


@lru_cache(maxsize=16384)
def slurred(letters: str) -> str:
    """The letters without what many speakers do not tell apart (zh and z, -ng and -n, ü and u)."""
    for said, heard in (
        ("zh", "z"),
        ("ch", "c"),
        ("sh", "s"),
        ("ng", "n"),
        ("v", "u"),
        ("lyu", "lu"),
        ("nyu", "nu"),
    ):
        letters = letters.replace(said, heard)
    return letters
