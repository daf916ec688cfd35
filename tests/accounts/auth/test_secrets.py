"""Changing the service's secret: whoever is signed in notices nothing while the old one is kept."""

import httpx
import pytest
from jose import jwt
from pydantic import SecretStr

from tests.client import Account, is_problem
from tests.conftest import SECRET, another

pytestmark = pytest.mark.real  # a second application on the same database

NEW = "another-secret-of-the-suite-9876543210"
KEY = {"Idempotency-Key": "made-under-the-old-secret"}
ROTATED = {"secret_key": None, "secret_keys": (SecretStr(NEW), SecretStr(SECRET))}
DROPPED = {"secret_key": SecretStr(NEW)}


def at(client: httpx.AsyncClient, ada: Account, **token: str) -> Account:
    """Ada at another application."""
    return Account(
        client, ada.id, ada.username, token.get("access_token", ada.token), token.get("refresh_token", ada.refresh_token)
    )


async def refresh(account: Account) -> httpx.Response:
    data = {"grant_type": "refresh_token", "refresh_token": account.refresh_token}
    return await account.client.post("/token", data=data)


def key_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


async def test_everything_signed_with_the_old_secret_still_works(ada: Account) -> None:
    made = await ada.post("/tasks", json={"title": "Once"}, headers=KEY)
    page = await ada.post("/tasks", json={"title": "Another"})
    cursor = (await ada.get("/tasks?limit=1")).headers["x-next-cursor"]
    async with another(**ROTATED) as client:
        here = at(client, ada)
        assert (await here.get("/users/me")).status_code == 200
        repeated = await here.post("/tasks", json={"title": "Once"}, headers=KEY)
        assert (repeated.json(), repeated.headers["idempotent-replay"]) == (made.json(), "true")
        is_problem(await here.post("/tasks", json={"title": "Twice"}, headers=KEY), 422, "idempotency_key_reused")
        assert [task["title"] for task in (await here.get(f"/tasks?limit=1&cursor={cursor}")).json()] == ["Once"]
        assert len((await here.get("/tasks")).json()) == 2
        first = await refresh(here)
        retry = await refresh(here)
        assert (first.status_code, retry.json()["refresh_token"]) == (200, first.json()["refresh_token"])
        after = at(client, ada, **first.json())
        assert key_of(after.token) != key_of(ada.token)
        assert (await after.get("/users/me")).status_code == 200
    assert page.status_code == 201


async def test_dropping_the_old_secret_keeps_newer_tokens_valid(ada: Account) -> None:
    async with another(**ROTATED) as client:
        given = (await refresh(at(client, ada))).json()
        task = await at(client, ada).post("/tasks", json={"title": "Once"}, headers=KEY)
    async with another(**DROPPED) as client:
        here = at(client, ada, **given)
        assert (await here.get("/users/me")).status_code == 200
        assert (await refresh(here)).status_code == 200
        assert (await here.post("/tasks", json={"title": "Once"}, headers=KEY)).json() == task.json()


async def test_without_the_old_secret_nothing_of_it_works(ada: Account) -> None:
    assert (await ada.post("/tasks", json={"title": "Once"}, headers=KEY)).status_code == 201
    async with another(**DROPPED) as client:
        here = at(client, ada)
        is_problem(await here.get("/users/me"), 401, "invalid_token")
        is_problem(await refresh(here), 400, "invalid_grant")
        signed_in = await client.post("/token", data={"username": "ada", "password": "correct horse battery"})
        again = at(client, ada, **signed_in.json())
        is_problem(await again.post("/tasks", json={"title": "Once"}, headers=KEY), 422, "idempotency_key_reused")
    assert (await ada.get("/users/me")).status_code == 200  # the tokens are as good as the secrets of who reads them


async def test_a_secret_that_only_verifies_signs_nothing(ada: Account) -> None:
    async with another(secret_key=None, secret_keys=(SecretStr(SECRET), SecretStr(NEW))) as client:
        given = (await refresh(at(client, ada))).json()
        assert key_of(given["access_token"]) == key_of(ada.token)
