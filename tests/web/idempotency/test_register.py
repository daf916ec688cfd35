"""Registering under a key: nobody is known yet, so the key belongs to the caller's address."""

import httpx
import pytest
from fastapi import FastAPI

from taskapi.accounts.users.documents import UserDocument
from tests.client import PASSWORD, is_problem, make_account, sign_in, stored_user
from tests.stored import collection
from tests.web.idempotency.records import KEY, KEYED, forget_answer, records, the_record

BODY = {"username": "ada", "password": PASSWORD, "email": "ada@example.com"}
REPLAY = "idempotent-replay"


async def register(client: httpx.AsyncClient, **changes: str) -> httpx.Response:
    return await client.post("/register", json={**BODY, **changes}, headers=KEYED)


async def test_a_repeat_gets_the_account_again(anonymous: httpx.AsyncClient) -> None:
    first, again = [await register(anonymous) for _ in range(2)]
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert (again.headers[REPLAY], again.headers["location"]) == ("true", "/users/me")
    assert await collection(UserDocument).count_documents({}) == 1
    record = await the_record()
    assert record["_id"] == {"scope": "address:127.0.0.1", "key": KEY}
    assert PASSWORD not in str(record)


async def test_crash_after_the_write_creates_no_second_account(anonymous: httpx.AsyncClient) -> None:
    first = await register(anonymous)
    await forget_answer()
    again = await register(anonymous)
    assert (again.status_code, again.json(), REPLAY in again.headers) == (201, first.json(), False)
    assert await collection(UserDocument).count_documents({}) == 1
    assert (await stored_user(first.json()["id"]))["username"] == "ada"
    assert (await sign_in(anonymous, "ada")).status_code == 200


@pytest.mark.parametrize("changes", [{"username": "ADA", "email": "b@example.com"}, {"username": "bob"}], ids=str)
async def test_a_name_that_somebody_else_has_stays_taken(anonymous: httpx.AsyncClient, changes: dict[str, str]) -> None:
    await make_account(anonymous, "ada", email="ada@example.com")
    code = "email_taken" if changes == {"username": "bob"} else "username_taken"
    first = await register(anonymous, **changes)
    is_problem(first, 400, code)
    await forget_answer()
    is_problem(await register(anonymous, **changes), 400, code)
    assert (await register(anonymous, **changes)).headers[REPLAY] == "true"


async def test_another_body_is_refused(anonymous: httpx.AsyncClient) -> None:
    await register(anonymous)
    is_problem(await register(anonymous, password="another password"), 422, "idempotency_key_reused")


async def test_another_address_gets_no_replay(app: FastAPI, anonymous: httpx.AsyncClient) -> None:
    await register(anonymous)
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://taskapi") as elsewhere:
        answer = await register(elsewhere)
    is_problem(answer, 400, "username_taken")
    assert REPLAY not in answer.headers
    assert await records() == 2
