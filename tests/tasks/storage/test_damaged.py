"""A damaged task breaks no answer: every route shows what is readable of it, and the log names it."""

import csv
import io
import logging
from typing import Any

import pytest
from bson import ObjectId
from fastapi import FastAPI

from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, is_problem
from tests.damage import ODD, schema
from tests.stored import collection
from tests.tasks.spoiled import (
    FIELDS,
    HISTORY,
    OTHERS,
    SOME,
    TYPE_ALONE,
    all_pages,
    by_id,
    fields_of_a_task,
    sound_task,
    spoil,
    strict,
)

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("moderate", "made_anew")]


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
    names = ",".join(fields_of_a_task(app))
    for query in (f"fields={names}", "fields=title,checklist.text,owner.username,metadata.a", "fields=checklist.id,version"):
        for offset in range(0, len(kept), 100):
            answer = await ada.get(f"/tasks?limit=100&offset={offset}&{query}")
            assert answer.status_code == 200, answer.text
            for task in strict(answer.text):
                is_part.validate(task)
                wanted = {name.split(".")[0] for name in query.removeprefix("fields=").split(",")}
                assert task.keys() == wanted


@pytest.mark.parametrize("missing", ["title", "checklist.id"])
async def test_missing_field_beside_invalid_one_is_shown(ada: Account, missing: str) -> None:
    """What is missing must not hide what else is wrong; an object of the wrong type has no members."""
    name = missing.partition(".")[0]
    kept = {**await sound_task(ada), "priority": "high", "metadata": 5, name: "none"}
    if name == missing:
        del kept[name]
    await collection(TaskDocument).insert_one(kept)
    for path in ("/tasks?", f"/tasks/{kept['_id']}?"):
        answer = await ada.get(f"{path}fields={missing},priority,metadata,due_date")
        assert answer.status_code == 200, answer.text
        (task,) = strict(answer.text) if path == "/tasks?" else [strict(answer.text)]
        assert task.pop(name) in ("", [])
        assert task == {"priority": 1, "metadata": {}, "due_date": "2027-01-31"}


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


@pytest.mark.parametrize("field", ["title", "priority", "due_date", "created_at", "updated_at"])
async def test_pages_by_cursor_end_with_every_sound_task(ada: Account, field: str) -> None:
    """None twice. Lists may be left out, and upwards what sorts behind the right type."""
    kept = await spoil(ada, [field], [kind for kind in ODD if kind != "broken text"])
    sound = {str(each["_id"]) async for each in collection(TaskDocument).find({"note": {"$exists": False}}, {"_id": 1})}
    lower = {kind for kind in ODD if kind not in (*TYPE_ALONE, "list", "mixed list", "lowest")}
    for sort, limit in ((field, 1), (f"-{field}", 1), (f"{field},{'priority' if field == 'title' else 'title'}", 3)):
        found = [task["id"] for task in await all_pages(ada, f"sort={sort}&fields=id", limit)]
        assert len(found) == len(set(found)), sort
        assert set(found) >= sound, sort
        if sort.startswith("-"):
            assert set(found) >= {str(each["_id"]) for each in kept if each["note"].split(": ")[1] in lower}, sort


async def test_log_names_each_damaged_task_once_without_values(ada: Account, caplog: pytest.LogCaptureFixture) -> None:
    sound = await sound_task(ada)
    odd = {"title": ["a secret"], "priority": "a secret", "checklist": [{"text": "a secret"}]}
    documents = [{**sound, **odd, "_id": ObjectId(), "key": f"k{number}"} for number in range(12)]
    await collection(TaskDocument).insert_many(documents)
    with caplog.at_level(logging.WARNING, "taskapi.db.damaged"):
        assert (await ada.get(f"/tasks/{documents[0]['_id']}/history")).status_code == 200
        (record,) = caplog.records
        named = {"collection": "tasks", "document": str(documents[0]["_id"]), "damaged": "title,priority,checklist"}
        assert record.__dict__["fields"] == named
        caplog.clear()
        assert len((await ada.get("/tasks")).json()) == 12
    assert [record.message for record in caplog.records] == ["damaged document"] * 10 + ["more damaged documents"]
    assert caplog.records[-1].__dict__["fields"] == {"documents": 12, "named": 10}
    assert "a secret" not in caplog.text + str([record.__dict__ for record in caplog.records])


async def test_damaged_values_are_shown_as_valid_substitutes(ada: Account) -> None:
    sound = await sound_task(ada)
    odd = {
        "title": 2027,
        "description": None,
        "status": "DONE",
        "completed": "perhaps",
        "completed_at": ODD["late time"],
        "priority": 3.0,
        "due_date": sound["created_at"],
        "tags": "work",
        "links": ["https://example.com/", 5, None],
        "checklist": [{"text": "no id"}, "no item", {"id": sound["checklist"][0]["id"], "text": 5, "done": True}],
        "progress": float("nan"),
        "metadata": {"id": sound["_id"], "at": sound["created_at"], "nan": float("nan"), "n": ODD["decimal"], "b": b"x"},
        "created_at": "yesterday",
        "updated_at": "2026-11-25T19:00:00+05:00",
        "version": "2",
    }
    task_id = ObjectId("65f1a2b3c4d5e6f708192a3b")
    await collection(TaskDocument).insert_one({**sound, **odd, "_id": task_id})
    task = (await ada.get(f"/tasks/{task_id}")).json()
    stand_in = task["checklist"][0].pop("id")
    assert ObjectId.is_valid(stand_in)
    moment = sound["created_at"].isoformat(timespec="milliseconds") + "Z"
    assert task == {
        "id": str(task_id),
        "title": "2027",
        "description": "",
        "status": "todo",
        "completed": False,
        "completed_at": None,
        "priority": 3,
        "due_date": moment[:10],
        "start_date": "2027-01-11",
        "estimate_minutes": 90,
        "tags": ["work"],
        "links": ["https://example.com/", "5"],
        "checklist": [{"text": "no id", "done": False}, {"id": str(sound["checklist"][0]["id"]), "text": "5", "done": True}],
        "progress": 0.0,
        "metadata": {"id": str(sound["_id"]), "at": moment, "nan": None, "n": "2.5", "b": None},
        "key": "k",
        "owner": {"id": ada.id, "username": "ada"},
        "created_at": "2024-03-13T12:57:23.000Z",
        "updated_at": "2026-11-25T14:00:00.000Z",
        "version": 1,
    }
    assert (await ada.get(f"/tasks/{task_id}")).json()["checklist"][0]["id"] == stand_in
    changed = await ada.patch(f"/tasks/{task_id}", json={"title": "Mended"}, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    is_problem(
        await ada.patch(f"/tasks/{task_id}", json={"title": "Lost"}, headers={"If-Match": '"1"'}), 412, "precondition_failed"
    )
    assert (await ada.get(f"/tasks/{task_id}", headers={"If-None-Match": '"2"'})).status_code == 304
