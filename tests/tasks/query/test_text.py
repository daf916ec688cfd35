# ruff: noqa: RUF001 - letters of other scripts look like Latin ones
"""Texts in tasks: stored in NFC, and refused if they are invisible or contain control characters, on every route."""

import json
import unicodedata
from typing import Any

import httpx
import pytest
from bson import ObjectId

from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, stored_task, wrong_fields
from tests.stored import collection
from tests.tasks.import_export.test_importer import JSONL, jsonl

BLANK = "\u3164\u200b\u2800"
NFD, NFC = "Cafe\u0301", "Caf\u00e9"
PATCH = {"Content-Type": "application/json-patch+json"}
OLD: dict[str, Any] = {
    "title": "\u200b\u200b\u200b",
    "description": "a\x0bb",
    "tags": ["\u2800", "cafe\u0301"],
    "key": "cle\u0301",
}


async def make_old(account: Account) -> str:
    """A task as version 1.2 may have stored it."""
    item = {"id": ObjectId(), "text": BLANK, "done": False}
    task = await account.make_task()
    await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$set": {**OLD, "checklist": [item]}})
    return str(task["id"])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"title": BLANK}, {"title": "string_invisible"}),
        ({"title": f" {BLANK} "}, {"title": "string_invisible"}),
        ({"title": "a\x1b[31mb"}, {"title": "string_control"}),
        ({"title": "\u202e\u202e\u202e"}, {"title": "string_invisible"}),
        ({"description": "bell\x07"}, {"description": "string_control"}),
        ({"description": "next\x85line"}, {"description": "string_control"}),
        ({"description": "\x00"}, {"description": "string_nul"}),
        ({"tags": ["a", "\ufeff"]}, {"tags.1": "string_invisible"}),
        ({"tags": ["a\x7f"]}, {"tags.0": "string_control"}),
        ({"checklist": [{"text": "\u00ad"}]}, {"checklist.0.text": "string_invisible"}),
        ({"checklist": [{"text": "a\x00b"}]}, {"checklist.0.text": "string_nul"}),
        ({"title": "e\u0301" * 2}, {"title": "string_too_short"}),  # two letters
        ({"title": "\u0958" * 101}, {"title": "string_too_long"}),  # of which NFC makes two each
    ],
)
async def test_text_that_cannot_be_seen_is_refused(ada: Account, fields: dict[str, Any], expected: dict[str, str]) -> None:
    answer = await ada.post("/tasks", json={"title": "A task", **fields})
    assert wrong_fields(answer) == expected
    task = await ada.make_task()
    assert wrong_fields(await ada.patch(f"/tasks/{task['id']}", json=fields)) == expected


@pytest.mark.parametrize(
    "text",
    ["👩‍👩‍👧", "🏳️‍🌈", "می\u200cخواهم", "\u200fעברית", "ශ්\u200dරී", "1️⃣", "zalgo" + "\u0300\u0316" * 15, "\ufeffbom", "\u2800a"],
    ids=ascii,
)
async def test_text_of_any_language_and_emoji_are_taken(ada: Account, text: str) -> None:
    text = unicodedata.normalize("NFC", text)
    values: dict[str, Any] = {"title": f"{text} x", "description": f"\t{text}\r\nx", "tags": [text]}
    task = await ada.make_task(**values, checklist=[{"text": text}])
    assert {name: task[name] for name in values} == values
    assert task["checklist"][0]["text"] == text


async def test_text_is_stored_in_nfc_metadata_unchanged(ada: Account) -> None:
    vietnamese = "Ti\u00ea\u0301ng"  # as Windows writes it: in neither form
    task = await ada.make_task(
        f"{NFD} {vietnamese}",
        description=NFD,
        tags=[NFD, NFC.upper(), "J\u030c", "\u01f0"],
        checklist=[{"text": NFD}],
        metadata={NFD: [NFD]},
    )
    assert task["title"] == f"{NFC} Ti\u1ebfng"
    assert task["description"] == task["checklist"][0]["text"] == NFC
    assert task["tags"] == [NFC.lower(), "\u01f0"]
    assert task["metadata"] == {NFD: [NFD]}
    stored = await stored_task(task["id"])
    assert (stored["title"], stored["tags"], stored["metadata"]) == (task["title"], task["tags"], task["metadata"])


async def test_lengths_count_composed_characters(ada: Account) -> None:
    task = await ada.make_task("e\u0301" * 200, description="e\u0301" * 2000, tags=["e\u0301" * 40])
    assert (len(task["title"]), len(task["description"]), len(task["tags"][0])) == (200, 2000, 40)


async def doors(account: Account, text: str) -> dict[str, httpx.Response]:
    """The answers to ``text`` of every request that sets the title of a task or the text of an item."""
    task = await account.make_task(checklist=[{"text": "an item"}])
    at, item = f"/tasks/{task['id']}", task["checklist"][0]["id"]
    operation = {"op": "replace", "path": "/title", "value": text}
    create, update = {"op": "create", "task": {"title": text}}, {"op": "update", "id": task["id"], "changes": {"title": text}}
    return {
        "POST": await account.post("/tasks", json={"title": text}),
        "PATCH": await account.patch(at, json={"title": text}),
        "JSON Patch": await account.patch(at, content=json.dumps([operation]), headers=PATCH),
        "PUT": await account.put(at, json={"title": text}),
        "bulk create": await account.post("/tasks/bulk", json={"operations": [create]}),
        "bulk update": await account.post("/tasks/bulk", json={"operations": [update]}),
        "change of many": await account.patch("/tasks", params={"tag": "none"}, json={"title": text}),
        "new item": await account.post(f"{at}/checklist", json={"text": text}),
        "item": await account.patch(f"{at}/checklist/{item}", json={"text": text}),
        "import": await account.post("/tasks/import", content=jsonl({"title": text}), headers=JSONL),
    }


async def test_every_way_in_keeps_the_same_rules(ada: Account) -> None:
    for door, answer in (await doors(ada, BLANK)).items():
        assert answer.status_code == (200 if door in {"bulk create", "bulk update", "import"} else 422)
        assert answer.text.count('"message":"must contain at least one visible character","type":"string_invisible"') == 1, door
    answers = await doors(ada, NFD)
    assert {door: answer.status_code for door, answer in answers.items() if answer.status_code >= 300} == {}
    found = [task async for task in collection(TaskDocument).find({})]
    written = {text for task in found for text in (task["title"], *(item["text"] for item in task["checklist"]))}
    assert written == {"A task", "an item", NFC}


async def test_old_text_survives_changes_of_other_fields(ada: Account) -> None:
    task_id = await make_old(ada)
    for answer in (
        await ada.patch(f"/tasks/{task_id}", json={"priority": 2}),
        await ada.put(f"/tasks/{task_id}", json={"priority": 3}),
        await ada.patch(
            f"/tasks/{task_id}", content=json.dumps([{"op": "replace", "path": "/priority", "value": 4}]), headers=PATCH
        ),
        await ada.get(f"/tasks/{task_id}"),
    ):
        assert answer.status_code == 200, answer.text
        assert {name: answer.json()[name] for name in OLD} == OLD
    exported = (await ada.get("/tasks/export")).text
    assert {name: json.loads(exported)[name] for name in OLD} == OLD


async def test_revert_to_a_version_with_old_text_works(ada: Account) -> None:
    task_id = await make_old(ada)
    changed = await ada.patch(f"/tasks/{task_id}", json={"title": "Seen", "description": "", "tags": []})
    before = changed.json()["version"] - 1
    answer = await ada.post(f"/tasks/{task_id}/revert", json={"version": before})
    assert answer.status_code == 200, answer.text
    assert {name: answer.json()[name] for name in OLD} == OLD
