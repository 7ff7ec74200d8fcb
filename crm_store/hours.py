"""Business hours: how much working time lies between two moments, and when a working time has passed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

_DAYS = {name: day for day, name in enumerate(["mon", "tue", "wed", "thu", "fri", "sat", "sun"])}
_DAYS |= {
    name: day for day, names in enumerate(["一", "二", "三", "四", "五", "六", "日天"]) for name in names
}
_TIMES = re.compile(r"(\d{1,2})[:：](\d{2})\s*[-–~至]\s*(\d{1,2})[:：](\d{2})")
_HORIZON = 3660  # days; hours that never open within ten years never open
_NOTHING = timedelta(0)

Range = tuple[int, int]  # minutes after local midnight


@dataclass(frozen=True, slots=True)
class BusinessHours:
    """Opening ranges for each weekday (Monday first) in a time zone; on holidays it is closed."""

    week: tuple[tuple[Range, ...], ...]
    timezone: tzinfo = UTC
    holidays: frozenset[date] = frozenset()

    @classmethod
    def parse(cls, text: str, timezone: tzinfo | str = UTC, holidays: Iterable[date] = ()) -> BusinessHours:
        """Read "Mon-Fri 09:00-12:00,13:00-18:00; Sat 10:00-14:00", "24/7" or "周一-周五 09:00-18:00".

        A range over midnight (22:00-06:00) ends on the next day. Raise ValueError with the part that is wrong.
        """
        zone = ZoneInfo(timezone) if isinstance(timezone, str) else timezone
        week: list[list[Range]] = [[] for _ in range(7)]
        for part in re.split(r"[;；\n]", text):
            if not part.strip():
                continue
            days, ranges = _part(part.strip())
            for day in days:
                for start, end in ranges:
                    if start < end:
                        week[day].append((start, end))
                    else:
                        week[day].append((start, 24 * 60))
                        week[(day + 1) % 7].append((0, end))
        if not any(week):
            raise ValueError(text)
        return cls(tuple(_merged(ranges) for ranges in week), zone, frozenset(holidays))

    def between(self, start: datetime, end: datetime) -> timedelta:
        """The working time from `start` to `end`, exact to the microsecond; zero when `end` is not later."""
        start, end = start.astimezone(UTC), end.astimezone(UTC)
        total = _NOTHING
        if end <= start:
            return total
        for opens, closes in self._from(start):
            if opens >= end:
                break
            total += min(closes, end) - max(opens, start)
        return total

    def add(self, start: datetime, duration: timedelta) -> datetime:
        """The first moment (UTC) at which `duration` of working time has passed since `start`."""
        start = start.astimezone(UTC)
        if duration <= _NOTHING:
            return start
        for opens, closes in self._from(start):
            begin = max(opens, start)
            if begin + duration <= closes:
                return begin + duration
            duration -= closes - begin
        raise ValueError("these hours never open")

    def is_open(self, at: datetime) -> bool:
        return self.next_open(at) == at

    def next_open(self, at: datetime) -> datetime:
        """`at` when it is open then, else the next opening (UTC)."""
        at = at.astimezone(UTC)
        for opens, _ in self._from(at):
            return max(opens, at)
        raise ValueError("these hours never open")

    def _from(self, start: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The openings that end after `start`, in order and without end, until none comes for ten years."""
        day = start.astimezone(self.timezone).date()
        empty = 0
        while empty < _HORIZON:
            openings = () if day in self.holidays else _openings(day, self.week[day.weekday()], self.timezone)
            for opens, closes in openings:
                if closes > start:
                    yield opens, closes
            empty = 0 if openings else empty + 1
            day += timedelta(days=1)


ALWAYS = BusinessHours(week=(((0, 24 * 60),),) * 7)


def _part(part: str) -> tuple[list[int], list[Range]]:
    if re.fullmatch(r"24\s*[/x×]\s*7", part):
        return list(range(7)), [(0, 24 * 60)]
    found = _TIMES.search(part)
    if found is None:
        raise ValueError(part)
    named, times = part[: found.start()].strip(), part[found.start() :]
    ranges: list[Range] = []
    for one in re.split(r"[,，、]", times):
        exact = _TIMES.fullmatch(one.strip())
        if exact is None:
            raise ValueError(part)
        h1, m1, h2, m2 = map(int, exact.groups())
        start, end = h1 * 60 + m1, h2 * 60 + m2
        if m1 > 59 or m2 > 59 or start >= 24 * 60 or end > 24 * 60 or start == end:
            raise ValueError(part)
        ranges.append((start, end))
    return _days(named, part) if named else list(range(7)), ranges


def _days(named: str, part: str) -> list[int]:
    days: list[int] = []
    for one in re.split(r"[,，、]", named.lower()):
        ends = [_DAYS.get(_short(name)) for name in re.split(r"[-–~至到]", one)]
        if len(ends) > 2 or None in ends:
            raise ValueError(part)
        first, last = ends[0] or 0, ends[-1] or 0
        days += [(first + step) % 7 for step in range((last - first) % 7 + 1)]
    return list(dict.fromkeys(days))


def _short(name: str) -> str:
    name = name.strip().removesuffix(".")
    return name[-1:] if name[:1] in ("周", "星", "礼") else name[:3]


def _merged(ranges: list[Range]) -> tuple[Range, ...]:
    merged: list[Range] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif start < end:
            merged.append((start, end))
    return tuple(merged)


@lru_cache(maxsize=8192)
def _openings(day: date, ranges: tuple[Range, ...], zone: tzinfo) -> tuple[tuple[datetime, datetime], ...]:
    """A day's openings in UTC. An hour that the clock repeats is open twice, one that it skips not at all."""
    found: list[tuple[datetime, datetime]] = []
    for start, end in ranges:
        opens, closes = _utc(day, start, zone, last=False), _utc(day, end, zone, last=True)
        if found:
            opens = max(opens, found[-1][1])
        if opens < closes:
            found.append((opens, closes))
    return tuple(found)


def _utc(day: date, minutes: int, zone: tzinfo, *, last: bool) -> datetime:
    local = datetime.combine(day + timedelta(days=minutes // (24 * 60)), time(), zone)
    local = local.replace(hour=minutes // 60 % 24, minute=minutes % 60)
    early, late = (local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if early <= late:
        return late if last else early
    # The clock skips this minute: the moment it jumps, found between the two readings.
    before, after = late, early
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(microseconds=1):
        middle = before + (after - before) / 2
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after
