"""API tokens: making, rotating and revoking them."""

import asyncio
import hashlib
import io
import json
import zipfile
from datetime import timedelta
from typing import Any

import httpx
import pytest
from bson import ObjectId

from taskapi.accounts.api_tokens.schemas import ApiTokenCreate
from taskapi.accounts.api_tokens.service import ApiTokenService
from taskapi.accounts.users.documents import UserDocument
from taskapi.accounts.users.schemas import UserRead
from taskapi.core.clock import in_utc, utc_now
from taskapi.core.errors import InvalidToken
from taskapi.db.shapes import validate
from tests.accounts.api_tokens.calls import PATH, change, events, make, use
from tests.client import PASSWORD, Account, is_problem, make_account, signed_in, stored_user, wrong_fields
from tests.conftest import another
from tests.mailbox import Mailbox
from tests.stored import audit_log, collection, service

READ = {"id", "name", "scopes", "created_at", "expires_at", "last_used_at"}


async def test_token_is_shown_once_and_stored_hashed(ada: Account) -> None:
    made = await make(ada, " Nightly report ", "tasks:write", "tasks:read", "tasks:write")
    assert set(made) == READ | {"token"}
    assert (made["name"], made["scopes"], made["last_used_at"]) == ("Nightly report", ["tasks:read", "tasks:write"], None)
    user = await stored_user(ada.id)
    (kept,) = user["api_tokens"]
    assert kept["hash"] == hashlib.sha256(made["token"].encode()).digest()
    assert kept["expires_at"] - kept["created_at"] == timedelta(days=90)
    assert made["token"] not in str(user)
    assert validate(UserDocument, user).api_tokens[0].name == "Nightly report"
    answer = await ada.get(PATH)
    assert [set(token) for token in answer.json()] == [READ]
    assert made["token"] not in answer.text
    assert await events(ada) == [("token_created", {"name": "Nightly report", "scopes": "tasks:read tasks:write"})]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": ""}, ["name"]),
        ({"name": "  "}, ["name"]),
        ({"name": "x" * 101}, ["name"]),
        ({"name": "a\x00b"}, ["name"]),
        ({"name": "\u200b"}, ["name"]),
        ({"name": "a\x1bb"}, ["name"]),
        ({"name": None}, ["name"]),
        ({"scopes": []}, ["scopes"]),
        ({"scopes": ["account"] * 5}, ["scopes"]),
        ({"scopes": ["everything"]}, ["scopes.0"]),
        ({"scopes": "tasks:read"}, ["scopes"]),
        ({"expires_in_days": 0}, ["expires_in_days"]),
        ({"expires_in_days": 366}, ["expires_in_days"]),
        ({"expires_in_days": 1.5}, ["expires_in_days"]),
        ({"expires_in_days": "7"}, ["expires_in_days"]),
        ({"expires_in_days": None}, ["expires_in_days"]),
        ({"hash": "x"}, ["hash"]),
    ],
)
async def test_a_wrong_token_is_refused_by_name(ada: Account, fields: dict[str, Any], expected: list[str]) -> None:
    answer = await ada.post(PATH, json={"name": "report", "scopes": ["tasks:read"], **fields})
    assert list(wrong_fields(answer)) == expected
    assert "api_tokens" not in await stored_user(ada.id)


async def test_nobody_gives_what_they_do_not_hold(ada: Account, anonymous: httpx.AsyncClient) -> None:
    is_problem(await ada.post(PATH, json={"name": "x", "scopes": ["tasks:read", "admin"]}), 400, "invalid_scope")
    form = {"username": "ada", "password": PASSWORD, "scope": "account"}
    narrow = {"Authorization": f"Bearer {(await anonymous.post('/token', data=form)).json()['access_token']}"}
    answer = await anonymous.post(PATH, headers=narrow, json={"name": "x", "scopes": ["account", "tasks:read"]})
    is_problem(answer, 400, "invalid_scope", "Your session does not have these scopes: tasks:read.")
    wide = await make(ada)
    is_problem(await anonymous.post(f"{PATH}/{wide['id']}/rotate", headers=narrow), 400, "invalid_scope")
    assert (await use(ada, wide)).status_code == 200


async def test_names_are_unique_in_any_case(ada: Account, bob: Account) -> None:
    first = await make(ada, "Straße")
    is_problem(await ada.post(PATH, json={"name": "STRASSE", "scopes": ["account"]}), 400, "token_name_taken")
    await make(bob, "Straße")
    assert (await ada.delete(f"{PATH}/{first['id']}")).status_code == 204
    await make(ada, "STRASSE")


@pytest.mark.parametrize("kept", ["caf\u00e9", "cafe\u0301"], ids=ascii)
async def test_names_are_unique_in_any_form(ada: Account, kept: str) -> None:
    """Version 1.2 kept names as they were sent."""
    assert (await make(ada, "Cafe\u0301"))["name"] == "Caf\u00e9"
    await collection(UserDocument).update_one({}, {"$set": {"api_tokens.0.name_key": kept}})
    for name in ("Caf\u00e9", "CAFE\u0301"):
        is_problem(await ada.post(PATH, json={"name": name, "scopes": ["account"]}), 400, "token_name_taken")


@pytest.mark.real
async def test_when_many_race_for_one_name_one_wins(ada: Account) -> None:
    answers = await asyncio.gather(*(ada.post(PATH, json={"name": "same", "scopes": ["account"]}) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201] + [400] * 9
    assert len((await stored_user(ada.id))["api_tokens"]) == 1


@pytest.mark.real
async def test_token_51_is_refused_even_in_a_race(ada: Account) -> None:
    for number in range(45):
        await make(ada, f"token {number}")
    bodies = [{"name": f"more {number}", "scopes": ["account"]} for number in range(10)]
    answers = await asyncio.gather(*(ada.post(PATH, json=body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [409] * 5
    is_problem(await ada.post(PATH, json=bodies[0]), 409, "too_many_tokens")
    listed = (await ada.get(PATH)).json()
    assert (len(listed), listed[-1]["name"]) == (50, "token 0")


@pytest.mark.real
async def test_rotation_kills_the_old_secret_and_keeps_expiry(ada: Account) -> None:
    old = await make(ada, "report", expires_in_days=7)
    await use(ada, old)
    await change(ada, {"$set": {"api_tokens.0.expires_at": utc_now() - timedelta(days=1)}})
    answer = await ada.post(f"{PATH}/{old['id']}/rotate")
    assert answer.status_code == 200
    new = answer.json()
    assert set(new) == READ | {"token"}
    assert {name: new[name] for name in ("id", "name", "scopes", "created_at")} == {
        name: old[name] for name in ("id", "name", "scopes", "created_at")
    }
    is_problem(await use(ada, old), 401, "invalid_token")
    assert (await use(ada, new)).status_code == 200
    (kept,) = (await stored_user(ada.id))["api_tokens"]
    assert timedelta(days=6, hours=23) < in_utc(kept["expires_at"]) - utc_now() <= timedelta(days=7)
    assert [kind for kind, _ in await events(ada)] == ["token_created", "token_rotated"]


@pytest.mark.real
async def test_any_session_rotates_exactly_the_named_token(ada: Account) -> None:
    """Both stand in lists of the account: the place of the one says nothing of the other."""
    made = [await make(ada, f"token {number}") for number in range(4)]
    later = [await signed_in(ada.client, ada) for _ in range(3)]
    for number, session in zip((2, 0, 3, 1), (ada, *later), strict=True):
        answer = await session.post(f"{PATH}/{made[number]['id']}/rotate")
        assert answer.status_code == 200
        assert (await use(ada, made[number])).status_code == 401
        made[number] = answer.json()
        assert [(await use(ada, each)).status_code for each in made] == [200] * 4


@pytest.mark.real
async def test_of_rotations_at_once_one_secret_is_left(ada: Account) -> None:
    old = await make(ada)
    answers = await asyncio.gather(*(ada.post(f"{PATH}/{old['id']}/rotate") for _ in range(5)))
    statuses = [(await use(ada, answer.json())).status_code for answer in answers]
    assert sorted(statuses) == [200, 401, 401, 401, 401]


async def test_every_worker_refuses_a_deleted_token_at_once(ada: Account, is_mock: bool) -> None:
    made, other = await make(ada), await make(ada, "other")
    if not is_mock:
        async with another() as second:
            headers = {"Authorization": f"Bearer {made['token']}"}
            assert (await second.get("/tasks", headers=headers)).status_code == 200
            assert (await ada.delete(f"{PATH}/{made['id']}")).status_code == 204
            is_problem(await second.get("/tasks", headers=headers), 401, "invalid_token")
    else:
        assert (await ada.delete(f"{PATH}/{made['id']}")).status_code == 204
    is_problem(await use(ada, made), 401, "invalid_token")
    is_problem(await ada.delete(f"{PATH}/{made['id']}"), 404, "not_found", "Token not found")
    is_problem(await ada.post(f"{PATH}/{made['id']}/rotate"), 404, "not_found", "Token not found")
    assert [token["id"] for token in (await ada.get(PATH)).json()] == [other["id"]]
    assert (await events(ada))[-1] == ("token_revoked", {"name": "report", "scopes": "tasks:read"})


async def test_somebody_elses_token_is_a_missing_token(ada: Account, bob: Account) -> None:
    made = await make(ada)
    for token_id in (made["id"], "65f1a2b3c4d5e6f708192a3b", "nonsense"):
        is_problem(await bob.delete(f"{PATH}/{token_id}"), 404, "not_found")
        is_problem(await bob.post(f"{PATH}/{token_id}/rotate"), 404, "not_found")
    assert (await bob.get(PATH)).json() == []
    assert (await use(ada, made)).status_code == 200


async def test_api_token_lists_and_revokes_but_cannot_create(ada: Account) -> None:
    made = await make(ada, "keeper", "account")
    is_problem(await use(ada, made, "POST", PATH, json={"name": "x", "scopes": ["account"]}), 403, "session_required")
    is_problem(await use(ada, made, "POST", f"{PATH}/{made['id']}/rotate"), 403, "session_required")
    for path in ("/logout", "/logout/all"):
        is_problem(await use(ada, made, "POST", path), 403, "session_required")
    assert len((await use(ada, made, path=PATH)).json()) == 1
    sessions = (await use(ada, made, path="/users/me/sessions")).json()
    assert [session["current"] for session in sessions] == [False]
    assert (await use(ada, made, "DELETE", f"{PATH}/{made['id']}")).status_code == 204
    is_problem(await use(ada, made, path=PATH), 401, "invalid_token")


async def test_managing_tokens_needs_the_account_scope(ada: Account) -> None:
    made = await make(ada, "tasks", "tasks:read", "tasks:write")
    answers = [
        await use(ada, made, "GET", PATH),
        await use(ada, made, "POST", PATH, json={"name": "x", "scopes": ["account"]}),
        await use(ada, made, "POST", f"{PATH}/{made['id']}/rotate"),
        await use(ada, made, "DELETE", f"{PATH}/{made['id']}"),
    ]
    for answer in answers:
        is_problem(answer, 403, "insufficient_scope")


@pytest.mark.real
async def test_export_lists_tokens_without_secrets(ada: Account) -> None:
    made = await make(ada)
    with zipfile.ZipFile(io.BytesIO((await ada.get("/users/me/export")).content)) as archive:
        lines = archive.read("tokens.jsonl")
    assert json.loads(lines) == {name: made[name] for name in READ}
    assert made["token"].encode() not in lines


@pytest.mark.parametrize("verified", [False, True])
async def test_first_reset_of_an_unverified_account_ends_tokens(
    anonymous: httpx.AsyncClient, mailbox: Mailbox, verified: bool
) -> None:
    """Or whoever registers with somebody else's address keeps a way into the account that its reader takes over."""
    address = "ada@example.com"
    ada = await make_account(anonymous, "ada", email=address)
    made = await make(ada)
    await change(ada, {"$set": {"email_verified": verified}})
    await anonymous.post("/password/forgot", json={"email": address})
    body = {"token": await mailbox.token(address, "Reset"), "password": "a staple of batteries"}
    assert (await anonymous.post("/password/reset", json=body)).status_code == 204
    assert (await use(ada, made)).status_code == (200 if verified else 401)
    assert len((await stored_user(ada.id))["api_tokens"]) == verified


async def test_request_of_an_ended_session_creates_no_token(ada: Account) -> None:
    """Or whoever was signed out would keep a way in."""
    kept = await make(ada)
    user = UserRead.model_validate(before := await stored_user(ada.id))
    (session,) = before["sessions"]
    held = frozenset(kept["scopes"])
    assert (await ada.post("/logout/all")).status_code == 204
    with pytest.raises(InvalidToken):
        await service(ApiTokenService).create(
            user, session, held, ApiTokenCreate(name="another", scopes=["tasks:read"]), audit_log()
        )
    with pytest.raises(InvalidToken):
        await service(ApiTokenService).rotate(user, session, held, ObjectId(kept["id"]), audit_log())
    assert (await stored_user(ada.id))["api_tokens"] == before["api_tokens"]
