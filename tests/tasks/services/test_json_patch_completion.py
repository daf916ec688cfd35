"""A JSON Patch of `status` and `completed`, which say the same in two ways and must agree."""

from typing import Any

import pytest

from tests.client import Account, is_problem, stored_task, wrong_fields
from tests.tasks.services.test_json_patch import PATCH


def setting(**values: Any) -> list[dict[str, Any]]:
    return [{"op": "replace", "path": f"/{name}", "value": value} for name, value in values.items()]


@pytest.mark.parametrize(
    ("stored", "patch"),
    [
        ("todo", setting(completed=True, status="todo")),
        ("todo", setting(status="todo", completed=True)),
        ("todo", [*setting(status="done", completed=False), *setting(status="todo", completed=True)]),
        ("done", setting(completed=False, status="done")),
        ("done", setting(completed=True, status="in_progress")),
    ],
)
async def test_patch_that_contradicts_itself_changes_nothing(ada: Account, stored: str, patch: list[dict[str, Any]]) -> None:
    task = await ada.make_task(status=stored)
    before = await stored_task(task["id"])
    refused = await ada.patch(f"/tasks/{task['id']}", json={"status": "todo", "completed": True})
    answer = await ada.patch(f"/tasks/{task['id']}", json=patch, headers=PATCH)
    assert is_problem(answer, 422, "validation_error")["details"] == refused.json()["details"]
    assert await stored_task(task["id"]) == before


async def test_whole_task_that_contradicts_itself_changes_nothing(ada: Account) -> None:
    task = await ada.make_task()
    before = await stored_task(task["id"])
    patch = [{"op": "replace", "path": "", "value": {**task, "completed": True}}]
    assert wrong_fields(await ada.patch(f"/tasks/{task['id']}", json=patch, headers=PATCH)) == {"completed": "contradiction"}
    assert await stored_task(task["id"]) == before


@pytest.mark.parametrize(
    ("stored", "patch", "status", "version"),
    [
        ("todo", setting(completed=True), "done", 2),
        ("done", setting(completed=False), "todo", 2),
        ("done", setting(status="in_progress"), "in_progress", 2),
        ("todo", setting(completed=True, status="done"), "done", 2),
        ("todo", [*setting(completed=True, status="todo"), *setting(status="done")], "done", 2),
        ("todo", [{"op": "test", "path": "/status", "value": "todo"}, *setting(completed=True)], "done", 2),
        ("in_progress", setting(status="todo", completed=False), "todo", 2),
        ("in_progress", setting(status="in_progress", completed=False), "in_progress", 1),
    ],
)
async def test_patch_that_agrees_with_itself_lands(
    ada: Account, stored: str, patch: list[dict[str, Any]], status: str, version: int
) -> None:
    task = await ada.make_task(status=stored)
    answer = await ada.patch(f"/tasks/{task['id']}", json=patch, headers=PATCH)
    assert answer.status_code == 200, answer.text
    kept = await stored_task(task["id"])
    assert (kept["status"], kept["completed"], kept["version"]) == (status, status == "done", version)
