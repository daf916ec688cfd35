"""Reads and inserts that share a round trip, over random owners, ids, callers who go and round trips that fail."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Any

import pytest
from bson import ObjectId
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.errors import AutoReconnect, DuplicateKeyError

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.data_loader import DataLoader
from taskapi.core.errors import NotFound
from taskapi.db.connection import Database
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.inserter import TaskInserter
from taskapi.tasks.storage.loader import TaskLoader
from taskapi.tasks.storage.scope import Scope
from tests.stored import collection, service

pytestmark = pytest.mark.real

NOW = datetime(2026, 1, 1)
OWNERS = [
    UserRead.model_validate({"_id": ObjectId(), "username": name, "disabled": False, "created_at": NOW, "updated_at": NOW})
    for name in ("ada", "bob", "eve")
]
TASKS = 6  # stored, each of the next owner in turn
LEAVES = st.none() | st.none() | st.integers(0, 12)  # the turns of the loop after which a caller goes
FAILING = st.dictionaries(st.integers(0, 5), st.booleans())  # which round trips fail: before MongoDB is asked, or after
HYPOTHESIS = settings(max_examples=80, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))


def new_task(number: int, task_id: ObjectId | None = None) -> dict[str, Any]:
    owner = OWNERS[number % len(OWNERS)]
    plain = {"description": "", "status": "todo", "completed": False, "completed_at": None, "priority": 3, "progress": 0.0}
    lists: dict[str, Any] = {"tags": [], "links": [], "checklist": [], "metadata": {}, "history": [], "status_changes": []}
    dates = {"due_date": None, "created_at": NOW, "updated_at": NOW, "version": 1}
    owned, reference = Scope.of(owner).outside_trash, {"id": owner.object_id, "username": owner.username}
    return {"_id": task_id or ObjectId(), "title": f"task {number}", **plain, **lists, **dates, **owned, "owner": reference}


def failing_in_between(
    fetch: Callable[[Collection[Any]], Awaitable[Mapping[Any, Any]]], failing: Mapping[int, bool]
) -> DataLoader[Any, Any]:
    """The loader of two small round trips at a time, of which the ``failing`` fail."""
    started = 0

    async def fetch_or_fail(keys: Collection[Any]) -> Mapping[Any, Any]:
        nonlocal started
        number, started = started, started + 1
        if failing.get(number) is False:
            raise AutoReconnect("not asked")
        found = await fetch(keys)
        if failing.get(number):
            raise AutoReconnect("no answer")
        return found

    return DataLoader(fetch_or_fail, 2, 8)


async def outcomes_of(calls: list[Awaitable[Any]], leaving: list[int | None]) -> list[Any]:
    """What each caller gets; CancelledError for those who go."""

    async def leave(caller: "asyncio.Future[Any]", turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        caller.cancel()

    callers = [asyncio.ensure_future(each) for each in calls]
    going = [leave(caller, turns) for caller, turns in zip(callers, leaving, strict=True) if turns is not None]
    outcomes = await asyncio.gather(*callers, *going, return_exceptions=True)
    return list(outcomes[: len(calls)])


@given(plan=st.lists(st.tuples(st.integers(0, 2), st.integers(0, TASKS), LEAVES), min_size=1, max_size=60), failing=FAILING)
@HYPOTHESIS
async def test_reads_meet_their_own_tasks_alone(
    app: FastAPI, plan: list[tuple[int, int, int | None]], failing: dict[int, bool]
) -> None:
    tasks = [new_task(number) for number in range(TASKS)]
    await collection(TaskDocument).insert_many(tasks)
    ids = [task["_id"] for task in tasks] + [ObjectId()]  # the last is no task
    loader = TaskLoader(service(Database))
    loader._found = failing_in_between(loader._find, failing)
    calls: list[Awaitable[Any]] = [loader.get(OWNERS[owner], str(ids[task])) for owner, task, _ in plan]
    outcomes = await outcomes_of(calls, [turns for *_, turns in plan])
    for (owner, task, turns), outcome in zip(plan, outcomes, strict=True):
        if isinstance(outcome, AutoReconnect | asyncio.CancelledError):
            assert failing if isinstance(outcome, AutoReconnect) else turns is not None
        elif task < TASKS and task % len(OWNERS) == owner:
            assert (outcome.id, outcome.title, outcome.owner.id) == (str(ids[task]), f"task {task}", OWNERS[owner].id)
        else:
            assert isinstance(outcome, NotFound)


@given(plan=st.lists(st.tuples(st.integers(0, 30), st.booleans(), LEAVES), min_size=1, max_size=60), failing=FAILING)
@HYPOTHESIS
async def test_inserts_have_their_own_outcomes(
    app: FastAPI, plan: list[tuple[int, bool, int | None]], failing: dict[int, bool]
) -> None:
    ids = [ObjectId() for _ in range(31)]
    inserter = TaskInserter(service(Database))
    loader = inserter._failures = failing_in_between(inserter._insert, failing)
    sent = [
        {**new_task(number, ids[place]), **({"number": 2**70} if too_large else {})}
        for number, (place, too_large, _) in enumerate(plan)
    ]
    outcomes = await outcomes_of([inserter.insert(task) for task in sent], [turns for *_, turns in plan])
    while loader._workers:  # for callers who have gone
        await asyncio.gather(*loader._workers)
    stored = {task["_id"]: task["title"] async for task in collection(TaskDocument).find({"_id": {"$in": ids}})}
    for task, (_, too_large, turns), outcome in zip(sent, plan, outcomes, strict=True):
        is_stored = stored.get(task["_id"]) == task["title"]
        if isinstance(outcome, AutoReconnect | asyncio.CancelledError):
            assert failing if isinstance(outcome, AutoReconnect) else turns is not None
        elif too_large:
            assert isinstance(outcome, OverflowError)
            assert not is_stored
        elif isinstance(outcome, DuplicateKeyError):
            assert task["_id"] in stored
            assert not is_stored
        else:
            assert outcome is None
            assert is_stored
