"""The figures of a report."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any, Final

from taskapi.tasks.schemas import Status

PRIORITIES: Final = range(5, 0, -1)


@dataclass(frozen=True, slots=True)
class Flow:
    """How many tasks had each status at one time."""

    todo: int
    in_progress: int
    done: int

    @property
    def open(self) -> int:
        """Those that were not done."""
        return self.todo + self.in_progress


@dataclass(frozen=True, slots=True)
class Week:
    """A week from Monday on: what was created and completed in it, and what there was at its end, or now if it has not ended."""

    first_day: date
    last_day: date
    created: int
    completed: int
    flow: Flow
    is_unfinished: bool


@dataclass(frozen=True, slots=True)
class DurationClass:
    """The tasks that took so many seconds: from ``low`` on, but less than ``high`` (None: any number)."""

    low: int
    high: int | None
    tasks: int


@dataclass(frozen=True, slots=True)
class LeadTimes:
    """How long the tasks took that were completed in the weeks. The percentiles are seconds; None if there is no such task."""

    classes: Sequence[DurationClass]
    median: float | None
    p85: float | None

    @property
    def tasks(self) -> int:
        """How many tasks were measured."""
        return sum(each.tasks for each in self.classes)


@dataclass(frozen=True, slots=True)
class Count:
    """How many tasks or changes have one name; None for those without one."""

    name: str | None
    count: int


def count_priorities(found: Iterable[tuple[Any, int]]) -> list[Count]:
    """The numbers of tasks by priority, highest first. What a script has stored in its place counts as none."""
    counts = Counter[str | None]({str(priority): 0 for priority in PRIORITIES})
    for priority, tasks in found:
        counts[str(priority) if priority in PRIORITIES else None] += tasks
    return [Count(name, count) for name, count in counts.items()]


@dataclass(frozen=True)
class Report:
    """All figures of a report at one time."""

    database: str
    owner: str | None  # None: of all users
    zone: str  # IANA; decides where a day ends
    at: datetime
    now: dict[Status, int]
    overdue: int
    start: Flow  # before the first week
    weeks: Sequence[Week]
    lead_times: LeadTimes
    overdue_tags: Sequence[Count]  # most first; a task counts for each of its tags
    open_priorities: Sequence[Count]  # highest first
    changed_fields: Sequence[Count]  # in the weeks, most first
    is_daily: bool = False  # from the daily figures, but the tags are as of now

    @property
    def tasks(self) -> int:
        """All tasks, but those in the trash."""
        return sum(self.now.values())

    @property
    def open(self) -> int:
        """Those that are not done."""
        return self.tasks - self.now[Status.done]

    @cached_property
    def full_weeks(self) -> Sequence[Week]:
        """The weeks that have ended."""
        return [week for week in self.weeks if not week.is_unfinished]
