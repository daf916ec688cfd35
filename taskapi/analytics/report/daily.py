"""A report on all users from the daily figures, which takes a moment however many tasks there are."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import accumulate
from math import ceil
from typing import Final

from taskapi.analytics.report.figures import Count, DurationClass, Flow, LeadTimes, Report, Week, count_priorities
from taskapi.analytics.report.repository import DERIVED, ReportRepository
from taskapi.core.clock import day_of, in_utc, midnight
from taskapi.core.errors import StartupError
from taskapi.db.connection import BSON
from taskapi.stats.periods import Period, PeriodUnit, back, split
from taskapi.stats.schemas import DURATION_CLASSES
from taskapi.tasks.schemas import Status

HOUR: Final = 3600  # seconds
UTC: Final = "UTC"


def make_daily_report(views: ReportRepository, database: str, weeks: int, *, step: Callable[[str], None]) -> Report:
    """The figures as of the last refresh, in UTC; the lead times are whole hours. ``step`` is called with what is done next.

    Raises StartupError: nothing has been refreshed yet, or a query takes too long.
    """
    step("reading the daily figures")
    days = views.find_days()
    if not days:
        raise StartupError("there are no daily figures yet; first run: taskapi analytics refresh")
    at = in_utc(min(day["refreshed_at"] for day in days))
    last = day_of(at, UTC)
    periods = list(split(PeriodUnit.week, back(PeriodUnit.week, last, weeks - 1), last, UTC))
    recent = _between(days, periods[0].start, periods[-1].end)
    step("counting overdue tags")
    tags = [Count(each["_id"], each["tasks"]) for each in views.count_overdue_tags({}, midnight(last))]
    flows = [_flow(days, limit) for limit in (periods[0].start, *(period.end for period in periods))]
    return Report(
        database=database,
        owner=None,
        zone=UTC,
        at=at,
        now={status: sum(day[status] for day in days) for status in Status},
        overdue=sum(day["open_due"] for day in days if in_utc(day["day"]) < midnight(last)),
        start=flows[0],
        weeks=[_week(days, period, flow, at) for period, flow in zip(periods, flows[1:], strict=True)],
        lead_times=_lead_times(recent),
        overdue_tags=tags,
        open_priorities=count_priorities((each["priority"], each["tasks"]) for day in days for each in day["open_priorities"]),
        changed_fields=_changed_fields(recent),
        is_daily=True,
    )


def _between(days: Sequence[BSON], start: datetime, end: datetime) -> list[BSON]:
    return [day for day in days if start <= in_utc(day["day"]) < end]


def _flow(days: Sequence[BSON], end: datetime) -> Flow:
    """How many tasks had each status at a time."""
    before = [day for day in days if in_utc(day["day"]) < end]
    return Flow(*(sum(day[status] for day in before) for status in (Status.todo, Status.in_progress, Status.done)))


def _week(days: Sequence[BSON], period: Period, flow: Flow, at: datetime) -> Week:
    within = _between(days, period.start, period.end)
    created, completed = (sum(day[name] for day in within) for name in ("created", "completed"))
    return Week(period.first_day, period.last_day, created, completed, flow, period.end > at)


def _lead_times(days: Sequence[BSON]) -> LeadTimes:
    hours = Counter[int]()
    for day in days:
        hours.update({each["hours"]: each["tasks"] for each in day["lead_hours"]})
    classes = [
        DurationClass(
            low, high, sum(n for each, n in hours.items() if low <= each * HOUR and (high is None or each * HOUR < high))
        )
        for low, high in DURATION_CLASSES
    ]
    if not hours:
        return LeadTimes(classes, None, None)
    took = sorted(hours)
    sums = list(accumulate(hours[each] for each in took))
    median, p85 = (
        next(each for each, count in zip(took, sums, strict=True) if count >= ceil(sums[-1] * percent / 100)) * float(HOUR)
        for percent in (50, 85)
    )
    return LeadTimes(classes, median, p85)


def _changed_fields(days: Sequence[BSON]) -> list[Count]:
    changes = Counter[str]()
    for day in days:
        changes.update({each["field"]: each["changes"] for each in day["fields"] if each["field"] not in DERIVED})
    return [Count(name, count) for name, count in sorted(changes.items(), key=lambda item: (-item[1], item[0]))]
