"""Tasks that scripts have damaged, and helpers to compare them."""

import json
from typing import Any

from bson import ObjectId
from fastapi import FastAPI

from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, stored_task
from tests.damage import BSON, ODD, damaged, store
from tests.stored import collection

FIELDS = [
    "title", "description", "status", "completed", "completed_at", "priority", "due_date", "start_date", "estimate_minutes",
    "tags", "links", "checklist",
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
        start_date="2027-01-11",
        estimate_minutes=90,
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
    """All tasks of a list, page by page; fails if the cursors do not end."""
    found: list[dict[str, Any]] = []
    cursor = ""
    for _ in range(300):
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


def fields_of_a_task(app: FastAPI) -> list[str]:
    return list(app.openapi()["components"]["schemas"]["TaskRead"]["properties"])


TYPE_ALONE = ["bytes", "uuid", "regex", "code", "code in scope", "object", "odd keys", "deep", "reference"]  # what is compared


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
