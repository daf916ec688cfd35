"""A line of an import, and the changes that it makes to its task."""

from datetime import datetime, timedelta
from typing import NamedTuple

from bson import ObjectId

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import in_utc, midnight, utc_now
from taskapi.core.ids import id_within
from taskapi.core.unicode import nfc
from taskapi.db.connection import BSON
from taskapi.db.expressions import MAX_TIME
from taskapi.tasks.fields import DAYS, DIRECT_FIELDS, TIMES
from taskapi.tasks.import_export.schemas import TaskImport, TaskImportById
from taskapi.tasks.metadata import exact
from taskapi.tasks.schemas import Status
from taskapi.tasks.services.tasks import new_task
from taskapi.tasks.storage.marks import begin_status_changes
from taskapi.tasks.storage.reading import read, sound

IMPORTED_FIELDS = (*DIRECT_FIELDS, "metadata", "created_at", "updated_at", "completed_at")


class ImportLine(NamedTuple):
    """A valid line: its data, the new task that it creates if there is none yet, and the ids that its task may have."""

    data: TaskImport
    task: BSON
    ids: tuple[ObjectId, ...] = ()
    number: int = 0  # of the line on which it begins

    @property
    def key(self) -> str | None:
        """The caller's own name for the task, in NFC."""
        return None if self.data.key is None else nfc(self.data.key)

    @property
    def names(self) -> set[str | ObjectId]:
        """The ids and the key that identify its task."""
        return {*self.ids, *(() if self.key is None else (self.key,))}


def line_of(owner: UserRead, data: TaskImport, number: int) -> ImportLine:
    """The line at ``number`` with the values ``data``. Ids are generated here, so it is called in the order of the lines."""
    task = _new(owner, data)
    if not isinstance(data, TaskImportById) or data.id is None:
        return ImportLine(data, task, number=number)
    given = ObjectId(data.id)
    task["_id"] = id_within(owner.object_id, given)
    return ImportLine(data, task, (given, task["_id"]), number)


def _new(owner: UserRead, data: TaskImport) -> BSON:
    """A new task of ``owner`` as it is stored, with the times given in the line."""
    task = new_task(owner, data)
    now = task["created_at"]
    known = [moment for moment in (data.updated_at, data.completed_at) if moment]
    task["created_at"] = data.created_at or min([now, *known])
    task["updated_at"] = data.updated_at or max([now, task["created_at"], *known])
    if task["completed"]:
        task["completed_at"] = data.completed_at or data.updated_at or now
    task["status_changes"] = begin_status_changes(task["status"], task["created_at"], task["completed_at"])
    if data.key is not None:
        task["key"] = nfc(data.key)
    return task


def complete(stored: BSON, owner: UserRead) -> BSON:
    """A stored task of ``owner`` with times in UTC, and with defaults for what earlier versions did not store."""
    shown = sound(stored, owner)
    times = {name: shown[name] for name in TIMES}
    if not all(isinstance(time, datetime | None) for time in times.values()):  # a text or number that can be read as a time
        task = read(stored, owner)
        times = {name: getattr(task, name) for name in TIMES}
        times |= {name: times[name] and midnight(times[name]) for name in DAYS}
    times = {name: time and in_utc(time) for name, time in times.items()}
    return {**shown, **times, "_id": stored["_id"], "version": stored.get("version")}


def keys_of(task: BSON) -> list[str]:
    """The keys of a stored task. A script may have stored a list of keys; the index of keys contains each."""
    key = task.get("key")
    return [each for each in (key if isinstance(key, list) else [key]) if type(each) is str]  # JavaScript is a subclass


def find_changes(line: ImportLine, stored: BSON) -> BSON:
    """The fields that the line sets, if any of them differs from the stored task; otherwise none."""
    data, given = line.data, line.data.model_fields_set
    fields = {name: line.task[name] for name in IMPORTED_FIELDS if name in given}
    if line.key is not None and line.key not in map(nfc, keys_of(stored)):
        fields["key"] = line.key
    if data.completed_at is None:
        fields.pop("completed_at", None)
    if "updated_at" in fields and fields["updated_at"] <= stored["updated_at"]:
        del fields["updated_at"]  # it never goes back: callers that page in its order would miss the task
    if "checklist" in given:
        fields["checklist"] = _with_ids(line, stored["checklist"])
    if data.status or data.completed:
        fields["status"] = line.task["status"]
    elif data.completed is not None:
        fields["status"] = Status.todo if stored["status"] == Status.done else stored["status"]
    return fields if any(exact(value) != exact(stored.get(name)) for name, value in fields.items()) else {}


def _with_ids(line: ImportLine, stored: list[BSON]) -> list[BSON]:
    """The checklist of a line; an item without an id takes the id of a stored item with an equal text."""
    named = {item.id for item in line.data.checklist}
    free: dict[str, list[ObjectId]] = {}
    for item in stored:
        if str(item["id"]) not in named:
            free.setdefault(nfc(item["text"]), []).append(item["id"])
    made = []
    for sent, item in zip(line.data.checklist, line.task["checklist"], strict=True):
        same = free.get(sent.text) if sent.id is None else None
        made.append({**item, "id": same.pop(0)} if same else item)
    return made


def apply_changes(stored: BSON, fields: BSON) -> BSON:
    """The stored task with ``fields`` changed, for a dry run."""
    now, at = utc_now(), stored["updated_at"]
    task = {**stored, "updated_at": at + timedelta(milliseconds=1) if now <= at < MAX_TIME else now, **fields}
    if task["status"] != Status.done:
        task["completed_at"] = None
    elif task["completed_at"] is None:
        task["completed_at"] = now
    return task
