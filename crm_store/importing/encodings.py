"""Which encoding a file of text is in, told from its bytes."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from pathlib import Path
from typing import BinaryIO

SAMPLE = 65_536
DOUBTFUL = 262_144  # bytes from the first that is not UTF-8 on which decide what it is instead
GB_USUAL = range(0xB0, 0xD8)  # lead bytes of the 3,755 most frequent characters
BIG5_USUAL = range(0xA4, 0xC7)  # … and of 5,401
USUAL = 0.5  # share of frequent characters that Chinese text has at least, names and addresses too
KANA = re.compile("[\u3041-\u30fe]")
_CYRILLIC_WORD = re.compile("[\u0410-\u042fЁ]?[\u0430-\u044fё]{2,}")


def encoding_of(path: Path) -> str:
    """The one of utf-8, utf-16, utf-32, gb18030, big5, cp932, cp1251 and cp1252 that explains the bytes
    of the whole file."""
    with path.open("rb") as stream:
        sample = stream.read(SAMPLE)
        if marked := _marked(sample):
            return marked
        even, odd = sample[0::2].count(0), sample[1::2].count(0)
        if odd > len(sample) // 8 and odd > even:
            return "utf-16-le"
        if even > len(sample) // 8:
            return "utf-16-be"
        stream.seek(0)
        good, rest = _well_formed(stream)
        if not rest:
            return "utf-8"
        rest += stream.read(DOUBTFUL)
    decoded = rest.decode("utf-8", "replace")
    bad = decoded.count("\ufffd")
    good += sum(character > "\x7f" for character in decoded) - bad
    if bad * 20 <= good:  # some damaged characters do not make it another encoding: their rows are reported
        return "utf-8"
    return _of_a_country(rest)


def _marked(sample: bytes) -> str:
    if sample.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if sample.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):  # before UTF-16, which begins alike
        return "utf-32"
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return ""


def _of_a_country(block: bytes) -> str:
    if _is_japanese(block):
        return "cp932"
    pairs, high = _pairs(block)
    if pairs * 4 < high:
        return "cp1252"
    big5, gb = _usual(block, "big5", BIG5_USUAL), _usual(block, "gb18030", GB_USUAL)
    if max(big5, gb) < USUAL and _is_russian(block):
        return "cp1251"
    return "big5" if big5 > gb else "gb18030"


def _well_formed(stream: BinaryIO) -> tuple[int, bytes]:
    """About how many characters beyond ASCII there are before the first that is not UTF-8, and the block with
    that one; b"" when there is none."""
    good = 0
    decoder = codecs.getincrementaldecoder("utf-8")()
    while block := stream.read(SAMPLE):
        before = decoder.getstate()[0]
        if block.isascii() and not before:
            continue
        try:
            good += (len(block) - len(decoder.decode(block))) // 2
        except UnicodeDecodeError:
            return good, before + block
    cut = decoder.getstate()[0]
    return good, cut


def _is_japanese(block: bytes) -> bool:
    """Much of it is kana, which the others put where next to nothing is."""
    high = [c for c in block.decode("cp932", "replace") if c > "\x7f"]
    kana = sum(1 for c in high if KANA.match(c))
    return kana * 5 > len(high) and high.count("\ufffd") * 20 <= len(high)


def _is_russian(block: bytes) -> bool:
    """As cp1251 nearly all of it is words of small letters."""
    high = sum(byte > 0x7F for byte in block)
    return sum(map(len, _CYRILLIC_WORD.findall(block.decode("cp1251", "replace")))) > 0.7 * high


def _pairs(block: bytes) -> tuple[int, int]:
    """Count two high bytes together and all bytes over 127: in Latin text high bytes stand alone. Of Big5's
    characters three of five have two."""
    position = pairs = high = 0
    while position < len(block):
        if block[position] < 0x80:
            position += 1
            continue
        follower = block[position + 1] if position + 1 < len(block) else 0
        if 0xA1 <= block[position] <= 0xF9 and follower >= 0xA1:
            pairs, high, position = pairs + 1, high + 2, position + 2
        else:
            high, position = high + 1, position + 1
    return pairs, high


def _usual(block: bytes, encoding: str, leads: range) -> float:
    """Which share of the characters are of the frequent ones, which both character sets put together."""
    found = Counter(c for c in block.decode(encoding, "replace") if c > "\x7f")
    known = sum(n for c, n in found.items() if c.encode(encoding, "replace")[0] in leads)
    return known / max(1, found.total())
