"""What somebody typed as a query: split into terms, each with its place, so that an error can say where."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

_SPAN = re.compile(r"(\d{1,6})\s*(min|h|d|w|m|mo|y|小时|天|日|周|个月|月|年)")
_UNITS = {
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "m": timedelta(days=30),
    "y": timedelta(days=365),
}
_UNITS |= {"mo": _UNITS["m"], "小时": _UNITS["h"], "天": _UNITS["d"], "日": _UNITS["d"], "周": _UNITS["w"]}
_UNITS |= {"个月": _UNITS["m"], "月": _UNITS["m"], "年": _UNITS["y"]}
_DATE = re.compile(r"(\d{4})[-/.年](\d{1,2})(?:[-/.月](\d{1,2})日?|月)?")


class QueryError(Exception):
    """What cannot be understood, and where: `at` counts characters from 0. `reason` is a key for words:
    field, value, operator, number, date, quote, bracket, end, empty, long, deep."""

    def __init__(self, reason: str, at: int, text: str = "") -> None:
        super().__init__(reason, at, text)
        self.reason = reason
        self.at = at
        self.text = text


@dataclass(frozen=True, slots=True)
class Moment:
    """A day, or how long ago."""

    day: datetime | None = None
    ago: timedelta | None = None

    def before(self, now: datetime) -> datetime:
        if self.day is not None:
            return self.day
        try:
            return now - (self.ago or timedelta())
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)


def moment(text: str, zone: tzinfo) -> Moment | None:
    """2026-03-01, 2026-03, 30d, 2w, 6m, 1y, 12h; None for anything else. `m` is a month."""
    text = text.strip().lower()
    if found := _SPAN.fullmatch(text):
        return Moment(ago=int(found[1]) * _UNITS[found[2]])
    if found := _DATE.fullmatch(text):
        try:
            day = date(int(found[1]), int(found[2]), int(found[3] or 1))
            return Moment(day=datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC))
        except (ValueError, OverflowError):
            return None
    return None


def quoted(text: str, at: int) -> tuple[str, int]:
    """The text in the quotes that begin at `at`, and the place after them. A doubled quote is one."""
    closing = {"“": "”", "「": "」"}.get(text[at], text[at])
    found: list[str] = []
    place = at + 1
    while place < len(text):
        if text[place] == closing:
            if closing == text[at] and text[place : place + 2] == closing * 2:
                place += 1
            else:
                return "".join(found), place + 1
        found.append(text[place])
        place += 1
    raise QueryError("quote", at)


QUOTES = '"“「'
