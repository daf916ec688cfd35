"""E-mail addresses of tests and local networks, which accounts may have where a setting says so."""

import httpx
import pytest

from taskapi.cli.user_actions import why
from taskapi.core.errors import InvalidInput
from tests.cli.operator import user_commands
from tests.client import PASSWORD, Account, is_problem, make_account, sign_in, stored_user, wrong_fields
from tests.conftest import another
from tests.mailbox import Mailbox

LOCAL = ["ada@mail.test", "ada@Mail.local", "ada@a.localhost", "ada@localhost"]
REFUSED = "must not end in .test, .local or .localhost on this server"


@pytest.mark.parametrize("address", LOCAL)
async def test_they_are_refused_unless_it_says_so(bob: Account, address: str) -> None:
    for answer in (
        await bob.client.post("/register", json={"username": "ada", "password": PASSWORD, "email": address}),
        await bob.patch("/users/me", json={"email": address}),
    ):
        assert wrong_fields(answer) == {"email": "email"}
        assert answer.json()["details"][0]["message"] == REFUSED
    operator = user_commands()
    with pytest.raises(InvalidInput) as caught:
        await operator.create("ada", address, PASSWORD, admin=False)
    assert why(caught.value) == f"email: {REFUSED}"
    assert (await stored_user(bob.id))["email"] is None


@pytest.mark.real
async def test_they_are_taken_where_it_says_so(anonymous: httpx.AsyncClient, mailbox: Mailbox) -> None:
    async with another(email_local_domains=True) as client:
        ada = await make_account(client, "ada", email="Ada@Mail.LOCAL")
        user = await stored_user(ada.id)
        assert (user["email"], user["email_key"]) == ("Ada@mail.local", "ada@mail.local")
        assert (await client.post("/email/verify", json={"token": await mailbox.token("Ada@mail.local")})).status_code == 204
        taken = await client.post("/register", json={"username": "eve", "password": PASSWORD, "email": "ada@MAIL.local"})
        is_problem(taken, 400, "email_taken")
        change = {"email": "ada@localhost", "current_password": PASSWORD}
        assert (await ada.patch("/users/me", json=change)).json()["pending_email"] == "ada@localhost"
        assert (await client.post("/email/verify", json={"token": await mailbox.token("ada@localhost")})).status_code == 204
        assert (await client.post("/password/forgot", json={"email": "ADA@localhost"})).status_code == 202
        reset = {"token": await mailbox.token("ada@localhost", "Reset"), "password": "a staple of batteries"}
        assert (await client.post("/password/reset", json=reset)).status_code == 204
        assert (await sign_in(client, "ada", "a staple of batteries")).status_code == 200
        other = await client.post("/register", json={"username": "eve", "password": PASSWORD, "email": "eve@mail.invalid"})
        assert wrong_fields(other) == {"email": "email"}


async def test_command_line_accepts_local_domains_when_enabled(anonymous: httpx.AsyncClient) -> None:
    operator = user_commands(email_local_domains=True)
    assert "is a user" in await operator.create("ada", "ada@mail.test", PASSWORD, admin=False)
