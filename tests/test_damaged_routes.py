"""Every route, called beside damaged documents of each collection, on them, and by their owners: none fails."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from beanie import Document
from fastapi import FastAPI
from pymongo.errors import DuplicateKeyError

from taskapi.accounts.recovery.documents import OneTimeTokenDocument
from taskapi.accounts.security.documents import ThrottleDocument
from taskapi.accounts.sessions.documents import SessionDocument
from taskapi.accounts.users.documents import UserDocument
from taskapi.audit.documents import SecurityEventDocument
from taskapi.mail.documents import MailJobDocument
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.web.idempotency.documents import IdempotencyDocument
from tests.client import PASSWORD, stored_task, stored_user
from tests.damage import BSON, ODD, damaged, set_at, store
from tests.isolation import Call, Operation, World, operations
from tests.stored import collection
from tests.tasks.spoiled import FIELDS, HISTORY, OTHERS, as_stored

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("moderate", "made_anew")]

KINDS = ["null", "nan", "mixed list", "late time"]
MARKS = ["changed_at", "status_changes", "status_changes.status", "status_changes.at"]
TRASH = ["trash", "trash.owner", "trash.owner.username", "trash.deleted_at", "trash.expires_at"]
LAST = ["delete_tasks", "sign_out", "sign_out_everywhere", "delete_me"]  # after them, there is nothing to call the others on
STATS = ("summary", "throughput", "burndown", "flow", "lead-time", "tags")
MORE = [  # queries of lists and statistics
    *(f"/stats/{name}?format=csv" for name in STATS),
    *(f"/stats/{name}?by={by}&from=2025-01-01&tz=Australia/Lord_Howe" for name in STATS[1:4] for by in ("week", "month")),
    "/stats/burndown?measure=estimate_minutes",
    "/stats/summary?tag=work&overdue=true&tz=Europe/Berlin",
    "/tasks/export?format=csv",
    "/tasks?sort=-priority,title&limit=100",
    "/tasks?q=sound&fields=title,checklist.text,metadata.a",
    "/tasks?overdue=true&tz=Europe/Berlin",
    '/tasks?where={"metadata.a": {"$gte": 1}, "due_date": {"$lt": "2030-01-01"}}',
]
USED = [
    "sign_in",
    "read_me",
    "list_sessions",
    "list_own_events",
    "list_events",
    "forgot_password",
    "send_verification",
    "create_task",
]
KEPT = [SessionDocument, ThrottleDocument, IdempotencyDocument, OneTimeTokenDocument, MailJobDocument, SecurityEventDocument]


@pytest.fixture(autouse=True)
def no_unexpected_error(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Also none after the head of an answer, or in the background."""
    yield
    assert [record.exc_text or record.message for record in caplog.records if record.exc_info] == []


@pytest.fixture
async def world(anonymous: httpx.AsyncClient) -> World:
    """One whose owner may call everything."""
    made = await World.made(anonymous)
    await made.set_owner({"$set": {"role": "admin"}})
    return made


def in_order(app: FastAPI) -> list[tuple[str, Operation]]:
    """All operations, but for streams that do not end."""
    found = [each for each in operations(app.openapi()).items() if "event-stream" not in str(each[1]["responses"])]
    return sorted(found, key=lambda each: LAST.index(each[0]) if each[0] in LAST else -1)


def is_sound(answer: httpx.Response, *about: Any) -> None:
    assert answer.status_code < 500, (*about, answer.text)


async def planted(world: World, kinds: list[str]) -> list[BSON]:
    """Damaged tasks of the owner, in the trash and out of it, beside a sound one."""
    path = f"/tasks/{world.ids['task_id']}"
    await world.owner.patch(path, json={"status": "in_progress", "links": ["https://example.com/"], "metadata": {"a": 1}})
    await world.owner.patch(path, json={"priority": 2, "checklist": (await world.owner.get(path)).json()["checklist"]})
    sound = {**await stored_task(world.ids["task_id"]), "key": "k"}
    sound["history"].reverse()  # the first is the newest, and gets the odd values
    await world.owner.delete(f"/tasks/{(gone := await world.owner.make_task('Gone'))['id']}")
    deleted = await stored_task(gone["id"])
    active = as_stored([*damaged(sound, [*FIELDS, *HISTORY, *OTHERS, *MARKS], kinds)])
    return await store(TaskDocument, [*active, *damaged(deleted, TRASH, kinds)])


async def test_all_routes_beside_damaged_tasks(app: FastAPI, world: World) -> None:
    await planted(world, [kind for kind in ODD if kind not in ("odd keys", "broken text")])
    token = await world.token()
    headers = {"Authorization": f"Bearer {token}"}
    for path in MORE:
        answer = await world.client.get(path, headers=headers)
        assert answer.status_code == 200, (path, answer.text)
    listed = (await world.client.get("/tasks/export", headers=headers)).text.splitlines()
    assert world.ids["task_id"] in {json.loads(line)["id"] for line in listed}
    for name, operation in in_order(app):
        await world.set_owner({"$set": {"api_tokens": []}})
        is_sound(await (await world.call(operation)).by(world.client, token), name)


async def test_all_routes_on_each_damaged_task(app: FastAPI, world: World) -> None:
    kept = await planted(world, KINDS[1:3])
    token = await world.token()
    for name, operation in in_order(app):
        if "{task_id}" in operation["path"]:
            call = await world.call(operation)
            await collection(TaskDocument).delete_many({"note": {"$exists": True}})
            await store(TaskDocument, kept)
            for each in kept:
                path = operation["path"].format(**{**world.ids, "task_id": each["_id"]})
                answer = await Call(call.method, path, call.options, names_something=True).by(world.client, token)
                is_sound(answer, name, each["note"])


@pytest.mark.parametrize("kind", [*KINDS[:3], "missing"])
async def test_all_routes_of_damaged_accounts(app: FastAPI, world: World, kind: str) -> None:
    token = await world.token()
    sound = await stored_user(world.owner.id)
    calls = dict[str, Call]()
    for called, operation in in_order(app):
        if operation["path"].startswith(("/users", "/token", "/logout", "/stats/summary")) or called in (
            "list_tasks",
            "create_task",
        ):
            await world.set_owner({"$set": {"api_tokens": []}})
            calls[called] = await world.call(operation)
    names = [name for name in UserDocument.model_fields if name not in ("id", "revision_id")]
    for name in names:
        wrong = set_at({"authenticator": None, **sound}, name, ODD[kind])
        for called, call in calls.items():
            if call.method != "GET" or called == "list_tasks":
                await collection(UserDocument).replace_one({"_id": sound["_id"]}, wrong, upsert=True)
            is_sound(await call.by(world.client, token), called, name)
    await collection(UserDocument).replace_one({"_id": sound["_id"]}, sound, upsert=True)
    await collection(ThrottleDocument).delete_many({})
    assert await world.token()


@pytest.mark.parametrize("document", KEPT, ids=lambda document: document.Settings.name)
async def test_routes_that_use_what_is_damaged(app: FastAPI, world: World, document: type[Document]) -> None:
    await world.owner.patch("/users/me", json={"email": "owner@example.com", "current_password": PASSWORD})
    calls = {name: await world.call(operations(app.openapi())[name]) for name in USED}
    calls["create_task"].options["headers"] = {"Idempotency-Key": "one"}
    calls["forgot_password"].options["json"] = {"email": "owner@example.com"}
    wrong_password = {"username": "owner", "password": "a wrong one"}
    token = await world.token()
    for name in [name for name in document.model_fields if name not in ("id", "revision_id")]:
        for kind in KINDS:
            is_sound(await world.client.post("/token", data=wrong_password))
            for called, call in calls.items():
                is_sound(await call.by(world.client, token), called, name, kind)
            for each in await collection(document).find().to_list(None):
                with suppress(DuplicateKeyError):
                    await collection(document).replace_one({"_id": each["_id"]}, set_at(each, name, ODD[kind]))
            refresh = {"grant_type": "refresh_token", "refresh_token": world.owner.refresh_token}
            is_sound(await world.client.post("/token", data=refresh), name, kind)
            for called, call in calls.items():
                is_sound(await call.by(world.client, token), called, name, kind)
            for emptied in (document, ThrottleDocument):
                await collection(emptied).delete_many({})
            token = await world.token()
