"""What one client has been told of one account's tasks: the copy that it keeps, and whether it was told everything in order."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Task = Mapping[str, Any]
GONE = {"task.deleted", "task.purged", "task.left"}
TYPES = {
    "create": "task.created",
    "update": "task.updated",
    "batch": "task.updated",
    "delete": "task.deleted",
    "restore": "task.restored",
    "purge": "task.purged",
}
SAMPLES = 5  # of each kind of violation that are printed


class Written(NamedTuple):
    """A write that was acknowledged."""

    task_id: str
    version: int
    at: float  # when, by the monotonic clock
    what: str


class Seen(NamedTuple):
    """When a version of a task came first, by the monotonic clock, and as what."""

    at: float
    type: str


class Reload(NamedTuple):
    """A fresh list that a client has read, in place of what it had missed."""

    begun: float
    ended: float
    versions: dict[str, int]

    def has(self, write: Written) -> bool:
        """Whether the list contains that write, or what came after it."""
        if write.task_id in self.versions:
            return self.versions[write.task_id] >= write.version
        return write.at <= self.ended and (write.at < self.begun or write.what in ("delete", "purge"))


@dataclass
class Copy:
    """The copy of one client."""

    owner_id: str
    skips: bool = False  # whether one event may stand for several writes, as when only the last state is read
    tasks: dict[str, Task] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)  # of the last event that was applied
    seen: dict[str, dict[int, Seen]] = field(default_factory=lambda: defaultdict(dict))  # by task and version
    reloads: list[Reload] = field(default_factory=list)
    events: int = 0
    repeated: int = 0
    foreign: int = 0
    disordered: list[str] = field(default_factory=list)
    resets: list[str] = field(default_factory=list)
    failures: int = 0  # connections that broke, and answers that were errors

    def apply(self, event: Mapping[str, Any]) -> None:
        """Takes note of an event, and brings the copy up to date."""
        task_id, version, task = event["task_id"], event["version"], event.get("task")
        self.events += 1
        if task is not None and (task["owner"]["id"] != self.owner_id or task["id"] != task_id):
            self.foreign += 1
            return
        known = self.seen[task_id]
        if version in known:
            self.repeated += 1
        else:
            if known and version < max(known):
                self.disordered.append(f"{task_id}: {version} after {max(known)}")
            known[version] = Seen(time.monotonic(), event["type"])
        if version < self.versions.get(task_id, 0):
            return
        self.versions[task_id] = version
        if task is not None:
            self.tasks[task_id] = task
            self.versions[task_id] = max(version, task["version"])
        elif event["type"] in GONE:
            self.tasks.pop(task_id, None)

    def reload(self, begun: float, events: Iterable[Mapping[str, Any]]) -> None:
        """Replaces the copy by a fresh list."""
        fresh = {event["task_id"]: event["task"] for event in events if "task" in event}
        self.foreign += sum(task["owner"]["id"] != self.owner_id for task in fresh.values())
        self.tasks = dict(fresh)
        versions = {task_id: task["version"] for task_id, task in fresh.items()}
        self.versions |= versions
        self.reloads.append(Reload(begun, time.monotonic(), versions))

    def count_foreign(self, owners: Mapping[str, str]) -> int:
        """How many tasks of others it was told of; ``owners`` has the owner's id of each task."""
        return self.foreign + sum(owners.get(task_id) != self.owner_id for task_id in self.seen)

    def lacks(self, written: Iterable[Written]) -> list[Written]:
        """The acknowledged writes that it was not told of."""
        return [write for write in written if not self._was_told(write)]

    def _was_told(self, write: Written) -> bool:
        if self.skips and self.versions.get(write.task_id, 0) >= write.version:
            return True
        seen = self.seen.get(write.task_id, {}).get(write.version)
        if seen is not None and seen.type == TYPES[write.what]:
            return True
        return any(reload.has(write) for reload in self.reloads)

    def delays(self, written: Iterable[Written]) -> list[float]:
        """How long after its acknowledgement each write was known, in seconds; negative if it was known earlier."""
        found = []
        for write in written:
            known = self.seen.get(write.task_id, {})
            came = min((seen.at for version, seen in known.items() if version >= write.version), default=None)
            if came is not None:
                found.append(came - write.at)
        return found

    def differs(self, stored: Mapping[str, Task]) -> list[str]:
        """The tasks of which the copy differs from what is stored."""
        ids = self.tasks.keys() | stored.keys()
        return [task_id for task_id in sorted(ids) if self.tasks.get(task_id) != stored.get(task_id)]
