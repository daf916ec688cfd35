"""One damaged account, session, token or event spoils no list of them, and no other account's request."""

import asyncio
import json
from typing import Any

import pytest
from bson import ObjectId
from fastapi import FastAPI

from taskapi.accounts.sessions.documents import SessionDocument
from taskapi.accounts.users.documents import UserDocument
from taskapi.audit.documents import SecurityEventDocument
from taskapi.tasks.storage.documents import TaskDocument
from tests.accounts.users.leavers import is_due, leave, remove
from tests.accounts.users.renamer import follow_due
from tests.accounts.users.test_export import exported
from tests.client import Account, is_problem, make_account, make_admin, sign_in, stored_task, stored_user
from tests.damage import BSON, ODD, damaged, schema, set_at, store
from tests.stored import collection
from tests.tasks.spoiled import FIELDS, HISTORY, OTHERS, as_stored

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("moderate", "made_anew")]

USER = ["username", "email", "email_verified", "pending_email", "full_name", "disabled", "role", "sessions", "leaving"]
USER += ["leaving.due_at", "api_tokens", "two_factor", "authenticator", "created_at", "updated_at"]
EVENT = ["at", "kind", "outcome", "by", "address", "agent", "request_id", "details", "details.x"]
SESSION = ["created_at", "last_seen_at", "address", "agent", "scopes", "rotations"]
TOKEN = ["name", "scopes", "created_at", "expires_at", "last_used_at", "days"]


def strict(text: str) -> Any:
    return json.loads(text, parse_constant=pytest.fail)


async def pages(account: Account, path: str, total: int) -> list[Any]:
    found: list[Any] = []
    for offset in range(0, total, 100):
        answer = await account.get(f"{path}?limit=100&offset={offset}")
        assert answer.status_code == 200, answer.text
        found += strict(answer.text)
    return found


async def test_admins_see_all_accounts(ada: Account, app: FastAPI) -> None:
    admin = await make_admin(ada.client, "root")
    sound = {**await stored_user(ada.id), "leaving": {"due_at": None}, "api_tokens": [], "role": "user"}
    documents = [*damaged(sound, USER)]
    for number, each in enumerate(documents):
        each["username_key"] = f"damaged{number}"
    kept = await store(UserDocument, documents)
    assert len(kept) > 500
    shown = schema(app, "UserForAdmin")
    users = await pages(admin, "/users", len(kept) + 2)
    assert {user["id"] for user in users} == {str(each["_id"]) for each in kept} | {ada.id, admin.id}
    for user in users:
        shown.validate(user)
    for each in kept[::20]:
        assert (await admin.get(f"/users/{each['_id']}")).status_code == 200, each["note"]
        changed = await admin.patch(f"/users/{each['_id']}", json={"disabled": True})
        assert changed.status_code == 200, (each["note"], changed.text)


async def test_events_of_one_and_of_all(ada: Account, app: FastAPI) -> None:
    admin = await make_admin(ada.client, "root")
    sound = await collection(SecurityEventDocument).find_one({"user": ObjectId(ada.id)})
    assert sound
    kept = await store(SecurityEventDocument, [*damaged({**sound, "details": {"x": "y"}}, EVENT)])
    shown = schema(app, "SecurityEventRead")
    for account, path in ((ada, "/users/me/events"), (admin, "/events")):
        events = await pages(account, path, len(kept) + 10)
        assert {event["id"] for event in events} >= {str(each["_id"]) for each in kept}
        for event in events:
            shown.validate(event)
    assert len((await exported(ada))["events.jsonl"]) > len(kept)


async def test_sessions_and_tokens(ada: Account, app: FastAPI) -> None:
    sound = await collection(SessionDocument).find_one({"user": ObjectId(ada.id)})
    made = await ada.post("/users/me/tokens", json={"name": "one", "scopes": ["tasks:read"]})
    token = (await stored_user(ada.id))["api_tokens"][0]
    assert sound
    assert made.status_code == 201
    kept = await store(SessionDocument, [*damaged(sound, SESSION)])
    tokens = [
        {**set_at(token, path, ODD[kind]), "id": ObjectId(), "hash": f"{path}{kind}".encode()}
        for path in TOKEN
        for kind in ("missing", "null", "nan", "text", "mixed list", "object", "late time")
    ]
    account = {"sessions": [sound["_id"], *(each["_id"] for each in kept)], "api_tokens": [token, 5, None, *tokens, {}]}
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": account})
    listed = await ada.get("/users/me/sessions")
    assert listed.status_code == 200, listed.text
    assert len(strict(listed.text)) == len(kept) + 1
    for session in strict(listed.text):
        schema(app, "SessionRead").validate(session)
    shown = await ada.get("/users/me/tokens")
    assert shown.status_code == 200, shown.text
    assert len(strict(shown.text)) == len(tokens) + 2
    for each in strict(shown.text):
        schema(app, "ApiTokenRead").validate(each)
    files = await exported(ada)
    assert len(files["sessions.jsonl"]) == len(kept) + 1
    assert len(files["tokens.jsonl"]) == len(tokens) + 2
    for each in tokens[::3]:
        rotated = await ada.post(f"/users/me/tokens/{each['id']}/rotate")
        assert rotated.status_code == 200, rotated.text
        assert (await ada.delete(f"/users/me/tokens/{each['id']}")).status_code == 204
    assert (await ada.get("/tasks", headers={"Authorization": f"Bearer {made.json()['token']}"})).status_code == 200


@pytest.mark.parametrize(
    ("stored", "status"),
    [
        ([5, *[{"name": "x"}] * 49], 201),
        ([{}] * 50, 409),
        ([5], 201),
        ("text", 201),
        ({"name_key": "new"}, 201),
        (None, 201),
        ([{"name_key": ["new"]}], 201),
    ],
)
async def test_a_token_is_made_beside_damaged_ones(ada: Account, stored: Any, status: int) -> None:
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"api_tokens": stored}})
    made = await ada.post("/users/me/tokens", json={"name": "new", "scopes": ["tasks:read"]})
    assert made.status_code == status, made.text


async def test_one_damaged_account_fails_nobody_elses_request(ada: Account, bob: Account) -> None:
    tokens = {}
    for account in (ada, bob):
        made = await account.post("/users/me/tokens", json={"name": "one", "scopes": ["tasks:read"]})
        tokens[account.id] = {"Authorization": f"Bearer {made.json()['token']}"}
    odd: list[tuple[str, Any]] = [
        ("username", 5),
        ("created_at", None),
        ("updated_at", []),
        ("email", {}),
        ("created_at", "x"),
        ("role", []),
        ("sessions", 7),
        ("api_tokens.0.scopes", 1),
    ]
    for name, value in odd:
        before = await stored_user(bob.id)
        await collection(UserDocument).update_one({"_id": ObjectId(bob.id)}, {"$set": {name: value}})
        both = (ada, bob) * 5
        answers = await asyncio.gather(*(each.get("/tasks") for each in both))
        answers += await asyncio.gather(*(each.client.get("/tasks", headers=tokens[each.id]) for each in both))
        codes = [answer.status_code for answer in answers]
        assert set(codes[::2]) == {200}, name
        assert set(codes[1::2]) <= {200, 401}, name
        await collection(UserDocument).replace_one({"_id": ObjectId(bob.id)}, before)


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        b"x",
        ["a"],
        "",
        "text",
        "$argon2id$v=19$m=8",
        "$argon2id$v=19$m=8,t=1,p=1$!$!",
        "$2b$12$short",
        "$2b$99$" + "." * 53,
    ],
)
async def test_no_password_matches_a_damaged_hash(ada: Account, value: Any) -> None:
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"password_hash": value}})
    is_problem(await sign_in(ada.client, "ada"), 401, "bad_credentials")


@pytest.mark.usefixtures("copies_wait")
async def test_owner_of_damaged_tasks_can_rename_and_leave(ada: Account) -> None:
    task = await stored_task((await ada.make_task(checklist=[{"text": "a"}], metadata={"a": 1}))["id"])
    kept = await store(
        TaskDocument,
        as_stored([*damaged({**task, "key": "k"}, [*FIELDS, *HISTORY, *OTHERS], ["missing", "text", "mixed list", "object"])]),
    )
    assert (await ada.patch("/users/me", json={"username": "ada2"})).status_code == 200
    await follow_due()
    stored: list[BSON] = [each async for each in collection(TaskDocument).find({"note": {"$exists": True}})]
    assert {each["owner"]["username"] for each in stored} == {"ada2"}
    files = await exported(ada)
    assert len(files["tasks.jsonl"]) == len(kept) + 1
    assert (await ada.delete(f"/tasks/{kept[0]['_id']}")).status_code == 204
    assert len((await exported(ada))["trash.jsonl"]) == 1
    assert (await leave(ada)).status_code in (200, 202)
    await is_due(ada)
    await remove()
    assert await collection(TaskDocument).count_documents({}) == 0
    assert await make_account(ada.client, "ada2")
