"""Writes the lines of an import: each changes the task with its id or key, or creates one."""

from contextlib import AbstractContextManager
from datetime import datetime
from tempfile import SpooledTemporaryFile
from typing import Protocol

import bson
from bson import ObjectId
from bson.codec_options import CodecOptions

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import utc_now
from taskapi.core.cooperative import CooperativeYield
from taskapi.core.unicode import nfc
from taskapi.db.connection import BSON
from taskapi.db.expressions import literals
from taskapi.tasks.errors import Contended
from taskapi.tasks.import_export.import_line import ImportLine, apply_changes, find_changes, keys_of
from taskapi.tasks.import_export.matching import StoredTasks
from taskapi.tasks.import_export.schemas import ImportReport
from taskapi.tasks.services.owner_name import OwnerNameSync
from taskapi.tasks.storage import rules
from taskapi.tasks.storage.import_repository import ImportRepository, Update
from taskapi.tasks.storage.pipelines import restore_pipeline, update
from taskapi.tasks.storage.repository import MAX_ATTEMPTS

IN_MEMORY = 4 * 1024 * 1024  # bytes of drafts; larger ones go to a file
AWARE = CodecOptions[BSON](tz_aware=True)


class Writer(Protocol):
    """Writes the lines of an import, or only counts them."""

    async def write(self, lines: list[ImportLine], report: ImportReport) -> None:
        """Writes lines, no two of which have an id or key in common, and counts them in ``report``."""


class Upsert(AbstractContextManager["Upsert"]):
    """Looks up the stored tasks of all lines, then writes them in one bulk write."""

    def __init__(self, owner: UserRead, tasks: ImportRepository, names: OwnerNameSync) -> None:
        self._owner = owner
        self._tasks = tasks
        self._names = names

    def __exit__(self, *_: object) -> None:
        """Has nothing to release."""

    async def write(self, lines: list[ImportLine], report: ImportReport) -> None:
        """See ``Writer``. Raises Contended when tasks have changed between the look-up and the write 100 times."""
        ids = [task_id for line in lines for task_id in (*line.ids, line.task["_id"])]
        for _ in range(MAX_ATTEMPTS):
            lines = await self._attempt(lines, report)
            if not lines:
                break
        else:
            raise Contended
        await self._names.sync_owner_name(self._owner, ids)

    async def _attempt(self, lines: list[ImportLine], report: ImportReport) -> list[ImportLine]:
        """Tries once; returns the lines to try again, because another request or an earlier line changed their tasks."""
        known, turns, now = await StoredTasks.of(self._tasks, self._owner, lines), CooperativeYield(), utc_now()
        inserts, waiting = list[ImportLine](), list[ImportLine]()
        updates = dict[ObjectId, tuple[ImportLine, Update]]()
        for line in lines:
            await turns.checkpoint()
            task = known.task(line)
            if task is not None and task["_id"] in updates:  # an earlier line has matched the same task, one by id and one by key
                waiting.append(line)
            elif faults := known.faults(line, task):
                report.fail(line.number, faults)
            elif task is None:
                inserts.append(line)
            elif not line.ids and task["_id"] == line.task["_id"]:  # created by an earlier run of this request
                report.created += 1
            elif faults := rules.faults(fields := find_changes(line, task), task):
                report.fail(line.number, faults)
            elif pipeline := self._pipeline(fields, task, known, now):
                updates[task["_id"]] = line, Update(task, pipeline)
                # For later lines with its key, or with the one that it had.
                known.add({**(known.restore(task) if "trash" in task else task), **fields})
            else:
                report.unchanged += 1
        new = [line.task for line in inserts]
        taken, matched = await self._tasks.write(self._owner, new, [each for _, each in updates.values()], known.purged)
        landed = updates.keys() if matched == len(updates) else await self._tasks.find_updated(self._owner, updates, now)
        # If the id that is taken was generated, not named by the line, an earlier run of this request has written the task.
        missed = [line for number, line in enumerate(inserts) if number in taken and (line.ids or "_id" not in taken[number])]
        restored = sum("trash" in updates[task_id][1].stored for task_id in landed)
        report.created += len(inserts) - len(missed) + restored
        report.updated += len(landed) - restored
        return [*missed, *(line for task_id, (line, _) in updates.items() if task_id not in landed), *waiting]

    def _pipeline(self, fields: BSON, task: BSON, known: StoredTasks, now: datetime) -> list[BSON]:
        """The update pipeline that restores a stored task and sets its fields; empty if there is nothing to write."""
        back = restore_pipeline(self._owner, now, keeps_key=known.keeps_key(task)) if "trash" in task else []
        return back + update(literals(fields), self._owner, now=now).pipeline if fields else back


class DryRunWriter(AbstractContextManager["DryRunWriter"]):
    """Counts what ``Upsert`` would write. Keeps the resulting tasks that later lines may match in a temporary file."""

    def __init__(self, owner: UserRead, tasks: ImportRepository) -> None:
        self._owner = owner
        self._tasks = tasks
        self._drafts = SpooledTemporaryFile[bytes](max_size=IN_MEMORY)
        self._places: dict[ObjectId, tuple[int, int]] = {}
        self._ids: dict[str, ObjectId] = {}  # of the last task that came to have each key

    def __exit__(self, *_: object) -> None:
        """Deletes the file."""
        self._drafts.close()

    async def write(self, lines: list[ImportLine], report: ImportReport) -> None:
        """See ``Writer``; nothing is written."""
        known, turns = await StoredTasks.of(self._tasks, self._owner, lines), CooperativeYield()
        for name in {name for line in lines for name in line.names} | known.by_id.keys():
            if draft := self._draft(name):
                known.add(draft)
        for line in lines:
            await turns.checkpoint()
            task = known.task(line)
            if faults := known.faults(line, task):
                report.fail(line.number, faults)
                continue
            if task is None:
                report.created += 1
                known.add(line.task)
                if line.names:  # otherwise no later line can match it
                    self._keep(line.task)
                continue
            fields, in_trash = find_changes(line, task), "trash" in task
            if faults := rules.faults(fields, task):
                report.fail(line.number, faults)
                continue
            if in_trash:
                report.created += 1
                task = known.restore(task)
            elif fields:
                report.updated += 1
            else:
                report.unchanged += 1
            if fields or in_trash:
                draft = apply_changes(task, fields) if fields else task
                known.add(draft)
                self._keep(draft)

    def _draft(self, name: str | ObjectId) -> BSON | None:
        task_id = self._ids.get(name) if isinstance(name, str) else name
        if task_id not in self._places:
            return None
        place = self._places[task_id]
        self._drafts.seek(place[0])
        return bson.decode(self._drafts.read(place[1]), AWARE)

    def _keep(self, task: BSON) -> None:
        start, task_id = self._drafts.seek(0, 2), task["_id"]
        self._places[task_id] = (start, self._drafts.write(bson.encode(task)))
        self._ids.update((nfc(key), task_id) for key in keys_of(task))
