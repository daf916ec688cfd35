"""Finds the stored tasks that the lines of an import match."""

from collections.abc import Collection, Iterable, Sequence

from bson import ObjectId

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.errors import FieldError
from taskapi.core.unicode import nfc
from taskapi.db.connection import BSON
from taskapi.tasks.import_export.import_line import ImportLine, complete, keys_of
from taskapi.tasks.storage.import_repository import ImportRepository
from taskapi.tasks.storage.scope import PURGED

TAKEN = FieldError("id", "belongs to a stored task that is damaged", "taken")
KEY_TAKEN = FieldError("key", "belongs to another task", "key_taken")


class StoredTasks:
    """Tasks of an owner by their ids, including the trash, and by their keys in NFC, without the trash.

    Up to version 1.2, keys were stored as sent. Of two tasks whose keys are equal in NFC, the one stored in NFC counts.
    """

    def __init__(self, tasks: Sequence[BSON], purged: Collection[ObjectId] = (), taken: Iterable[ObjectId] = ()) -> None:
        self.purged = purged  # the ids of tombstones
        self._taken = frozenset(taken)  # the ids of tasks that nobody can reach, because a script has removed their state
        self.by_id: dict[ObjectId, BSON] = {}
        self._by_key: dict[str, BSON] = {}
        for task in sorted(tasks, key=lambda task: all(key == nfc(key) for key in keys_of(task))):
            self.add(task)

    @classmethod
    async def of(cls, tasks: ImportRepository, owner: UserRead, lines: Sequence[ImportLine]) -> "StoredTasks":
        """Reads the tasks that ``lines`` name, and those that have the keys of named tasks in the trash."""
        found = await tasks.find_by_ids(owner, [task_id for line in lines for task_id in line.ids])
        purged = {task["_id"] for task in found if task.get("state") == PURGED}
        taken = {task["_id"] for task in found if task.get("state") is None}
        unreachable = purged | taken
        found = [task for task in found if task["_id"] not in unreachable]
        keys = [line.data.key for line in lines if line.data.key is not None]
        keys += [key for task in found if "trash" in task for key in keys_of(task)]
        found += await tasks.find_by_keys(owner, keys)
        return cls([_complete(task, owner) for task in found], purged, taken)

    def add(self, task: BSON) -> None:
        """Adds a task, or a newer state of one."""
        former = self.by_id.get(task["_id"], {})
        for key in map(nfc, keys_of(former)):
            if self._by_key.get(key) is former:
                del self._by_key[key]
        self.by_id[task["_id"]] = task
        if "trash" not in task:
            self._by_key |= dict.fromkeys(map(nfc, keys_of(task)), task)

    def task(self, line: ImportLine) -> BSON | None:
        """The task that a line matches: by its id, else by its key, else by its id in the trash."""
        named = [self.by_id[task_id] for task_id in line.ids if task_id in self.by_id]
        outside = [task for task in named if "trash" not in task]
        return outside[0] if outside else self._holder(line) or (named[0] if named else None)

    def faults(self, line: ImportLine, task: BSON | None) -> list[FieldError]:
        """The fault of a line that matches ``task``, if its key belongs to another one.

        Without a match, the fault is that its id belongs to a task that nobody can reach.
        """
        if task is None:
            return [TAKEN] if not self._taken.isdisjoint(line.ids) else []
        holder = self._holder(line)
        return [KEY_TAKEN] if holder and holder["_id"] != task["_id"] else []

    def _holder(self, line: ImportLine) -> BSON | None:
        """The task that has the key of a line."""
        return self._by_key.get(line.key) if line.key is not None else None

    def keeps_key(self, task: BSON) -> bool:
        """Whether a task restored from the trash keeps its key, because no other task has it."""
        return all(nfc(key) not in self._by_key for key in keys_of(task))

    def restore(self, task: BSON) -> BSON:
        """A task of the trash as it is after it is restored."""
        gone = {"trash"} if self.keeps_key(task) else {"trash", "key"}
        return {name: value for name, value in task.items() if name not in gone}


def _complete(task: BSON, owner: UserRead) -> BSON:
    return {**complete(task, owner), **{name: task[name] for name in ("key", "state", "trash") if name in task}}
