"""A user name that somebody else takes: its former owner is a stranger to the new one."""

import httpx
import pytest
from fastapi import FastAPI

from taskapi.accounts.security.throttling import ACCOUNT, KNOWN_ADDRESS
from tests.accounts.security.guesses import failures, guess
from tests.client import Account, at, make_account, sign_in

FORMER = "192.0.2.1"  # from where Ada, who will have another name, has signed in
FEW = ACCOUNT.free_attempts


async def leave_name(app: FastAPI, ada: Account) -> None:
    async with at(app, FORMER) as client:
        assert (await sign_in(client, "ada")).status_code == 200
    assert (await ada.patch("/users/me", json={"username": "grace"})).status_code == 200
    assert await failures(app, KNOWN_ADDRESS, f"{FORMER}\nada") is not None


@pytest.mark.parametrize("way", ["registered", "renamed"])
async def test_former_owner_has_few_guesses(app: FastAPI, ada: Account, anonymous: httpx.AsyncClient, way: str) -> None:
    """From a known address there are more; who knew that could prepare many addresses for a name that somebody will want."""
    bob = await make_account(anonymous, "bob")
    await leave_name(app, ada)
    if way == "renamed":
        assert (await bob.patch("/users/me", json={"username": "Ada"})).status_code == 200
    else:
        assert (await anonymous.post("/register", json={"username": "Ada", "password": "another battery"})).status_code == 201
    assert await failures(app, KNOWN_ADDRESS, f"{FORMER}\nada") is None
    async with at(app, FORMER) as client:
        assert await guess(client, FEW + 1) == [401] * FEW + [429]


async def test_who_takes_no_name_forgets_nothing(app: FastAPI, ada: Account, anonymous: httpx.AsyncClient) -> None:
    """Or a stranger could have the owner of a name locked out."""
    bob = await make_account(anonymous, "bob")
    assert (await bob.patch("/users/me", json={"username": "ada"})).status_code == 400
    assert (await anonymous.post("/register", json={"username": "ada", "password": "another battery"})).status_code == 400
    assert await failures(app, KNOWN_ADDRESS, "127.0.0.1\nada") == 0
