"""The tasks that a compiled filter matches: the same with every index, and never those of another owner."""

from typing import Any

import httpx
import pytest
from bson import ObjectId

from taskapi.db.connection import BSON
from taskapi.tasks.query.filter import compile_where
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.scope import Scope
from tests.client import Account, make_account
from tests.stored import collection

pytestmark = pytest.mark.real

ORDER = {"created_at": -1, "_id": -1}
TASKS: list[dict[str, Any]] = [
    {
        "title": "ant",
        "priority": 1,
        "due_date": "2027-01-31",
        "tags": ["Home", "work"],
        "links": ["https://example.com"],
        "checklist": [{"text": "one", "done": True}, {"text": "two"}],
        "metadata": {"project": "Apollo", "estimate": {"hours": 12, "rate": 80.5}, "list": [1, 5, "x"], "big": 2**63 - 1},
    },
    {
        "title": "bee",
        "status": "done",
        "priority": 5,
        "due_date": "2027-02-01",
        "tags": ["home"],
        "checklist": [{"text": "one"}, {"text": "two", "done": True}],
        "metadata": {"project": None, "estimate": {"rate": 80.5, "hours": 12}, "list": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]},
    },
    {
        "title": "cat",
        "metadata": {"estimate.hours": 12, "estimate": {"hours": "12"}, "flag": True, "": {"": 1}, "list": [[1], []], "0": [0]},
    },
    {"title": "$where", "tags": ["$ne"], "metadata": {"flag": 1, "text": "$gt", "empty": {}, "none": []}},
]
RESULTS: list[tuple[dict[str, Any], str]] = [
    ({}, "ant bee cat $where"),
    ({"title": "$where"}, "$where"),
    ({"title": {"$gt": "ant", "$lte": "cat"}}, "bee cat"),
    ({"status": "done"}, "bee"),
    ({"completed": False, "priority": {"$in": [1, 2]}}, "ant cat $where"),
    ({"priority": {"$not": {"$lt": 5}}}, "bee"),
    ({"completed_at": {"$ne": None}}, "bee"),
    ({"due_date": None}, "cat $where"),
    ({"due_date": {"$gte": "2027-02-01"}}, "bee"),
    ({"due_date": {"$in": ["2027-01-31", None]}}, "ant cat $where"),
    ({"created_at": {"$gt": "2020-01-01T00:00:00Z", "$lt": "9999-12-31T23:59:59Z"}}, "ant bee cat $where"),
    ({"tags": " HOME "}, "ant bee"),
    ({"tags": ["home"]}, "bee"),
    ({"tags": {"$all": ["WORK", "home"]}}, "ant"),
    ({"tags": {"$size": 0}}, "cat"),
    ({"tags": {"$nin": ["home", "$ne"]}}, "cat"),
    ({"tags": {"$elemMatch": {"$gt": "h", "$lt": "i"}}}, "ant bee"),
    ({"tags": "$ne"}, "$where"),
    ({"links": "HTTPS://EXAMPLE.com"}, "ant"),
    ({"checklist": {"$size": 2}}, "ant bee"),
    ({"checklist.text": "two", "checklist.done": True}, "ant bee"),
    ({"checklist": {"$elemMatch": {"text": "two", "done": True}}}, "bee"),
    ({"checklist": {"$elemMatch": {"$or": [{"text": "none"}, {"done": {"$ne": True}}]}}}, "ant bee"),
    ({"checklist": {"$not": {"$elemMatch": {"done": True}}}}, "cat $where"),
    ({"progress": {"$gt": 0, "$lt": 1}}, "ant bee"),
    ({"key": None}, "ant bee cat $where"),
    ({"key": {"$exists": True}}, ""),
    ({"owner.username": "ada"}, "ant bee cat $where"),
    ({"owner.username": "bob"}, ""),
    ({"version": 1}, "ant bee cat $where"),
    ({"metadata.project": "Apollo"}, "ant"),
    ({"metadata.project": None}, "bee cat $where"),
    ({"metadata.project": {"$exists": True}}, "ant bee"),
    ({"metadata.project": {"$exists": True, "$ne": None}}, "ant"),
    ({"metadata.estimate.hours": 12}, "ant bee"),
    ({"metadata.estimate.hours": {"$gte": 12.0, "$lt": 12.5}}, "ant bee"),
    ({"metadata.estimate.hours": {"$in": ["12", 13]}}, "cat"),
    ({"metadata.estimate": {"hours": 12, "rate": 80.5}}, "ant bee"),
    ({"metadata.estimate": {"rate": 80.5, "hours": 12.0}}, "ant bee"),
    ({"metadata.estimate": {"$ne": {"hours": 12, "rate": 80.5}}}, "cat $where"),
    ({"metadata.estimate": {"$in": ["x", {"rate": 80.5, "hours": 12}]}}, "ant bee"),
    ({"metadata.list": {"$in": ["x", {"b": 2, "a": 1}, {"a": 1, "b": 2}]}}, "ant bee"),
    ({"metadata.list": {"$nin": [{"b": 2, "a": 1}, 1]}}, "cat $where"),
    ({"metadata.list": {"$all": [{"b": 2, "a": 1}, {"b": 4, "a": 3}]}}, "bee"),
    ({"metadata.list": [{"b": 2, "a": 1}, {"b": 4, "a": 3}]}, "bee"),
    ({"metadata.list": [{"b": 4, "a": 3}, {"b": 2, "a": 1}]}, ""),
    ({"metadata.list": {"b": 2, "a": True}}, ""),
    ({"metadata.list.1": {"b": 4, "a": 3}}, "bee"),
    ({"metadata.list.99999999999": {"b": 4, "a": 3}}, ""),
    ({"metadata.list": {"$not": {"$eq": {"b": 2, "a": 1}}}}, "ant cat $where"),
    ({"metadata.list": {"$elemMatch": {"$eq": {"b": 2, "a": 1}}}}, "bee"),
    ({"metadata.list": {"$elemMatch": {"$nin": [{"b": 2, "a": 1}, {"b": 4, "a": 3}]}}}, "ant cat"),
    ({"metadata.list": {"$not": {"$elemMatch": {"$in": [{"b": 2, "a": 1}]}}}}, "ant cat $where"),
    ({"metadata": {"$eq": {"flag": 1, "text": "$gt", "none": [], "empty": {}}}}, "$where"),
    ({"metadata": {"$ne": {"flag": 1, "text": "$gt", "none": [], "empty": {}}}}, "ant bee cat"),
    ({"metadata.big": 2**63 - 1}, "ant"),
    ({"metadata.big": {"$lt": 2**63 - 2}}, ""),
    ({"metadata.list": 5}, "ant"),
    ({"metadata.list": [[1], []]}, "cat"),
    ({"metadata.list": {"$all": [1, "x"]}}, "ant"),
    ({"metadata.list": {"$size": 2}}, "bee cat"),
    ({"metadata.list": {"$elemMatch": {"$gt": 1, "$lt": 9}}}, "ant"),
    ({"metadata.list": {"$elemMatch": {"a": 1, "b": 4}}}, ""),
    ({"metadata.list": {"$elemMatch": {"a": {"$gt": 1}, "b": 4}}}, "bee"),
    ({"metadata.list.a": 1, "metadata.list.b": 4}, "bee"),
    ({"metadata.list.0": 1}, "ant"),
    ({"metadata.0": 0}, "cat"),
    ({"metadata.flag": True}, "cat"),
    ({"metadata.flag": 1}, "$where"),
    ({"metadata.text": "$gt"}, "$where"),
    ({"metadata.empty": {}}, "$where"),
    ({"metadata.none": []}, "$where"),
    ({"metadata": {"$eq": {}}}, ""),
    ({"$or": [{"priority": 5}, {"$and": [{"tags": "work"}, {"due_date": {"$ne": None}}]}]}, "ant bee"),
    ({"$nor": [{"priority": 5}, {"metadata.flag": {"$exists": True}}]}, "ant"),
    ({"$or": [{"owner.id": "0" * 24}, {"owner.id": {"$ne": "0" * 24}}]}, "ant bee cat $where"),
    ({"$nor": [{"title": "nothing"}]}, "ant bee cat $where"),
]


@pytest.fixture(scope="module")
async def ada(shared: httpx.AsyncClient) -> Account:
    return await make_account(shared, "ada")


@pytest.fixture(scope="module")
async def bob(shared: httpx.AsyncClient) -> Account:
    return await make_account(shared, "bob")


@pytest.fixture(scope="module")
async def with_tasks(ada: Account, bob: Account) -> ObjectId:
    """Ada's tasks, equal ones of Bob, one of each in the trash, and one that the first version of the service stored."""
    for account in (ada, bob):
        for task in TASKS:
            await account.make_task(**task)
        gone = await account.make_task(**{**TASKS[0], "title": "gone"})
        assert (await account.delete(f"/tasks/{gone['id']}")).status_code == 204
    return ObjectId(ada.id)


def query(owner: ObjectId, where: dict[str, Any]) -> BSON:
    return {**Scope(owner).outside_trash, "$and": [compile_where(where)]}


async def titles(owner: ObjectId, where: dict[str, Any], index: str | None = None) -> str:
    found = collection(TaskDocument).find(query(owner, where), {"title": 1, "owner": 1})
    tasks = await (found.hint(index) if index else found).sort("_id", 1).to_list(None)
    assert {task["owner"]["id"] for task in tasks} <= {owner}
    return " ".join(task["title"] for task in tasks)


@pytest.mark.parametrize(("where", "expected"), RESULTS, ids=lambda value: str(value)[:80])
async def test_a_filter_finds(with_tasks: ObjectId, where: dict[str, Any], expected: str) -> None:
    assert await titles(with_tasks, where) == expected
    assert await titles(with_tasks, where, "owner_id_newest") == expected


@pytest.mark.parametrize(
    "where",
    [
        {"metadata.estimate.hours": 12},
        {"metadata.estimate.hours": {"$gte": 12, "$lt": 13}},
        {"metadata.estimate.hours": {"$in": ["12", 12]}},
        {"metadata.list": 5},
        {"metadata.list.0": 1},
        {"metadata.list.a": 1},
        {"metadata.0": 0},
        {"metadata.flag": True},
        {"metadata.empty": {}},
        {"metadata.project": {"$exists": True}},
    ],
    ids=str,
)
async def test_the_wildcard_index_finds_the_same(with_tasks: ObjectId, where: dict[str, Any]) -> None:
    """Even beside keys that contain dots, are empty, or are digits."""
    assert await titles(with_tasks, where, "metadata_paths") == await titles(with_tasks, where, "owner_id_newest") != ""


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"metadata.a": 1}, False),
        ({"metadata.a": {"$exists": False}}, True),
        ({"metadata": {"$exists": True}}, False),
        ({"checklist": {"$size": 0}}, False),
        ({"checklist.done": {"$ne": True}}, True),
        ({"progress": {"$gte": 0}}, False),
    ],
    ids=str,
)
async def test_filters_treat_first_version_tasks_correctly(
    with_tasks: ObjectId, ada: Account, where: dict[str, Any], found: bool
) -> None:
    old = {"_id": ObjectId((await ada.make_task("old"))["id"])}
    lacked = {"checklist": "", "progress": "", "metadata": "", "history": ""}
    await collection(TaskDocument).update_one(old, {"$unset": lacked})
    named = (await titles(with_tasks, where)).split()
    await collection(TaskDocument).delete_one(old)
    assert ("old" in named) == found


@pytest.mark.parametrize("field", ["owner.id", "id", "owner.username", "metadata.owner.id", "checklist.id", "version"])
@pytest.mark.parametrize("logic", ["$and", "$or", "$nor"])
async def test_no_filter_reaches_the_tasks_of_others(with_tasks: ObjectId, bob: Account, field: str, logic: str) -> None:
    theirs = await collection(TaskDocument).find_one({"owner.id": ObjectId(bob.id), "title": "ant"})
    assert theirs is not None
    values = {
        "owner.id": bob.id,
        "id": str(theirs["_id"]),
        "owner.username": "bob",
        "metadata.owner.id": bob.id,
        "checklist.id": str(theirs["checklist"][0]["id"]),
        "version": 1,
    }
    value = values[field]
    conditions = [value, {"$ne": value}, {"$in": [value]}, {"$exists": True}, {"$not": {"$eq": value}}, {"$gte": value}]
    for condition in conditions:
        await titles(with_tasks, {field: condition})
        await titles(with_tasks, {logic: [{field: condition}, {"title": {"$exists": True}}]})
        await titles(with_tasks, {logic: [{field: condition}], field: {"$in": [value]}})
