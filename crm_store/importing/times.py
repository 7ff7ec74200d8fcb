"""Read times as people, spreadsheets and calendars write them. Pure; what is none is Wrong."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any

from crm_store.importing.values import Defaults, Wrong, clean

_DATE = [
    re.compile(r"(?P<y>\d{4})[-/.年]\s?(?P<m>\d{1,2})[-/.月]\s?(?P<d>\d{1,2})日?(?P<rest>.*)"),
    re.compile(r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})(?P<rest>(?:\D.*)?)"),
    re.compile(r"(?P<d>\d{1,2})\.\s?(?P<m>\d{1,2})\.\s?(?P<y>\d{4}|\d{2}(?!\d))(?P<rest>.*)"),
    re.compile(
        r"(?P<d>\d{1,2})(?:st|nd|rd|th|\.)?[ -](?P<month>[A-Za-z]{3,9})\.?,?[ -]"
        r"(?P<y>\d{4}|\d{2}(?![\d:])),?(?P<rest>.*)"
    ),
    re.compile(r"(?P<month>[A-Za-z]{3,9})\.? (?P<d>\d{1,2})(?:st|nd|rd|th)?,? (?P<y>\d{4}),?(?P<rest>.*)"),
]
_SLASHED = re.compile(r"(\d{1,2})([-/])(\d{1,2})\2(\d{4}|\d{2}(?!\d))(.*)")
_DIGITS = re.compile(r"(\d{8})(\d\d)(\d\d)(\d\d)")  # 20260305101112
_IN_WORDS = re.compile(
    r"([〇零○一二三四五六七八九]{4})年([一二三四五六七八九十]{1,3})月([一二三四五六七八九十]{1,3})日?(.*)"
)
_ASIDE = re.compile(r"\s*\([^()]*\)$")  # (China Standard Time)
_NUMERALS = {numeral: digit for digit, numeral in enumerate("〇一二三四五六七八九")} | {"零": 0, "○": 0}
_TIME = re.compile(
    r"[T ]*(?:(?P<before>凌晨|早上|上午|中午|下午|傍晚|晚上|am|pm)\s*)?(?P<h>\d{1,2})[:时点](?P<min>\d{1,2})?分?"
    r"(?::?(?P<s>\d{1,2})秒?(?:[.,](?P<f>\d{1,9}))?)?\s*(?P<after>[ap]\.?m\.?)?\s*(?P<zone>z|(?:utc|gmt)?[+-]\d{2}:?\d{2}|(?:utc|gmt)?[+-]\d{2}|utc|gmt)?",
    re.IGNORECASE,
)
_ISO_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_SERIAL = re.compile(r"[2-7]\d{4}(?:\.\d{1,12})?")  # 1954 to 2119
_WEEKDAY = re.compile(
    r"^(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|satur|sat|sun)(?:day)?\.?,?\s+|星期.\s*", re.IGNORECASE
)
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


def moment(value: Any, defaults: Defaults) -> datetime:
    """A time in UTC from the many forms people write; without a zone it is the file's. Raise Wrong."""
    if isinstance(value, datetime):
        value = value.isoformat(" ")
    text = unicodedata.normalize("NFKC", clean(value))
    if len(text) == 10 and _ISO_DAY.fullmatch(text):
        return _day(text, defaults.timezone, value)
    if re.fullmatch(r"\d{10}|\d{13}", text):
        return datetime.fromtimestamp(int(text) / (1000 if len(text) == 13 else 1), UTC)
    if _SERIAL.fullmatch(text):
        days = timedelta(days=float(text))  # a spreadsheet's: days since the eve of 1900, a leap day too many
        return (datetime(1899, 12, 30, tzinfo=defaults.timezone) + days).astimezone(UTC)
    if digits := _DIGITS.fullmatch(text):
        text = f"{digits[1]} {digits[2]}:{digits[3]}:{digits[4]}"
    text = _in_digits(_ASIDE.sub("", _WEEKDAY.sub("", text)))
    try:
        year, month, day, rest = _date(text, value, defaults)
        return _with_time(year, month, day, rest, value, defaults)
    except (ValueError, OverflowError) as error:
        raise Wrong("date", value) from error


@lru_cache(maxsize=4096)
def _day(text: str, zone: tzinfo, value: Any) -> datetime:
    try:
        day = datetime.fromisoformat(text)
    except ValueError as error:
        raise Wrong("date", value) from error
    return _with_time(day.year, day.month, day.day, "", value, Defaults(timezone=zone))


def _date(text: str, value: Any, defaults: Defaults) -> tuple[int, int, int, str]:
    for pattern in _DATE:
        found = pattern.fullmatch(text)
        if found is None:
            continue
        parts = found.groupdict()
        month = int(parts["m"]) if "m" in parts else _month(parts["month"], value)
        return _year(parts["y"]), month, int(parts["d"]), parts["rest"]
    slashed = _SLASHED.fullmatch(text)
    if slashed is None:
        raise Wrong("date", value)
    first, second = int(slashed[1]), int(slashed[3])
    if first > 12 or second > 12 or first == second:
        day_first = first > 12
    elif defaults.day_first is None:
        raise Wrong("date_ambiguous", value)
    else:
        day_first = defaults.day_first
    day, month = (first, second) if day_first else (second, first)
    return _year(slashed[4]), month, day, slashed[5]


def days_first(value: Any) -> bool | None:
    """Whether a slashed date can only have its day first, or only its month; None for one that says neither."""
    found = _SLASHED.fullmatch(unicodedata.normalize("NFKC", clean(value)))
    if found is None:
        return None
    first, second = int(found[1]), int(found[3])
    return first > 12 if (first > 12) != (second > 12) else None


def _year(text: str) -> int:
    """Of two digits the one that is not far ahead."""
    return int(text) if len(text) == 4 else int(text) + (2000 if int(text) < 70 else 1900)


def _in_digits(text: str) -> str:
    """二〇二六年三月五日 as 2026年3月5日."""
    found = _IN_WORDS.fullmatch(text)
    if found is None:
        return text
    year = "".join(str(_NUMERALS[numeral]) for numeral in found[1])
    return f"{year}年{_counted(found[2])}月{_counted(found[3])}日{found[4]}"


def _counted(text: str) -> int:
    tens, ten, ones = text.rpartition("十")
    if not ten:
        return _NUMERALS[text] if len(text) == 1 else 99
    if len(tens) > 1 or len(ones) > 1:
        return 99
    return 10 * _NUMERALS.get(tens, 1) + _NUMERALS.get(ones, 0)


def _month(name: str, value: Any) -> int:
    short = name.lower()[:3]
    if short not in _MONTHS:
        raise Wrong("date", value)
    return _MONTHS.index(short) + 1


def _with_time(year: int, month: int, day: int, rest: str, value: Any, defaults: Defaults) -> datetime:
    if not 1970 <= year <= 2199:
        raise Wrong("date", value)
    if not rest.strip():
        return datetime(year, month, day, tzinfo=defaults.timezone).astimezone(UTC)
    found = _TIME.fullmatch(rest.strip())
    if found is None:
        raise Wrong("date", value)
    hour, half = int(found["h"]), (found["before"] or found["after"] or "").lower()
    half = half.replace(".", "")
    if (half in ("pm", "下午", "傍晚", "晚上") and hour < 12) or (half == "中午" and hour < 10):
        hour += 12
    elif half in ("am", "凌晨", "早上", "上午") and hour == 12:
        hour = 0
    micro = int((found["f"] or "0").ljust(6, "0")[:6])
    local = datetime(year, month, day, hour, int(found["min"] or 0), int(found["s"] or 0), micro)  # noqa: DTZ001
    zone = (found["zone"] or "").upper()
    zone = zone[3:] or "Z" if zone[:3] in ("UTC", "GMT") else zone
    if not zone:
        return local.replace(tzinfo=defaults.timezone).astimezone(UTC)
    offset = "+00:00" if zone == "Z" else zone
    return datetime.fromisoformat(f"{local.isoformat()}{offset}").astimezone(UTC)
