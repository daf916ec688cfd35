"""Changes that arrive together share one write, and each caller gets the outcome of a write of their own."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from bson import ObjectId
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.errors import AutoReconnect, OperationFailure
from pymongo.write_concern import WriteConcern

from taskapi.core.errors import DatabaseUnavailable
from taskapi.core.logs import request_id
from taskapi.db.connection import BSON
from taskapi.db.errors import to_domain_error
from taskapi.db.expressions import literals
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.history import Versions
from taskapi.tasks.storage.pipelines import restore_pipeline, trash_pipeline, update
from taskapi.tasks.storage.repository import TaskRepository
from tests.stored import collection
from tests.tasks.storage.updates import NOW, OWNERS, change_together, repositories, store

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("moderate")]

FAILING = {"$toInt": "$title"}  # which no title is
TOO_LARGE = 2**70  # for BSON


@dataclass(frozen=True)
class Change:
    """A change as hypothesis draws it; ``fault`` takes the place of its priority."""

    worker: int
    owner: int
    task: int
    versions: Versions
    at_most: int | None  # the priority that the task may have before
    priority: int
    fault: Any
    leaves: int | None  # the turn of the loop in which its caller has gone

    def meets(self, owner: int, version: int, priority: int) -> bool:
        fits = (self.versions is None or version in self.versions) and (self.at_most is None or priority <= self.at_most)
        return self.owner == owner and fits


CHANGES = st.builds(
    Change,
    worker=st.integers(0, 1),
    owner=st.integers(0, 2),
    task=st.integers(0, 6),
    versions=st.none() | st.frozensets(st.integers(1, 4), min_size=1, max_size=3),
    at_most=st.none() | st.integers(1, 5),
    priority=st.integers(1, 5),
    fault=st.sampled_from([None] * 8 + [FAILING, TOO_LARGE]),
    leaves=st.none() | st.none() | st.integers(0, 30),
)
HYPOTHESIS = settings(max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))


async def make(change: Change, number: int, repository: TaskRepository, task_id: ObjectId) -> Any:
    """The task after a change, None, or the error; ``asyncio.CancelledError`` for a caller who has gone."""
    request_id.set(f"request-{number}")
    owner = OWNERS[change.owner]
    fields = literals({"title": f"change {number}", "priority": change.priority})
    if change.fault is not None:
        fields["priority"] = change.fault
    conditions = [] if change.at_most is None else [{"priority": {"$lte": change.at_most}}]
    return await repository.update_one(owner, str(task_id), change.versions, update(fields, owner), conditions)


async def leave(caller: "asyncio.Task[Any]", turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
    caller.cancel()


@given(plan=st.lists(CHANGES, min_size=1, max_size=40))
@HYPOTHESIS
async def test_changes_are_as_if_made_in_turn(app: FastAPI, plan: list[Change]) -> None:
    """Each history is an order in which the changes could have been made one by one, with the outcomes that callers got."""
    ids = [await store(OWNERS[number % 3]) for number in range(6)] + [ObjectId()]  # the last is no task
    workers = repositories(2)
    callers = [
        asyncio.create_task(make(change, number, workers[change.worker], ids[change.task])) for number, change in enumerate(plan)
    ]
    leaving = [asyncio.create_task(leave(callers[n], each.leaves)) for n, each in enumerate(plan) if each.leaves is not None]
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    await asyncio.gather(*leaving)
    await settle(workers)
    states: dict[int, list[tuple[int, int]]] = {}  # the versions and priorities that each task had
    made: dict[int, int] = {}  # the version that each change has made
    for number, task_id in enumerate(ids[:-1]):
        stored = await collection(TaskDocument).find_one({"_id": task_id})
        assert stored is not None
        states[number] = [(1, 3)]
        for version, entry in enumerate(stored["history"], 2):
            change = plan[made_by := int(entry["request_id"].removeprefix("request-"))]
            assert (entry["version"], change.task, change.fault) == (version, number, None)
            assert change.meets(number % 3, *states[number][-1])
            assert made_by not in made
            made[made_by] = version
            states[number].append((version, change.priority))
        assert (stored["version"], stored["priority"]) == states[number][-1]
    for number, (change, outcome) in enumerate(zip(plan, outcomes, strict=True)):
        if outcome is None:
            assert number not in made
            assert change.task not in states or not all(change.meets(change.task % 3, *each) for each in states[change.task])
            continue
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, asyncio.CancelledError) or number not in made
            expected = {str(FAILING): OperationFailure, str(TOO_LARGE): OverflowError}.get(str(change.fault))
            gone = change.leaves is not None and isinstance(outcome, asyncio.CancelledError)
            assert gone or (expected is not None and isinstance(outcome, expected)), outcome
            continue
        seen = (outcome.id, outcome.owner.id, outcome.title, outcome.version, outcome.priority)
        owner = OWNERS[change.owner]
        assert seen == (str(ids[change.task]), owner.id, f"change {number}", made[number], change.priority)


async def settle(workers: list[TaskRepository]) -> None:
    """Waits until nothing is being written for callers who have gone."""
    for worker in workers:
        loader = worker._updater._outcomes
        while loader._workers:
            await asyncio.gather(*loader._workers)


async def move_to_trash(task_id: ObjectId) -> None:
    (repository,) = repositories()
    await repository.move_to_trash(OWNERS[0], str(task_id), None, trash_pipeline(OWNERS[0], 30))


async def restore(task_id: ObjectId) -> None:
    await move_to_trash(task_id)
    await collection(TaskDocument).update_one({"_id": task_id}, restore_pipeline(OWNERS[0], NOW))


async def erase(task_id: ObjectId) -> None:
    await collection(TaskDocument).delete_one({"_id": task_id})


async def change_again(task_id: ObjectId) -> None:
    (repository,) = repositories()
    for number in range(3):
        assert not isinstance((await change_together(repository, (task_id, literals({"priority": 5 - number}))))[0], Exception)


async def change_often(task_id: ObjectId) -> None:
    await change_again(task_id)
    await collection(TaskDocument).update_one({"_id": task_id}, [{"$set": {"history": {"$slice": ["$history", -2]}}}])


async def replace(task_id: ObjectId) -> None:
    """Stores a task of the second owner in its place."""
    await erase(task_id)
    await store(OWNERS[1], _id=task_id)


async def lose_history(task_id: ObjectId) -> None:
    await collection(TaskDocument).update_one({"_id": task_id}, {"$unset": {"history": 1}})


@pytest.mark.parametrize(
    ("meanwhile", "expected"),
    [
        (change_again, (2, 1, "one")),
        (move_to_trash, (2, 1, "one")),
        (restore, (2, 1, "one")),
        (erase, None),
        (replace, None),
        (change_often, (5, 3, "one")),  # what it was is no longer known: as it is now
        (lose_history, (2, 1, "one")),
    ],
)
async def test_overtaken_change_shows_its_own_state(
    anonymous: object,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Callable[[ObjectId], Awaitable[None]],
    expected: Any,
) -> None:
    one, other = await store(OWNERS[0]), await store(OWNERS[1])
    (repository,) = repositories()
    updater = repository._updater
    read, overtakers = updater._read, [meanwhile]

    async def read_later(*arguments: Any) -> Any:
        if overtakers:
            await overtakers.pop()(one)
        return await read(*arguments)

    monkeypatch.setattr(updater, "_read", read_later)
    fields = {"priority": 1, "title": "one", "checklist": []}  # which is not stored as sent
    ada, bob, _ = OWNERS
    changes = [(one, literals(fields)), (other, literals({"title": "two"})), (other, literals({"title": "three"}))]
    found = await change_together(repository, *changes, owners=[ada, bob, bob])
    assert overtakers == []
    assert (found[0] and (found[0].version, found[0].priority, found[0].title)) == expected
    assert [(task.version, task.title) for task in found[1:]] == [(2, "two"), (3, "three")]


async def test_group_answers_as_each_change_alone(anonymous: object) -> None:
    stored: list[BSON] = [{}, {"version": "2"}, {"history": "none"}, {"checklist": None, "priority": 2**40}, {"tags": "x"}]
    stored.append({"owner_id": ["nonsense", OWNERS[0].object_id], "tags": "x"})
    pairs = [[await store(OWNERS[0], **fields) for _ in range(2)] for fields in stored]
    together, alone = repositories(2)
    changes: list[BSON] = [{"status": "done", "title": "$title"}, {"checklist": []}, {"priority": 1, "start_date": NOW}]
    for fields in changes:
        found = await change_together(together, *((pair[0], literals(fields)) for pair in pairs))
        for pair, answer in zip(pairs, found, strict=True):
            (expected,) = await change_together(alone, (pair[1], literals(fields)))
            hidden = {"id", "updated_at", "completed_at"}
            assert answer.model_dump_json(exclude=hidden) == expected.model_dump_json(exclude=hidden)
            shapes = [shape_of(await collection(TaskDocument).find_one({"_id": each})) for each in pair]
            assert shapes[0] == shapes[1]


def shape_of(task: Any) -> Any:
    return [*task, *({**entry, "at": 0, "request_id": 0, "before": list(entry["before"])} for entry in task["history"])]


async def test_change_that_matches_nothing_inserts_nothing(anonymous: object) -> None:
    kept, missing = await store(OWNERS[0]), ObjectId()
    (repository,) = repositories()
    theirs = await store(OWNERS[1])
    found = await change_together(repository, *((each, literals({"priority": 1})) for each in (missing, kept, theirs)))
    assert [each and each.version for each in found] == [None, 2, None]
    assert await collection(TaskDocument).distinct("_id") == [kept, theirs]
    assert await collection(TaskDocument).count_documents({"priority": 1}) == 1


async def test_damaged_version_is_met_as_it_shows(anonymous: object) -> None:
    ids = [await store(OWNERS[0], version=version) for version in (1, "2", 1.5, None, 2.5, 2)]  # the last two show 2
    (repository,) = repositories()
    found = await change_together(repository, *((each, literals({"priority": 1})) for each in ids), versions=frozenset([1]))
    assert [each and each.version for each in found] == [2, 2, 2, 2, None, None]


async def test_large_change_is_written_beside_the_others(anonymous: object) -> None:
    ids = [await store(OWNERS[0]) for _ in range(3)]
    (repository,) = repositories()
    texts = ["a" * 70_000, "b", "c" * 70_000]
    found = await change_together(repository, *((n, literals({"description": text})) for n, text in zip(ids, texts, strict=True)))
    assert [(each.id, each.version, each.description) for each in found] == [
        (str(task_id), 2, text) for task_id, text in zip(ids, texts, strict=True)
    ]


async def test_unacknowledged_changes_are_reported_as_unavailable(anonymous: object, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [await store(OWNERS[0]), await store(OWNERS[0]), ObjectId()]
    (repository,) = repositories()
    lonely = collection(TaskDocument).with_options(write_concern=WriteConcern(w=2, wtimeout=1))  # there is one member alone
    monkeypatch.setattr(repository._updater, "_tasks", lonely)
    found = await change_together(repository, *((each, literals({"priority": 1})) for each in ids))
    assert [type(to_domain_error(each)) for each in found] == [DatabaseUnavailable] * 3


async def test_failed_query_leaves_the_outcome_unknown(anonymous: object, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [await store(OWNERS[0]), await store(OWNERS[0]), ObjectId()]
    (repository,) = repositories()
    find = repository._updater._find

    async def fail(changes: Any, *arguments: Any) -> Any:
        if await collection(TaskDocument).count_documents({"priority": 1}) == 0:
            return await find(changes, *arguments)
        raise AutoReconnect("gone")

    monkeypatch.setattr(repository._updater, "_find", fail)
    found = await change_together(repository, *((each, literals({"priority": 1, "checklist": []})) for each in ids))
    assert [each and type(to_domain_error(each)) for each in found] == [DatabaseUnavailable, DatabaseUnavailable, None]
    assert await collection(TaskDocument).count_documents({"priority": 1, "version": 2}) == 2
