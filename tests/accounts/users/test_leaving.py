"""Leaving: what it does at once, and the way back."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from bson import ObjectId

from taskapi.accounts.sessions.documents import SessionDocument
from taskapi.accounts.users.documents import UserDocument
from taskapi.audit.documents import SecurityEventDocument
from taskapi.core.clock import utc_now
from tests.accounts.users.leavers import leave, remove
from tests.client import PASSWORD, Account, is_problem, sign_in, stored_user, wrong_fields
from tests.stored import collection

DAY = timedelta(days=1)


async def events(account: Account) -> list[tuple[str, str]]:
    found = collection(SecurityEventDocument).find({"user": ObjectId(account.id)}, sort=[("_id", 1)])
    return [(event["kind"], event["outcome"]) async for event in found]


async def test_deletion_makes_the_account_unusable_at_once(ada: Account, anonymous: httpx.AsyncClient) -> None:
    other = (await sign_in(anonymous, "ada")).json()
    answer = await leave(ada)
    assert answer.status_code == 202
    user = await stored_user(ada.id)
    assert user["sessions"] == []
    assert user["leaving"]["due_at"] - user["leaving"]["requested_at"] == 14 * DAY
    assert set(answer.json()) == {"requested_at", "due_at"}
    for token in (ada.token, other["access_token"]):
        is_problem(await anonymous.get("/users/me", headers={"Authorization": f"Bearer {token}"}), 401, "invalid_token")
    is_problem(await leave(ada), 401, "invalid_token")
    for token in (ada.refresh_token, other["refresh_token"]):
        refused = await anonymous.post("/token", data={"grant_type": "refresh_token", "refresh_token": token})
        is_problem(refused, 400, "invalid_grant")
    assert await collection(SessionDocument).count_documents({}) == 0
    assert (await events(ada))[-1] == ("account_deletion_requested", "success")
    taken = await anonymous.post("/register", json={"username": "ADA", "password": PASSWORD})
    assert taken.status_code == 400


async def test_account_being_deleted_is_refused_despite_listed_session(ada: Account) -> None:
    """The state decides, and not only the list that was emptied with it."""
    soon = {"leaving": {"requested_at": utc_now(), "due_at": utc_now() + DAY}}
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": soon})
    is_problem(await ada.get("/tasks"), 401, "invalid_token")
    refused = await ada.client.post("/token", data={"grant_type": "refresh_token", "refresh_token": ada.refresh_token})
    is_problem(refused, 400, "invalid_grant")


async def test_signing_in_is_the_way_back(ada: Account, anonymous: httpx.AsyncClient) -> None:
    task = await ada.make_task()
    await leave(ada)
    is_problem(await sign_in(anonymous, "ada", "wrong password"), 401, "bad_credentials")
    assert "leaving" in await stored_user(ada.id)
    token = (await sign_in(anonymous, "ada")).json()["access_token"]
    user = await stored_user(ada.id)
    assert "leaving" not in user
    assert len(user["sessions"]) == 1
    headers = {"Authorization": f"Bearer {token}"}
    assert (await anonymous.get(f"/tasks/{task['id']}", headers=headers)).status_code == 200
    is_problem(await ada.get("/users/me"), 401, "invalid_token")  # what was ended stays so
    assert (await events(ada))[-2:] == [("account_deletion_cancelled", "success"), ("sign_in", "success")]
    await remove()
    assert await stored_user(ada.id) == user
    assert (await sign_in(anonymous, "ada")).status_code == 200
    assert [kind for kind, _ in await events(ada)].count("account_deletion_cancelled") == 1


async def test_a_disabled_account_has_no_way_back(ada: Account, anonymous: httpx.AsyncClient) -> None:
    await leave(ada)
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"disabled": True}})
    is_problem(await sign_in(anonymous, "ada"), 400, "inactive_user")
    assert "leaving" in await stored_user(ada.id)


@pytest.mark.parametrize("password", ["wrong password", "", " ", PASSWORD.upper(), "x" * 128])
async def test_a_wrong_password_lets_nobody_go(ada: Account, password: str) -> None:
    before = await stored_user(ada.id)
    is_problem(await leave(ada, password), 400, "wrong_password")
    assert await stored_user(ada.id) == before
    assert (await ada.get("/users/me")).status_code == 200


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"password": "missing"}),
        ({"password": None}, {"password": "string_type"}),
        ({"password": "x" * 513}, {"password": "string_too_long"}),
        ({"password": "a\x00b"}, {"password": "string_nul"}),
        ({"password": PASSWORD, "now": True}, {"now": "extra_forbidden"}),
    ],
)
async def test_invalid_deletion_request_deletes_nothing(ada: Account, body: Any, fields: dict[str, str]) -> None:
    assert wrong_fields(await ada.delete("/users/me", json=body)) == fields
    assert "leaving" not in await stored_user(ada.id)


async def test_the_password_comes_in_a_body_of_json(ada: Account) -> None:
    is_problem(await ada.delete("/users/me"), 415, "unsupported_media_type")
    is_problem(await ada.delete("/users/me", data={"password": PASSWORD}), 415, "unsupported_media_type")
    is_problem(await ada.delete("/users/me", params={"password": PASSWORD}), 415, "unsupported_media_type")
    assert "leaving" not in await stored_user(ada.id)


async def test_of_two_requests_to_leave_one_is_taken(ada: Account) -> None:
    answers = await asyncio.gather(*(leave(ada) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 401, 401, 401]
    assert [kind for kind, _ in await events(ada)].count("account_deletion_requested") == 1


@pytest.mark.real  # mongomock shares one state among those who race
async def test_deletion_and_password_change_exclude_each_other(ada: Account) -> None:
    change = {"password": "another password 1", "current_password": PASSWORD}
    left, changed = await asyncio.gather(leave(ada), ada.patch("/users/me", json=change))
    assert sorted((left.status_code, changed.status_code)) in ([200, 400], [202, 400], [202, 401])
    assert ("leaving" in await stored_user(ada.id)) == (left.status_code == 202)


async def test_the_last_active_admin_stays(ada: Account, bob: Account) -> None:
    for account in (ada, bob):
        await collection(UserDocument).update_one({"_id": ObjectId(account.id)}, {"$set": {"role": "admin"}})
    assert (await leave(ada)).status_code == 202
    is_problem(await leave(bob), 409, "last_admin")
    assert "leaving" not in await stored_user(bob.id)
    assert (await bob.get("/users/me")).status_code == 200
