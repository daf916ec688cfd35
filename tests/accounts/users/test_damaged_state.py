"""Damage in what the service itself keeps in an account: whoever owns it still signs in and out, and is renamed."""

import asyncio
from datetime import timedelta

import pytest
from bson import ObjectId

from taskapi.accounts.security.documents import ThrottleDocument
from taskapi.accounts.users.documents import UserDocument
from taskapi.core.clock import utc_now
from tests.accounts.users.leavers import is_due, leave, remove
from tests.accounts.users.renamer import follow_due
from tests.client import PASSWORD, Account, make_admin, signed_in, stored_task, stored_user
from tests.damage import BSON, ODD, set_at
from tests.stored import collection

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("moderate", "made_anew", "copies_wait")]

PATHS = ["sessions", "renames", "renaming", "renaming.due_at", "renaming.renamed_at", "renaming.leased_until", "renaming.holder"]
KINDS = ["missing", "null", "long", "nan", "true", "text", "list", "mixed list", "object", "odd keys", "object id", "late time"]


async def put(account: Account, document: BSON) -> None:
    await collection(UserDocument).replace_one({"_id": ObjectId(account.id)}, document)


async def sound(account: Account) -> BSON:
    """The account in the midst of a renaming, which is nobody's."""
    now = utc_now()
    renaming = {"renamed_at": now, "due_at": now, "leased_until": now - timedelta(days=1), "holder": ObjectId()}
    return {**await stored_user(account.id), "renames": 1, "renaming": renaming}


@pytest.mark.parametrize("path", PATHS)
async def test_owner_can_sign_in_rename_and_sign_out(ada: Account, path: str) -> None:
    admin = await make_admin(ada.client, "root")
    task = await ada.make_task()
    before = await sound(ada)
    for kind in KINDS:
        await collection(ThrottleDocument).delete_many({})
        await put(ada, set_at(before, path, ODD[kind]))
        for route in ("/users/me", "/users/me/sessions", "/users/me/tokens", f"/tasks/{task['id']}"):
            assert (await ada.get(route)).status_code in (200, 401), (kind, route)
        session = await signed_in(ada.client, ada)
        tag = (await session.get(f"/tasks/{task['id']}")).headers["etag"]
        renamed = await session.patch("/users/me", json={"username": "countess"})
        assert renamed.status_code == 200, (kind, renamed.text)
        shown = await session.get(f"/tasks/{task['id']}", headers={"If-None-Match": tag})
        assert shown.status_code == 200 or kind == "nan", kind  # one more of it is the same
        assert (await session.get("/users/me/sessions")).status_code == 200, kind
        form = {"grant_type": "refresh_token", "refresh_token": session.refresh_token}
        assert (await session.client.post("/token", data=form)).status_code == 200, kind
        assert (await session.post("/logout")).status_code == 204, kind
        assert (await session.get("/users/me")).status_code == 401, kind
        assert (await admin.delete(f"/users/{ada.id}/sessions")).status_code == 204, kind
        assert (await stored_user(ada.id))["sessions"] == []


@pytest.mark.parametrize("kind", KINDS)
async def test_any_list_of_sessions_can_be_ended(ada: Account, kind: str) -> None:
    before = await stored_user(ada.id)
    own = before["sessions"][0]
    for listed in (ODD[kind], own if kind == "missing" else [own, ODD[kind]]):
        for method, path, body in (
            ("POST", "/logout", None),
            ("POST", "/logout/all", None),
            ("DELETE", f"/users/me/sessions/{own}", None),
            ("POST", "/users/me/tokens", {"name": "one", "scopes": ["tasks:read"]}),
            ("PATCH", "/users/me", {"password": "another long one", "current_password": PASSWORD}),
        ):
            await collection(ThrottleDocument).delete_many({})
            await put(ada, set_at(before, "sessions", listed))
            answer = await ada.call(method, path, json=body)
            assert answer.status_code in (200, 201, 204, 401), (method, path, answer.text)
        await put(ada, before)


@pytest.mark.parametrize("username", ["missing", "null", "integer", "mixed list", "object"])
async def test_name_copies_stay_when_the_account_has_none(ada: Account, username: str) -> None:
    task = await ada.make_task()
    before = await sound(ada)
    await put(ada, set_at(before, "username", ODD[username]))
    await follow_due()
    assert (await stored_task(task["id"]))["owner"]["username"] == "ada"
    assert "renaming" not in await stored_user(ada.id)


async def test_damaged_account_blocks_no_jobs_of_other_accounts(ada: Account, bob: Account) -> None:
    task = await bob.make_task()
    odd = [{"due_at": utc_now() - timedelta(days=1)}]
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"renaming": odd, "leaving": odd}})
    await bob.patch("/users/me", json={"username": "robert"})
    await follow_due()
    assert (await stored_task(task["id"]))["owner"]["username"] == "robert"
    assert (await leave(bob)).status_code == 202
    await is_due(bob)
    await remove()
    assert await collection(UserDocument).find_one({"_id": ObjectId(bob.id)}) is None
    assert await stored_user(ada.id)


async def test_token_stored_without_its_list_is_ignored(ada: Account, bob: Account) -> None:
    texts = []
    for account in (ada, bob):
        made = await account.post("/users/me/tokens", json={"name": "one", "scopes": ["tasks:read"]})
        texts.append(made.json()["token"])
    token = (await stored_user(ada.id))["api_tokens"][0]
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"api_tokens": token}})
    both = [{"Authorization": f"Bearer {text}"} for text in texts] * 3
    answers = await asyncio.gather(*(ada.client.get("/tasks", headers=headers) for headers in both))
    assert [answer.status_code for answer in answers] == [401, 200] * 3
    assert (await ada.client.get("/tasks", headers=both[0])).status_code == 401
    assert (await ada.post(f"/users/me/tokens/{token['id']}/rotate")).status_code == 404
    assert (await ada.delete(f"/users/me/tokens/{token['id']}")).status_code == 404
    assert (await ada.client.post("/revoke", data={"token": texts[0]})).status_code == 200
