"""Days, weeks and months of a time zone: right when the clocks change, and at midnights that do not exist or come twice."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskapi.core.clock import day_of
from taskapi.stats.periods import DAY, Period, PeriodUnit, back, first_day, split, start_of

MILLISECOND = timedelta(milliseconds=1)
ZONES = sorted(available_timezones() - {"localtime"})
DAYS = st.dates(date(1900, 1, 1), date(2199, 12, 31))


def hours(period: Period) -> float:
    return (period.end - period.start) / timedelta(hours=1)


@pytest.mark.parametrize(
    ("zone", "day", "start", "length"),
    [
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00", 23),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00", 25),
        ("America/New_York", "2026-03-08", "2026-03-08T05:00:00", 23),
        ("America/New_York", "2026-11-01", "2026-11-01T04:00:00", 25),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00:00", 24.5),  # by half an hour
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30:00", 23.5),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00", 23),  # begins at 1:00
        ("America/Sao_Paulo", "2018-02-17", "2018-02-17T02:00:00", 25),  # 23:00 to 24:00 comes twice
        ("America/Toronto", "1919-03-31", "1919-03-31T04:30:00", 23.5),  # from 23:30 to 0:30
        ("America/Goose_Bay", "2010-11-07", "2010-11-07T04:00:00", 24),  # at 0:01 back to 23:01: midnight comes twice
        ("Atlantic/Azores", "2025-10-26", "2025-10-26T00:00:00", 25),  # at 1:00 back to midnight
        ("America/Havana", "2026-11-01", "2026-11-01T04:00:00", 25),
        ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00:00", 24),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00", 24),
        (None, "2026-03-29", "2026-03-29T00:00:00", 24),
    ],
)
def test_a_day_is_as_long_as_its_clock(zone: str | None, day: str, start: str, length: float) -> None:
    (found,) = split(PeriodUnit.day, date.fromisoformat(day), date.fromisoformat(day), zone)
    assert found.start == datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert hours(found) == length


def test_a_skipped_day_is_no_period() -> None:
    days = [period.first_day.day for period in split(PeriodUnit.day, date(2011, 12, 28), date(2012, 1, 1), "Pacific/Apia")]
    assert days == [28, 29, 31, 1]
    assert list(split(PeriodUnit.day, date(2011, 12, 30), date(2011, 12, 30), "Pacific/Apia")) == []
    (week,) = split(PeriodUnit.week, date(2011, 12, 30), date(2011, 12, 30), "Pacific/Apia")
    assert (week.first_day, week.last_day, hours(week)) == (date(2011, 12, 26), date(2012, 1, 1), 6 * 24)


def test_weeks_start_on_monday() -> None:
    weeks = list(split(PeriodUnit.week, date(2026, 12, 27), date(2027, 1, 4)))
    assert [(week.first_day.isoformat(), week.last_day.isoformat()) for week in weeks] == [
        ("2026-12-21", "2026-12-27"),
        ("2026-12-28", "2027-01-03"),
        ("2027-01-04", "2027-01-10"),
    ]
    spring, autumn = (next(split(PeriodUnit.week, day, day, "Europe/Berlin")) for day in (date(2026, 3, 24), date(2026, 10, 25)))
    assert (hours(spring), hours(autumn)) == (7 * 24 - 1, 7 * 24 + 1)


def test_months_are_whole() -> None:
    months = list(split(PeriodUnit.month, date(2027, 12, 31), date(2028, 2, 1), "Europe/Berlin"))
    assert [(month.first_day, month.last_day.day) for month in months] == [
        (date(2027, 12, 1), 31),
        (date(2028, 1, 1), 31),
        (date(2028, 2, 1), 29),
    ]


@given(zone=st.sampled_from(ZONES), day=DAYS)
@settings(max_examples=2000, deadline=None, database=None)
def test_a_day_starts_when_its_date_does(zone: str, day: date) -> None:
    start = start_of(day, zone)
    assert day_of(start, zone) >= day > day_of(start - MILLISECOND, zone)
    assert day_of(start, zone) == day or start == start_of(day + DAY, zone)


@given(zone=st.sampled_from(ZONES), unit=st.sampled_from(list(PeriodUnit)), day=DAYS, length=st.integers(0, 100))
@settings(max_examples=500, deadline=None, database=None)
def test_periods_follow_each_other(zone: str, unit: PeriodUnit, day: date, length: int) -> None:
    last = day + timedelta(days=length)
    found = list(split(unit, day, last, zone))
    assert all(one.end == other.start for one, other in pairwise(found))
    assert all(period.start < period.end and period.first_day <= period.last_day for period in found)
    if found:
        assert found[0].start == start_of(first_day(unit, day), zone)
        assert found[-1].end == start_of(back(unit, last, -1), zone)
