"""Many operations in one request: each independently, or all or none."""

import asyncio
from typing import Any

import pytest
from bson import ObjectId

from taskapi.core.clock import utc_now
from taskapi.tasks.storage import repository
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, is_problem, stored_task, wrong_fields
from tests.stored import collection

pytestmark = pytest.mark.real
UNKNOWN = "65f1a2b3c4d5e6f708192a3b"
OTHER_VERSION = "The task is at version {}, not at the version in the operation. Read it again."


async def send(account: Account, operations: Any, query: str = "", **options: Any) -> Any:
    answer = await account.post(f"/tasks/bulk{query}", json={"operations": operations}, **options)
    assert answer.status_code == 200, answer.text
    results = answer.json()
    assert [result["index"] for result in results] == list(range(len(operations)))
    return results


def create(title: str = "In bulk", **fields: Any) -> dict[str, Any]:
    return {"op": "create", "task": {"title": title, **fields}}


async def count(account: Account) -> int:
    return await collection(TaskDocument).count_documents({"owner_id": ObjectId(account.id)})


async def test_each_operation_has_its_own_outcome(ada: Account, bob: Account) -> None:
    mine, gone, foreign = await ada.make_task("Mine"), await ada.make_task("Gone"), await bob.make_task("Bob's")
    results = await send(
        ada,
        [
            create("New", tags=["a"], checklist=[{"text": "one"}]),
            create("ab"),
            {"op": "update", "id": mine["id"], "version": 1, "changes": {"priority": 5, "metadata": {"a": 1}}},
            {"op": "update", "id": mine["id"], "version": 1, "changes": {"priority": 4}},
            {"op": "delete", "id": gone["id"]},
            {"op": "delete", "id": foreign["id"]},
            {"op": "update", "id": UNKNOWN, "changes": {}},
            {"op": "upsert"},
        ],
    )
    assert [result["status"] for result in results] == [201, 422, 200, 412, 204, 404, 404, 422]
    made = (await ada.get(f"/tasks/{results[0]['id']}")).json()
    assert (made["title"], made["tags"], made["version"]) == ("New", ["a"], results[0]["version"])
    assert results[1]["error"]["details"][0]["field"] == "task.title"
    assert (results[2]["id"], results[2]["version"]) == (mine["id"], 2)
    assert (results[3]["error"]["error"], results[3]["error"]["detail"]) == ("precondition_failed", OTHER_VERSION.format(2))
    assert results[7]["error"]["details"][0]["field"] == "op"
    assert (await ada.get(f"/tasks/{mine['id']}")).json()["priority"] == 5
    assert (await ada.get("/trash")).json()[0]["id"] == gone["id"]
    assert await count(bob) == 1


async def test_all_or_none(ada: Account) -> None:
    task = await ada.make_task("Stays")
    before = await stored_task(task["id"])
    update = {"op": "update", "id": task["id"], "changes": {"title": "Changed"}}
    refused = [create(), update, {"op": "delete", "id": UNKNOWN}, create()]
    answer = await ada.post("/tasks/bulk?atomic=true", json={"operations": refused})
    problem = is_problem(answer, 409, "bulk_refused", "Operation 2 failed. Nothing was changed.")
    assert problem["details"] == [{"field": "operations.2", "message": "Task not found", "type": "not_found"}]
    assert (await count(ada), await stored_task(task["id"])) == (1, before)
    stale = {"op": "delete", "id": task["id"], "version": 9}
    answer = await ada.post("/tasks/bulk?atomic=true", json={"operations": [create(), stale]})
    other = {"field": "operations.1", "message": OTHER_VERSION.format(1), "type": "precondition_failed"}
    assert is_problem(answer, 409, "bulk_refused")["details"] == [other]
    answer = await ada.post("/tasks/bulk?atomic=true", json={"operations": [create(), create("ab"), {"op": "update"}]})
    assert list(wrong_fields(answer)) == ["operations.1.task.title", "operations.2.id", "operations.2.changes"]
    assert await count(ada) == 1
    results = await send(ada, [create(), update, {"op": "delete", "id": task["id"]}], "?atomic=true")
    assert [result["status"] for result in results] == [201, 200, 204]
    assert (await stored_task(task["id"]))["title"] == "Changed"


@pytest.mark.parametrize("atomic", ["false", "true"])
async def test_a_thousand_at_once_and_no_more(ada: Account, atomic: str) -> None:
    results = await send(ada, [create(f"Task {n}") for n in range(1000)], f"?atomic={atomic}")
    assert len({result["id"] for result in results}) == 1000
    assert await count(ada) == 1000
    updates = [{"op": "update", "id": result["id"], "changes": {"completed": True}} for result in results]
    assert {result["version"] for result in await send(ada, updates, f"?atomic={atomic}")} == {2}
    assert await collection(TaskDocument).count_documents({"status": "done"}) == 1000
    too_many = await ada.post("/tasks/bulk", json={"operations": [create()] * 1001})
    assert wrong_fields(too_many) == {"operations": "too_long"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "operations"),
        ({"operations": []}, "operations"),
        ({"operations": {}}, "operations"),
        ({"operations": ["create"]}, "operations.0"),
        ({"operations": [{"op": "create"}], "atomic": True}, "atomic"),
    ],
)
async def test_bodies_that_are_no_list_of_operations(ada: Account, body: Any, field: str) -> None:
    assert field in wrong_fields(await ada.post("/tasks/bulk", json=body))


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        ({}, "op"),
        ({"op": None}, "op"),
        ({"op": ["create"]}, "op"),
        ({"op": "create"}, "task"),
        ({"op": "create", "task": {"title": "Fine"}, "id": UNKNOWN}, "id"),
        ({"op": "create", "task": {"title": "Fine", "owner": {}}}, "task.owner"),
        ({"op": "update", "id": "x", "changes": {}}, "id"),
        ({"op": "update", "id": UNKNOWN, "changes": {"priority": 9}}, "changes.priority"),
        ({"op": "delete", "id": UNKNOWN, "version": "1"}, "version"),
        ({"op": "delete", "id": UNKNOWN, "version": 2**63}, "version"),
        ({"op": "delete", "id": {"$ne": None}}, "id"),
    ],
)
async def test_operations_that_are_not_valid(ada: Account, operation: Any, field: str) -> None:
    (result,) = await send(ada, [operation])
    assert (result["status"], result["error"]["details"][0]["field"]) == (422, field)
    answer = await ada.post("/tasks/bulk?atomic=true", json={"operations": [operation]})
    assert list(wrong_fields(answer)) == [f"operations.0.{field}"]
    assert await count(ada) == 0


async def test_concurrent_bulks_of_one_task_both_apply(ada: Account) -> None:
    task = await ada.make_task()
    updates = [{"op": "update", "id": task["id"], "changes": {"metadata": {f"k{n}": n}}} for n in range(10)]
    await asyncio.gather(*(send(ada, updates[n::4], f"?atomic={'true' if n % 2 else 'false'}") for n in range(4)))
    kept = await stored_task(task["id"])
    assert kept["metadata"] == {f"k{n}": n for n in range(10)}
    assert kept["version"] == 11


async def lose_answers() -> None:
    """Leaves the keys of finished requests as a crash before the answer would."""
    lost = dict.fromkeys(("status", "headers", "body", "holder"))
    keys = collection(TaskDocument).database["idempotency_keys"]
    await keys.update_many({}, {"$set": {**lost, "locked_until": utc_now()}})


@pytest.mark.parametrize("atomic", ["false", "true"])
async def test_repeat_after_a_lost_answer_creates_no_duplicates(ada: Account, atomic: str) -> None:
    key = {"Idempotency-Key": f"bulk-{atomic}"}
    first = await send(ada, [create("One"), create("Two")], f"?atomic={atomic}", headers=key)
    await lose_answers()
    again = await send(ada, [create("One"), create("Two")], f"?atomic={atomic}", headers=key)
    assert [result["id"] for result in again] == [result["id"] for result in first]
    assert [result["status"] for result in again] == [201, 201]
    assert await count(ada) == 2


async def test_repeat_waits_until_a_majority_holds_the_tasks(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    key, operations = {"Idempotency-Key": "bulk-majority"}, [create("One"), create("Two")]
    first = await send(ada, operations, "?atomic=true", headers=key)
    await lose_answers()
    with monkeypatch.context() as patch:  # the one member of this set is its majority, so an empty collection stands for it
        patch.setattr(repository, "acknowledged", lambda tasks: tasks.database["held_by_a_majority"])
        answer = await ada.post("/tasks/bulk?atomic=true", json={"operations": operations}, headers=key)
        is_problem(answer, 503, "database_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
    again = await send(ada, operations, "?atomic=true", headers=key)
    assert [result["id"] for result in again] == [result["id"] for result in first]
    assert await count(ada) == 2
