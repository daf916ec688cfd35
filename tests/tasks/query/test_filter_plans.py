"""No filter reads the whole collection: MongoDB explains a filter on each field."""

from typing import Any

import httpx
import pytest
from bson import ObjectId

from taskapi.core.clock import utc_now
from taskapi.tasks.definitions import Kind
from taskapi.tasks.fields import FIELDS
from taskapi.tasks.query.filter import compile_where
from taskapi.tasks.storage.documents import TaskDocument
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
            "owner": owners[n % 3],
            "metadata": {"project": f"P{n % PROJECTS}", "estimate": {"hours": n}, "list": [n, -n]},
            "created_at": utc_now(),
        }
        for n in range(TASKS)
    ]
    await collection(TaskDocument).insert_many(copies)
    return ObjectId(task["owner"]["id"])


async def plan(owner: ObjectId, where: dict[str, Any]) -> dict[str, Any]:
    match = {"owner.id": owner, "$and": [compile_where(where)]}
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
    assert "metadata_any" in found_in(explained, "indexName")
    (statistics,) = found_in(explained, "executionStats")
    assert statistics["totalDocsExamined"] <= 2 * TASKS / PROJECTS  # each project is shared with other owners
