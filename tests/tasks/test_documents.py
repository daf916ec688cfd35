"""Each documented filter and default sort is served by an index, explained by MongoDB itself."""

from typing import Any

import pytest
from bson import ObjectId
from fastapi import FastAPI

from taskapi.clock import utc_now
from taskapi.database import collection
from taskapi.tasks.documents import TaskDocument
from taskapi.tasks.query import TaskQuery
from tests.client import Account

pytestmark = pytest.mark.real


def stages(plan: Any) -> set[str]:
    """The names of all stages anywhere in an explained plan that won."""
    if isinstance(plan, list):
        return set().union(*map(stages, plan)) if plan else set()
    if not isinstance(plan, dict):
        return set()
    own = {plan["stage"]} if "stage" in plan else set()
    return own.union(*(stages(value) for name, value in plan.items() if name != "rejectedPlans"))


def found_in(plan: Any, name: str) -> list[Any]:
    """The values of that key anywhere in an explained plan."""
    if isinstance(plan, list):
        return [found for part in plan for found in found_in(part, name)]
    if not isinstance(plan, dict):
        return []
    return [plan[name]] if name in plan else [found for part in plan.values() for found in found_in(part, name)]


async def explain(pipeline: list[dict[str, Any]]) -> dict[str, Any]:
    """What MongoDB says of a pipeline after it has run it."""
    command = {"aggregate": "tasks", "pipeline": pipeline, "cursor": {}}
    explained: dict[str, Any] = await collection(TaskDocument).database.command(
        {"explain": command, "verbosity": "executionStats"}
    )
    return explained


@pytest.fixture
async def owner(ada: Account) -> ObjectId:
    """Ada among others, with enough tasks for the planner to have a choice."""
    task = await ada.make_task(tags=["a"], due_date="2026-01-01")
    template = await collection(TaskDocument).find_one({})
    assert template is not None
    owners = [template["owner"]["id"], ObjectId(), ObjectId()]
    statuses = ["todo", "in_progress", "done"]
    copies = [
        {
            **template,
            "_id": ObjectId(),
            "owner": {"id": owners[n % 3], "username": "x"},
            "status": statuses[n % 7 % 3],
            "priority": 1 + n % 5,
            "tags": [f"tag{n % 11}"],
            "created_at": utc_now(),
        }
        for n in range(600)
    ]
    await collection(TaskDocument).insert_many(copies)
    return ObjectId(task["owner"]["id"])


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"status": "todo"},
        {"completed": "true"},
        {"completed": "false"},
        {"priority": "3"},
        {"tag": "tag3"},
        {"sort": "created_at"},
        {"sort": "due_date"},
        {"sort": "-due_date"},
        {"sort": "-priority,due_date"},
        {"sort": "priority,-due_date"},
        {"sort": "title"},
        {"sort": "-title"},
        {"sort": "updated_at"},
        {"sort": "-updated_at"},
        {"due_before": "2026-06-01", "sort": "due_date"},
        {"due_after": "2025-06-01", "sort": "-due_date"},
    ],
    ids=str,
)
async def test_filter_and_sort_come_from_one_index(owner: ObjectId, app: FastAPI, parameters: dict[str, str]) -> None:
    query = TaskQuery.model_validate(parameters)
    explained = await explain(query.page(owner))
    used = stages(explained)
    assert "IXSCAN" in used
    assert not used & {"COLLSCAN", "SORT"}
    (statistics,) = found_in(explained, "executionStats")
    assert statistics["totalDocsExamined"] <= 2 * max(statistics["nReturned"], 1)


@pytest.mark.parametrize(
    "parameters", [{"due_before": "2026-06-01"}, {"due_after": "2025-06-01"}, {"overdue": "true"}, {"overdue": "false"}], ids=str
)
async def test_filters_by_date_in_the_default_order_use_an_index(owner: ObjectId, parameters: dict[str, str]) -> None:
    query = TaskQuery.model_validate(parameters)
    used = stages(await explain(query.page(owner)))
    assert "IXSCAN" in used
    assert "COLLSCAN" not in used


async def test_the_total_is_counted_in_the_index_alone(owner: ObjectId) -> None:
    used = stages(await explain(TaskQuery().count(owner)))
    assert used & {"IXSCAN", "COUNT_SCAN"}
    assert "FETCH" not in used


async def test_every_index_is_documented(app: FastAPI) -> None:
    """The collection has the indexes of the document class and no others."""
    present = set(await collection(TaskDocument).index_information())
    declared = {index.document["name"] for index in TaskDocument.Settings.indexes}
    assert present == declared | {"_id_"}
