"""The parameters of the statistics: the filters of lists, and the periods."""

from datetime import date, datetime
from enum import StrEnum
from itertools import islice
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from taskapi.core.clock import day_of
from taskapi.core.errors import FieldError, InvalidInput
from taskapi.core.fields import CalendarDate
from taskapi.stats.periods import Period, PeriodUnit, back, split, start_of
from taskapi.tasks.query.selection import TaskFilters

MAX_PERIODS = 400
MIN_DAY, MAX_DAY = date(1900, 1, 1), date(2199, 12, 31)
DEFAULT_PERIODS = {PeriodUnit.day: 30, PeriodUnit.week: 12, PeriodUnit.month: 12}
DEFAULT_DAYS = 90  # of a range without periods


def _within_range(day: date) -> date:
    if day < MIN_DAY:
        raise PydanticCustomError("greater_than_equal", f"must be {MIN_DAY} or later")
    if day > MAX_DAY:
        raise PydanticCustomError("less_than_equal", f"must be {MAX_DAY} or earlier")
    return day


Day = Annotated[CalendarDate, AfterValidator(_within_range)]


class StatsFormat(StrEnum):
    """The format of statistics."""

    json = "json"
    csv = "csv"


class BurndownMeasure(StrEnum):
    """What is summed up over tasks."""

    tasks = "tasks"
    estimate_minutes = "estimate_minutes"


class StatsQuery(TaskFilters):
    """Which tasks count, and the format."""

    format: StatsFormat | None = Field(None, description="The default is the format that `Accept` prefers, else `json`.")


class TagsQuery(StatsQuery):
    """How many tags."""

    limit: int = Field(100, ge=1, le=1000, description="Maximum number of tags.")


class RangeQuery(StatsQuery):
    """A range of days."""

    model_config = ConfigDict(serialize_by_alias=True)

    first: Day | None = Field(None, alias="from", description="The first day; without it, the range has 90 days.")
    last: Day | None = Field(None, alias="to", description="The last day; the default is today.")

    def interval(self, now: datetime) -> tuple[datetime, datetime]:
        """The start of the first day, and the end of the last one. Raises InvalidInput if they are in the wrong order."""
        last = self._last_day(now)
        days = PeriodUnit.day
        return start_of(self.first or back(days, last, DEFAULT_DAYS - 1), self.tz), start_of(back(days, last, -1), self.tz)

    def _last_day(self, now: datetime) -> date:
        last = self.last or day_of(now, self.tz)
        if self.first is not None and self.first > last:
            raise InvalidInput([FieldError("from", "must not be after to, which is today by default", "wrong_order")])
        return last


class PeriodQuery(RangeQuery):
    """A range of periods."""

    by: PeriodUnit = Field(PeriodUnit.day, description="Whether a period is a day, a week (from Monday on) or a month.")
    first: Day | None = Field(
        None,
        alias="from",
        description="A day in the first period; without it, there are 30 days, 12 weeks or 12 months. "
        f"There can be at most {MAX_PERIODS} periods.",
    )
    last: Day | None = Field(None, alias="to", description="A day in the last period; the default is today.")

    def periods(self, now: datetime) -> list[Period]:
        """The periods, none if the zone has skipped them.

        Raises:
            InvalidInput: the range ends before it starts, or has too many periods.
        """
        last = self._last_day(now)
        first = self.first or back(self.by, last, DEFAULT_PERIODS[self.by] - 1)
        found = list(islice(split(self.by, first, last, self.tz), MAX_PERIODS + 1))
        if len(found) > MAX_PERIODS:
            raise InvalidInput([FieldError("from", f"must be at most {MAX_PERIODS} periods before to", "too_many_periods")])
        return found


class BurndownQuery(PeriodQuery):
    """What burns down."""

    measure: BurndownMeasure = Field(
        BurndownMeasure.tasks, description="Open tasks, or the sum of their present `estimate_minutes`."
    )
