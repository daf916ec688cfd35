"""Statistics as callers see them. Lists of rows are also the rows of CSV."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from taskapi.core.fields import StoredDay

_PERIOD: dict[str, Any] = {"first_day": "2027-01-25", "last_day": "2027-01-31", "unfinished": False}


def _example(**members: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [members]})


class StatsSummary(BaseModel):
    """How many tasks there are now."""

    model_config = _example(
        tasks=120,
        open=20,
        todo=15,
        in_progress=5,
        done=100,
        overdue=3,
        due_today=1,
        due_later=9,
        without_due_date=7,
        open_estimate_minutes=4800,
        open_without_estimate=4,
    )

    tasks: int = Field(description="All tasks that match.")
    open: int = Field(description="Those that are not done; the sum of the two next.")
    todo: int
    in_progress: int
    done: int
    overdue: int = Field(description="Open tasks whose due date has passed in the time zone `tz`.")
    due_today: int = Field(description="Open tasks that are due today.")
    due_later: int = Field(description="Open tasks that are due after today.")
    without_due_date: int = Field(description="Open tasks without a due date.")
    open_estimate_minutes: int = Field(description="The sum of the estimates of open tasks.")
    open_without_estimate: int = Field(description="Open tasks without an estimate.")


class PeriodRow(BaseModel):
    """A row for a period."""

    first_day: StoredDay
    last_day: StoredDay
    unfinished: bool = Field(description="Whether the period has not ended yet, so that its numbers can change.")


class ThroughputRow(PeriodRow):
    """How many tasks were created and completed in a period."""

    model_config = _example(**_PERIOD, created=12, completed=9)

    created: int = Field(description="Tasks with `created_at` in the period.")
    completed: int = Field(
        description="Tasks with `completed_at` in the period: those that are done, counted when last completed."
    )


class BurndownRow(PeriodRow):
    """What was open at the end of a period."""

    model_config = _example(**_PERIOD, open=20)

    open: int | None = Field(
        description="Tasks, or their estimated minutes, that were created before the end of the period and not completed before "
        "it. In the current period it is as of now, and null in later ones."
    )


class FlowRow(PeriodRow):
    """How many tasks had each status at the end of a period: in the current one as of now, and null in later ones."""

    model_config = _example(**_PERIOD, todo=15, in_progress=5, done=100)

    todo: int | None
    in_progress: int | None
    done: int | None


class TagRow(BaseModel):
    """How many tasks have a tag."""

    model_config = _example(tag="work", tasks=48, open=8, overdue=2, done=40)

    tag: str
    tasks: int
    open: int = Field(description="Those that are not done.")
    overdue: int = Field(description="Those of them whose due date has passed in the time zone `tz`.")
    done: int


class DurationClass(BaseModel):
    """A class of the histogram."""

    from_seconds: int = Field(description="At least as long.")
    to_seconds: int | None = Field(description="Shorter than this; null in the last class.")
    tasks: int


class Durations(BaseModel):
    """How long tasks took, in whole seconds. A percentile is the least time that so many percent of the tasks did not exceed."""

    tasks: int = Field(description="How many tasks were measured. Without any, the times are null.")
    min_seconds: int | None
    mean_seconds: int | None
    p50_seconds: int | None = Field(description="The median.")
    p75_seconds: int | None
    p85_seconds: int | None
    p95_seconds: int | None
    max_seconds: int | None
    histogram: list[DurationClass]


_HOUR, _DAY = 3600, 86_400
DURATION_LIMITS = (_HOUR, 4 * _HOUR, 8 * _HOUR, *(_DAY * days for days in (1, 2, 3, 7, 14, 30, 60, 90, 180, 365)))
"""The limits between the classes of the histogram, in seconds."""
DURATION_CLASSES = tuple(zip((0, *DURATION_LIMITS), (*DURATION_LIMITS, None), strict=True))
"""The classes of the histogram, in seconds: at least the first number, and less than the second; None in the last class."""
PERCENTILES = (50, 75, 85, 95)
_DURATIONS: dict[str, Any] = {
    "tasks": 100,
    "min_seconds": 60,
    "mean_seconds": 190_000,
    "p50_seconds": 90_000,
    "p75_seconds": 180_000,
    "p85_seconds": 260_000,
    "p95_seconds": 600_000,
    "max_seconds": 3_000_000,
    "histogram": [
        {"from_seconds": 0, "to_seconds": 3600, "tasks": 4},
        {"from_seconds": 3600, "to_seconds": None, "tasks": 96},
    ],
}


class LeadTimes(BaseModel):
    """How long the tasks took that were completed within the range."""

    model_config = _example(lead_time=_DURATIONS, cycle_time={**_DURATIONS, "tasks": 90})

    lead_time: Durations = Field(description="From `created_at` to `completed_at`.")
    cycle_time: Durations = Field(
        description="From when a task was first `in_progress` to `completed_at`. Tasks that never were are not measured."
    )


class DurationRow(BaseModel):
    """A row of lead times in CSV: a number of tasks, a time, or both in a class of the histogram."""

    model_config = _example(measure="lead_time", statistic="p85", seconds=260_000, tasks=None)

    measure: str
    statistic: str
    seconds: int | None
    tasks: int | None
