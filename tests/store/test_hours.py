"""Business hours are exact, whatever the clock does."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_store.hours import ALWAYS, BusinessHours

BERLIN = ZoneInfo("Europe/Berlin")
OFFICE = BusinessHours.parse("Mon-Fri 09:00-12:00,13:00-18:00; Sat 10:00-14:00", "Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        ("2026-03-02 09:00", "2026-03-02 18:00", 8),  # a Monday
        ("2026-03-02 11:30", "2026-03-02 13:30", 1),
        ("2026-03-02 12:00", "2026-03-02 13:00", 0),
        ("2026-03-06 17:00", "2026-03-09 10:00", 1 + 4 + 1),
        ("2026-03-08 00:00", "2026-03-09 00:00", 0),  # a Sunday
        ("2026-03-02 00:00", "2026-03-16 00:00", 2 * (5 * 8 + 4)),
        ("2026-03-02 10:00", "2026-03-02 10:00", 0),
        ("2026-03-02 11:00", "2026-03-02 10:00", 0),
    ],
)
def test_only_open_hours_count(start: str, end: str, hours: float) -> None:
    assert OFFICE.between(at(start), at(end)) == timedelta(hours=hours)


def test_the_zone_of_the_question_does_not_matter() -> None:
    shanghai = ZoneInfo("Asia/Shanghai")
    assert OFFICE.between(at("2026-03-02 09:00").astimezone(shanghai), at("2026-03-02 10:00")) == timedelta(
        hours=1
    )


def test_a_night_in_which_the_clock_jumps_is_shorter_or_longer() -> None:
    night = BusinessHours.parse("00:00-06:00", BERLIN)
    for day, hours in (("2026-03-28", 6), ("2026-03-29", 5), ("2026-10-25", 7)):
        start = at(f"{day} 00:00")
        assert night.between(start, at(f"{day} 12:00")) == timedelta(hours=hours)
    skipped = BusinessHours.parse("01:30-02:30", BERLIN)  # 02:00 is 03:00 on that night
    assert skipped.between(at("2026-03-29 00:00"), at("2026-03-29 12:00")) == timedelta(minutes=30)
    inside = BusinessHours.parse("02:10-02:40", BERLIN)
    assert inside.between(at("2026-03-29 00:00"), at("2026-03-29 12:00")) == timedelta(0)


def test_a_holiday_is_closed() -> None:
    hours = BusinessHours.parse("Mon-Fri 09:00-18:00", BERLIN, [date(2026, 3, 3)])
    assert hours.between(at("2026-03-02 17:00"), at("2026-03-04 10:00")) == timedelta(hours=2)
    assert hours.add(at("2026-03-02 17:00"), timedelta(hours=2)) == at("2026-03-04 10:00")


def test_a_range_over_midnight_ends_on_the_next_day() -> None:
    bar = BusinessHours.parse("Sun 22:00-06:00", UTC)
    assert bar.between(datetime(2026, 3, 8, 12, tzinfo=UTC), datetime(2026, 3, 10, tzinfo=UTC)) == timedelta(
        hours=8
    )
    assert bar.is_open(datetime(2026, 3, 9, 5, 59, tzinfo=UTC))
    assert not bar.is_open(datetime(2026, 3, 9, 6, tzinfo=UTC))


@pytest.mark.parametrize(
    "text",
    [
        "Mon-Fri 09:00-18:00",
        "mon,tue,wed,thu,fri 9:00-18:00",
        "Monday - Friday 09:00–18:00",
        "周一-周五 09：00-18：00",
        "星期一至星期五 09:00-18:00",
        "Mon-Fri 09:00-13:00, 12:00-18:00",
        "Mon-Wed 09:00-18:00; Thu,Fri 09:00-18:00;",
    ],
)
def test_the_same_hours_can_be_written_in_many_ways(text: str) -> None:
    assert BusinessHours.parse(text, BERLIN) == BusinessHours.parse("Mon-Fri 09:00-18:00", "Europe/Berlin")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ";",
        "Mon-Fri",
        "Mon 9-18",
        "Funday 09:00-18:00",
        "Mon 09:00-25:00",
        "Mon 09:00-09:00",
        "Mon 09:60-10:00",
        "Mon-Tue-Wed 09:00-18:00",
        "Mon 09:00-10:00 and later",
        "Mon 24:00-25:00",
    ],
)
def test_what_are_no_hours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        BusinessHours.parse(text)


def test_always_is_always() -> None:
    assert BusinessHours.parse("24/7") == ALWAYS
    start = datetime(2026, 3, 27, tzinfo=UTC)
    assert ALWAYS.between(start, start + timedelta(days=400)) == timedelta(days=400)


def test_hours_that_never_open_again_say_so() -> None:
    gone = BusinessHours(
        OFFICE.week, BERLIN, frozenset(date(2026, 1, 1) + timedelta(days=n) for n in range(4000))
    )
    with pytest.raises(ValueError, match="never open"):
        gone.add(at("2026-01-02 00:00"), timedelta(hours=1))
    assert gone.between(at("2026-01-02 00:00"), at("2026-03-02 00:00")) == timedelta(0)


SCHEDULES = st.sampled_from(
    [
        OFFICE,
        ALWAYS,
        BusinessHours.parse("Mon-Sun 22:00-06:00", BERLIN),
        BusinessHours.parse("Tue 00:00-24:00; Sun 00:30-04:15", BERLIN),
        BusinessHours.parse("Mon-Fri 09:30-18:00", "America/New_York", [date(2026, 11, 26)]),
        BusinessHours.parse("Sat,Sun 10:00-16:00", "Asia/Shanghai"),
        BusinessHours.parse("Mon-Sun 01:00-23:00", "Australia/Lord_Howe"),  # half an hour of summer time
    ]
)
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
DURATIONS = st.timedeltas(timedelta(0), timedelta(days=20))


@given(SCHEDULES, MOMENTS, DURATIONS)
def test_adding_and_measuring_are_each_others_inverse(
    hours: BusinessHours, start: datetime, duration: timedelta
) -> None:
    assert hours.between(start, hours.add(start, duration)) == duration


@given(SCHEDULES, MOMENTS, DURATIONS, DURATIONS)
def test_the_parts_are_the_whole(
    hours: BusinessHours, start: datetime, first: timedelta, second: timedelta
) -> None:
    middle, end = start + first, start + first + second
    whole = hours.between(start, end)
    assert hours.between(start, middle) + hours.between(middle, end) == whole
    assert timedelta(0) <= whole <= end - start


@given(SCHEDULES, st.integers(0, 364 * 24 * 4), st.integers(0, 6 * 24 * 4))
def test_it_is_what_counting_quarters_gives(hours: BusinessHours, start: int, length: int) -> None:
    quarter = timedelta(minutes=15)
    first = datetime(2026, 1, 1, tzinfo=UTC) + start * quarter
    open_quarters = 0
    for step in range(length):
        local = (first + step * quarter).astimezone(hours.timezone)
        minute = local.hour * 60 + local.minute
        ranges = () if local.date() in hours.holidays else hours.week[local.weekday()]
        open_quarters += any(opens <= minute < closes for opens, closes in ranges)
    assert hours.between(first, first + length * quarter) == open_quarters * quarter
