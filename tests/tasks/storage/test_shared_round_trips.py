"""Reads, lists and inserts that arrive together share a round trip, and each caller gets only their own results."""

import asyncio
import random
from typing import Any

import pytest
from bson import ObjectId
from fastapi import FastAPI
from httpx import AsyncClient
from pymongo.errors import DuplicateKeyError, PyMongoError
from pymongo.write_concern import WriteConcern

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.errors import DatabaseUnavailable, NotFound
from taskapi.db.connection import Database
from taskapi.db.errors import to_domain_error
from taskapi.db.raw import Raw
from taskapi.tasks.query.page_loader import PageLoader
from taskapi.tasks.query.search import Plan
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.inserter import TaskInserter
from taskapi.tasks.storage.list_repository import TaskListRepository
from taskapi.tasks.storage.loader import TaskLoader
from tests.client import Account, make_account, stored_user
from tests.stored import collection, service

SECONDS = 5000  # milliseconds of a query


async def make_accounts(client: AsyncClient) -> dict[str, tuple[Account, list[str]]]:
    found = {}
    for name in ("ada", "bob", "eve"):
        account = await make_account(client, name)
        found[name] = (account, [(await account.make_task(f"{name} {number}"))["id"] for number in range(4)])
    return found


@pytest.mark.parametrize("seed", range(30))
async def test_reads_never_mix_up_owners(anonymous: AsyncClient, seed: int) -> None:
    accounts = await make_accounts(anonymous)
    chance = random.Random(seed)
    everything = [task_id for _, ids in accounts.values() for task_id in ids] + [str(ObjectId())]
    asked = [(chance.choice(list(accounts)), chance.choice(everything)) for _ in range(chance.randint(1, 150))]
    reads = [asyncio.create_task(accounts[name][0].get(f"/tasks/{task_id}")) for name, task_id in asked]
    leaving = set(chance.sample(range(len(reads)), len(reads) // 5))
    for _ in range(chance.randint(0, 12)):
        await asyncio.sleep(0)
    for number in leaving:
        reads[number].cancel()
    answers = await asyncio.gather(*reads, return_exceptions=True)
    for number, ((name, task_id), answer) in enumerate(zip(asked, answers, strict=True)):
        if isinstance(answer, BaseException):
            assert number in leaving
        elif task_id in accounts[name][1]:
            assert (answer.status_code, answer.json()["id"], answer.json()["owner"]["username"]) == (200, task_id, name)
        else:
            assert answer.status_code == 404


async def test_a_read_that_fails_reaches_its_own_callers(ada: Account) -> None:
    task = await ada.make_task()
    owner = UserRead.model_validate(await stored_user(ada.id))
    loader = TaskLoader(service(Database))
    wanted = [task["id"], str(ObjectId()), "not-an-id", task["id"]]
    found = await asyncio.gather(*(loader.get(owner, each) for each in wanted), return_exceptions=True)
    assert [each.id if not isinstance(each, BaseException) else type(each) for each in found] == [
        task["id"], NotFound, NotFound, task["id"],
    ]  # fmt: skip


LISTS = [
    "", "?limit=2", "?sort=-priority,due_date", "?sort=due_date&limit=3", "?status=todo", "?tag=even", "?count=none&limit=1",
    "?count=estimate", "?fields=id,title&offset=2", "?completed=true", "?sort=title",
]  # fmt: skip


async def test_lists_that_come_together_are_as_alone(anonymous: AsyncClient) -> None:
    accounts = [await make_account(anonymous, name) for name in ("ada", "bob", "eve")]
    for number, account in enumerate(accounts):
        for each in range(4 + number):
            tags = ["even"] if each % 2 == 0 else []
            await account.make_task(f"{account.username} {each}", priority=each % 3 + 1, tags=tags)
    asked = [(account, f"/tasks{query}") for account in accounts for query in LISTS] * 2  # each also beside its equal
    alone = [await account.get(path) for account, path in asked]
    random.Random(7).shuffle(order := list(range(len(asked))))
    together = await asyncio.gather(*(asked[number][0].get(asked[number][1]) for number in order))
    for number, answer in zip(order, together, strict=True):
        assert answer.status_code == 200
        assert seen(answer) == seen(alone[number]), asked[number]


def seen(answer: Any) -> tuple[Any, ...]:
    names = ("etag", "x-total-count", "x-total-count-relation", "link", "x-next-cursor")
    return (answer.json(), *(answer.headers.get(name) for name in names))


async def test_failing_list_does_not_affect_the_others(app: FastAPI) -> None:
    lists = PageLoader(TaskListRepository(service(Database)))
    plans = [Plan([{"$match": condition}], None) for condition in ({"title": "a"}, {"$nonsense": 1}, {"title": "b"})]
    for number in range(3):
        lists.note(b"%d" % number, 1)
    found = await asyncio.gather(*(lists.find(b"%d" % number, plan, SECONDS) for number, plan in enumerate(plans)))
    assert found == [None, None, None]  # each asks alone, and meets its own error
    assert await lists.find(b"0", plans[0], SECONDS) == []


async def test_short_lists_share_one_query(app: FastAPI) -> None:
    lists, plan = PageLoader(TaskListRepository(service(Database))), Plan([{"$match": {"title": "a"}}], None)
    assert await lists.find(b"unknown", plan, SECONDS) is None
    lists.note(b"long", 1001)
    assert await lists.find(b"long", plan, SECONDS) is None
    lists.note(b"long", 1000)
    assert await lists.find(b"long", plan, SECONDS) == []


class Counted(TaskListRepository):
    queries = 0

    async def aggregate(self, *arguments: Any, **options: Any) -> list[Raw]:
        self.queries += 1
        return await super().aggregate(*arguments, **options)


async def test_equal_lists_share_their_results(ada: Account) -> None:
    for number in range(3):
        await ada.make_task(f"Task {number}")
    tasks = Counted(service(Database))
    lists, plan = PageLoader(tasks), Plan([{"$match": {"owner.username": "ada"}}], None)
    lists.note(b"mine", 3)
    lists.note(b"none", 0)
    reads = [asyncio.create_task(lists.find(b"mine", plan, SECONDS)) for _ in range(20)]
    other = asyncio.create_task(lists.find(b"none", Plan([{"$match": {"owner.username": "eve"}}], None), SECONDS))
    await asyncio.sleep(0)
    reads.pop().cancel()
    found = await asyncio.gather(*reads)
    assert [len(each or []) for each in found] == [3] * 19
    assert await other == []
    before = tasks.queries
    assert before <= 2
    await lists.find(b"mine", plan, SECONDS)
    assert tasks.queries == before + 1  # a later one never gets an earlier result


def new_task(**fields: Any) -> dict[str, Any]:
    return {"_id": ObjectId(), "owner_id": ObjectId(), "state": "active", "title": "A task", **fields}


@pytest.mark.real
@pytest.mark.usefixtures("unvalidated")
async def test_each_new_task_has_its_own_outcome(anonymous: AsyncClient) -> None:
    first, twin, again, huge = new_task(), new_task(), new_task(), new_task(number=2**70)
    again["_id"] = first["_id"]
    inserter = TaskInserter(service(Database))
    await inserter.insert(first)
    outcomes = await asyncio.gather(*(inserter.insert(each) for each in (again, twin)), return_exceptions=True)
    assert [type(each) for each in outcomes] == [DuplicateKeyError, type(None)]
    assert "_id" in outcomes[0].details["keyPattern"]  # type: ignore[union-attr]
    third, fourth = new_task(), new_task()
    outcomes = await asyncio.gather(*(inserter.insert(each) for each in (third, huge, fourth)), return_exceptions=True)
    assert [type(each) for each in outcomes] == [type(None), OverflowError, type(None)]
    stored = await collection(TaskDocument).distinct("_id")
    assert set(stored) == {each["_id"] for each in (first, twin, third, fourth)}


async def test_tasks_that_are_created_together_are_all_there(ada: Account, bob: Account) -> None:
    made = await asyncio.gather(*(who.post("/tasks", json={"title": f"Task {n}"}) for n in range(50) for who in (ada, bob)))
    assert {answer.status_code for answer in made} == {201}
    assert len({answer.json()["id"] for answer in made}) == 100
    for who in (ada, bob):
        assert {answer.json()["owner"]["id"] for answer in made[who is bob :: 2]} == {who.id}
        listed = (await who.get("/tasks?limit=100")).json()
        assert sorted(int(task["title"].split()[1]) for task in listed) == list(range(50))


@pytest.mark.real
@pytest.mark.usefixtures("unvalidated")
async def test_unacknowledged_write_is_reported_as_unavailable(anonymous: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    first, again, other = new_task(), new_task(), new_task()
    again["_id"] = first["_id"]
    await TaskInserter(service(Database)).insert(first)
    lonely = collection(TaskDocument).with_options(write_concern=WriteConcern(w=2, wtimeout=1))  # there is one member alone
    inserter = TaskInserter(service(Database))
    monkeypatch.setattr(inserter, "_tasks", lonely)
    outcomes = await asyncio.gather(*(inserter.insert(each) for each in (again, other)), return_exceptions=True)
    assert [type(to_answer(each)) for each in outcomes] == [DatabaseUnavailable, DatabaseUnavailable]


def to_answer(error: Any) -> Any:
    return to_domain_error(error) if isinstance(error, PyMongoError) else error
