"""Runs extracts, and reads their files as a script would."""

import asyncio
import csv
import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from taskapi.analytics.extracts.manifest import Manifest
from taskapi.analytics.extracts.service import Progress, Request, extract
from taskapi.core.settings import Settings
from taskapi.tasks.storage.documents import TaskDocument
from tests.conftest import make_settings
from tests.stored import collection

Row = dict[str, Any]
CHILDREN = ("status_periods", "task_changes", "checklist_items")


async def run(
    to: Path, settings: Settings | None = None, progress: Progress = lambda *_: None, **asked: Any
) -> tuple[Manifest, dict[str, int]]:
    return await asyncio.to_thread(extract, settings or make_settings(), Request(to, **asked), progress)


def rows(to: Path, table: str, run: int | None = None) -> list[Row]:
    """All rows of a table, or those of one run."""
    manifest = json.loads((to / "manifest.json").read_text())
    found: list[Row] = []
    for entry in manifest["tables"][table]:
        if run in (None, entry["run"]):
            part = list(_read(to / entry["path"]))
            assert len(part) == entry["rows"]
            found += part
    return found


def _read(path: Path) -> Iterable[Row]:
    if path.suffix == ".jsonl":
        return map(json.loads, path.read_text().splitlines())
    if path.suffix == ".csv":
        return csv.DictReader(path.read_text().splitlines(keepends=True))
    import pyarrow.parquet

    table: list[Row] = pyarrow.parquet.read_table(path).to_pylist()
    return table


def files(to: Path) -> set[Path]:
    """The files of all tables."""
    return set(to.glob("*/part-*"))


def current(to: Path) -> dict[str, Row]:
    """The newest row of each task, without those that are deleted."""
    newest: dict[str, Row] = {}
    for row in sorted(rows(to, "tasks"), key=lambda row: str(row["changed_at"])):
        newest[row["_id"]] = row
    return {task_id: row for task_id, row in newest.items() if not row["deleted"]}


def current_children(to: Path, table: str) -> list[Row]:
    """The rows of a table that belong to the newest row of a task, each once."""
    tasks = current(to)
    found = [
        row
        for row in rows(to, table)
        if row["task_id"] in tasks and tasks[row["task_id"]]["changed_at"] == row["task_changed_at"]
    ]
    return [json.loads(text) for text in sorted({json.dumps(row, default=str) for row in found})]


async def stored_tasks() -> list[Row]:
    found: list[Row] = await collection(TaskDocument).find({"state": "active"}).to_list(None)
    return found


async def require_equal(to: Path) -> None:
    """Compares the current state of an extract in JSON Lines with the database."""
    found, stored = current(to), await stored_tasks()
    assert found.keys() == {str(task["_id"]) for task in stored}
    periods = {table: current_children(to, table) for table in CHILDREN}
    for task in stored:
        row, task_id = found[str(task["_id"])], str(task["_id"])
        for name in ("title", "status", "priority", "version", "tags", "completed"):
            assert row[name] == task[name]
        assert json.loads(row["metadata"]) == task["metadata"]
        changes = [each for each in periods["status_periods"] if each["task_id"] == task_id]
        assert sorted(each["from"] for each in changes) == sorted(_text(each["at"]) for each in task["status_changes"])
        assert sum(each["until"] is None for each in changes) == 1
        items = [each["text"] for each in periods["checklist_items"] if each["task_id"] == task_id]
        assert sorted(items) == sorted(item["text"] for item in task["checklist"])
        versions = {each["version"] for each in periods["task_changes"] if each["task_id"] == task_id}
        assert versions == {entry["version"] for entry in task["history"]}


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")[:23] + "Z"
