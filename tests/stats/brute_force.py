"""The statistics in plain Python: generated tasks, and the numbers that follow from them one task at a time."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from math import ceil
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from taskapi.core.clock import day_of, midnight
from taskapi.stats.periods import DAY, PeriodUnit, first_day

PLACES = {  # a day around which the clock of a zone changes
    "UTC": date(2026, 2, 28),
    "Europe/Berlin": date(2026, 3, 29),
    "America/New_York": date(2025, 11, 2),
    "Australia/Lord_Howe": date(2026, 4, 5),
    "America/Sao_Paulo": date(2018, 11, 4),
    "Pacific/Apia": date(2011, 12, 30),
    "Asia/Kolkata": date(2026, 1, 1),
}
HOURS = 24 * 20
LIMITS = [0, 3600, 14_400, 28_800, 86_400, 172_800, 259_200, 604_800, 1_209_600, 2_592_000, 5_184_000, 7_776_000, 15_552_000,
          31_536_000, None]  # fmt: skip


@dataclass(frozen=True)
class Task:
    """What counts of a task: among others its statuses, each with its beginning, the first at its creation."""

    created: datetime
    steps: list[tuple[datetime, str]]
    recorded: bool = True  # whether the statuses are stored
    priority: int = 1
    tags: Sequence[str] = ()
    due: date | None = None
    estimate: int | None = None

    @property
    def status(self) -> str:
        return self.steps[-1][1]

    @property
    def completed(self) -> datetime | None:
        return self.steps[-1][0] if self.status == "done" else None

    @property
    def known(self) -> list[tuple[datetime, str]]:
        """What is known of its statuses."""
        if self.recorded:
            return self.steps
        return [(self.created, "todo"), (self.completed, "done")] if self.completed else [(self.created, self.status)]

    def stored(self) -> dict[str, Any]:
        """Its fields in MongoDB."""
        return {
            "created_at": self.created,
            "status": self.status,
            "completed": self.completed is not None,
            "completed_at": self.completed,
            "priority": self.priority,
            "tags": list(self.tags),
            "due_date": self.due and midnight(self.due),
            "estimate_minutes": self.estimate,
            **({"status_changes": [{"status": status, "at": at} for at, status in self.steps]} if self.recorded else {}),
        }


FILTERS: Mapping[str, tuple[dict[str, str], Callable[[Task], bool]]] = {
    "all": ({}, lambda task: True),
    "priority": ({"priority": "2"}, lambda task: task.priority == 2),
    "tag": ({"tag": "a"}, lambda task: "a" in task.tags),
    "done": ({"completed": "true"}, lambda task: task.status == "done"),
    "open": ({"completed": "false"}, lambda task: task.status != "done"),
    "estimate": (
        {"where": json.dumps({"estimate_minutes": {"$gte": 30}})},
        lambda task: task.estimate is not None and task.estimate >= 30,
    ),
    "two": ({"status": "done", "tag": "b"}, lambda task: task.status == "done" and "b" in task.tags),
}


@dataclass(frozen=True)
class Case:
    """Tasks, and a question about them."""

    zone: str
    unit: PeriodUnit
    first: date
    last: date
    filter: str
    tasks: list[Task]

    @property
    def selected(self) -> list[Task]:
        return [task for task in self.tasks if FILTERS[self.filter][1](task)]

    @property
    def parameters(self) -> dict[str, str]:
        return {"tz": self.zone, **FILTERS[self.filter][0]}

    @property
    def range(self) -> dict[str, str]:
        return {**self.parameters, "from": self.first.isoformat(), "to": self.last.isoformat()}

    @property
    def days(self) -> dict[date, date]:
        """The first and last days of the periods, but for those that did not exist."""
        found: dict[date, date] = {}
        day = first_day(self.unit, self.first)
        while day <= self.last or first_day(self.unit, day) <= self.last:
            if (self.zone, day) != ("Pacific/Apia", date(2011, 12, 30)):
                found[first_day(self.unit, day)] = day
            day += DAY
        return found

    def day(self, moment: datetime) -> date:
        return day_of(moment, self.zone)


def task(created: datetime, steps: list[tuple[timedelta, str]], moved: timedelta, **others: Any) -> Task:
    """The task that had each status for a time. An import may have set its completion too early, or moved its creation."""
    at, found = created, [(created, steps[0][1])]
    for took, status in steps[1:]:
        at += took
        if status != found[-1][1]:
            found.append((at, status))
    return Task(created + moved, found, **others)


def sum_of(pair: tuple[Any, timedelta]) -> Any:
    return pair[0] + pair[1]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Cases around a change of the clock."""
    zone = draw(st.sampled_from(sorted(PLACES)))
    around = midnight(PLACES[zone])
    quarters = st.integers(-4 * HOURS, 4 * HOURS).map(lambda n: timedelta(minutes=15 * n))
    just = st.sampled_from([timedelta(0), timedelta(milliseconds=1), timedelta(milliseconds=-1), timedelta(minutes=7)])
    midnights = st.integers(-20, 20).map(
        lambda days: datetime.combine(PLACES[zone] + timedelta(days=days), time.min, ZoneInfo(zone)).astimezone(UTC)
    )
    times = st.tuples(st.one_of(quarters.map(around.__add__), midnights), just).map(sum_of)
    limits = st.sampled_from([timedelta(seconds=limit) for limit in LIMITS if limit is not None])
    later = st.tuples(st.one_of(quarters.map(abs), limits), just).map(sum_of)
    steps = st.lists(st.tuples(later, st.sampled_from(["todo", "in_progress", "done"])), min_size=1, max_size=5)
    tasks = st.builds(
        task,
        created=times,
        steps=steps,
        moved=st.sampled_from([timedelta(0), timedelta(0), timedelta(0), timedelta(days=2), -timedelta(days=2)]),
        recorded=st.sampled_from([True, True, False]),
        priority=st.integers(1, 3),
        tags=st.lists(st.sampled_from("abc"), unique=True),
        due=st.one_of(st.none(), st.integers(-3, 3).map(lambda days: datetime.now(UTC).date() + timedelta(days=days))),
        estimate=st.one_of(st.none(), st.sampled_from([0, 29, 30, 100_000])),
    )
    first = PLACES[zone] + timedelta(days=draw(st.integers(-25, 25)))
    return Case(
        zone,
        draw(st.sampled_from(list(PeriodUnit))),
        first,
        first + timedelta(days=draw(st.integers(0, 25))),
        draw(st.sampled_from(sorted(FILTERS))),
        draw(st.lists(tasks, max_size=12)),
    )


def summary(case: Case) -> dict[str, int]:
    tasks, today = case.selected, day_of(datetime.now(UTC), case.zone)
    opened = [task for task in tasks if task.completed is None]
    return {
        "tasks": len(tasks),
        "open": len(opened),
        "todo": sum(task.status == "todo" for task in tasks),
        "in_progress": sum(task.status == "in_progress" for task in tasks),
        "done": sum(task.status == "done" for task in tasks),
        "overdue": sum(task.due is not None and task.due < today for task in opened),
        "due_today": sum(task.due == today for task in opened),
        "due_later": sum(task.due is not None and task.due > today for task in opened),
        "without_due_date": sum(task.due is None for task in opened),
        "open_estimate_minutes": sum(task.estimate or 0 for task in opened),
        "open_without_estimate": sum(task.estimate is None for task in opened),
    }


def _rows(case: Case) -> list[dict[str, Any]]:
    shown = {first: last if case.unit is PeriodUnit.day else _last_day(case.unit, first) for first, last in case.days.items()}
    return [{"first_day": first.isoformat(), "last_day": last.isoformat(), "unfinished": False} for first, last in shown.items()]


def _last_day(unit: PeriodUnit, first: date) -> date:
    day = first
    while first_day(unit, day + DAY) == first:
        day += DAY
    return day


def throughput(case: Case) -> list[dict[str, Any]]:
    rows = _rows(case)
    for row in rows:
        for name in ("created", "completed"):
            moments = [moment for task in case.selected if (moment := getattr(task, name))]
            row[name] = sum(first_day(case.unit, case.day(moment)).isoformat() == row["first_day"] for moment in moments)
    return rows


def burndown(case: Case, measure: str) -> list[dict[str, Any]]:
    rows = _rows(case)
    for row in rows:
        end = date.fromisoformat(row["last_day"])
        there = [task for task in case.selected if case.day(task.created) <= end]
        opened = [task for task in there if task.completed is None or case.day(task.completed) > end]
        row["open"] = len(opened) if measure == "tasks" else sum(task.estimate or 0 for task in opened)
    return rows


def flow(case: Case) -> list[dict[str, Any]]:
    rows = _rows(case)
    for row in rows:
        end = date.fromisoformat(row["last_day"])
        there = [task for task in case.selected if case.day(task.created) <= end]
        statuses = [
            [task.known[0][1], *(status for at, status in task.known if case.day(max(at, task.created)) <= end)][-1]
            for task in there
        ]
        row |= {status: statuses.count(status) for status in ("todo", "in_progress", "done")}
    return rows


def lead_times(case: Case) -> dict[str, Any]:
    done = [task for task in case.selected if task.completed and case.first <= case.day(task.completed) <= case.last]
    begun = [(task, [at for at, status in task.steps if status == "in_progress"]) for task in done if task.recorded]
    return {
        "lead_time": durations([task.completed - task.created for task in done if task.completed]),
        "cycle_time": durations([task.completed - times[0] for task, times in begun if times and task.completed]),
    }


def durations(times: list[timedelta]) -> dict[str, Any]:
    took = sorted(time // timedelta(milliseconds=1) for time in times if time >= timedelta(0))
    ranks = {f"p{percent}_seconds": took[ceil(len(took) * percent / 100) - 1] if took else None for percent in (50, 75, 85, 95)}
    found = {
        "min_seconds": took[0] if took else None,
        "mean_seconds": sum(took) // len(took) if took else None,
        **ranks,
        "max_seconds": took[-1] if took else None,
    }
    histogram = [
        {
            "from_seconds": low,
            "to_seconds": high,
            "tasks": sum(1000 * (low or 0) <= each and (high is None or each < 1000 * high) for each in took),
        }
        for low, high in pairwise(LIMITS)
    ]
    return {"tasks": len(took), **{name: each and each // 1000 for name, each in found.items()}, "histogram": histogram}


def tags(case: Case) -> list[dict[str, Any]]:
    today = day_of(datetime.now(UTC), case.zone)
    rows = []
    for tag in "abc":
        having = [task for task in case.selected if tag in task.tags]
        opened = [task for task in having if task.completed is None]
        row = {
            "tag": tag,
            "tasks": len(having),
            "open": len(opened),
            "overdue": sum(task.due is not None and task.due < today for task in opened),
            "done": len(having) - len(opened),
        }
        rows += [row] if having else []
    return sorted(rows, key=lambda row: (-int(row["tasks"]), str(row["tag"])))
