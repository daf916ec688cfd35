"""Writes tasks as CSV (RFC 4180)."""

import csv
from collections.abc import Iterable
from io import StringIO
from typing import Any

from taskapi.tasks.import_export.csv_cells import write_cell
from taskapi.tasks.schemas import TaskRead


def csv_line(task: TaskRead) -> str:
    """The record of a task. No spreadsheet runs a text in it as a formula."""
    return csv_record(write_cell(value) for value in task.model_dump(mode="json").values())


def csv_record(cells: Iterable[Any]) -> str:
    """The record of these cells."""
    text = StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()
