"""Keys of an import: a line with a known key changes its task once, even if others send it at the same time."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.ids import deterministic_ids, new_seed
from taskapi.tasks.import_export.importer import ImportService
from taskapi.tasks.import_export.records import Record
from taskapi.tasks.import_export.schemas import ImportQuery
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.scope import Scope
from tests.client import Account, is_problem, stored_task, stored_user
from tests.stored import collection, service
from tests.tasks.import_export.test_export import RICH
from tests.tasks.import_export.test_importer import faults, jsonl, take, tasks_of

pytestmark = pytest.mark.real


async def by_key(account: Account, key: str = "k") -> dict[str, Any]:
    (found,) = [task for task in await tasks_of(account) if task["key"] == key]
    return dict(found)


async def test_known_key_updates_the_fields_of_its_line(ada: Account, bob: Account) -> None:
    await take(bob, [{"title": "theirs", "key": "k"}])
    theirs = await by_key(bob)
    full = {**RICH, "key": "k", "status": "done", "completed_at": "2026-01-02T00:00:00Z", "created_at": "2026-01-01T00:00:00Z"}
    assert await take(ada, [full]) == {"lines": 1, "created": 1}
    before = await by_key(ada)
    assert await take(ada, [full]) == {"lines": 1, "unchanged": 1}
    assert await take(ada, [{"title": RICH["title"], "key": "k", "completed": True}]) == {"lines": 1, "unchanged": 1}
    assert await by_key(ada) == before
    assert await take(ada, [{"title": "$title", "key": "k", "metadata": {"int": 1}, "tags": []}]) == {"lines": 1, "updated": 1}
    task = await by_key(ada)
    changes = {"title": "$title", "metadata": {"int": 1}, "tags": [], "version": 2, "updated_at": task["updated_at"]}
    assert task == {**before, **changes}
    assert task["updated_at"] > before["updated_at"]
    entry = (await stored_task(task["id"]))["history"][-1]
    assert (entry["action"], entry["version"], entry["by"]["username"]) == ("update", 2, "ada")
    assert (entry["before"]["title"], entry["before"]["tags"]) == (RICH["title"], RICH["tags"])
    assert set(entry["before"]) == {"title", "metadata", "tags", "updated_at"}
    assert await by_key(bob) == theirs


@pytest.mark.parametrize("metadata", [{"a": 1.0}, {"a": True}, {"a": [1]}, {"a": 1, "b": None}, {}])
async def test_a_difference_of_type_is_one(ada: Account, metadata: Any) -> None:
    await take(ada, [{"title": "task", "key": "k", "metadata": {"a": 1}}])
    assert await take(ada, [{"title": "task", "key": "k", "metadata": metadata}]) == {"lines": 1, "updated": 1}
    assert json.dumps((await by_key(ada))["metadata"]) == json.dumps(metadata)


async def test_update_keeps_status_times_and_progress_consistent(ada: Account) -> None:
    items = [{"text": "a", "done": True}]
    await take(
        ada, [{"title": "task", "key": "k", "status": "in_progress", "checklist": items, "created_at": "2026-01-01T00:00:00Z"}]
    )
    assert await take(ada, [{"title": "task", "key": "k", "completed": False}]) == {"lines": 1, "unchanged": 1}
    moment = "2026-03-04T05:06:07.000Z"
    await take(ada, [{"title": "task", "key": "k", "status": "done", "completed_at": moment, "checklist": []}])
    task = await by_key(ada)
    assert (task["completed"], task["completed_at"], task["progress"]) == (True, moment, 1.0)
    assert await take(ada, [{"title": "task", "key": "k", "completed": False}]) == {"lines": 1, "updated": 1}
    task = await by_key(ada)
    assert (task["status"], task["completed_at"], task["progress"], task["version"]) == ("todo", None, 0.0, 3)


@pytest.mark.parametrize(
    ("times", "error"),
    [
        ({"completed_at": "2020-12-31T23:54:59Z"}, ("completed_at", "must not be before created_at", "contradiction")),
        ({"created_at": "2021-02-01T00:05:01Z"}, ("created_at", "must not be after completed_at", "contradiction")),
    ],
    ids=["completed", "created"],
)
async def test_completion_before_stored_creation_is_refused(ada: Account, times: dict[str, str], error: Any) -> None:
    done = {"title": "task", "key": "k", "status": "done"}
    await take(ada, [{**done, "created_at": "2021-01-01T00:00:00Z", "completed_at": "2021-02-01T00:00:00Z"}])
    before = await stored_task((await by_key(ada))["id"])
    for query in ("?dry_run=true", ""):
        report = await take(ada, [{**done, **times}, {"title": "another"}], query)
        assert [(each["line"], each["field"], each["message"], each["type"]) for each in report["errors"]] == [(1, *error)]
        assert (report["failed"], report["created"]) == (1, 1)
    assert await stored_task(before["_id"]) == before
    assert await take(ada, [{**done, **times, "status": "todo", "completed_at": None}]) == {"lines": 1, "updated": 1}
    exported = (await ada.get("/tasks/export")).content
    assert await take(ada, exported, "?match=id") == {"lines": 2, "unchanged": 2}


FORMS = ["\u1ebf", "e\u0302\u0301", "\u00ea\u0301"]  # NFC, NFD, and as Windows writes Vietnamese


@pytest.mark.parametrize("form", FORMS, ids=ascii)
async def test_key_is_stored_in_nfc_matches_any_form(ada: Account, form: str) -> None:
    assert await take(ada, [{"key": form, "title": "first"}]) == {"lines": 1, "created": 1}
    for other in FORMS:
        assert await take(ada, [{"key": other, "title": f"as {other!a}"}]) == {"lines": 1, "updated": 1}
    (task,) = await tasks_of(ada)
    assert task["key"] == "\u1ebf"


async def test_length_of_a_key_counts_nfc(ada: Account) -> None:
    longer, shorter = "\u0958" * 51, "e\u0301" * 100  # 102 and 100 characters in NFC
    for query in ("?dry_run=true", "", "?match=id"):
        report = await take(ada, [{"key": longer, "title": "refused"}, {"title": "beside it"}], query)
        assert (report["created"], report["failed"]) == (1, 1)
        assert [(each["field"], each["type"]) for each in report["errors"]] == [("key", "string_too_long")]
    assert await take(ada, [{"key": shorter, "title": "taken"}]) == {"lines": 1, "created": 1}
    assert (await by_key(ada, "\u00e9" * 100))["title"] == "taken"
    assert await take(ada, [{"key": "\u0390" * 100, "title": "composed"}]) == {"lines": 1, "created": 1}
    assert await take(ada, [{"key": "\u03b9\u0308\u0301" * 100, "title": "again"}]) == {"lines": 1, "updated": 1}
    assert await faults(ada, {"key": "a" + "\u0301\u0323" * 20_000, "title": "hostile"}) == {("key", "string_too_long")}


@pytest.mark.parametrize(("kept", "known"), [(FORMS[0], FORMS), (FORMS[1], FORMS), (FORMS[2], FORMS[2:])], ids=ascii)
async def test_old_key_matches_in_its_form_nfc_nfd(ada: Account, kept: str, known: list[str]) -> None:
    """Version 1.2 stored keys and texts as they were sent."""
    line = {"title": "first", "checklist": [{"text": "e\u0301"}]}
    await take(ada, [{**line, "key": "k"}])
    task = await by_key(ada)
    await collection(TaskDocument).update_one({"key": "k"}, {"$set": {"key": kept, "checklist.0.text": "e\u0301"}})
    for form in known:
        assert await take(ada, [{**line, "key": form, "title": f"as {form!a}"}]) == {"lines": 1, "updated": 1}
    assert (await by_key(ada, kept))["checklist"] == task["checklist"]


async def test_two_forms_of_one_key_are_one_task(ada: Account) -> None:
    lines = [{"key": "e\u0301", "title": "first"}, {"key": "\u00e9", "title": "second"}]
    assert await take(ada, lines, "?dry_run=true") == {"lines": 2, "created": 1, "updated": 1}
    assert await take(ada, lines) == {"lines": 2, "created": 1, "updated": 1}
    assert (await by_key(ada, "\u00e9"))["title"] == "second"


async def test_composed_key_wins_between_two_old_tasks(ada: Account) -> None:
    await take(ada, [{"key": "first", "title": "first"}, {"key": "second", "title": "second"}])
    for key, form in (("first", "\u00e9"), ("second", "e\u0301")):
        await collection(TaskDocument).update_one({"key": key}, {"$set": {"key": form}})
    for form in ("\u00e9", "e\u0301"):
        assert await take(ada, [{"key": form, "title": f"changed {form!a}"}]) == {"lines": 1, "updated": 1}
    assert (await by_key(ada, "\u00e9"))["title"] == f"changed {form!a}"
    assert (await by_key(ada, "e\u0301"))["title"] == "second"


async def test_items_of_a_checklist_keep_their_ids(ada: Account) -> None:
    same = {"title": "task", "key": "k", "checklist": [{"text": "a"}, {"text": "b"}, {"text": "a", "done": True}]}
    await take(ada, [same])
    first = await by_key(ada)
    assert await take(ada, [same]) == {"lines": 1, "unchanged": 1}
    a, b, c = first["checklist"]
    moved = [{"text": "new"}, {"text": "b", "done": True}, {**a, "text": "b"}]
    await take(ada, [{**same, "checklist": moved}])
    new, still_b, renamed = (await by_key(ada))["checklist"]
    assert (still_b["id"], renamed["id"]) == (b["id"], a["id"])
    assert new["id"] not in {a["id"], b["id"], c["id"]}


async def test_the_later_line_of_a_key_wins(ada: Account) -> None:
    text = [{"title": "one", "key": "k", "description": "kept"}, {"title": "other", "key": "j"}, {"title": "two", "key": "k"}]
    expected = {"lines": 4, "created": 2, "updated": 1, "unchanged": 1}
    assert await take(ada, [*text, text[-1]], "?dry_run=true") == expected
    assert await take(ada, [*text, text[-1]]) == expected
    task = await by_key(ada)
    assert (task["title"], task["description"], task["version"]) == ("two", "kept", 2)


async def test_key_of_a_trashed_task_is_free(ada: Account) -> None:
    await take(ada, [{"title": "first", "key": "k"}])
    first = await by_key(ada)
    await ada.delete(f"/tasks/{first['id']}")
    assert await take(ada, [{"title": "second", "key": "k"}]) == {"lines": 1, "created": 1}
    assert (await by_key(ada))["id"] != first["id"]
    is_problem(await ada.post(f"/tasks/{first['id']}/restore"), 409, "key_taken")


def some_lines(seed: int) -> list[Any]:
    """Lines with few keys and few values, so that they collide; some are invalid."""
    rng = random.Random(seed)
    choices: dict[str, list[Any]] = {
        "key": ["a", "b", "c", None],
        "description": ["x", "y"],
        "status": ["todo", "done", "in_progress"],
        "completed": [True, False],
        "metadata": [{}, {"n": 1}, {"n": 1.0}],
        "checklist": [[], [{"text": "a"}], [{"text": "a", "done": True}, {"text": "a"}]],
        "completed_at": [None, "2026-01-02T00:00:00Z"],
        "updated_at": ["2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z"],
        "due_date": [None, "2027-01-31"],
        "priority": [1, 2, 9],
    }
    return [
        {"title": rng.choice(["one", "two"])}
        | {name: rng.choice(values) for name, values in choices.items() if rng.random() < 0.4}
        for _ in range(60)
    ]


@pytest.mark.parametrize("seed", range(8))
async def test_dry_run_reports_alike_and_writes_nothing(ada: Account, seed: int) -> None:
    await take(ada, some_lines(seed + 100))
    before = await tasks_of(ada)
    said = await take(ada, some_lines(seed), "?dry_run=true")
    assert await tasks_of(ada) == before
    assert await take(ada, some_lines(seed)) == said
    assert {"updated", "failed"} <= said.keys()
    for task in await tasks_of(ada):
        assert task["completed"] == (task["status"] == "done") == (task["completed_at"] is not None)
        kept = await stored_task(task["id"])
        assert [entry["version"] for entry in kept["history"]] == list(range(1, task["version"] + 1))


async def test_concurrent_imports_of_equal_keys_create_no_duplicates(ada: Account) -> None:
    same = [{"title": f"task {number}", "key": str(number)} for number in range(700)]
    shuffled = [random.Random(seed).sample(same, len(same)) for seed in range(4)]
    reports = await asyncio.gather(*(take(ada, text) for text in shuffled))
    assert sum(report.get("created", 0) for report in reports) == 700
    assert sum(report.get("unchanged", 0) for report in reports) == 2100
    found = await tasks_of(ada)
    assert {task["key"] for task in found} == {str(number) for number in range(700)}
    assert [(task["version"]) for task in found] == [1] * 700
    others = [[{**task, "description": f"by {author}"} for task in text] for author, text in enumerate(shuffled)]
    reports = await asyncio.gather(*(take(ada, text) for text in others))
    assert sum(report.get("updated", 0) for report in reports) == 2800
    async for task in collection(TaskDocument).find():
        assert (len(task["history"]), task["version"]) == (5, 5)


async def test_identical_imports_at_once_change_each_task_once(ada: Account) -> None:
    text = [{"title": f"task {number}", "key": str(number)} for number in range(300)]
    await take(ada, text)
    changed = [{**task, "priority": 5} for task in text]
    reports = await asyncio.gather(*(take(ada, changed) for _ in range(4)))
    assert sum(report.get("updated", 0) for report in reports) == 300
    assert {task["version"] for task in await tasks_of(ada)} == {2}


async def test_repeat_under_an_idempotency_key_creates_no_duplicates(ada: Account) -> None:
    text = [{"title": f"task {number}", **({"key": str(number)} if number % 2 else {})} for number in range(700)]
    headers = {"content-type": "application/jsonl", "Idempotency-Key": "once"}
    first = await ada.post("/tasks/import", content=jsonl(*text), headers=headers)
    assert first.json()["created"] == 700
    again = await ada.post("/tasks/import", content=jsonl(*text), headers=headers)
    assert (again.json(), again.headers["idempotent-replay"]) == (first.json(), "true")
    assert len(await tasks_of(ada)) == 700


async def test_repeating_an_interrupted_import_creates_no_duplicates(ada: Account) -> None:
    """A run that ended without an answer is repeated with the same ids, with and without keys."""
    owner = UserRead.model_validate(await stored_user(ada.id))
    text = [
        {"title": f"task {number}", "checklist": [{"text": "item"}], **({"key": str(number)} if number % 2 else {})}
        for number in range(1200)
    ]

    async def sent(count: int) -> AsyncIterator[Record]:
        for number, line in enumerate(text[:count], 1):
            yield Record(number, 100, line)
        if count < len(text):
            raise ClientDisconnect

    importer = service(ImportService)
    seed = new_seed()
    with pytest.raises(ClientDisconnect), deterministic_ids(seed):
        await importer.run(owner, sent(1100), ImportQuery())
    before = {task["title"]: task for task in await tasks_of(ada)}
    assert len(before) == 1000
    with deterministic_ids(seed):
        report = await importer.run(owner, sent(1200), ImportQuery())
    assert (report.created, report.unchanged, report.updated) == (1200, 0, 0)
    after = {task["title"]: task for task in await tasks_of(ada)}
    assert len(after) == len(await tasks_of(ada)) == 1200
    assert before.items() <= after.items()


async def test_the_look_for_keys_uses_their_index(ada: Account) -> None:
    await take(ada, [{"title": f"task {number}", "key": str(number)} for number in range(50)])
    owner = (await stored_user(ada.id))["_id"]
    found = await collection(TaskDocument).find({**Scope(owner).outside_trash, "key": {"$in": ["1", "2", "x"]}}).explain()
    assert '"indexName": "owner_id_key"' in json.dumps(found, default=str)
    assert found["executionStats"]["totalDocsExamined"] == 2
