"""Makes a report."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from taskapi.analytics.report.figures import Count, DurationClass, Flow, LeadTimes, Report, Week, count_priorities
from taskapi.analytics.report.repository import Place, ReportRepository
from taskapi.core.clock import day_of, midnight, utc_now
from taskapi.db.connection import BSON
from taskapi.stats.expressions import NO_DATE
from taskapi.stats.periods import Period, PeriodUnit, back, limits_of, split
from taskapi.stats.schemas import DURATION_CLASSES
from taskapi.tasks.schemas import Status


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """What a report is about: the tasks of ``owner`` (None: of all users), and the last ``weeks`` weeks in the zone."""

    owner: str | None = None
    weeks: int = 12
    zone: str = "UTC"


def make_report(
    views: ReportRepository, database: str, request: ReportRequest, *, now: datetime | None = None, step: Callable[[str], None]
) -> Report:
    """The figures of a report as of ``now``. ``step`` is called with what is done next.

    Raises StartupError: a view or the owner is missing, or a query takes too long.
    """
    now = now or utc_now()
    views.require_views()
    owner_id, name = (None, None) if request.owner is None else views.find_owner(request.owner)
    owner: BSON = {"owner_id": owner_id} if owner_id else {}
    day = day_of(now, request.zone)
    periods = list(split(PeriodUnit.week, back(PeriodUnit.week, day, request.weeks - 1), day, request.zone))
    limits = limits_of(periods)
    start, end, today = limits[0], limits[-1], midnight(day)

    step("counting tasks")
    tasks = views.count_tasks(owner, limits, today)
    step("following their statuses")
    flows = _flows(views.count_periods(owner, limits), len(periods))
    step("measuring lead times")
    lead_times = _lead_times(views, owner, start, end)
    step("counting overdue tags")
    tags = [Count(each["_id"], each["tasks"]) for each in views.count_overdue_tags(owner, today)]
    step("counting changes")
    fields = [Count(str(each["_id"]), each["changes"]) for each in views.count_changed_fields(owner, start, end)]
    return Report(
        database=database,
        owner=name,
        zone=request.zone,
        at=now,
        now={status: _sum(tasks, status=status) for status in Status},
        overdue=_sum(tasks, overdue=True),
        start=flows[0],
        weeks=_weeks(periods, tasks, flows[1:], now),
        lead_times=lead_times,
        overdue_tags=tags,
        open_priorities=count_priorities(
            (each["_id"]["priority"], each["tasks"]) for each in tasks if each["_id"]["status"] != Status.done
        ),
        changed_fields=fields,
    )


def _sum(tasks: Sequence[BSON], **key: object) -> int:
    return sum(each["tasks"] for each in tasks if key.items() <= each["_id"].items())


def _weeks(periods: Sequence[Period], tasks: Sequence[BSON], flows: Sequence[Flow], now: datetime) -> list[Week]:
    created, completed = Counter[int](), Counter[int]()
    for each in tasks:
        created[each["_id"]["created"]] += each["tasks"]
        completed[each["_id"]["completed"]] += each["tasks"]
    return [
        Week(period.first_day, period.last_day, created[number], completed[number], flow, period.end > now)
        for number, (period, flow) in enumerate(zip(periods, flows, strict=True), 1)
    ]


def _flows(periods: Sequence[BSON], weeks: int) -> list[Flow]:
    """How many tasks had each status before the first week, and at the end of each."""
    sums = [Counter[str]() for _ in range(weeks + 1)]
    for each in periods:
        first, last = max(each["_id"]["from"], 0), each["_id"]["until"]
        for number in range(first, weeks + 1 if last == NO_DATE else last):
            sums[number][each["_id"]["status"]] += each["tasks"]
    return [Flow(found[Status.todo], found[Status.in_progress], found[Status.done]) for found in sums]


def _lead_times(views: ReportRepository, owner: BSON, start: datetime, end: datetime) -> LeadTimes:
    counts = {each["_id"]: each["tasks"] for each in views.count_lead_times(owner, start, end)}
    classes = [DurationClass(low, high, counts.get(number, 0)) for number, (low, high) in enumerate(DURATION_CLASSES)]
    if not (tasks := sum(each.tasks for each in classes)):
        return LeadTimes(classes, None, None)
    places = [_place(classes, ceil(tasks * percent / 100) - 1) for percent in (50, 85)]
    median, p85 = (took / 1000 for took in views.find_lead_times(owner, start, end, places))
    return LeadTimes(classes, median, p85)


def _place(classes: Sequence[DurationClass], place: int) -> Place:
    """The ``place``-th task of all classes, by its place in its own class."""
    for each in classes:
        if place < each.tasks:
            return Place(each.low, each.high, place)
        place -= each.tasks
    raise IndexError(place)
