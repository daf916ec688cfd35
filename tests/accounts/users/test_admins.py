"""What admins do with accounts, and the one admin who is always left."""

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
from tests.client import PASSWORD, Account, is_problem, make_account, make_admin, sign_in, signed_in, stored_user, wrong_fields
from tests.stored import collection

ROUNDS = 20
UNKNOWN = "65f1a2b3c4d5e6f708192a3b"
SECRET = {"password_hash", "api_tokens", "authenticator", "last_admin_checks", "username_key"}


@pytest.fixture
async def root(anonymous: httpx.AsyncClient) -> Account:
    return await make_admin(anonymous, "root")


async def names(account: Account, query: str = "") -> list[str]:
    answer = await account.get(f"/users{query}")
    assert answer.status_code == 200, answer.text
    return [user["username"] for user in answer.json()]


async def events_of(user: str) -> list[tuple[str, Any, dict[str, str]]]:
    """What others did to an account: kind, who, and details; the oldest first."""
    found = collection(SecurityEventDocument).find({"user": ObjectId(user), "by": {"$ne": None}}, sort=[("_id", 1)])
    return [(event["kind"], event["by"], event["details"]) async for event in found]


async def active_admins() -> int:
    return await collection(UserDocument).count_documents({"role": "admin", "disabled": False})


async def test_users_are_listed_by_name_in_pages(root: Account) -> None:
    for name in ("Zoe", "adam", "Bea"):
        await make_account(root.client, name)
    assert await names(root) == ["adam", "Bea", "root", "Zoe"]
    answer = await root.get("/users?limit=2&offset=1")
    assert ([user["username"] for user in answer.json()], answer.headers["x-total-count"]) == (["Bea", "root"], "4")
    assert '</users?limit=2&offset=3>; rel="next"' in answer.headers["link"]
    own = (await root.get("/users/me")).json()
    assert answer.json()[1] == {**own, "sessions": 2, "leaves_at": None}
    assert not SECRET & own.keys()
    assert "$argon2" not in answer.text


async def test_accounts_are_found_by_part_of_their_name(root: Account) -> None:
    await make_account(root.client, "ada", email="Countess@Example.com", full_name="Ada Lovelace")
    await make_account(root.client, "bob.b", full_name="Łukasz O'Neill (the 2nd)")
    for q, found in {
        "ADA": ["ada"],
        "lace": ["ada"],
        "countess@": ["ada"],
        "bob.b": ["bob.b"],
        "bobxb": [],
        "łUKASZ": ["bob.b"],
        "(the": ["bob.b"],
        "o": ["ada", "bob.b", "root"],
        ".*": [],
        "^a": [],
        "\\": [],
    }.items():
        answer = await root.get("/users", params={"q": q})
        assert ([user["username"] for user in answer.json()], answer.headers["x-total-count"]) == (found, str(len(found))), q


@pytest.mark.parametrize("kept", ["Zo\u00eb", "Zoe\u0308"], ids=ascii)
async def test_a_name_is_found_in_any_form(root: Account, ada: Account, kept: str) -> None:
    """Version 1.2 kept names as they were sent."""
    assert (await ada.patch("/users/me", json={"full_name": "Zoe\u0308"})).json()["full_name"] == "Zo\u00eb"
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"full_name": kept}})
    for q in ("zo\u00eb", "ZOE\u0308"):
        assert await names(root, f"?q={q}") == ["ada"]


async def test_accounts_are_listed_by_role_and_state(root: Account, ada: Account, bob: Account) -> None:
    await root.patch(f"/users/{bob.id}", json={"disabled": True})
    await collection(UserDocument).update_one(
        {"_id": ObjectId(ada.id)}, {"$unset": {"role": "", "sessions": ""}}
    )  # of version 1.1
    assert await names(root, "?role=admin") == ["root"]
    assert await names(root, "?role=user") == ["ada", "bob"]
    assert await names(root, "?disabled=true") == ["bob"]
    assert await names(root, "?disabled=false&role=user") == ["ada"]
    assert (await root.get(f"/users/{ada.id}")).json()["sessions"] == 0


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?role=king", {"role": "literal_error"}),
        ("?disabled=yes", {"disabled": "bool_parsing"}),
        ("?q=", {"q": "string_too_short"}),
        ("?q=%00", {"q": "string_nul"}),
        ("?name=ada", {"name": "extra_forbidden"}),
    ],
)
async def test_a_wrong_filter_is_named(root: Account, query: str, expected: dict[str, str]) -> None:
    assert wrong_fields(await root.get(f"/users{query}")) == expected


async def test_one_account_is_read_without_secrets(root: Account, ada: Account) -> None:
    user = (await root.get(f"/users/{ada.id}")).json()
    assert user == {**(await ada.get("/users/me")).json(), "sessions": 1, "leaves_at": None}
    await signed_in(ada.client, ada)
    assert (await root.get(f"/users/{ada.id.upper()}")).json()["sessions"] == 2
    leaving = (await ada.delete("/users/me", json={"password": PASSWORD})).json()
    assert (await root.get(f"/users/{ada.id}")).json()["leaves_at"] == leaving["due_at"]


async def test_expired_sessions_are_not_counted(root: Account, ada: Account) -> None:
    last = await signed_in(ada.client, ada)
    listed = (await stored_user(ada.id))["sessions"]
    expired = {"$set": {"expires_at": utc_now() - timedelta(seconds=1)}}
    await collection(SessionDocument).update_one({"_id": listed[0]}, expired)
    assert len((await last.get("/users/me/sessions")).json()) == 1
    (listed_user,) = (await root.get("/users?q=ada")).json()
    read = (await root.get(f"/users/{ada.id}")).json()
    changed = (await root.patch(f"/users/{ada.id}", json={"disabled": False})).json()
    assert (listed_user["sessions"], read["sessions"], changed["sessions"]) == (1, 1, 1)
    assert (await stored_user(ada.id))["sessions"] == listed


@pytest.mark.parametrize("account_id", [UNKNOWN, "nobody", "65f1a2b3"])
async def test_an_unknown_account_is_not_found(root: Account, account_id: str) -> None:
    is_problem(await root.get(f"/users/{account_id}"), 404, "not_found")
    is_problem(await root.patch(f"/users/{account_id}", json={"disabled": True}), 404, "not_found")
    is_problem(await root.patch(f"/users/{account_id}", json={}), 404, "not_found")
    is_problem(await root.delete(f"/users/{account_id}/sessions"), 404, "not_found")
    assert await collection(SecurityEventDocument).count_documents({"by": {"$ne": None}}) == 0


async def test_me_is_no_id(root: Account, ada: Account) -> None:
    for account in (root, ada):
        me = await account.get("/users/me")
        assert "sessions" not in me.json()
        assert me.json()["id"] == account.id
        changed = await account.patch("/users/me", json={"full_name": "Me"})
        assert (changed.status_code, changed.json()["full_name"]) == (200, "Me")
        assert (await account.get("/users/me/sessions")).json()[0]["current"]
        assert wrong_fields(await account.patch("/users/me", json={"role": "admin"})) == {"role": "extra_forbidden"}


async def test_who_is_no_admin_is_refused_everywhere(ada: Account, bob: Account) -> None:
    for answer in (
        await ada.get("/users"),
        await ada.get(f"/users/{bob.id}"),
        await ada.get(f"/users/{ada.id}"),
        await ada.patch(f"/users/{bob.id}", json={"disabled": True}),
        await ada.patch(f"/users/{ada.id}", json={"role": "admin"}),
        await ada.delete(f"/users/{bob.id}/sessions"),
    ):
        is_problem(answer, 403, "insufficient_scope", "Your token lacks the scope admin.")
        assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="admin"'
    assert (await stored_user(bob.id))["disabled"] is False
    assert (await bob.get("/users/me")).status_code == 200


async def test_an_admin_without_the_scope_is_refused_too(root: Account) -> None:
    narrow = await signed_in(root.client, root, scope="account tasks:read")
    is_problem(await narrow.get("/users"), 403, "insufficient_scope")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"role": "king"}, {"role": "literal_error"}),
        ({"role": None}, {"role": "literal_error"}),
        ({"disabled": "true"}, {"disabled": "bool_type"}),
        ({"disabled": 1}, {"disabled": "bool_type"}),
        ({"username": "eve"}, {"username": "extra_forbidden"}),
        ({"password": "a new password"}, {"password": "extra_forbidden"}),
    ],
)
async def test_a_wrong_change_is_refused_by_name(root: Account, ada: Account, body: Any, expected: dict[str, str]) -> None:
    before = await stored_user(ada.id)
    assert wrong_fields(await root.patch(f"/users/{ada.id}", json=body)) == expected
    assert await stored_user(ada.id) == before


async def test_disabling_signs_out_and_enabling_revives_no_session(root: Account, ada: Account) -> None:
    answer = await root.patch(f"/users/{ada.id}", json={"disabled": True})
    assert (answer.status_code, answer.json()["disabled"], answer.json()["sessions"]) == (200, True, 0)
    kept = await stored_user(ada.id)
    assert (kept["disabled"], kept["sessions"]) == (True, [])
    is_problem(await ada.get("/tasks"), 401, "invalid_token")
    is_problem(await sign_in(ada.client, "ada"), 400, "inactive_user")
    refresh = {"grant_type": "refresh_token", "refresh_token": ada.refresh_token}
    is_problem(await ada.client.post("/token", data=refresh), 400, "invalid_grant")

    assert (await root.patch(f"/users/{ada.id}", json={"disabled": False})).json()["disabled"] is False
    is_problem(await ada.get("/tasks"), 401, "invalid_token")
    is_problem(await ada.client.post("/token", data=refresh), 400, "invalid_grant")
    assert (await (await signed_in(ada.client, ada)).get("/tasks")).status_code == 200
    by = ObjectId(root.id)
    assert await events_of(ada.id) == [("account_disabled", by, {}), ("account_enabled", by, {})]


async def test_what_changes_nothing_leaves_no_event(root: Account, ada: Account) -> None:
    before = await stored_user(ada.id)
    for body in ({}, {"disabled": False}, {"role": "user"}):
        assert (await root.patch(f"/users/{ada.id}", json=body)).status_code == 200
    assert await stored_user(ada.id) == before
    assert await events_of(ada.id) == []


async def test_losing_the_admin_role_signs_out(root: Account, ada: Account) -> None:
    is_problem(await ada.get("/users"), 403, "insufficient_scope")
    assert (await root.patch(f"/users/{ada.id}", json={"role": "admin"})).json()["role"] == "admin"
    is_problem(await ada.get("/users"), 403, "insufficient_scope")  # her token was made for a user
    promoted = await signed_in(ada.client, ada)
    assert (await promoted.get("/users")).status_code == 200
    assert (await root.patch(f"/users/{ada.id}", json={"role": "user"})).status_code == 200
    is_problem(await promoted.get("/users"), 401, "invalid_token")
    refresh = {"grant_type": "refresh_token", "refresh_token": promoted.refresh_token}
    is_problem(await ada.client.post("/token", data=refresh), 400, "invalid_grant")
    assert await events_of(ada.id) == [
        ("role_changed", ObjectId(root.id), {"before": "user", "after": "admin"}),
        ("role_changed", ObjectId(root.id), {"before": "admin", "after": "user"}),
    ]


async def test_all_sessions_of_an_account_are_ended(root: Account, ada: Account, bob: Account) -> None:
    second = await signed_in(ada.client, ada)
    assert (await root.delete(f"/users/{ada.id}/sessions")).status_code == 204
    for account in (ada, second):
        is_problem(await account.get("/users/me"), 401, "invalid_token")
    assert (await bob.get("/users/me")).status_code == 200
    assert (await stored_user(ada.id))["sessions"] == []
    assert await events_of(ada.id) == [("sessions_ended", ObjectId(root.id), {})]
    assert (await root.delete(f"/users/{ada.id}/sessions")).status_code == 204  # none is left: that is what was asked for


@pytest.mark.parametrize("change", [{"role": "user"}, {"disabled": True}, {"role": "user", "disabled": True}], ids=str)
async def test_the_last_active_admin_stays(root: Account, ada: Account, change: dict[str, Any]) -> None:
    before = await stored_user(root.id)
    is_problem(await root.patch(f"/users/{root.id}", json=change), 409, "last_admin")
    assert await stored_user(root.id) == before
    await root.patch(f"/users/{ada.id}", json={"role": "admin", "disabled": True})  # an admin who is disabled does not count
    is_problem(await root.patch(f"/users/{root.id}", json=change), 409, "last_admin")
    assert await stored_user(root.id) == before
    assert await events_of(root.id) == []
    assert (await root.get("/users")).status_code == 200
    await root.patch(f"/users/{ada.id}", json={"disabled": False})
    assert (await root.patch(f"/users/{root.id}", json=change)).status_code == 200
    assert await active_admins() == 1


async def test_an_admin_may_stay_what_they_are(root: Account) -> None:
    answer = await root.patch(f"/users/{root.id}", json={"role": "admin", "disabled": False})
    assert (answer.status_code, answer.json()["role"]) == (200, "admin")


@pytest.mark.real
@pytest.mark.parametrize("change", [{"role": "user"}, {"disabled": True}], ids=str)
async def test_two_admins_demoting_each_other_leave_one(root: Account, change: dict[str, Any]) -> None:
    other = await make_admin(root.client, "other")
    for _ in range(ROUNDS):
        answers = await asyncio.gather(
            root.patch(f"/users/{other.id}", json=change), other.patch(f"/users/{root.id}", json=change)
        )
        assert await active_admins() == 1
        # The slower one is told so, or is no admin any more when its turn comes.
        assert {answer.status_code for answer in answers} <= {200, 409, 403, 401}
        assert [answer.status_code for answer in answers].count(200) == 1
        await collection(UserDocument).update_many({}, {"$set": {"role": "admin", "disabled": False}})
        root, other = await signed_in(root.client, root), await signed_in(root.client, other)


@pytest.mark.real
@pytest.mark.parametrize("count", [5, -5, 2**63 - 1, None, "text", 1.5], ids=repr)
async def test_any_stored_count_of_checks_blocks_nothing(root: Account, count: Any) -> None:
    other = await make_admin(root.client, "other")
    await collection(UserDocument).update_one({"_id": ObjectId(other.id)}, {"$set": {"last_admin_checks": count}})
    assert (await root.delete("/users/me", json={"password": PASSWORD})).status_code == 202
    assert (await stored_user(other.id))["last_admin_checks"] == (6 if count == 5 else 1)
    is_problem(await other.patch(f"/users/{other.id}", json={"role": "user"}), 409, "last_admin")


@pytest.mark.real
async def test_one_admin_remains_when_all_resign_at_once(root: Account) -> None:
    admins = [root, *[await make_admin(root.client, f"admin{n}") for n in range(5)]]
    answers = await asyncio.gather(*(admin.patch(f"/users/{admin.id}", json={"role": "user"}) for admin in admins))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [409]
    assert await active_admins() == 1
