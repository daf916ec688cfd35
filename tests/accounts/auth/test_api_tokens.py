"""What a bearer is worth that is an API token."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI

from taskapi.accounts.api_tokens.service import ApiTokenService
from taskapi.accounts.api_tokens.text import hash_of, new_token
from taskapi.accounts.auth.loaders import ApiTokensLastUsed, TokenOwnerLoader
from taskapi.accounts.users.documents import UserDocument
from taskapi.core.clock import in_utc, utc_now
from tests.accounts.api_tokens.calls import PATH, change, events, make, use
from tests.client import Account, is_problem, sign_in, stored_user
from tests.conftest import another
from tests.stored import collection, service


async def test_a_token_does_what_its_scopes_say(ada: Account, bob: Account) -> None:
    await ada.make_task("Hers")
    await bob.make_task("His")
    made = await make(ada)
    assert [task["title"] for task in (await use(ada, made)).json()] == ["Hers"]
    answer = await use(ada, made, "POST", json={"title": "More"})
    is_problem(answer, 403, "insufficient_scope")
    assert 'scope="tasks:write"' in answer.headers["www-authenticate"]
    is_problem(await use(ada, made, path="/users/me"), 403, "insufficient_scope")


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
async def test_scheme_name_is_case_insensitive(ada: Account, scheme: str) -> None:
    made = await make(ada)
    answer = await ada.client.get("/tasks", headers={"Authorization": f"{scheme} {made['token']}"})
    assert answer.status_code == 200


async def test_a_mistyped_token_costs_no_query(app: FastAPI, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    token = (await make(ada))["token"]
    asked: list[bytes] = []

    async def get(key: bytes) -> None:
        asked.append(key)

    monkeypatch.setattr(app.state.services[TokenOwnerLoader], "get", get)
    for wrong in (token[:-1], token[:-1] + ("a" if token[-1] != "a" else "b"), f"{token}0", "tsk_", token.lower()):
        is_problem(await use(ada, {"token": wrong}), 401, "invalid_token")
    assert asked == []
    is_problem(await use(ada, {"token": new_token()}), 401, "invalid_token")
    assert len(asked) == 1


async def test_an_expired_token_is_refused_and_stays_listed(ada: Account) -> None:
    made = await make(ada)
    await change(ada, {"$set": {"api_tokens.0.expires_at": utc_now()}})
    is_problem(await use(ada, made), 401, "invalid_token")
    assert [token["id"] for token in (await ada.get(PATH)).json()] == [made["id"]]


async def test_a_token_ends_with_its_account(ada: Account) -> None:
    made = await make(ada)
    await change(ada, {"$set": {"disabled": True}})
    is_problem(await use(ada, made), 401, "invalid_token")
    await change(ada, {"$set": {"disabled": False}})
    assert (await use(ada, made)).status_code == 200
    await change(ada, {"$set": {"leaving": {"requested_at": utc_now(), "due_at": utc_now() + timedelta(days=14)}}})
    is_problem(await use(ada, made), 401, "invalid_token")
    await change(ada, {"$unset": {"leaving": ""}})
    assert (await use(ada, made)).status_code == 200
    await collection(UserDocument).delete_one({"_id": ObjectId(ada.id)})
    is_problem(await use(ada, made), 401, "invalid_token")


async def test_losing_the_role_loses_its_scope(ada: Account, anonymous: httpx.AsyncClient) -> None:
    await change(ada, {"$set": {"role": "admin"}})
    headers = {"Authorization": f"Bearer {(await sign_in(anonymous, 'ada')).json()['access_token']}"}
    body = {"name": "ops", "scopes": ["admin", "account"]}
    made = (await anonymous.post(PATH, headers=headers, json=body)).json()
    assert made["scopes"] == ["account", "admin"]

    async def scopes() -> set[str]:
        hashed = hash_of(made["token"]) or b""
        return set((await service(ApiTokenService).find_owners([hashed]))[hashed].scopes)

    assert await scopes() == {"account", "admin"}
    await change(ada, {"$set": {"role": "user"}})
    assert await scopes() == {"account"}
    assert (await use(ada, made, path="/users/me")).json()["role"] == "user"
    is_problem(await anonymous.post(f"{PATH}/{made['id']}/rotate", headers=headers), 400, "invalid_scope")


async def test_revoke_takes_an_api_token(ada: Account, anonymous: httpx.AsyncClient) -> None:
    made = await make(ada)
    for token in (new_token(), made["token"], made["token"]):
        assert (await anonymous.post("/revoke", data={"token": token})).status_code == 200
    is_problem(await use(ada, made), 401, "invalid_token")
    assert (await stored_user(ada.id))["api_tokens"] == []
    assert [kind for kind, _ in await events(ada)] == ["token_created", "token_revoked"]
    assert (await ada.get("/users/me")).status_code == 200


@pytest.mark.real
async def test_last_use_is_written_at_most_every_minute(app: FastAPI, ada: Account) -> None:
    made, idle = await make(ada), await make(ada, "idle")

    async def last_used() -> Any:
        await app.state.services[ApiTokensLastUsed].close()
        return [token["last_used_at"] for token in (await stored_user(ada.id))["api_tokens"]]

    assert await last_used() == [None, None]
    await use(ada, made)
    first, unused = await last_used()
    assert (unused, in_utc(first) <= utc_now()) == (None, True)
    async with another() as second:  # a worker that has not noted anything yet
        await second.get("/tasks", headers={"Authorization": f"Bearer {made['token']}"})
    assert await last_used() == [first, None]
    await change(ada, {"$set": {"api_tokens.0.last_used_at": first - timedelta(minutes=2)}})
    async with another() as second:
        await second.get("/tasks", headers={"Authorization": f"Bearer {made['token']}"})
    assert (await last_used())[0] > first
    assert idle["last_used_at"] is None


@pytest.mark.real
async def test_many_tokens_at_once_find_each_its_own(ada: Account, bob: Account) -> None:
    made = [
        await make(account, f"{number}", *scopes) for account in (ada, bob) for number, scopes in enumerate([("account",), ()])
    ]
    answers = await asyncio.gather(*(use(ada, token, path=path) for token in made * 5 for path in ("/users/me", "/tasks")))
    assert [answer.status_code for answer in answers] == [200, 403, 403, 200] * 10
    names = [answer.json()["username"] for answer in answers[::4]]
    assert names == ["ada", "bob"] * 5


async def test_idempotency_key_works_with_an_api_token(ada: Account) -> None:
    made = await make(ada, "writer", "tasks:write")
    headers = {"Idempotency-Key": "one", "Authorization": f"Bearer {made['token']}"}
    answers = [await ada.client.post("/tasks", json={"title": "Once"}, headers=headers) for _ in range(2)]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert answers[1].headers["idempotent-replay"] == "true"


@pytest.mark.real
async def test_a_token_is_found_by_the_index(ada: Account) -> None:
    await make(ada)
    for query in ({"api_tokens.hash": b"x"}, {"api_tokens.hash": {"$in": [b"x", b"y"]}, "disabled": False}):
        plan = await collection(UserDocument).find(query).explain()
        assert "COLLSCAN" not in str(plan["queryPlanner"]["winningPlan"])
        assert "api_token_hash" in str(plan["queryPlanner"]["winningPlan"])
