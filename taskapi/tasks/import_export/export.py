"""Exports all tasks that match, as of one moment, as JSON Lines or CSV, with one batch in memory at a time."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum

from bson import ObjectId
from pydantic import Field

from taskapi.accounts.users.schemas import UserRead
from taskapi.core import strict_json
from taskapi.core.fields import QueryBool
from taskapi.db.connection import BSON
from taskapi.tasks.import_export.csv_cells import COLUMNS
from taskapi.tasks.import_export.csv_writer import csv_line, csv_record
from taskapi.tasks.query.places import place
from taskapi.tasks.query.selection import TaskFilters
from taskapi.tasks.query.sort import Order, Sort, choose_order
from taskapi.tasks.query.stages import adapt_filter, collation_for, ordered_stages
from taskapi.tasks.schemas import TaskRead
from taskapi.tasks.storage.list_repository import TaskListRepository
from taskapi.tasks.storage.reading import PUBLIC, read
from taskapi.tasks.storage.scope import Scope

LASTING = {"created_at", "_id"}  # fields that no write changes
PART_BYTES = 16 * 1024  # rendered in one or two milliseconds


class Format(StrEnum):
    """The format of an export."""

    jsonl = "jsonl"
    csv = "csv"


class ExportQuery(TaskFilters):
    """Which tasks to export, in which order, and in which format."""

    sort: Sort | None = None
    format: Format | None = Field(None, description="The default is the format that `Accept` prefers, else `jsonl`.")
    bom: QueryBool = Field(False, description="Start CSV with a byte order mark, so that Excel reads it as UTF-8.")

    @property
    def order(self) -> Order:
        """The sort of MongoDB, always total."""
        return choose_order(self.sort, self.q)


def json_line(task: TaskRead) -> str:
    """One line of JSON."""
    return task.model_dump_json() + "\n"


LINES: Mapping[Format, Callable[[TaskRead], str]] = {Format.jsonl: json_line, Format.csv: csv_line}
BOM = strict_json.BOM.decode()
HEADERS: Mapping[Format, str] = {Format.jsonl: "", Format.csv: csv_record(COLUMNS)}


@dataclass(frozen=True, slots=True)
class ExportService:
    """Exports tasks."""

    tasks: TaskListRepository

    async def parts(self, owner: UserRead, query: ExportQuery, kind: Format) -> AsyncGenerator[bytes, None]:
        """Yields the export in small parts; close it if you stop early. Raises InvalidInput for ``where``, QueryTimeout."""
        line, text = LINES[kind], [(BOM if query.bom else "") + HEADERS[kind]]
        size = len(text[0])
        async with aclosing(self._batches(owner, query)) as found:
            async for batch in found:
                for stored in batch:
                    text.append(line(read(stored, owner)))
                    size += len(text[-1])
                    if size >= PART_BYTES:
                        yield "".join(text).encode()
                        text, size = [], 0
        if size:
            yield "".join(text).encode()

    def _batches(self, owner: UserRead, query: ExportQuery) -> AsyncGenerator[list[BSON], None]:
        scope, order, fields = Scope.of(owner), query.order, dict(PUBLIC)
        collation, matching = collation_for(order), adapt_filter(query.filter(scope), order)

        def pipeline(last: BSON | None) -> list[BSON]:
            return ordered_stages(matching, order, fields, None if last is None else place(order, last))

        def by_id(ids: list[ObjectId]) -> list[BSON]:
            return [{"$match": {**scope.outside_trash, "_id": {"$in": ids}}}, {"$project": fields}]

        if order.keys() <= LASTING:
            return self.tasks.stream(pipeline, collation)
        ids = [*ordered_stages(matching, order, dict.fromkeys(order, 1)), {"$project": {"_id": 1}}]
        return self.tasks.stream_in_first_order(ids, pipeline(None), by_id, collation)
