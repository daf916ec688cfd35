"""Days, weeks and months of a time zone as intervals of UTC.

The zones are those of Python's ``zoneinfo``, which also decides what is overdue. MongoDB has rules of its own, which may be
older, and takes three times as long to apply them to each task.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from taskapi.core.clock import day_of

DAY = timedelta(days=1)


class PeriodUnit(StrEnum):
    """The length of a period. A week starts on Monday."""

    day = "day"
    week = "week"
    month = "month"


class Period(NamedTuple):
    """A day, week or month: its first and last day, and the instants at which it starts and at which the next one starts."""

    first_day: date
    last_day: date
    start: datetime
    end: datetime


def split(unit: PeriodUnit, first: date, last: date, zone: str | None = None) -> Iterator[Period]:
    """The periods from the one that contains ``first`` to the one that contains ``last``, without gaps.

    A day that a zone has skipped, such as 30 December 2011 in Samoa, is not among them.
    """
    for day, following in pairwise(_first_days(unit, first, last)):
        start, end = start_of(day, zone), start_of(following, zone)
        if start < end:
            yield Period(day, following - DAY, start, end)


def limits_of(periods: Sequence[Period]) -> list[datetime]:
    """The start of each period, and the end of the last one."""
    return [*(period.start for period in periods), periods[-1].end]


def first_day(unit: PeriodUnit, day: date) -> date:
    """The first day of the period that contains ``day``."""
    if unit is PeriodUnit.week:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if unit is PeriodUnit.month else day


def back(unit: PeriodUnit, day: date, periods: int) -> date:
    """The first day of the period that is ``periods`` before the one that contains ``day``."""
    if unit is PeriodUnit.month:
        years, month = divmod(day.year * 12 + day.month - 1 - periods, 12)
        return date(years, month + 1, 1)
    return first_day(unit, day) - timedelta(days=periods * (7 if unit is PeriodUnit.week else 1))


def start_of(day: date, zone: str | None = None) -> datetime:
    """The instant from which on it is ``day`` or later in the IANA time zone ``zone`` (default UTC).

    Where the clock passes midnight twice, because it is set back across it, that is the second time. Where it is set back to
    midnight, the day has begun an hour before.
    """
    if zone is None:
        return datetime.combine(day, time.min, UTC)
    midnight = datetime.combine(day, time.min, ZoneInfo(zone))
    # Read with the offset before a change of the clock at that time, and after it.
    before, after = midnight.astimezone(UTC), midnight.replace(fold=1).astimezone(UTC)
    if before <= after:  # there is one midnight, or there are two
        return before if day_of(after - timedelta(microseconds=1), zone) >= day else after
    # The clock is set forward across midnight, at some time between these two.
    seconds = range(int((before - after).total_seconds()))
    return after + timedelta(seconds=bisect_left(seconds, day, key=lambda each: day_of(after + timedelta(seconds=each), zone)))


def _first_days(unit: PeriodUnit, first: date, last: date) -> Iterator[date]:
    """The first day of each period, and of the one that follows them."""
    day = first_day(unit, first)
    yield day
    while day <= last:
        day = back(unit, day, -1)
        yield day
