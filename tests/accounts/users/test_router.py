"""Accounts: making one, reading it, changing it."""

import asyncio
from typing import Any

import httpx
import pytest

from taskapi.accounts.users.documents import UserDocument
from taskapi.db.shapes import validate
from tests.accounts.users.renamer import follow_due
from tests.client import PASSWORD, Account, is_problem, make_account, sign_in, stored_task, stored_user, wrong_fields
from tests.stored import collection

VALID = {"username": "ada", "password": PASSWORD, "email": " Ada@Example.com\t", "full_name": " Ada Lovelace "}


async def test_register_stores_the_account_and_returns_no_secret(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.post("/register", json=VALID)
    assert answer.status_code == 201
    user = answer.json()
    assert answer.headers["location"] == "/users/me"
    account = {"id", "username", "full_name", "disabled", "role", "two_factor", "created_at", "updated_at"}
    assert set(user) == account | {"email", "email_verified", "pending_email"}
    assert (user["username"], user["email"], user["full_name"], user["disabled"]) == (
        "ada",
        "Ada@example.com",
        "Ada Lovelace",
        False,
    )
    kept = await stored_user(user["id"])
    assert kept["email"] == user["email"]
    assert kept["password_hash"].startswith("$argon2id$")
    assert (kept["username_key"], kept["email_key"]) == ("ada", "ada@example.com")
    assert PASSWORD not in str(kept)
    assert validate(UserDocument, kept).username == "ada"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"username": "ab"}, ["username"]),
        ({"username": "x" * 51}, ["username"]),
        ({"username": "a b"}, ["username"]),
        ({"username": "ada\n"}, ["username"]),
        ({"username": "\u0430da"}, ["username"]),  # a Cyrillic letter that looks like a Latin one
        ({"username": None}, ["username"]),
        ({"password": "hunter2"}, ["password"]),
        ({"password": "x" * 129}, ["password"]),
        ({"password": "a\x00bcdefgh"}, ["password"]),
        ({"password": 12345678}, ["password"]),
        ({"email": "nobody"}, ["email"]),
        ({"email": "a;b@example.com"}, ["email"]),
        ({"email": "Ada <ada@example.com>"}, ["email"]),
        ({"email": 7}, ["email"]),
        ({"email": f"{'x' * 250}@example.com"}, ["email"]),
        ({"full_name": "x" * 101}, ["full_name"]),
        ({"full_name": "\u3164\u200b"}, ["full_name"]),
        ({"full_name": "Ada\x1b"}, ["full_name"]),
        ({"disabled": False}, ["disabled"]),
        ({"role": "admin"}, ["role"]),
        ({"id": "65f1a2b3c4d5e6f708192a3b", "username": "ab"}, ["username", "id"]),
    ],
)
async def test_register_names_wrong_fields_and_never_echoes_them(
    anonymous: httpx.AsyncClient, fields: dict[str, Any], expected: list[str]
) -> None:
    answer = await anonymous.post("/register", json={**VALID, **fields})
    assert list(wrong_fields(answer)) == expected
    if isinstance(fields.get("password"), str):
        assert fields["password"] not in answer.text
    assert await collection(UserDocument).count_documents({}) == 0


async def test_characters_of_usernames_are_said_in_words(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.post("/register", json={**VALID, "username": "ada lovelace"})
    assert answer.json()["details"] == [
        {
            "field": "username",
            "message": "must contain only letters from A to Z, digits, full stops, hyphens and underscores",
            "type": "string_pattern_mismatch",
        }
    ]


@pytest.mark.parametrize(
    ("password", "kind"),
    [
        ("Iloveyou", "password_is_common"),
        ("ADA@example.COM", "password_is_name"),
        ("lovelace", "password_is_name"),
        ("ada lovelace", "password_is_name"),
    ],
)
async def test_easily_guessed_password_is_refused(anonymous: httpx.AsyncClient, password: str, kind: str) -> None:
    body = {**VALID, "username": "Lovelace", "password": password}
    answer = await anonymous.post("/register", json=body)
    assert wrong_fields(answer) == {"password": kind}
    assert password not in answer.text
    assert await collection(UserDocument).count_documents({}) == 0


@pytest.mark.real  # mongomock does not say which index refused
@pytest.mark.parametrize(
    ("fields", "code", "detail"),
    [
        ({"username": "ADA", "email": None}, "username_taken", "Username already registered"),
        ({"username": "other", "email": "ADA@EXAMPLE.COM"}, "email_taken", "Email already registered"),
    ],
)
async def test_names_and_addresses_are_unique_in_any_case(
    anonymous: httpx.AsyncClient, fields: dict[str, Any], code: str, detail: str
) -> None:
    assert (await anonymous.post("/register", json=VALID)).status_code == 201
    is_problem(await anonymous.post("/register", json={**VALID, **fields}), 400, code, detail)
    assert await collection(UserDocument).count_documents({}) == 1


@pytest.mark.parametrize("same", ["username", "email"])
async def test_when_many_race_for_one_name_one_wins(anonymous: httpx.AsyncClient, same: str) -> None:
    bodies = [
        {"username": f"user{n}", "email": f"u{n}@example.com", "password": PASSWORD} | {same: VALID[same]} for n in range(20)
    ]
    answers = await asyncio.gather(*(anonymous.post("/register", json=body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201] + [400] * 19
    assert await collection(UserDocument).count_documents({}) == 1


async def test_many_accounts_without_an_address(anonymous: httpx.AsyncClient) -> None:
    for n in range(3):
        assert (await anonymous.post("/register", json={"username": f"user{n}", "password": PASSWORD})).status_code == 201


async def test_me_needs_a_token(anonymous: httpx.AsyncClient) -> None:
    is_problem(await anonymous.get("/users/me"), 401, "not_authenticated")
    is_problem(await anonymous.patch("/users/me", json={}), 401, "not_authenticated")


async def test_me_is_the_caller(ada: Account, bob: Account) -> None:
    assert (await ada.get("/users/me")).json()["username"] == "ada"
    assert (await bob.get("/users/me")).json()["id"] == bob.id


async def test_change_email_and_name(ada: Account) -> None:
    answer = await ada.patch("/users/me", json={"email": "new@example.com", "full_name": "Ada"})
    assert answer.status_code == 200
    assert (answer.json()["email"], answer.json()["full_name"]) == ("new@example.com", "Ada")
    assert (await stored_user(ada.id))["email_key"] == "new@example.com"
    cleared = await ada.patch("/users/me", json={"email": None, "full_name": None})
    assert (cleared.json()["email"], cleared.json()["full_name"]) == (None, None)
    kept = await stored_user(ada.id)
    assert "email_key" not in kept
    assert kept["updated_at"] >= kept["created_at"]
    assert (await ada.patch("/users/me", json={})).json() == cleared.json()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"username": "x"}, {"username": "string_too_short"}),
        ({"username": None}, {"username": "string_type"}),
        ({"password": "long enough"}, {"": "password_pair"}),
        ({"current_password": "long enough"}, {"": "password_pair"}),
        ({"password": "long enough", "current_password": "a\x00b"}, {"current_password": "string_nul"}),
        ({"password": None, "current_password": PASSWORD}, {"password": "string_type"}),
        ({"disabled": True}, {"disabled": "extra_forbidden"}),
        ({"created_at": "2027-01-01T00:00:00Z"}, {"created_at": "extra_forbidden"}),
    ],
)
async def test_a_wrong_change_is_refused_by_name(ada: Account, fields: dict[str, Any], expected: dict[str, str]) -> None:
    before = await stored_user(ada.id)
    assert wrong_fields(await ada.patch("/users/me", json=fields)) == expected
    assert await stored_user(ada.id) == before


@pytest.mark.real  # mongomock does not say which index refused
async def test_somebody_elses_address_cannot_be_taken(ada: Account, anonymous: httpx.AsyncClient) -> None:
    await make_account(anonymous, "carol", email="carol@example.com")
    is_problem(await ada.patch("/users/me", json={"email": "CAROL@example.com"}), 400, "email_taken")
    assert (await stored_user(ada.id))["email"] is None


async def test_password_changes_only_with_the_current_one(ada: Account, anonymous: httpx.AsyncClient) -> None:
    new = "another good password"
    wrong = await ada.patch("/users/me", json={"password": new, "current_password": "not it at all"})
    is_problem(wrong, 400, "wrong_password", "Current password is incorrect")
    assert (await sign_in(anonymous, "ada")).status_code == 200
    assert (await ada.patch("/users/me", json={"password": new, "current_password": PASSWORD})).status_code == 200
    is_problem(await sign_in(anonymous, "ada"), 401, "bad_credentials")
    assert (await sign_in(anonymous, "ada", new)).status_code == 200


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"password": "Password123"}, "password_is_common"),
        ({"password": "old.name@example.com"}, "password_is_name"),
        ({"password": "New.Name", "username": "new.name"}, "password_is_name"),
        ({"password": "New.Name", "email": "new.name@example.com"}, "password_is_name"),
        ({"password": "Augusta King", "full_name": "Augusta King"}, "password_is_name"),
    ],
)
async def test_nor_can_one_be_changed_to(anonymous: httpx.AsyncClient, fields: dict[str, str], kind: str) -> None:
    carol = await make_account(anonymous, "carol", email="old.name@example.com")
    before = await stored_user(carol.id)
    answer = await carol.patch("/users/me", json={**fields, "current_password": PASSWORD})
    assert wrong_fields(answer) == {"password": kind}
    assert fields["password"] not in answer.text
    assert await stored_user(carol.id) == before


async def test_of_two_password_changes_at_once_one_wins(ada: Account) -> None:
    changes = [{"password": f"another password {n}", "current_password": PASSWORD} for n in range(4)]
    answers = await asyncio.gather(*(ada.patch("/users/me", json=change) for change in changes))
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]


@pytest.mark.real
@pytest.mark.usefixtures("copies_wait")
async def test_a_new_user_name_follows_into_the_tasks(ada: Account, bob: Account, anonymous: httpx.AsyncClient) -> None:
    task, other = await ada.make_task(), await bob.make_task()
    answer = await ada.patch("/users/me", json={"username": "Countess"})
    assert (answer.status_code, answer.json()["username"]) == (200, "Countess")
    await follow_due()
    kept = await stored_task(task["id"])
    assert (kept["owner"]["username"], kept["version"]) == ("Countess", 1)
    assert (await stored_task(other["id"]))["owner"]["username"] == "bob"
    assert (await ada.get(f"/tasks/{task['id']}")).json()["owner"] == {"id": ada.id, "username": "Countess"}
    assert (await sign_in(anonymous, "countess")).status_code == 200
    is_problem(await sign_in(anonymous, "ada"), 401, "bad_credentials")


@pytest.mark.real
async def test_a_taken_user_name_changes_nothing(ada: Account, bob: Account) -> None:
    task = await ada.make_task()
    is_problem(await ada.patch("/users/me", json={"username": "BOB", "full_name": "x"}), 400, "username_taken")
    assert (await stored_user(ada.id))["full_name"] is None
    assert (await stored_task(task["id"]))["owner"]["username"] == "ada"


@pytest.mark.real
async def test_tasks_created_during_a_rename_get_its_name(ada: Account) -> None:
    renames = [ada.patch("/users/me", json={"username": f"ada{n}"}) for n in range(3)]
    creations = [ada.post("/tasks", json={"title": f"Task {n}"}) for n in range(30)]
    answers = await asyncio.gather(*creations[:15], *renames, *creations[15:])
    assert {answer.status_code for answer in answers} <= {200, 201}
    name = (await ada.get("/users/me")).json()["username"]
    tasks = (await ada.get("/tasks?limit=100")).json()
    assert len(tasks) == 30
    assert {task["owner"]["username"] for task in tasks} == {name}
