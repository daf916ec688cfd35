"""Tasks: anonymous, foreign, invalid, valid, on every route; the answer and the stored document."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from bson import ObjectId

from taskapi.core.clock import in_utc
from taskapi.db.shapes import validate
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, is_problem, stored_task, wrong_fields
from tests.stored import collection

MISSING = "65f1a2b3c4d5e6f708192a3b"
ITEM_CALLS = [
    ("GET", "/tasks/{id}", None),
    ("GET", "/tasks/{id}/summary", None),
    ("GET", "/tasks/{id}/links", None),
    ("PUT", "/tasks/{id}", {"title": "Taken over"}),
    ("PATCH", "/tasks/{id}", {"title": "Taken over"}),
    ("DELETE", "/tasks/{id}", None),
]


@pytest.mark.parametrize(("method", "path", "body"), [("POST", "/tasks", {"title": "abc"}), ("GET", "/tasks", None), *ITEM_CALLS])
async def test_anonymous_is_refused_everywhere(anonymous: httpx.AsyncClient, method: str, path: str, body: Any) -> None:
    answer = await anonymous.request(method, path.format(id=MISSING), json=body)
    is_problem(answer, 401, "not_authenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path", "body"), ITEM_CALLS)
async def test_another_users_task_is_missing(ada: Account, bob: Account, method: str, path: str, body: Any) -> None:
    task = await ada.make_task()
    before = await stored_task(task["id"])
    foreign = await bob.call(method, path.format(id=task["id"]), json=body)
    missing = await bob.call(method, path.format(id=MISSING), json=body)
    assert is_problem(foreign, 404, "not_found") | {"request_id": ""} == is_problem(missing, 404, "not_found") | {
        "request_id": ""
    }
    assert await stored_task(task["id"]) == before


@pytest.mark.parametrize("not_an_id", ["1", "x" * 24, "65f1a2b3c4d5e6f708192a3", "%00", "65f1a2b3c4d5e6f708192a3b0", "🦊", "{}"])
@pytest.mark.parametrize(("method", "path", "body"), ITEM_CALLS)
async def test_what_is_no_id_is_not_found(ada: Account, method: str, path: str, body: Any, not_an_id: str) -> None:
    is_problem(await ada.call(method, path.format(id=not_an_id), json=body), 404, "not_found")


async def test_create_with_defaults(ada: Account) -> None:
    answer = await ada.post("/tasks", json={"title": "  Water the plants "})
    assert answer.status_code == 201
    task = answer.json()
    assert answer.headers["location"] == f"/tasks/{task['id']}"
    kept = await stored_task(task["id"])
    assert task == {
        "id": str(kept["_id"]),
        "title": "Water the plants",
        "description": "",
        "status": "todo",
        "completed": False,
        "completed_at": None,
        "priority": 1,
        "due_date": None,
        "start_date": None,
        "estimate_minutes": None,
        "tags": [],
        "links": [],
        "checklist": [],
        "progress": 0.0,
        "metadata": {},
        "key": None,
        "owner": {"id": ada.id, "username": "ada"},
        "created_at": kept["created_at"].isoformat(timespec="milliseconds") + "Z",
        "updated_at": task["created_at"],
        "version": 1,
    }
    assert kept["created_at"] == kept["updated_at"]
    assert (kept["owner"]["username"], validate(TaskDocument, kept).title) == ("ada", "Water the plants")


async def test_create_with_everything(ada: Account) -> None:
    body: dict[str, Any] = {
        "title": "Écrire 🦊",
        "description": "$set: {not an operator}",
        "status": "done",
        "completed": True,
        "priority": 5,
        "due_date": "2027-02-28",
        "tags": ["Work", " work ", "ÉTÉ"],
        "links": ["https://example.com", "http://example.org/a?b=c"],
    }
    task = await ada.make_task(**body)
    kept = await stored_task(task["id"])
    assert in_utc(kept["due_date"]) == datetime(2027, 2, 28, tzinfo=UTC)
    assert task["due_date"] == "2027-02-28"
    assert task["tags"] == kept["tags"] == ["work", "été"]
    assert task["links"] == kept["links"] == ["https://example.com/", "http://example.org/a?b=c"]
    assert task["completed"] is True
    assert kept["completed_at"] == kept["created_at"]
    assert (await ada.get(f"/tasks/{task['id']}")).json() == task


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"title": "ab"}, "title"),
        ({"title": "  ab  "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": None}, "title"),
        ({"title": 7}, "title"),
        ({"title": "a\x00bc"}, "title"),
        ({"title": "abc\ud800"}, "title"),
        ({"description": "x" * 2001}, "description"),
        ({"description": "\x00"}, "description"),
        ({"status": "doing"}, "status"),
        ({"status": "todo", "completed": True}, "completed"),
        ({"status": "done", "completed": False}, "completed"),
        ({"completed": "yes"}, "completed"),
        ({"completed": 1}, "completed"),
        ({"priority": 0}, "priority"),
        ({"priority": 6}, "priority"),
        ({"priority": "3"}, "priority"),
        ({"priority": True}, "priority"),
        ({"priority": 2.0}, "priority"),
        ({"priority": 10**30}, "priority"),
        ({"due_date": "31.01.2027"}, "due_date"),
        ({"due_date": "2027-02-30"}, "due_date"),
        ({"due_date": "0000-01-01"}, "due_date"),
        ({"due_date": "2027-01-31T00:00:00Z"}, "due_date"),
        ({"due_date": 1}, "due_date"),
        ({"tags": "work"}, "tags"),
        ({"tags": [""]}, "tags.0"),
        ({"tags": ["x" * 41]}, "tags.0"),
        ({"tags": ["ok", "İ" * 40]}, "tags.1"),
        ({"tags": ["\x00"]}, "tags.0"),
        ({"tags": ["t"] * 21}, "tags"),
        ({"links": ["ftp://example.com"]}, "links.0"),
        ({"links": ["javascript:alert(1)"]}, "links.0"),
        ({"links": ["http://user:pass@example.com/"]}, "links.0"),
        ({"links": ["http://"]}, "links.0"),
        ({"links": ["http://example.com/" + "x" * 2048]}, "links.0"),
        ({"links": [f"http://example.com/{n}" for n in range(11)]}, "links"),
        ({"id": MISSING}, "id"),
        ({"_id": MISSING}, "_id"),
        ({"owner": {"id": MISSING}}, "owner"),
        ({"created_at": "2027-01-01T00:00:00Z"}, "created_at"),
        ({"completed_at": None}, "completed_at"),
        ({"version": 1}, "version"),
        ({"$where": "1"}, "$where"),
        ({"tags\ud800": []}, ""),  # no name that could be repeated
    ],
)
async def test_invalid_values_are_refused_by_name(ada: Account, fields: dict[str, Any], field: str) -> None:
    content = _json({"title": "A title", **fields})
    json_header = {"content-type": "application/json"}
    assert list(wrong_fields(await ada.post("/tasks", content=content, headers=json_header))) == [field]
    assert await collection(TaskDocument).count_documents({}) == 0
    task = await ada.make_task()
    for verb in ("PUT", "PATCH"):
        if verb == "PUT" and field in task and fields.get(field) == task[field]:
            continue  # it may come as it was read
        changed = await ada.call(verb, f"/tasks/{task['id']}", content=_json(fields), headers=json_header)
        assert list(wrong_fields(changed)) == [field]
    assert (await ada.get(f"/tasks/{task['id']}")).json() == task


async def test_a_missing_title_is_named(ada: Account) -> None:
    assert wrong_fields(await ada.post("/tasks", json={})) == {"title": "missing"}


@pytest.mark.parametrize("verb", ["PUT", "PATCH"])
async def test_only_the_fields_sent_change(ada: Account, verb: str) -> None:
    task = await ada.make_task(description="kept", priority=4, due_date="2027-01-31", tags=["a"], links=["http://a.example/"])
    answer = await ada.call(verb, f"/tasks/{task['id']}", json={"title": "$title"})
    assert answer.status_code == 200
    changed = answer.json()
    assert changed == {**task, "title": "$title", "version": 2, "updated_at": changed["updated_at"]}
    kept = await stored_task(task["id"])
    assert (kept["title"], kept["version"], kept["description"]) == ("$title", 2, "kept")
    assert changed["updated_at"] >= task["updated_at"]


@pytest.mark.parametrize("verb", ["PUT", "PATCH"])
async def test_null_empties_what_can_be_empty(ada: Account, verb: str) -> None:
    task = await ada.make_task(description="x", due_date="2027-01-31", tags=["a"], links=["http://a.example/"])
    empty: dict[str, Any] = {"description": "", "due_date": None, "tags": [], "links": []}
    answer = await ada.call(verb, f"/tasks/{task['id']}", json=dict.fromkeys(empty))
    assert {name: answer.json()[name] for name in empty} == empty
    kept = await stored_task(task["id"])
    assert {name: kept[name] for name in empty} == empty
    for name in ("title", "status", "completed", "priority"):
        assert list(wrong_fields(await ada.call(verb, f"/tasks/{task['id']}", json={name: None}))) == [name]


async def test_an_empty_change_writes_nothing(ada: Account) -> None:
    task = await ada.make_task()
    answer = await ada.patch(f"/tasks/{task['id']}", json={})
    assert (answer.status_code, answer.json()) == (200, task)
    assert (await stored_task(task["id"]))["version"] == 1


async def test_completion_and_status_follow_each_other(ada: Account) -> None:
    path = f"/tasks/{(await ada.make_task())['id']}"

    async def change(**fields: Any) -> tuple[str, bool, str | None]:
        task = (await ada.patch(path, json=fields)).json()
        kept = await stored_task(task["id"])
        assert (kept["status"], kept["completed"], kept["completed_at"] is None) == (
            task["status"],
            task["completed"],
            task["completed_at"] is None,
        )
        return task["status"], task["completed"], task["completed_at"]

    assert await change(completed=False) == ("todo", False, None)
    assert await change(status="in_progress") == ("in_progress", False, None)
    assert await change(completed=False) == ("in_progress", False, None)
    status, completed, first = await change(completed=True)
    assert (status, completed) == ("done", True)
    assert first is not None
    assert await change(status="done") == ("done", True, first)
    assert await change(title="Renamed") == ("done", True, first)
    assert await change(completed=False) == ("todo", False, None)
    assert (await change(status="done", completed=True))[:2] == ("done", True)
    assert await change(status="todo") == ("todo", False, None)


@pytest.mark.real
async def test_parallel_changes_all_count(ada: Account) -> None:
    path = f"/tasks/{(await ada.make_task())['id']}"
    answers = await asyncio.gather(*(ada.patch(path, json={"priority": 1 + n % 5}) for n in range(40)))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.json()["version"] for answer in answers) == list(range(2, 42))


async def test_delete_takes_it_out_of_every_read(ada: Account) -> None:
    task = await ada.make_task()
    answer = await ada.delete(f"/tasks/{task['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-type" not in answer.headers
    kept = await stored_task(task["id"])
    assert "owner" not in kept
    assert kept["trash"]["owner"]["id"] == ObjectId(ada.id)
    for method, path, body in ITEM_CALLS:
        is_problem(await ada.call(method, path.format(id=task["id"]), json=body), 404, "not_found")
    assert (await ada.get("/tasks")).json() == []
    assert await stored_task(task["id"]) == kept


async def test_change_does_not_revive_a_deleted_task(ada: Account) -> None:
    task = await ada.make_task()
    await ada.delete(f"/tasks/{task['id']}")
    before = await stored_task(task["id"])
    is_problem(await ada.patch(f"/tasks/{task['id']}", json={"title": "Back again"}), 404, "not_found")
    assert await stored_task(task["id"]) == before


@pytest.mark.parametrize(
    ("due", "status", "overdue"),
    [("2020-01-01", "todo", True), ("2020-01-01", "done", False), ("2999-01-01", "todo", False), (None, "todo", False)],
)
async def test_summary(ada: Account, due: str | None, status: str, overdue: bool) -> None:
    task = await ada.make_task(due_date=due, status=status)
    old = datetime(2026, 1, 1, tzinfo=UTC)
    await collection(TaskDocument).update_one({}, {"$set": {"created_at": old}})
    answer = await ada.get(f"/tasks/{task['id']}/summary")
    assert answer.json() == {
        "id": task["id"],
        "title": "A task",
        "status": status,
        "due_date": due,
        "overdue": overdue,
        "age_days": (datetime.now(UTC) - old).days,
    }


async def test_a_task_due_today_is_not_overdue(ada: Account) -> None:
    today = datetime.now(UTC).date().isoformat()
    task = await ada.make_task(due_date=today)
    assert (await ada.get(f"/tasks/{task['id']}/summary")).json()["overdue"] is False
    assert (await ada.get("/tasks?overdue=true")).json() == []


async def test_trailing_slashes_are_the_same_address(ada: Account) -> None:
    created = await ada.post("/tasks/", json={"title": "With a slash"})
    assert created.status_code == 201
    path = f"/tasks/{created.json()['id']}/"
    assert (await ada.get(path)).json() == created.json()
    assert (await ada.get("/tasks/?limit=1")).json() == [created.json()]
    assert (await ada.get(f"{path}summary/")).status_code == 200
    assert (await ada.delete(path)).status_code == 204


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
