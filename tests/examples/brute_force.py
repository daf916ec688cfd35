"""The tables of the examples in plain Python, from stored tasks, one task at a time."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from math import ceil
from typing import Any
from zoneinfo import ZoneInfo

BSON = Mapping[str, Any]
Row = list[Any]  # texts and numbers; None stands for a dash

CHANGING = {
    "title", "description", "status", "completed", "completed_at", "priority", "due_date", "start_date", "estimate_minutes",
    "tags", "links", "checklist", "progress", "metadata",
}  # fmt: skip
DAYS = 14
FOLLOWING_MONTHS = 3


def steps(task: BSON) -> list[tuple[datetime, str]]:
    """The statuses of a task, each with its beginning. It has none before its creation, which an import may set."""
    return [(max(each["at"], task["created_at"]), each["status"]) for each in task["status_changes"]]


def active(tasks: Iterable[BSON]) -> list[BSON]:
    return [task for task in tasks if task["state"] == "active"]


def open_tasks(tasks: Iterable[BSON], zone: ZoneInfo, last: date) -> list[Row]:
    found: Counter[tuple[str, str]] = Counter()
    for task in active(tasks):
        if task["status"] != "done":
            year, week, _ = task["created_at"].astimezone(zone).isocalendar()
            found[task["owner"]["username"], f"{year:04}-W{week:02}"] += 1
    return [[owner, week, count] for (owner, week), count in sorted(found.items())]


def cohort_retention(tasks: Iterable[BSON], zone: ZoneInfo, last: date) -> list[Row]:
    months = defaultdict(set)  # of each owner, counted from the year 0
    for task in active(tasks):
        for at, _ in steps(task):
            months[task["owner_id"]].add(_month(at.astimezone(zone)))
    cohorts = defaultdict(list)
    for seen in months.values():
        cohorts[min(seen)].append(seen)
    this_month = _month(datetime.now(UTC).astimezone(zone))
    rows: list[Row] = []
    for cohort, users in sorted(cohorts.items()):
        row: Row = [f"{cohort // 12:04}-{cohort % 12 + 1:02}", len(users)]
        for month in range(cohort + 1, cohort + 1 + FOLLOWING_MONTHS):
            stayed = sum(month in seen for seen in users)
            row.append(100 * stayed / len(users) if month <= this_month else None)
        rows.append(row)
    return rows


def _month(moment: datetime) -> int:
    return moment.year * 12 + moment.month - 1


def cycle_time(tasks: Iterable[BSON], zone: ZoneInfo, last: date) -> list[Row]:
    took = defaultdict(list)
    for task in active(tasks):
        begun = [at for at, status in steps(task) if status == "in_progress"]
        done, status = steps(task)[-1]
        if begun and status == "done":
            took[f"{done.astimezone(zone):%Y-%m}"].append((done - begun[0]) / timedelta(days=1))
    return [
        [month, len(days), *(sorted(days)[ceil(len(days) * percent / 100) - 1] for percent in (50, 85, 95))]
        for month, days in sorted(took.items())
    ]


def burndown(tasks: Iterable[BSON], zone: ZoneInfo, last: date) -> list[Row]:
    rows: list[Row] = []
    for day in (last - timedelta(days=back) for back in reversed(range(DAYS))):
        opened = 0
        for task in active(tasks):
            had = [status for at, status in steps(task) if at.astimezone(zone).date() <= day]
            opened += bool(had) and had[-1] != "done"
        rows.append([day.isoformat(), opened])
    return rows


def most_changed_fields(tasks: Iterable[BSON], zone: ZoneInfo, last: date) -> list[Row]:
    changes: Counter[str] = Counter()
    changed = defaultdict(set)
    for task in tasks:
        state = dict(task)
        for entry in reversed(task.get("history", [])):
            for name, before in entry["before"].items():
                if name in CHANGING and before != state.get(name):
                    changes[name] += 1
                    changed[name].add(task["_id"])
            state |= entry["before"]
    return [[name, count, len(changed[name])] for name, count in sorted(changes.items(), key=lambda item: (-item[1], item[0]))]


TABLES: Mapping[str, Callable[[Iterable[BSON], ZoneInfo, date], list[Row]]] = {
    "open_tasks": open_tasks,
    "cohort_retention": cohort_retention,
    "cycle_time": cycle_time,
    "burndown": burndown,
    "most_changed_fields": most_changed_fields,
}


def expected_of(tool: str, question: str, tasks: Iterable[BSON], zone: str, last: date) -> list[Row]:
    """What an example prints. Daily figures are in UTC, and their times in whole hours."""
    if tool != "days":
        return TABLES[question](tasks, ZoneInfo(zone), last)
    rows = TABLES[question](tasks, ZoneInfo("UTC"), last)
    if question != "cycle_time":
        return rows
    return [[month, count, *(timedelta(days=days) // timedelta(hours=1) / 24 for days in took)] for month, count, *took in rows]
