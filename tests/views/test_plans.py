"""Conditions on views reach the collection, where an index serves them."""

from datetime import datetime
from typing import Any

import httpx
import pytest
from bson import ObjectId

from taskapi.db.connection import BSON
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import make_account, stored_task
from tests.plans import found_in, stages
from tests.stored import collection

pytestmark = pytest.mark.real

TASKS = 100  # of each of two owners
NOW = datetime(2030, 1, 1)
SOMEBODY = ObjectId("5f0000000000000000000000")


@pytest.fixture(scope="module")
async def template(shared: httpx.AsyncClient) -> BSON:
    """One of many tasks."""
    ada, bob = [await make_account(shared, name) for name in ("ada", "bob")]
    for account in (ada, bob):
        made = await account.make_task("A task", status="done", checklist=[{"text": "One"}])
        task = await stored_task(made["id"])
        await collection(TaskDocument).insert_many([{**task, "_id": ObjectId()} for _ in range(TASKS - 1)])
    return task


async def plan(view: str, matching: BSON) -> Any:
    """How MongoDB finds these rows of a view."""
    command = {"aggregate": view, "pipeline": [{"$match": matching}], "cursor": {}}
    return await collection(TaskDocument).database.command({"explain": command, "verbosity": "executionStats"})


def conditions(task: BSON) -> list[tuple[str, BSON, int]]:
    """A view, what a script asks it, and how many tasks MongoDB may read at most."""
    owner, this = {"owner_id": task["owner_id"]}, {"task_id": task["_id"]}
    since, task_since = {"changed_at": {"$gte": NOW}}, {"task_changed_at": {"$gte": NOW}}
    return [
        ("v_tasks", {"_id": task["_id"]}, 1),
        ("v_tasks", owner, TASKS),
        ("v_tasks", {**owner, "status": "todo", "due_date": {"$lt": NOW}}, 0),
        ("v_tasks", {**owner, "completed_at": {"$gte": NOW}}, 0),
        ("v_tasks", {**owner, "tags": "work"}, 0),
        ("v_tasks", since, 0),
        ("v_tasks", {**since, "completed_at": {"$gte": NOW}}, 0),
        ("v_tasks_deleted", {"_id": task["_id"]}, 1),
        ("v_tasks_deleted", owner, 0),
        ("v_task_changes", this, 1),
        ("v_task_changes", {**owner, "field": "status"}, TASKS),
        ("v_task_changes", {**task_since, "at": {"$gte": NOW}}, 0),
        ("v_status_periods", this, 1),
        ("v_status_periods", owner, TASKS),
        ("v_status_periods", task_since, 0),
        ("v_checklist_items", this, 1),
        ("v_checklist_items", {**owner, "done": False}, TASKS),
        ("v_checklist_items", task_since, 0),
        ("v_task_tags", this, 1),
        ("v_task_tags", {**owner, "tag": "work"}, TASKS),
        ("v_task_tags", {**owner, "status": {"$ne": "done"}, "due_date": {"$lt": NOW}}, 0),
        ("v_task_tags", task_since, 0),
    ]


async def test_conditions_on_tasks_use_an_index(template: BSON) -> None:
    for view, matching, read in conditions(template):
        explained = await plan(view, matching)
        assert stages(explained) & {"IXSCAN", "IDHACK"}, (view, matching)
        assert "COLLSCAN" not in stages(explained), (view, matching)
        assert max(found_in(explained, "totalDocsExamined")) <= read, (view, matching)


@pytest.mark.parametrize(
    ("view", "matching"),
    [
        ("v_users", {"_id": SOMEBODY}),
        ("v_user_emails", {"_id": SOMEBODY}),
        ("v_sign_ins", {"at": {"$gte": NOW}}),
        ("v_sign_ins", {"user_id": SOMEBODY}),
    ],
    ids=str,
)
async def test_conditions_on_accounts_use_an_index(template: BSON, view: str, matching: BSON) -> None:
    assert stages(await plan(view, matching)) & {"IXSCAN", "IDHACK"}
