"""Whatever a script has stored, an extract goes on, and its columns keep their types."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bson import ObjectId

from taskapi.tasks.storage.documents import TaskDocument
from tests.analytics.extracts.copies import files, rows, run
from tests.client import Account, stored_task
from tests.damage import damaged, store

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("made_anew")]

PATHS = [
    "owner_id", "state", "title", "status", "completed_at", "priority", "due_date", "tags", "checklist", "checklist.id",
    "checklist.text", "checklist.done", "progress", "metadata", "owner", "owner.username", "created_at", "version", "changed_at",
    "status_changes", "status_changes.at", "history", "history.before", "history.by", "history.at",
]  # fmt: skip


@pytest.mark.parametrize("format_", ["parquet", "jsonl", "csv"])
async def test_damaged_tasks_fail_no_extract(ada: Account, tmp_path: Path, format_: str) -> None:
    made = await ada.make_task("Sound", tags=["a"], checklist=[{"text": "one"}], due_date="2027-01-31", metadata={"a": 1})
    await ada.patch(f"/tasks/{made['id']}", json={"status": "done"})
    sound = await stored_task(made["id"])
    copies: list[dict[str, Any]] = await store(TaskDocument, list(damaged(sound, PATHS)))
    assert len(copies) > 500
    _, written = await run(tmp_path, format=format_, rows_per_file=200)
    found = {row["_id"]: row for row in rows(tmp_path, "tasks")}
    assert found.keys() == {made["id"], *(str(copy["_id"]) for copy in copies)}
    assert written["tasks"] == len(found) + 1  # the task of a user who does not exist is erased
    _, written = await run(tmp_path)
    assert written["tasks"] == 0
    if format_ == "parquet":
        assert len({str(pq.read_schema(path)) for path in files(tmp_path) if path.parent.name == "tasks"}) == 1
        assert found[made["id"]]["tags"] == ["a"]
        assert {type(row["priority"]) for row in found.values()} <= {int, type(None)}


async def test_ids_of_any_type_are_extracted(ada: Account, tmp_path: Path) -> None:
    sound = await stored_task((await ada.make_task())["id"])
    odd: list[Any] = ["a text", 7, {"a": 1}, ObjectId()]
    await store(TaskDocument, [{**sound, "_id": each} for each in odd])
    await run(tmp_path)
    assert {row["_id"] for row in rows(tmp_path, "tasks")} == {str(sound["_id"]), *map(str, odd)}
