"""One change to all tasks that match a filter."""

import asyncio
from datetime import datetime
from typing import Any

import pytest
from bson import ObjectId

from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.list_repository import TaskListRepository
from tests.client import Account, is_problem, stored_task, wrong_fields
from tests.stored import collection

pytestmark = pytest.mark.real


@pytest.fixture
async def with_tasks(ada: Account, bob: Account) -> Account:
    """Ada with three tasks of work and one of home; Bob has one of work."""
    for n in range(3):
        await ada.make_task(f"Work {n}", tags=["work"], metadata={"n": n})
    await ada.make_task("Home", tags=["home"])
    await bob.make_task("Bob's", tags=["work"])
    return ada


async def state() -> list[dict[str, Any]]:
    return await collection(TaskDocument).find({}).sort("_id").to_list(None)


async def test_own_matches_are_changed_and_no_foreign_ones(with_tasks: Account) -> None:
    answer = await with_tasks.patch("/tasks?tag=work", json={"completed": True, "title": "Done"})
    assert answer.json() == {"matched": 3, "changed": 3}
    done = [task for task in await state() if task["status"] == "done"]
    assert {task["owner"]["username"] for task in done} == {"ada"}
    assert {(task["title"], task["version"], task["progress"], len(task["history"])) for task in done} == {("Done", 2, 1.0, 2)}
    assert done[1]["history"][1]["before"]["title"] == "Work 1"


async def test_metadata_is_merged_into_each(with_tasks: Account) -> None:
    answer = await with_tasks.patch("/tasks?tag=work", json={"metadata": {"sprint": 14, "n": None}})
    assert answer.json() == {"matched": 3, "changed": 3}
    mine = [task["metadata"] for task in await state() if task["owner"]["username"] == "ada"]
    assert mine == [{"sprint": 14}] * 3 + [{}]


@pytest.mark.parametrize("run", ["", "&dry_run=true"], ids=["run", "dry run"])
async def test_a_merge_that_one_cannot_take_changes_none(with_tasks: Account, run: str) -> None:
    await with_tasks.make_task("Full", tags=["work"], metadata={f"k{n}": n for n in range(200)})
    before = await state()
    found = wrong_fields(await with_tasks.patch(f"/tasks?tag=work{run}", json={"metadata": {"one": "more"}}))
    assert found == {"metadata": "metadata_keys"}
    assert await state() == before


async def test_dry_run_of_possible_merges_changes_nothing(with_tasks: Account) -> None:
    before = await state()
    answer = await with_tasks.patch("/tasks?tag=work&dry_run=true", json={"metadata": {"one": "more"}})
    assert (answer.status_code, answer.json()) == (200, {"matched": 3, "changed": 0})
    assert await state() == before


async def test_a_filter_document_says_which(with_tasks: Account) -> None:
    where = '{"metadata.n": {"$gte": 1}}'
    assert (await with_tasks.patch("/tasks", params={"where": where}, json={"priority": 4})).json()["changed"] == 2
    assert (await with_tasks.delete("/tasks", params={"where": "{}"})).json() == {"matched": 4, "changed": 4}
    assert len((await with_tasks.get("/trash")).json()) == 4
    assert len([task for task in await state() if "owner" in task]) == 1


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_a_dry_run_and_an_expectation(with_tasks: Account, method: str) -> None:
    body = {"json": {"priority": 5}} if method == "PATCH" else {}
    before = await state()
    assert (await with_tasks.call(method, "/tasks?tag=work&dry_run=true", **body)).json() == {"matched": 3, "changed": 0}
    refused = await with_tasks.call(method, "/tasks?tag=work&expect=2", **body)
    is_problem(refused, 409, "count_differs", "The filter matches 3 tasks, not the 2 you expected. Nothing was changed.")
    refused = await with_tasks.call(method, "/tasks?tag=home&expect=2", **body)
    is_problem(refused, 409, "count_differs", "The filter matches 1 task, not the 2 you expected. Nothing was changed.")
    assert await state() == before
    assert (await with_tasks.call(method, "/tasks?tag=work&expect=3", **body)).json() == {"matched": 3, "changed": 3}
    assert await state() != before


async def test_all_tasks_have_to_be_asked_for(with_tasks: Account) -> None:
    before = await state()
    for query in ("", "?dry_run=true", "?expect=5", "?expect=5&dry_run=false"):
        assert wrong_fields(await with_tasks.delete(f"/tasks{query}")) == {"": "filter_missing"}
        assert wrong_fields(await with_tasks.patch(f"/tasks{query}", json={"priority": 2})) == {"": "filter_missing"}
    assert await state() == before


@pytest.mark.parametrize(
    ("query", "body", "field"),
    [
        ("tag=work&dry_run=yes", {}, "dry_run"),
        ("tag=work&expect=-1", {}, "expect"),
        ("tag=work&expect=10001", {}, "expect"),
        ("tag=work&limit=1", {}, "limit"),
        ("where=%7B%22secret%22%3A1%7D", {}, "where.secret"),
        ("tag=work", {"priority": 6}, "priority"),
        ("tag=work", {"owner": "me"}, "owner"),
    ],
)
async def test_what_is_not_valid_changes_nothing(with_tasks: Account, query: str, body: dict[str, Any], field: str) -> None:
    before = await state()
    assert field in wrong_fields(await with_tasks.patch(f"/tasks?{query}", json=body))
    assert await state() == before


async def test_more_than_a_batch(ada: Account) -> None:
    task = await ada.make_task(tags=["many"])
    template = await stored_task(task["id"])
    copies = [{**template, "_id": ObjectId()} for _ in range(2499)]
    await collection(TaskDocument).insert_many(copies)
    found = await ada.patch("/tasks?tag=many&expect=2500", json={"status": "in_progress"})
    assert found.json() == {"matched": 2500, "changed": 2500}
    is_problem(await ada.patch("/tasks?tag=many", json={"metadata": {"a": 1}}), 422, "too_many_matches")
    assert (await ada.delete("/tasks?status=in_progress")).json() == {"matched": 2500, "changed": 2500}


async def test_concurrent_callers_expecting_equal_tasks_leave_one_winner(with_tasks: Account) -> None:
    answers = await asyncio.gather(*(with_tasks.delete("/tasks?tag=work&expect=3") for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


@pytest.mark.parametrize(
    ("meanwhile", "changed"),
    [({"status": "done", "completed": True}, 1), ({"start_date": datetime(2031, 1, 1), "version": 2}, 1), ({}, 2)],
)
@pytest.mark.usefixtures("moderate")
async def test_a_damaged_task_is_changed_as_judged(
    ada: Account, monkeypatch: pytest.MonkeyPatch, meanwhile: dict[str, Any], changed: int
) -> None:
    sound, damaged = [ObjectId((await ada.make_task(title))["id"]) for title in ("sound", "damaged")]
    tasks = collection(TaskDocument)
    await tasks.update_one({"_id": damaged}, {"$set": {"start_date": "no date"}})
    update_matching = TaskListRepository.update_matching
    written: list[list[ObjectId]] = []

    async def then_change(repository: TaskListRepository, matching: Any, ids: list[ObjectId], *others: Any) -> int:
        count = await update_matching(repository, matching, ids, *others)
        if not written and meanwhile:
            await tasks.update_one({"_id": damaged}, {"$set": meanwhile})
        written.append(ids)
        return count

    monkeypatch.setattr(TaskListRepository, "update_matching", then_change)
    answer = await ada.call("PATCH", "/tasks?status=todo", json={"due_date": "2030-01-01"})
    assert (answer.status_code, answer.json()) == (200, {"matched": 2, "changed": changed})
    assert written == [[sound, damaged], [damaged]] or written == [[damaged, sound], [damaged]]
    stored = await tasks.find_one({"_id": damaged}) or {}
    assert (stored["due_date"] is None) == (changed == 1)
