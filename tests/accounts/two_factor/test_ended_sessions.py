"""What a session asks for, with the right password, while it ends."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.accounts.two_factor.test_router import PATH, begin, turn_on
from tests.client import PASSWORD, Account, is_problem, signed_in, stored_user

JSON = {"Content-Type": "application/json"}


async def ask(account: Account, method: str, path: str, meanwhile: Callable[[], Awaitable[Any]]) -> httpx.Response:
    """The answer to a request that was let in before ``meanwhile``, and whose body comes afterwards."""

    async def body() -> AsyncIterator[bytes]:
        await meanwhile()
        yield json.dumps({"password": PASSWORD}).encode()

    return await account.call(method, path, content=body(), headers=JSON)


async def test_ended_session_cannot_disable_second_factor(ada: Account, anonymous: httpx.AsyncClient) -> None:
    """It never gave a code; it may have kept a request waiting for the owner to turn the second factor on."""
    other = await signed_in(anonymous, ada)
    is_problem(await ask(other, "POST", f"{PATH}/disable", lambda: turn_on(ada)), 401, "invalid_token")
    assert (await stored_user(ada.id))["two_factor"] is True


async def test_ended_session_gets_no_recovery_codes(ada: Account, anonymous: httpx.AsyncClient) -> None:
    other = await signed_in(anonymous, ada)
    is_problem(await ask(other, "POST", f"{PATH}/recovery-codes", lambda: turn_on(ada)), 401, "invalid_token")


@pytest.mark.parametrize(("method", "path"), [("POST", PATH), ("DELETE", "/users/me")])
async def test_ended_session_changes_nothing_else(ada: Account, anonymous: httpx.AsyncClient, method: str, path: str) -> None:
    other = await signed_in(anonymous, ada)
    is_problem(await ask(other, method, path, lambda: other.post("/logout")), 401, "invalid_token")
    assert not {"authenticator", "leaving"} & (await stored_user(ada.id)).keys()


async def test_second_factor_stays_on_elsewhere(ada: Account, anonymous: httpx.AsyncClient) -> None:
    """The enrolment of one session is not replaced by another that has ended."""
    other, factor = await signed_in(anonymous, ada), await begin(ada)
    is_problem(await ask(other, "POST", PATH, lambda: other.post("/logout")), 401, "invalid_token")
    assert (await ada.post(f"{PATH}/confirm", json={"code": factor.code()})).status_code == 200
