"""No filter reads the whole collection: MongoDB explains a filter on each field."""

from typing import Any

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI

from taskapi.core.clock import utc_now
from taskapi.db.connection import Database
from taskapi.tasks.definitions import Kind
from taskapi.tasks.fields import FIELDS
from taskapi.tasks.query.filter import compile_where
from taskapi.tasks.query.pages import LISTED
from taskapi.tasks.query.search import TaskQuery
from taskapi.tasks.query.stages import collation_for
from taskapi.tasks.storage import list_repository
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.list_repository import TaskListRepository
from taskapi.tasks.storage.scope import Scope
from tests.client import make_account
from tests.plans import explain, found_in, stages
from tests.stored import collection

pytestmark = pytest.mark.real

PROJECTS = 50
TASKS = 600
VALUES: dict[Kind, Any] = {
    Kind.text: "a",
    Kind.tag: "a",
    Kind.link: "https://example.com",
    Kind.status: "todo",
    Kind.flag: True,
    Kind.integer: 1,
    Kind.number: 0.5,
    Kind.day: "2027-01-31",
    Kind.moment: "2027-01-31T00:00:00Z",
    Kind.object_id: "65f1a2b3c4d5e6f708192a3b",
    Kind.members: {"$exists": True},
    Kind.metadata: {"$ne": {}},
}


@pytest.fixture(scope="module")
async def owner(shared: httpx.AsyncClient) -> ObjectId:
    """Ada among other owners, with enough tasks for the planner to have a choice."""
    task = await (await make_account(shared, "ada")).make_task(tags=["a"], metadata={"project": "P0"})
    template = await collection(TaskDocument).find_one({})
    assert template is not None
    owners = [template["owner"], *({"id": ObjectId(), "username": "x"} for _ in range(2))]
    copies = [
        {
            **template,
            "_id": ObjectId(),
            "owner_id": owners[n % 3]["id"],
            "owner": owners[n % 3],
            "metadata": {"project": f"P{n % PROJECTS}", "estimate": {"hours": n}, "list": [n, -n]},
            "created_at": utc_now(),
        }
        for n in range(TASKS)
    ]
    await collection(TaskDocument).insert_many(copies)
    return ObjectId(task["owner"]["id"])


async def plan(owner: ObjectId, where: dict[str, Any]) -> dict[str, Any]:
    match = {**Scope(owner).outside_trash, "$and": [compile_where(where)]}
    return await explain(TaskDocument, [{"$match": match}, {"$sort": {"created_at": -1, "_id": -1}}, {"$limit": 20}])


@pytest.mark.parametrize("name", FIELDS)
async def test_each_field_alone_uses_an_index(owner: ObjectId, name: str) -> None:
    value = VALUES[FIELDS[name].kind]
    for condition in (value, value if isinstance(value, dict) else {"$ne": value}):
        used = stages(await plan(owner, {name: condition}))
        assert used & {"IXSCAN", "IDHACK"}
        assert "COLLSCAN" not in used


@pytest.mark.parametrize(
    "condition",
    [{"$exists": False}, {"$ne": 1}, {"$in": [1, "a", None]}, {"$size": 2}, {"$elemMatch": {"$gt": 1}}, None, [], {}],
    ids=str,
)
async def test_a_path_below_metadata_uses_an_index(owner: ObjectId, condition: Any) -> None:
    for where in ({"metadata.list": condition}, {"$or": [{"metadata.project": condition}, {"priority": 5}]}):
        used = stages(await plan(owner, where))
        assert "IXSCAN" in used
        assert "COLLSCAN" not in used


@pytest.mark.parametrize(
    "where",
    [
        {"metadata.project": "P7"},
        {"metadata.project": {"$in": ["P7", "P8"]}},
        {"metadata.estimate.hours": {"$gte": 300, "$lt": 310}},
        {"metadata.list": -7},
    ],
    ids=str,
)
async def test_selective_metadata_path_uses_the_wildcard_index(owner: ObjectId, where: dict[str, Any]) -> None:
    explained = await plan(owner, where)
    assert "metadata_paths" in found_in(explained, "indexName")
    (statistics,) = found_in(explained, "executionStats")
    assert statistics["totalDocsExamined"] <= 2 * TASKS / PROJECTS  # each project is shared with other owners


@pytest.mark.parametrize("sort", [{}, {"sort": "-updated_at"}, {"sort": "title"}, {"sort": "priority,title"}], ids=str)
@pytest.mark.parametrize(
    "where",
    ['{"metadata.estimate.hours": {"$gte": 590}}', '{"priority": {"$gte": 1}, "$or": [{"metadata.project": "P7"}]}'],
)
async def test_metadata_of_few_tasks_is_read_once(owner: ObjectId, where: str, sort: dict[str, str]) -> None:
    """No index is tried: each trial would read all tasks of the owner."""
    query = TaskQuery.model_validate({"where": where, **sort})
    plan = query.plan(Scope(owner), LISTED)
    assert plan.hint_for_few is not None
    assert plan.total is not None
    for pipeline in (plan.page, plan.total):
        explained = await explain(TaskDocument, pipeline, collation_for(query.order), plan.hint_for_few)
        assert set(found_in(explained, "indexName")) == {plan.hint_for_few}
        (statistics,) = found_in(explained, "executionStats")
        assert statistics["totalDocsExamined"] <= await collection(TaskDocument).count_documents({"owner_id": owner})


async def test_few_tasks_are_counted_outside_the_trash(owner: ObjectId, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = TaskListRepository(app.state.services[Database])
    theirs = await collection(TaskDocument).count_documents({"owner_id": owner})
    for few, expected in ((theirs, True), (theirs - 1, False), (0, False)):
        monkeypatch.setattr(list_repository, "FEW", few)
        assert await lists.has_few(Scope(owner), 5000) is expected
    assert await lists.has_few(Scope(ObjectId()), 5000)


@pytest.mark.parametrize("few", [0, 10_000])
@pytest.mark.parametrize("count", ["exact", "none", "estimate"])
async def test_pages_by_metadata_are_equal_for_both(
    shared: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, few: int, count: str
) -> None:
    """Also for what a script stored, and in an order without an index."""
    monkeypatch.setattr(list_repository, "FEW", few)
    account = await make_account(shared, f"few{few}{count}")
    made = [(await account.make_task(f"Task {n}", metadata={"n": n, "list": [n]}))["id"] for n in range(4)]
    await collection(TaskDocument).update_one({"_id": ObjectId(made[2])}, {"$set": {"metadata.n": "2", "title": 7}})
    for where, expected in (('{"metadata.n": {"$gte": 1}}', [1, 3]), ('{"metadata.list": {"$in": [2, 3]}}', [2, 3])):
        for sort in ("created_at", "priority,created_at", "updated_at"):
            answer = await account.get("/tasks", params={"where": where, "sort": sort, "count": count, "limit": "1"})
            seen = [task["id"] for task in answer.json()]
            assert answer.headers.get("x-total-count") == (None if count == "none" else str(len(expected)))
            parameters = {"where": where, "sort": sort, "cursor": answer.headers["x-next-cursor"]}
            seen += [task["id"] for task in (await account.get("/tasks", params=parameters)).json()]
            assert set(seen) == {made[n] for n in expected}
