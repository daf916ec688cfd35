"""One damaged task spoils nothing: what can be shown of it is, it can be changed or at least deleted, and the log names it."""

import csv
import io
import json
from typing import Any

import pytest
from bson import ObjectId
from fastapi import FastAPI

from taskapi.database import collection
from taskapi.tasks.documents import TaskDocument
from tests.client import Account, stored_task
from tests.damage import BSON, ODD, damaged, schema, store

pytestmark = pytest.mark.real

FIELDS = [
    "title", "description", "status", "completed", "completed_at", "priority", "due_date", "tags", "links", "checklist",
    "checklist.id", "checklist.text", "checklist.done", "progress", "metadata", "metadata.a", "key", "owner.username",
    "created_at", "updated_at", "version",
]  # fmt: skip
HISTORY = ["history", *(f"history.{name}" for name in ("version", "at", "by", "by.id", "action", "request_id", "before"))]
OTHERS = ["before", "trash", "colour", "history.before.priority", "history.before.checklist"]
SOME = ["missing", "fraction", "nan", "text", "mixed list", "object", "late time"]


async def sound_task(ada: Account) -> BSON:
    """A stored task with a value in each field and two entries of history."""
    made = await ada.make_task(
        "Sound",
        due_date="2027-01-31",
        tags=["work"],
        links=["https://example.com/"],
        checklist=[{"text": "one", "done": True}, {"text": "two"}],
        metadata={"a": 1},
    )
    await ada.patch(f"/tasks/{made['id']}", json={"priority": 2, "checklist": made["checklist"]})
    sound = await stored_task(made["id"])
    sound["history"].reverse()  # the first is the newest, and gets the odd values
    await collection(TaskDocument).delete_many({})
    return {**sound, "history": sound["history"][::-1], "key": "k"}


def as_stored(documents: list[BSON]) -> list[BSON]:
    """With keys that are unique where they are sound, and no two lists where one index holds both."""
    for number, each in enumerate(documents):
        if each.get("key") == "k":
            each["key"] = f"k{number}"
        if isinstance(each.get("created_at"), list):
            each["tags"] = "work"
    return documents


async def spoil(ada: Account, paths: list[str], kinds: list[str] | None = None) -> list[BSON]:
    sound = await sound_task(ada)
    kept = await store(TaskDocument, as_stored([*damaged(sound, paths, kinds or list(ODD))]))
    good = [{**sound, "_id": ObjectId(), "title": f"Good {n}", "key": f"good{n}"} for n in range(3)]
    await collection(TaskDocument).insert_many(good)
    return kept


async def all_pages(ada: Account, query: str, limit: int = 100) -> list[dict[str, Any]]:
    """All of a list, by its cursors; fails when they do not come to an end."""
    found: list[dict[str, Any]] = []
    cursor = ""
    for _ in range(2000):
        answer = await ada.get(f"/tasks?limit={limit}&{query}{cursor}")
        assert answer.status_code == 200, answer.text
        found += answer.json()
        if "x-next-cursor" not in answer.headers:
            return found
        cursor = f"&cursor={answer.headers['x-next-cursor']}"
    raise AssertionError("the list does not end")


def by_id(tasks: list[Any]) -> dict[str, Any]:
    """The tasks without their owner: a list says who asks, the rest what is stored, which may be an odd name."""
    return {task["id"]: {name: value for name, value in task.items() if name != "owner"} for task in tasks}


def strict(text: str) -> Any:
    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


async def test_every_list_and_export_goes_on(ada: Account, app: FastAPI) -> None:
    kept = await spoil(ada, [*FIELDS, *HISTORY, *OTHERS])
    assert len(kept) > 1000
    is_task = schema(app, "TaskRead")
    listed: list[Any] = []
    for offset in range(0, len(kept) + 3, 100):
        answer = await ada.get(f"/tasks?limit=100&offset={offset}")
        assert answer.status_code == 200, answer.text
        listed += strict(answer.text)
    assert {task["id"] for task in listed} >= {str(each["_id"]) for each in kept}
    for task in listed:
        is_task.validate(task)
    assert sum(task["title"].startswith("Good") for task in listed) == 3

    lines = (await ada.get("/tasks/export?format=jsonl")).text.splitlines()
    exported = [strict(line) for line in lines]
    assert by_id(exported) == by_id(listed)
    rows = list(csv.DictReader(io.StringIO((await ada.get("/tasks/export?format=csv")).text, newline="")))
    assert {row["id"] for row in rows} == {task["id"] for task in listed}
    assert {strict(row["metadata"] or "{}") is not None for row in rows} == {True}

    found = await ada.post("/tasks/search", json={"q": "Sound", "limit": 100})
    assert found.status_code == 200
    is_part = schema(app, "TaskPart")
    names = ",".join(is_task_fields(app))
    for query in (f"fields={names}", "fields=title,checklist.text,owner.username,metadata.a", "fields=checklist.id,version"):
        for offset in range(0, len(kept), 100):
            answer = await ada.get(f"/tasks?limit=100&offset={offset}&{query}")
            assert answer.status_code == 200, answer.text
            for task in strict(answer.text):
                is_part.validate(task)
                wanted = {name.split(".")[0] for name in query.removeprefix("fields=").split(",")}
                assert task.keys() == wanted


def is_task_fields(app: FastAPI) -> list[str]:
    return list(app.openapi()["components"]["schemas"]["TaskRead"]["properties"])


async def test_each_damaged_task_can_be_read_alone(ada: Account, app: FastAPI) -> None:
    kept = await spoil(ada, [*FIELDS, *HISTORY, *OTHERS], SOME)
    listed = by_id([strict(line) for line in (await ada.get("/tasks/export")).text.splitlines()])
    is_task, is_summary, is_entry = (schema(app, name) for name in ("TaskRead", "TaskSummary", "HistoryEntry"))
    for each in kept:
        path = f"/tasks/{each['_id']}"
        whole = await ada.get(path)
        assert whole.status_code == 200, each["note"]
        assert by_id([whole.json()]).items() <= listed.items(), each["note"]
        is_task.validate(strict(whole.text))
        assert whole.headers["etag"] == f'"{whole.json()["version"]}"'
        summary = await ada.get(f"{path}/summary")
        assert summary.status_code == 200, each["note"]
        is_summary.validate(strict(summary.text))
        history = await ada.get(f"{path}/history")
        assert history.status_code == 200, each["note"]
        for entry in strict(history.text):
            is_entry.validate(entry)
        for query in ("version=1", "as_of=2999-01-01T00:00:00Z&fields=title,checklist.text"):
            past = await ada.get(f"{path}?{query}")
            assert past.status_code in (200, 404, 410), (each["note"], query, past.text)


GOOD: dict[str, Any] = {
    "title": "Mended",
    "description": "mended",
    "status": "done",
    "priority": 4,
    "due_date": "2027-02-01",
    "tags": ["mended"],
    "links": ["https://mended.example/"],
    "checklist": [{"text": "mended"}],
}


async def in_bulk(ada: Account, operations: list[BSON], atomic: str = "false") -> list[BSON]:
    answer = await ada.post(f"/tasks/bulk?atomic={atomic}", json={"operations": operations})
    assert answer.status_code == 200, answer.text
    return list(answer.json())


async def test_a_change_mends_what_it_sets_whatever_else_is_damaged(ada: Account, app: FastAPI) -> None:
    """But for a list of times, beside which MongoDB's index takes no list of tags."""
    kept = await spoil(ada, [*FIELDS, *HISTORY, *OTHERS])
    is_task = schema(app, "TaskRead")
    for start in range(0, len(kept), 1000):
        some = kept[start : start + 1000]
        results = await in_bulk(ada, [{"op": "update", "id": str(each["_id"]), "changes": GOOD} for each in some])
        for each, result in zip(some, results, strict=True):
            if isinstance(each.get("created_at"), list):
                assert (result["status"], result["error"]["error"]) == (409, "damaged_task"), each["note"]
                continue
            assert result["status"] == 200, (each["note"], result)
            assert result["version"] >= 2 or isinstance(each["version"], int), each["note"]
    for line in (await ada.get("/tasks/export")).text.splitlines():
        is_task.validate(strict(line))
    stored = {each["_id"]: each async for each in collection(TaskDocument).find({"title": "Mended"})}
    assert len(stored) > 1000
    for each in stored.values():
        assert isinstance(each["version"], int), each["note"]
        assert each["history"][-1]["version"] == each["version"], each["note"]
        assert (each["progress"], each["completed"], each["status"]) == (0.0, True, "done"), each["note"]
        assert "before" not in each
        assert [item["text"] for item in each["checklist"]] == ["mended"]


async def test_deleting_always_works_and_so_does_restoring(ada: Account, app: FastAPI) -> None:
    kept = await spoil(ada, ["version", "owner.username", "tags", "created_at", "history", "before", "trash"])
    for start in range(0, len(kept), 1000):
        some = kept[start : start + 1000]
        results = await in_bulk(ada, [{"op": "delete", "id": str(each["_id"])} for each in some])
        assert [(each["note"], it) for each, it in zip(some, results, strict=True) if it["status"] != 204] == []
    is_trashed = schema(app, "TrashedTask")
    trashed: list[BSON] = []
    for offset in range(0, len(kept), 100):
        answer = await ada.get(f"/trash?limit=100&offset={offset}")
        assert answer.status_code == 200, answer.text
        trashed += strict(answer.text)
    assert {each["id"] for each in trashed} == {str(each["_id"]) for each in kept}
    for task in trashed:
        is_trashed.validate(task)
    for each in kept[::10]:
        restored = await ada.post(f"/tasks/{each['_id']}/restore")
        assert restored.status_code == 200, (each["note"], restored.text)
        assert (await ada.post(f"/tasks/{each['_id']}/restore")).status_code in (200, 404)
    for each in kept[1::10]:
        assert (await ada.delete(f"/trash/{each['_id']}")).status_code == 204


async def test_every_way_to_change_one_answers_clearly(ada: Account) -> None:
    kept = await spoil(
        ada, ["version", "history", "checklist", "checklist.id", "metadata", "status", "created_at", "owner.username"], SOME
    )
    for each in kept:
        path = f"/tasks/{each['_id']}"
        version = (await ada.get(path)).headers["etag"]
        item = (
            str(each["checklist"][0].get("id"))
            if isinstance(each.get("checklist"), list) and each["checklist"] and isinstance(each["checklist"][0], dict)
            else "x"
        )
        answers = [
            await ada.patch(path, json={"priority": 3}, headers={"If-Match": version}),
            await ada.patch(path, json={"priority": 4}, headers={"If-Match": version}),
            await ada.put(path, json={"metadata": {"b": 2}}),
            await ada.patch(
                path,
                json=[{"op": "add", "path": "/tags/-", "value": "z"}],
                headers={"Content-Type": "application/json-patch+json"},
            ),
            await ada.post(f"{path}/checklist", json={"text": "more"}),
            await ada.patch(f"{path}/checklist/{item}", json={"done": True, "before": None}),
            await ada.delete(f"{path}/checklist/{item}"),
            await ada.post(f"{path}/revert", json={"version": 1}),
        ]
        codes = [answer.status_code for answer in answers]
        assert codes[:3] == [200, 412, 200], (each["note"], [answer.text for answer in answers[:3]])
        assert set(codes[3:]) <= {200, 201, 404, 409, 410, 422}, (each["note"], codes)
        assert (await ada.delete(path, headers={"If-Match": (await ada.get(path)).headers["etag"]})).status_code == 204
