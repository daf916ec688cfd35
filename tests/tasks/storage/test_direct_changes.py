"""Changes that are worked out before they are written store what the update pipeline does."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Int64, ObjectId
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from taskapi.core.clock import in_utc
from taskapi.db.connection import BSON
from taskapi.db.expressions import MAX_TIME, literals
from taskapi.tasks.storage.direct_changes import READ, direct_change
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.history import Action, entry
from taskapi.tasks.storage.pipelines import trash_pipeline, update
from taskapi.tasks.storage.reading import PUBLIC, read
from tests.stored import collection
from tests.tasks.storage.updates import NOW, OWNERS, change_together, repositories, store

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("moderate")]

AT = datetime(2100, 1, 1, tzinfo=UTC)  # later than MongoDB's clock, so that nothing depends on that
DAY = datetime(2026, 5, 4, tzinfo=UTC)
ABSENT = object()
ENTRY = {**entry(Action.update, OWNERS[0], NOW.replace(tzinfo=UTC)), "version": 1, "before": {}}

TIMES = st.sampled_from([AT, AT - timedelta(milliseconds=1), AT + timedelta(days=1), MAX_TIME, None, "soon", ABSENT])
TEXTS = st.sampled_from(["", "$title", "Ω", "a\x00b"])
DAYS = st.sampled_from([None, DAY, DAY + timedelta(days=1)])
LISTS = st.lists(st.sampled_from(["a", "b"]), max_size=2)
ODD = st.sampled_from([1.0, Int64(2), True, "text", {}, ABSENT])
SENT: dict[str, Any] = {
    "title": TEXTS,
    "description": TEXTS | st.just("x" * 60_000),
    "priority": st.integers(1, 5),
    "due_date": DAYS,
    "start_date": DAYS,
    "estimate_minutes": st.none() | st.integers(0, 3),
    "tags": LISTS,
    "links": LISTS,
}
ORDINARY = st.fixed_dictionaries({}, optional=SENT)
UNUSUAL = st.fixed_dictionaries(
    {},
    optional={
        **{name: values | ODD for name, values in SENT.items()},
        "tags": LISTS | ODD | st.just([1]),
        "estimate_minutes": ODD | st.just([1]),
        "version": st.sampled_from([2**31 - 1, 2**31, Int64(1), 1.0, "1", None, ABSENT]),
        "updated_at": TIMES,
        "changed_at": TIMES,
        "history": st.sampled_from([[], [ENTRY] * 119, [ENTRY] * 120, [ENTRY] * 121, None, {}, ABSENT]),
    },
)
HYPOTHESIS = settings(max_examples=150, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))


async def stored_twice(fields: BSON) -> list[ObjectId]:
    present = {name: value for name, value in fields.items() if value is not ABSENT}
    ids = [await store(OWNERS[0], **{"start_date": None, "estimate_minutes": None, **present}) for _ in range(2)]
    absent = {name: "" for name, value in fields.items() if value is ABSENT}
    if absent:
        await collection(TaskDocument).update_many({"_id": {"$in": ids}}, {"$unset": absent})
    return ids


async def is_same_as_by_pipeline(stored: BSON, sent: BSON) -> bool:
    """Whether the change can be worked out; then it has stored the same."""
    tasks = collection(TaskDocument)
    write = update(literals(sent), OWNERS[0], now=AT)
    direct_id, other_id = await stored_twice(stored)
    found = await tasks.find_one({"_id": direct_id}, READ) or {}
    direct = direct_change(found, None, write)
    if direct is None:
        return False
    assert (await tasks.update_one({"_id": direct_id, **direct.unchanged}, direct.update)).modified_count == 1
    await tasks.update_one({"_id": other_id}, write.pipeline)
    same, other = await tasks.find_one({"_id": direct_id}), await tasks.find_one({"_id": other_id})
    assert repr({**(same or {}), "_id": 0}) == repr({**(other or {}), "_id": 0})  # types, and the order of members
    shown = await tasks.find_one({"_id": direct_id}, PUBLIC)
    answers = [read(task, OWNERS[0]).model_dump_json() for task in (direct.after, shown or {})]
    assert answers[0] == answers[1]
    return True


@given(stored=ORDINARY, sent=ORDINARY)
@HYPOTHESIS
async def test_ordinary_change_stores_what_pipeline_does(anonymous: object, stored: BSON, sent: BSON) -> None:
    assume(sent)
    is_small = len(stored.get("description", "")) < 50_000
    assert await is_same_as_by_pipeline(stored, sent) is is_small


@given(stored=UNUSUAL, sent=ORDINARY)
@HYPOTHESIS
async def test_unusual_change_stores_what_pipeline_does(anonymous: object, stored: BSON, sent: BSON) -> None:
    assume(sent)
    await is_same_as_by_pipeline(stored, sent)


@pytest.mark.parametrize("sent", [{"status": "done"}, {"title": "x", "checklist": []}, {"metadata": {}}, {"key": "k"}], ids=list)
def test_fields_that_others_depend_on_are_left(sent: BSON) -> None:
    assert update(literals(sent), OWNERS[0]).values is None
    assert update({"priority": {"$add": [1, 1]}}, OWNERS[0]).values is None


async def change_again(task_id: ObjectId) -> None:
    (repository,) = repositories()
    ((found),) = await change_together(repository, (task_id, literals({"title": "between", "priority": 4})))
    assert found.version == 2


async def rename_owner(task_id: ObjectId) -> None:
    """Marks the task as changed, without a new version."""
    changes = {"$set": {"owner.username": "new", "changed_at": NOW + timedelta(days=40_000)}}
    await collection(TaskDocument).update_one({"_id": task_id}, changes)


async def move_to_trash(task_id: ObjectId) -> None:
    (repository,) = repositories()
    await repository.move_to_trash(OWNERS[0], str(task_id), None, trash_pipeline(OWNERS[0], 30))


async def erase(task_id: ObjectId) -> None:
    await collection(TaskDocument).delete_one({"_id": task_id})


@pytest.mark.parametrize(
    ("meanwhile", "expected"),
    [
        (change_again, (3, "between", [{"priority": 3, "title": "new"}, {"priority": 4}])),
        (rename_owner, (2, "new", [{"priority": 3}])),
        (move_to_trash, None),
        (erase, None),
    ],
)
async def test_task_may_change_before_the_write(
    anonymous: object, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[ObjectId], Awaitable[None]], expected: Any
) -> None:
    ids = [await store(OWNERS[0]) for _ in range(3)]
    (repository,) = repositories()
    work_out = repository._updater._direct

    async def work_out_early(*arguments: Any) -> Any:
        found = await work_out(*arguments)
        assert len(found) == 3
        await meanwhile(ids[1])
        return found

    monkeypatch.setattr(repository._updater, "_direct", work_out_early)
    found = await change_together(repository, *((task_id, literals({"priority": 1})) for task_id in ids))
    assert [task.version for task in (found[0], found[2])] == [2, 2]
    if expected is None:
        assert found[1] is None
        return
    stored = await collection(TaskDocument).find_one({"_id": ids[1]}) or {}
    before = [
        {name: each["before"][name] for name in sorted(each["before"]) if name != "updated_at"} for each in stored["history"]
    ]
    assert (found[1].version, found[1].title, before) == expected
    assert (stored["version"], stored["title"], stored["priority"]) == (found[1].version, found[1].title, 1)
    assert in_utc(stored["changed_at"]) > max(AT, in_utc(NOW + timedelta(days=40_000))) or meanwhile is not rename_owner


async def test_whole_group_is_one_write(anonymous: object, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [await store(OWNERS[0]) for _ in range(5)]
    (repository,) = repositories()
    sent: list[BSON] = []
    tasks = repository._updater._tasks

    class Watched:
        def __getattr__(self, name: str) -> Any:
            sent.append({"name": name})
            return getattr(tasks, name)

    monkeypatch.setattr(repository._updater, "_tasks", Watched())
    found = await change_together(repository, *((task_id, literals({"priority": 1})) for task_id in ids))
    assert [task.version for task in found] == [2] * 5
    assert [each["name"] for each in sent] == ["find", "bulk_write"]
