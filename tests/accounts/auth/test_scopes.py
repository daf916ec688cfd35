"""What a token may be used for."""

import httpx
import pytest

from tests.client import PASSWORD, Account, is_problem, make_admin, signed_in

ALL = "account tasks:read tasks:write"


async def token(client: httpx.AsyncClient, **form: str) -> httpx.Response:
    return await client.post("/token", data=form)


async def by_password(client: httpx.AsyncClient, scope: str, username: str = "ada") -> httpx.Response:
    return await token(client, username=username, password=PASSWORD, scope=scope)


async def by_refresh(client: httpx.AsyncClient, refresh_token: str, scope: str) -> httpx.Response:
    return await token(client, grant_type="refresh_token", refresh_token=refresh_token, scope=scope)


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("", ALL),
        ("tasks:read", "tasks:read"),
        ("tasks:write tasks:read", "tasks:read tasks:write"),
        ("  account   account ", "account"),
        ("account admin", "account"),  # what cannot be had is left out
    ],
)
async def test_sign_in_grants_the_requested_scopes(ada: Account, asked: str, given: str) -> None:
    assert (await by_password(ada.client, asked)).json()["scope"] == given


async def test_an_admin_may_have_all(anonymous: httpx.AsyncClient) -> None:
    await make_admin(anonymous, "root")
    assert (await by_password(anonymous, "", "root")).json()["scope"] == f"account admin {ALL.partition(' ')[2]}"
    assert (await by_password(anonymous, "admin", "root")).json()["scope"] == "admin"


@pytest.mark.parametrize(
    "asked", ["everything", "tasks:read everything", "tasks", "TASKS:READ", "tasks:read,account", "admin", "é"]
)
async def test_other_scopes_are_refused(ada: Account, asked: str) -> None:
    is_problem(await by_password(ada.client, asked), 400, "invalid_scope")
    is_problem(await by_refresh(ada.client, ada.refresh_token, asked), 400, "invalid_scope")


async def test_a_wrong_password_says_nothing_about_scopes(ada: Account) -> None:
    is_problem(await token(ada.client, username="ada", password="wrong password", scope="everything"), 401, "bad_credentials")


async def test_a_refused_scope_spends_no_refresh_token(ada: Account) -> None:
    is_problem(await by_refresh(ada.client, ada.refresh_token, "admin"), 400, "invalid_scope")
    first = await ada.client.post(
        "/token",
        data={"grant_type": "refresh_token", "refresh_token": ada.refresh_token},
        headers={"User-Agent": "another, who would be a thief had it been spent"},
    )
    assert first.status_code == 200


async def test_refresh_cannot_widen_the_scopes_of_sign_in(ada: Account) -> None:
    narrow = await signed_in(ada.client, ada, scope="account tasks:read")
    less = await by_refresh(ada.client, narrow.refresh_token, "tasks:read tasks:write")
    assert less.json()["scope"] == "tasks:read"
    again = await by_refresh(ada.client, less.json()["refresh_token"], "")  # that was about one access token
    assert again.json()["scope"] == "account tasks:read"
    is_problem(await by_refresh(ada.client, again.json()["refresh_token"], "tasks:write"), 400, "invalid_scope")


@pytest.mark.parametrize(
    ("held", "method", "path", "needed"),
    [
        ("tasks:read", "POST", "/tasks", "tasks:write"),
        ("tasks:read", "GET", "/users/me", "account"),
        ("tasks:read", "GET", "/users/me/sessions", "account"),
        ("tasks:write", "GET", "/tasks", "tasks:read"),
        ("account", "GET", "/tasks/65f1a2b3c4d5e6f708192a3b", "tasks:read"),
        ("account", "DELETE", "/tasks/65f1a2b3c4d5e6f708192a3b", "tasks:write"),
        ("tasks:read tasks:write", "PATCH", "/users/me", "account"),
        ("tasks:read tasks:write", "POST", "/logout/all", "account"),
        ("account tasks:read tasks:write", "GET", "/users", "admin"),
    ],
)
async def test_a_route_needs_its_scope(ada: Account, held: str, method: str, path: str, needed: str) -> None:
    narrow = await signed_in(ada.client, ada, scope=held)
    answer = await narrow.call(method, path, **({"json": {"title": "A task"}} if method in ("POST", "PATCH") else {}))
    is_problem(answer, 403, "insufficient_scope", f"Your token lacks the scope {needed}.")
    assert answer.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="{needed}"'


async def test_signing_out_needs_no_scope(ada: Account) -> None:
    narrow = await signed_in(ada.client, ada, scope="tasks:read")
    assert (await narrow.post("/logout")).status_code == 204
    is_problem(await narrow.get("/tasks"), 401, "invalid_token")
