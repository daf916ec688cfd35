"""One run of an extract: turns the tasks that it is given into files, and commits them."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from taskapi.analytics.extracts.folder import Folder
from taskapi.analytics.extracts.formats import Format, Part
from taskapi.analytics.extracts.manifest import FileEntry, Manifest, Watermark
from taskapi.analytics.extracts.recent import Known, Recent, record_of
from taskapi.analytics.extracts.rows import ERASED, FROM_TASK, Row, changed_at, erased_row, user_row
from taskapi.analytics.extracts.tables import TABLES, TASKS, USERS
from taskapi.core.clock import in_utc
from taskapi.core.files import write_durably
from taskapi.db.connection import BSON
from taskapi.tasks.storage.scope import PURGED

MILLISECOND = timedelta(milliseconds=1)


class Run:
    """A run. ``manifest`` is what counts so far."""

    def __init__(self, folder: Folder, begun: Manifest, format_: Format, watermark: Watermark, time: datetime) -> None:
        self.manifest = begun.model_copy(update={"runs": begun.runs + 1})
        self.rows = dict.fromkeys(begun.tables, 0)
        self._folder, self._format, self._watermark, self._time = folder, format_, watermark, time
        self._known = Known((folder.path / begun.recent).read_bytes() if begun.recent else b"")
        self._recent = Recent(watermark.at)
        self._number = begun.parts + 1  # of the files that are being written
        self._parts: dict[str, Part] = {}
        self._sealed: list[_Sealed] = []
        self._last: BSON = {}
        self._digest: str | None = None
        self._owners = set(self._known_owners())

    @property
    def rows_in_part(self) -> int:
        """How many tasks are in the files that are being written."""
        return self._parts[TASKS].rows if TASKS in self._parts else 0

    def add(self, tasks: list[BSON]) -> None:
        """Writes the tasks that no earlier run has written as they are."""
        rows: dict[str, list[Row]] = {table: [] for table in self.manifest.tables if table in FROM_TASK}
        for task in tasks:
            record = record_of(task)
            if record is not None:
                self._recent.add(record)
                if record in self._known:
                    continue
            for table, found in rows.items():
                found += FROM_TASK[table](task)
            if (owner := rows[TASKS][-1][1]) is not None:
                self._owners.add(owner)
        for table, found in rows.items():
            self._write(table, found)
        self._last = tasks[-1]

    def add_users(self, batches: Iterable[list[BSON]]) -> None:
        """Writes the users if one has changed, and the tasks that were erased with their owners."""
        digest = blake2b()
        gone = self._owners.copy()
        part = self._part(USERS)
        for batch in batches:
            rows = [user_row(user) for user in batch]
            part.add(rows)
            gone.difference_update(row[0] for row in rows)
            digest.update(repr(rows).encode())
        self._digest = digest.hexdigest()
        if self._digest == self.manifest.users_digest:
            self._parts.pop(USERS).discard()
        if gone:
            self._erase(gone)

    def commit(self) -> None:
        """Makes what was written so far count. The next run would go on from here."""
        if changed_at(self._last) != self._last.get("changed_at"):  # no place in the order
            return
        reached = min(in_utc(self._last["changed_at"]), self._watermark.at)
        begun_at = self.manifest.begun_at or self._time
        self._commit({"watermark": str(Watermark(reached, self._watermark.database)), "complete": False, "begun_at": begun_at})

    def finish(self) -> None:
        """Makes all that was written count, and the run complete."""
        for table, files in self.manifest.tables.items():
            if not files:
                self._part(table)  # readers find a file with the columns
        done = {"complete": True, "begun_at": None, "as_of": self._time, "users_digest": self._digest}
        self._commit({"watermark": str(self._watermark), **done})

    def close(self) -> None:
        """Gives up what was written since the last commit."""
        for part in self._parts.values():
            part.discard()

    def _write(self, table: str, rows: list[Row]) -> None:
        if rows:
            self._part(table).add(rows)

    def _part(self, table: str) -> Part:
        """The file of a table that is being written."""
        if table not in self._parts:
            draft = self._folder.incoming / f"{table}-{self._number:06}"
            self._parts[table] = Part(draft, TABLES[table], self._format)
        return self._parts[table]

    def _seal(self) -> None:
        """Finishes the files that are being written."""
        for table, part in self._parts.items():
            size, name = part.close(), f"{table}/part-{self._number:06}.{self.manifest.format}"
            self._sealed.append(
                _Sealed(part.path, table, FileEntry(path=name, rows=part.rows, bytes=size, run=self.manifest.runs))
            )
        self._parts = {}
        self._number += 1

    def _commit(self, changes: dict[str, object]) -> None:
        self._seal()
        recent = f"recent-{self._number:06}.bin"
        draft = self._folder.incoming / recent
        write_durably(draft, self._recent.records)
        tables, moved = dict(self.manifest.tables), {draft: recent}
        for sealed in self._sealed:
            tables[sealed.table] = [*(() if sealed.table == USERS else tables[sealed.table]), sealed.entry]
            moved[sealed.draft] = sealed.entry.path
            self.rows[sealed.table] += sealed.entry.rows
        self._sealed = []
        changes = {**changes, "tables": tables, "parts": self._number, "recent": recent}
        self.manifest = self.manifest.model_copy(update=changes)
        self._folder.commit(self.manifest, moved)

    def _erase(self, owners: set[str]) -> None:
        """Writes that the tasks of these owners are erased: MongoDB has nothing of them any more, no tombstone either."""
        self._seal()
        left: dict[str, _Newest] = {}
        for path in [*self._committed(TASKS), *(file.draft for file in self._sealed if file.table == TASKS)]:
            columns = ("_id", "owner_id", "changed_at", "state")
            for task_id, owner_id, at, state in self._format.read(path, TABLES[TASKS], columns):
                if owner_id in owners and (task_id not in left or at >= left[task_id].at):
                    left[task_id] = _Newest(owner_id, at, state)
        rows = [
            erased_row(task_id, row.owner_id, max(self._time, row.at + MILLISECOND))
            for task_id, row in left.items()
            if row.state not in (PURGED, ERASED)
        ]
        self._write(TASKS, rows)

    def _known_owners(self) -> Iterator[str]:
        """The owners whose tasks are in the files of earlier runs."""
        for path in self._committed(USERS):
            yield from (user_id for (user_id,) in self._format.read(path, TABLES[USERS], ("_id",)))
        if not self.manifest.complete:  # the users of those tasks were not written yet
            for path in self._committed(TASKS):
                yield from (owner_id for (owner_id,) in self._format.read(path, TABLES[TASKS], ("owner_id",)) if owner_id)

    def _committed(self, table: str) -> list[Path]:
        return [self._folder.path / entry.path for entry in self.manifest.tables[table]]


class _Sealed(NamedTuple):
    """A finished file that does not count yet."""

    draft: Path
    table: str
    entry: FileEntry


class _Newest(NamedTuple):
    """The newest row of a task."""

    owner_id: str
    at: datetime
    state: str
