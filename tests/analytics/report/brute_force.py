"""The figures of a report in plain Python: generated tasks, and the figures that follow from them one task at a time."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from math import ceil
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from taskapi.core.clock import day_of
from tests.stats.brute_force import Task, cases

WEEK = timedelta(days=7)
PRIORITIES = [1, 2, 5, 2.0, 5.0, 2.5, 7, None, "3", True]  # as a script may have stored them
FIELDS = ["title", "due_date", "tags", "completed", "metadata"]
Change = tuple[str, datetime]  # the field, and when


@dataclass(frozen=True)
class Case:
    """Tasks with what their figures need beside the statistics, and a question about them."""

    zone: str
    now: datetime
    weeks: int
    tasks: Sequence[Task]
    priorities: Sequence[Any]
    changes: Sequence[Sequence[Change]]

    @property
    def today(self) -> date:
        return day_of(self.now, self.zone)

    @property
    def mondays(self) -> list[date]:
        """The first days of the weeks, and of the one that follows them."""
        last = self.today - timedelta(days=self.today.weekday())
        return [last - WEEK * (self.weeks - 1 - number) for number in range(self.weeks + 1)]

    def stored(self) -> list[dict[str, Any]]:
        """The fields of the tasks in MongoDB."""
        return [
            {**task.stored(), "priority": priority, "history": [_entry(*each, number) for number, each in enumerate(changes)]}
            for task, priority, changes in zip(self.tasks, self.priorities, self.changes, strict=True)
        ]

    def is_within(self, moment: datetime | None) -> bool:
        return moment is not None and self.mondays[0] <= day_of(moment, self.zone) < self.mondays[-1]


def _entry(field: str, at: datetime, number: int) -> dict[str, Any]:
    by = {"id": None, "username": "ada"}
    return {"version": number + 2, "at": at, "by": by, "action": "update", "request_id": "", "before": {field: f"value {number}"}}


@st.composite
def report_cases(draw: st.DrawFn) -> Case:
    """Cases around a change of the clock, seen from a time near it."""
    case = draw(cases())
    days = st.integers(-10, 10).map(lambda days: case.last + timedelta(days=days))
    midnight = st.builds(lambda day: datetime.combine(day, time.min, ZoneInfo(case.zone)).astimezone(UTC), days)
    moments = st.builds(lambda start, minutes: start + timedelta(minutes=minutes), midnight, st.integers(-1500, 1500))
    now = draw(st.one_of(midnight, moments))
    due = st.one_of(st.none(), st.integers(-2, 2).map(lambda days: day_of(now, case.zone) + timedelta(days=days)))
    tasks = [replace(task, due=draw(due)) for task in case.tasks]
    changes = st.lists(st.tuples(st.sampled_from(FIELDS), st.one_of(midnight, moments)), max_size=3)
    return Case(
        case.zone,
        now,
        draw(st.integers(1, 6)),
        tasks,
        [draw(st.sampled_from(PRIORITIES)) for _ in tasks],
        [draw(changes) for _ in tasks],
    )


def weeks(case: Case) -> list[tuple[Any, ...]]:
    """Of each week: first and last day, created, completed, to do, in progress and done at its end, whether it has not ended."""
    found = []
    for monday in case.mondays[:-1]:
        sunday = monday + timedelta(days=6)
        created, completed = (
            sum(monday <= day_of(moment, case.zone) <= sunday for task in case.tasks if (moment := getattr(task, name)))
            for name in ("created", "completed")
        )
        found.append((monday, sunday, created, completed, *flow(case, sunday), sunday >= case.today))
    return found


def flow(case: Case, last: date) -> tuple[int, int, int]:
    """How many tasks were to do, in progress and done at the end of a day."""
    statuses = [
        [task.known[0][1], *(status for at, status in task.known if day_of(max(at, task.created), case.zone) <= last)][-1]
        for task in case.tasks
        if day_of(task.created, case.zone) <= last
    ]
    return statuses.count("todo"), statuses.count("in_progress"), statuses.count("done")


def lead_times(case: Case) -> tuple[int, float | None, float | None]:
    """How many tasks were measured, the median and the 85th percentile in seconds."""
    done = [task.completed - task.created for task in case.tasks if task.completed and case.is_within(task.completed)]
    took = sorted(each.total_seconds() for each in done if each >= timedelta(0))
    median, p85 = (took[ceil(len(took) * percent / 100) - 1] if took else None for percent in (50, 85))
    return len(took), median, p85


def overdue(case: Case) -> list[Task]:
    return [task for task in case.tasks if task.completed is None and task.due is not None and task.due < case.today]


def overdue_tags(case: Case) -> Counter[str | None]:
    found = Counter[str | None]()
    for task in overdue(case):
        names: Sequence[str | None] = task.tags or [None]
        found.update(names)
    return found


def open_priorities(case: Case) -> dict[str | None, int]:
    priorities = {1: "1", 2: "2", 5: "5"}
    found: Counter[str | None] = Counter(dict.fromkeys("54321", 0))
    for task, priority in zip(case.tasks, case.priorities, strict=True):
        if task.completed is None:
            is_number = isinstance(priority, int | float) and not isinstance(priority, bool)
            found[priorities.get(priority) if is_number else None] += 1
    return dict(found)


def changed_fields(case: Case) -> Counter[str]:
    return Counter(field for each in case.changes for field, at in each if case.is_within(at) and field != "completed")
