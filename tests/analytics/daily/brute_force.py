"""The daily figures in plain Python, from stored tasks, one task at a time."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from bson import ObjectId

from tests.examples.brute_force import CHANGING, steps

BSON = Mapping[str, Any]
HOUR = timedelta(hours=1)
Key = tuple[ObjectId | None, datetime]


class Day:
    """The figures of a day."""

    def __init__(self) -> None:
        self.numbers, self.lead, self.cycle = Counter[str](), Counter[int](), Counter[int]()
        self.priorities = Counter[int]()
        self.changes, self.tasks = Counter[str](), Counter[str]()

    def add(self, other: "Day") -> None:
        """Adds those of another one."""
        for name, counter in vars(self).items():
            counter.update(getattr(other, name))

    def stored(self) -> dict[str, Any]:
        """As ``read`` gives them."""
        names = ("created", "completed", "status_changes", "monthly_active", "open", "open_due", "todo", "in_progress", "done")
        return {
            **{name: self.numbers[name] for name in names},
            "lead_hours": dict(self.lead),
            "cycle_hours": dict(self.cycle),
            "open_priorities": dict(self.priorities),
            "fields": {name: (count, self.tasks[name]) for name, count in self.changes.items()},
        }


def read(row: BSON) -> dict[str, Any]:
    """The figures of a stored day."""
    hours = {name: {each["hours"]: each["tasks"] for each in row[name]} for name in ("lead_hours", "cycle_hours")}
    hours["open_priorities"] = {each["priority"]: each["tasks"] for each in row["open_priorities"]}
    fields = {each["field"]: (each["changes"], each["tasks"]) for each in row["fields"]}
    numbers = {name: value for name, value in row.items() if isinstance(value, int)}
    return {**numbers, **hours, "fields": fields}


def days(tasks: Iterable[BSON]) -> dict[Key, dict[str, Any]]:
    """The figures of each owner and day; of all owners, under None."""
    found = defaultdict[Key, Day](Day)
    for task in tasks:
        for at, day in _of_task(task).items():
            found[task["owner_id"], at].add(day)
            found[None, at].add(day)
    active = sorted((owner, at) for (owner, at), day in found.items() if owner and day.numbers["status_changes"])
    first = {(owner, at.year, at.month): at for owner, at in reversed(active)}
    for (owner, _, _), at in first.items():
        found[owner, at].numbers["monthly_active"] += 1
        found[None, at].numbers["monthly_active"] += 1
    return {key: day.stored() for key, day in found.items()}


def _of_task(task: BSON) -> dict[datetime, Day]:
    found = defaultdict[datetime, Day](Day)

    def on(at: datetime) -> Day:
        return found[at.replace(hour=0, minute=0, second=0, microsecond=0)]

    if task["state"] == "active":
        known = steps(task)
        on(task["created_at"]).numbers["created"] += 1
        for at, status in known:
            on(at).numbers.update([status, "status_changes"])
        for (_, status), (at, _) in pairwise(known):
            on(at).numbers[status] -= 1
        if task["status"] != "done":
            on(task["created_at"]).numbers["open"] += 1
            on(task["created_at"]).priorities[task["priority"]] += 1
            if task["due_date"]:
                on(task["due_date"]).numbers["open_due"] += 1
        if completed := task["completed_at"]:
            on(completed).numbers["completed"] += 1
            if completed >= task["created_at"]:
                on(completed).lead[(completed - task["created_at"]) // HOUR] += 1
        begun = [at for at, status in known if status == "in_progress"]
        done, status = known[-1]
        if begun and status == "done":
            on(done).cycle[(done - begun[0]) // HOUR] += 1
    if task["state"] in ("active", "trash"):
        _add_changes(task, on)
    return found


def _add_changes(task: BSON, on: Any) -> None:
    state, firsts = dict(task), dict[str, datetime]()
    for entry in reversed(task["history"]):
        for name, before in entry["before"].items():
            if name in CHANGING and before != state.get(name):
                on(entry["at"]).changes[name] += 1
                firsts[name] = min(entry["at"], firsts.get(name, entry["at"]))
        state |= entry["before"]
    for name, at in firsts.items():
        on(at).tasks[name] += 1
