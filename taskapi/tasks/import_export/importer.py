"""Imports tasks: reads records as they arrive and writes them in batches. An invalid record does not stop the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId
from pydantic import ValidationError

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.cooperative import CooperativeYield
from taskapi.core.errors import FieldError, field_errors
from taskapi.tasks.errors import TooManyLines
from taskapi.tasks.import_export.import_line import ImportLine, line_of
from taskapi.tasks.import_export.records import Record, Records
from taskapi.tasks.import_export.schemas import (
    AT_ANY_TIME,
    IN_FUTURE,
    MAX_LINES,
    ImportQuery,
    ImportReport,
    TaskImport,
    TaskImportById,
)
from taskapi.tasks.import_export.upsert import DryRunWriter, Upsert, Writer
from taskapi.tasks.services.owner_name import OwnerNameSync
from taskapi.tasks.storage.import_repository import ImportRepository

MAX_TEXT_LINES = 2 * MAX_LINES  # including empty ones, which take time as well
MAX_FIELDS = 100  # of one line; each unknown one would be an error
BATCH_LINES = 250
BATCH_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ImportService:
    """Imports tasks."""

    tasks: ImportRepository
    names: OwnerNameSync

    async def run(self, owner: UserRead, records: Records, query: ImportQuery) -> ImportReport:
        """Imports the records of a body; with ``query.dry_run``, nothing is written.

        What has been written stays, however the run ends.

        Raises:
            TooManyLines: there are more than 100,000, or 200,000 including empty ones. The lines before were imported.
            Contended: other requests keep changing the same tasks.
        """
        report, turns, count = ImportReport(), CooperativeYield(), 0
        model = TaskImportById if query.match == "id" else TaskImport
        with DryRunWriter(owner, self.tasks) if query.dry_run else Upsert(owner, self.tasks, self.names) as writer:
            batch = _Batch(writer, report)
            async for record in records:
                count += 1
                await turns.checkpoint()
                if count > MAX_TEXT_LINES or (record and report.lines == MAX_LINES):
                    await batch.finish()
                    raise TooManyLines(MAX_LINES, not query.dry_run)
                if record is None:
                    continue
                report.lines += 1
                data = _read(record, model)
                if isinstance(data, TaskImport):
                    await batch.take(line_of(owner, data, record.number), record.size)
                else:
                    report.fail(record.number, data)
                    _skip_ids(owner, record, model, data)
            await batch.finish()
        return report


def _read(record: Record, model: type[TaskImport], context: Any = None) -> TaskImport | Sequence[FieldError]:
    if record.faults:
        return record.faults
    if isinstance(record.value, dict) and len(record.value) > MAX_FIELDS:
        return [FieldError("", f"should have at most {MAX_FIELDS} fields", "too_many_fields")]
    try:
        return model.model_validate(record.value, context=context)
    except ValidationError as error:
        return field_errors(error)


def _skip_ids(owner: UserRead, record: Record, model: type[TaskImport], faults: Sequence[FieldError]) -> None:
    """Draws the ids of a line that was refused but may be valid when the request is repeated: the others keep theirs."""
    if any(fault.type == IN_FUTURE for fault in faults):
        data = _read(record, model, AT_ANY_TIME)
        if isinstance(data, TaskImport):
            line_of(owner, data, record.number)


class _Batch:
    """Lines that are written together. No two have an id or key in common: the first is written before the second is added."""

    def __init__(self, writer: Writer, report: ImportReport) -> None:
        self._writer = writer
        self._report = report
        self._lines: list[ImportLine] = []
        self._names: set[str | ObjectId] = set()
        self._bytes = 0

    async def take(self, line: ImportLine, size: int) -> None:
        """Adds a line of ``size`` bytes, and writes the batch when it is full."""
        names = line.names
        if not self._names.isdisjoint(names):
            await self.finish()
        self._names |= names
        self._lines.append(line)
        self._bytes += size
        if len(self._lines) >= BATCH_LINES or self._bytes >= BATCH_BYTES:
            await self.finish()

    async def finish(self) -> None:
        """Writes the lines that have been added."""
        lines, self._lines, self._names, self._bytes = self._lines, [], set(), 0
        if lines:
            await self._writer.write(lines, self._report)
