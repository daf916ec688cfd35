"""An extract has the rows of the views."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from taskapi.core.clock import in_utc
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.history import MAX_ENTRIES, MAX_STORED
from tests.analytics.extracts.copies import rows, run
from tests.client import Account, stored_task
from tests.stored import collection

pytestmark = pytest.mark.real

IN_DISORDER = {
    "$push": {
        "status_changes": {
            "$each": [None, {"at": "x"}, *({"status": "todo", "at": datetime(2026, month, 1, tzinfo=UTC)} for month in (3, 2))],
            "$position": 1,
        }
    },
    "$set": {"created_at": datetime(2026, 1, 1, tzinfo=UTC)},
}


async def view(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await collection(TaskDocument).database[name].find({}).to_list(None)
    return found


async def test_periods_and_changes_are_those_of_views(ada: Account, tmp_path: Path) -> None:
    """Also where an import has moved the creation, a script has spoiled status changes, or a PATCH changed nothing."""
    for created in ("2026-01-05T00:00:00Z", "2026-04-05T00:00:00Z"):
        line = {"key": "moved", "title": "Moved", "status": "in_progress", "created_at": created}
        assert (await ada.post("/tasks/import", json=[line])).status_code == 200
    tasks = [await ada.make_task(f"Task {number}", metadata={"a": 1}) for number in range(3)]
    for task in tasks[:2]:
        for change in ({"status": "done"}, {"metadata": {"a": 1}}, {"metadata": {"a": 2}, "title": "Another"}):
            await ada.patch(f"/tasks/{task['id']}", json=change)
    ids = [ObjectId(task["id"]) for task in tasks[1:]]
    await collection(TaskDocument).update_many({"_id": {"$in": ids}}, {"$unset": {"status_changes": ""}})
    await collection(TaskDocument).update_one({"_id": ObjectId(tasks[0]["id"])}, IN_DISORDER, bypass_document_validation=True)
    await run(tmp_path)

    viewed = await view("v_status_periods")
    periods = {(str(row["task_id"]), row["status"], in_utc(row["from"]), row["until"] and in_utc(row["until"])) for row in viewed}
    extracted = rows(tmp_path, "status_periods")
    assert {(row["task_id"], row["status"], row["from"], row["until"]) for row in extracted} == periods
    assert len(extracted) == len(periods) == 8
    changes = sorted((str(row["task_id"]), row["version"], row["field"] or "") for row in await view("v_task_changes"))
    assert sorted((row["task_id"], row["version"], row["field"] or "") for row in rows(tmp_path, "task_changes")) == changes


async def test_changes_are_those_that_callers_see(ada: Account, tmp_path: Path) -> None:
    task_id = (await ada.make_task())["id"]
    (first,) = (await stored_task(task_id))["history"]
    history = [{**first, "version": version} for version in range(1, MAX_STORED + 1)]
    full = {"$set": {"history": history, "version": MAX_STORED}}
    await collection(TaskDocument).update_one({"_id": ObjectId(task_id)}, full)
    await run(tmp_path)
    newest = list(range(MAX_STORED - MAX_ENTRIES + 1, MAX_STORED + 1))
    assert sorted(row["version"] for row in rows(tmp_path, "task_changes")) == newest
    assert sorted(row["version"] for row in await view("v_task_changes")) == newest
    assert sorted(entry["version"] for entry in (await ada.get(f"/tasks/{task_id}/history")).json()) == newest
