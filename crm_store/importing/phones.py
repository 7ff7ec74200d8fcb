"""Phone numbers into E.164: at once where the form is plain, by phonenumbers where it is not.

phonenumbers takes 50 to 90 µs a number. What is written with its country code, or in full as people of a
country write it, is decided here by the same tables (how long numbers of a calling code may be, what stands
before a national one) in 2; a property test compares both.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any, NamedTuple

SHORTEST = 100_000  # below it numbers are somebody's only in the smallest countries
_SIGNS = str.maketrans("", "", " -–().\u00a0")
_CHINESE_MOBILE = re.compile(r"1[3-9]\d{9}")
_PLAIN = re.compile(r"\+?\d{7,15}")


class _Shape(NamedTuple):
    """What numbers of a region look like. `before` matches what is not part of the number."""

    code: str
    lengths: frozenset[int]
    before: re.Pattern[str] | None


def plain(text: str, region: str) -> str:
    """The number in E.164 if that is beyond doubt, else ""."""
    if not text.isascii() or text.endswith(".0"):
        return ""
    digits = text.translate(_SIGNS)
    if not _PLAIN.fullmatch(digits):
        return ""
    if digits[0] == "+":
        code = _code_of(digits[1:4])
        shape = _shape_of_code(code) if code else None
        national = digits[1 + len(code) :]
    else:
        if region in ("", "CN") and _CHINESE_MOBILE.fullmatch(digits):
            return "+86" + digits  # nobody else writes a mobile number like this
        shape = _shape_of_region(region) if region else None
        national = digits
        if digits.startswith(("00", "011")):
            return ""
    if (
        shape is None
        or national[0] == "0"
        or int(national) < SHORTEST
        or len(national) not in shape.lengths
        or (shape.before is not None and shape.before.match(national))
        or (digits[0] != "+" and national.startswith(shape.code))
    ):
        return ""
    return f"+{shape.code}{national}"


def phone(value: str, region: str) -> str:
    """The number in E.164, "" for what is none. `region` reads those without a country code."""
    import phonenumbers  # its metadata takes 40 ms; a file without phones does not pay for it

    text = unicodedata.normalize("NFKC", value).removesuffix(".0")
    digits = re.sub(r"\D", "", text)
    if not text.startswith(("+", "00")) and region in ("", "CN") and _CHINESE_MOBILE.fullmatch(digits):
        return f"+86{digits}"
    if text.startswith("00") and not region:
        text = f"+{digits[2:]}"
    try:
        number = phonenumbers.parse(text, region or None)
    except phonenumbers.NumberParseException:
        return ""
    if not phonenumbers.is_possible_number(number) or number.extension:
        return ""
    if (number.national_number or 0) < SHORTEST and not phonenumbers.is_valid_number(number):
        return ""  # possible in Germany is what one dials within a town: 12
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def is_valid(number: str) -> bool:
    """Whether a number in E.164 is one that is given to anybody, not only of a possible length."""
    import phonenumbers

    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return False


def country_of(number: str) -> str:
    """The ISO code of the country a number in E.164 belongs to, "" where that is not known."""
    code = _code_of(number[1:4])
    # who shares +1, +7 or +44 is told by the digits that follow: Canada, Kazakhstan, Jersey
    return _country(code, number[1 + len(code) : 5 + len(code)] if code in ("1", "7", "44") else "")


@lru_cache(maxsize=20_000)
def _country(code: str, following: str) -> str:
    import phonenumbers

    match code:
        case "":
            return ""
        case "1":
            of_area = phonenumbers.parse(f"+1{following[:3]}2345678")
            return _known(phonenumbers.region_code_for_number(of_area))
        case "7":
            return "KZ" if following[:1] in ("6", "7") else "RU"
        case "44":
            return {"1481": "GG", "1534": "JE", "1624": "IM"}.get(following, "GB")
    return _known(phonenumbers.region_code_for_country_code(int(code)))


def _known(region: str | None) -> str:
    return region if region and region.isalpha() and region != "ZZ" else ""


@lru_cache(maxsize=1000)
def _code_of(beginning: str) -> str:
    """The calling code that digits begin with, "" for none."""
    import phonenumbers

    if beginning.startswith("0"):  # no code does: int() would read 031 as the Netherlands
        return ""
    for length in (1, 2, 3):
        if int(beginning[:length] or 0) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return beginning[:length]
    return ""


@lru_cache(maxsize=400)
def _shape_of_code(code: str) -> _Shape | None:
    import phonenumbers

    region = phonenumbers.region_code_for_country_code(int(code))
    if region == "001":
        return None
    return _shape(phonenumbers.PhoneMetadata.metadata_for_region(region, None))


@lru_cache(maxsize=400)
def _shape_of_region(region: str) -> _Shape | None:
    import phonenumbers

    return _shape(phonenumbers.PhoneMetadata.metadata_for_region(region, None))


def _shape(metadata: Any) -> _Shape | None:
    if metadata is None or metadata.general_desc is None:
        return None
    before = metadata.national_prefix_for_parsing
    return _Shape(
        str(metadata.country_code),
        frozenset(metadata.general_desc.possible_length),
        re.compile(before) if before else None,
    )
