"""Getting tasks out: all that match, as they were at one moment, as JSON Lines or CSV, in memory of one batch."""

import csv
import json
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from enum import StrEnum
from io import StringIO
from typing import Any

from pydantic import Field

from taskapi.database import batches
from taskapi.tasks import order
from taskapi.tasks.documents import TaskDocument
from taskapi.tasks.order import Sort
from taskapi.tasks.reading import read
from taskapi.tasks.schemas import TaskRead
from taskapi.tasks.selection import TaskFilters
from taskapi.tasks.writing import PUBLIC
from taskapi.users.schemas import UserRead

BATCH = 100  # tasks; what they take is what an export takes
PART_BYTES = 16 * 1024  # rendered in one or two milliseconds
COLUMNS = tuple(TaskRead.model_fields)
FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")  # OWASP, CSV Injection: what a spreadsheet may run


class Format(StrEnum):
    """How an export is written."""

    jsonl = "jsonl"
    csv = "csv"


class ExportQuery(TaskFilters):
    """Which tasks, in which order, and how they are written."""

    sort: Sort | None = None
    format: Format | None = Field(None, description="Without it the one that `Accept` prefers, else `jsonl`.")

    @property
    def order(self) -> Mapping[str, Any]:
        """The sort of MongoDB, always total."""
        if self.sort is not None:
            return order.parsed(self.sort)
        return order.NEWEST if self.q is None else {**order.MOST_RELEVANT, order.RELEVANCE: {"$meta": "textScore"}}


def json_line(task: TaskRead) -> str:
    """One line of JSON."""
    return task.model_dump_json() + "\n"


def csv_line(task: TaskRead) -> str:
    """One record of CSV (RFC 4180), whose texts no spreadsheet takes for formulas."""
    return _record(_cell(value) for value in task.model_dump(mode="json").values())


def _record(cells: Any) -> str:
    text = StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


LINES: Mapping[Format, Callable[[TaskRead], str]] = {Format.jsonl: json_line, Format.csv: csv_line}
HEADERS: Mapping[Format, str] = {Format.jsonl: "", Format.csv: _record(COLUMNS)}


async def parts(owner: UserRead, query: ExportQuery, kind: Format) -> AsyncGenerator[bytes, None]:
    """The export in small parts; close it when you leave early. Raises InvalidInput for a wrong ``where``, QueryTimeout."""
    line, text = LINES[kind], [HEADERS[kind]]
    size = len(text[0])
    async with aclosing(batches(TaskDocument, query.filter(owner.object_id), PUBLIC, query.order, BATCH)) as found:
        async for batch in found:
            for stored in batch:
                text.append(line(read(stored, owner)))
                size += len(text[-1])
                if size >= PART_BYTES:
                    yield "".join(text).encode()
                    text, size = [], 0
    if size:
        yield "".join(text).encode()
