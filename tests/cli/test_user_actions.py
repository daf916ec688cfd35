"""What the operator does to accounts from the command line. The command itself is run in ``tests/server``."""

import io
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI
from pydantic import ValidationError
from pymongo.errors import AutoReconnect

from taskapi.accounts.errors import LastAdmin
from taskapi.accounts.security.throttling import ACCOUNT
from taskapi.accounts.users.documents import UserDocument
from taskapi.audit.documents import SecurityEventDocument
from taskapi.cli import users as cli_users
from taskapi.cli.user_actions import AGENT, UserCommands, run, why
from taskapi.core.errors import DomainError, InvalidInput, NotFound, StartupError
from tests.accounts.security.guesses import failures, guess
from tests.cli.operator import user_commands
from tests.client import PASSWORD, Account, at, is_problem, make_admin, sign_in, signed_in, stored_user
from tests.stored import collection

NEW = "another good password"


@pytest.fixture
def operator(anonymous: httpx.AsyncClient) -> UserCommands:
    return user_commands()


async def events() -> list[tuple[str, dict[str, Any]]]:
    """What was done from the command line: kind and details."""
    found = await collection(SecurityEventDocument).find({"agent": AGENT}, sort=[("_id", 1)]).to_list(None)
    assert {(event["address"], event["by"], event["request_id"]) for event in found} <= {("", None, "-")}
    return [(event["kind"], event["details"]) for event in found]


async def test_an_admin_is_made_who_can_sign_in(operator: UserCommands, anonymous: httpx.AsyncClient) -> None:
    said = await operator.create("Root", "root@example.com", PASSWORD, admin=True)
    user = await collection(UserDocument).find_one({"username_key": "root"})
    assert user is not None
    assert said == f"Root is an admin, with the id {user['_id']}."
    assert (user["role"], user["email_key"]) == ("admin", "root@example.com")
    assert "admin" in (await sign_in(anonymous, "root")).json()["scope"]
    assert await events() == [("account_created", {}), ("role_changed", {"before": "user", "after": "admin"})]


async def test_a_user_is_made_who_is_no_admin(operator: UserCommands, anonymous: httpx.AsyncClient) -> None:
    assert "is a user" in await operator.create("ada", None, PASSWORD, admin=False)
    assert (await sign_in(anonymous, "ada")).json()["scope"] == "account tasks:read tasks:write"


async def test_changing_roles_and_states_follows_the_api_rules(operator: UserCommands, ada: Account) -> None:
    await operator.promote("ADA")
    promoted = await signed_in(ada.client, ada)
    assert (await promoted.get("/users")).status_code == 200
    for refused in (operator.demote, operator.disable):
        with pytest.raises(LastAdmin):
            await refused("ada")
    await make_admin(ada.client, "root")
    await operator.demote("ada")
    is_problem(await promoted.get("/users"), 401, "invalid_token")
    await operator.disable("ada")
    is_problem(await ada.get("/users/me"), 401, "invalid_token")
    is_problem(await sign_in(ada.client, "ada"), 400, "inactive_user")
    await operator.enable("ada")
    assert (await sign_in(ada.client, "ada")).status_code == 200
    kinds = ["role_changed", "role_changed", "account_disabled", "account_enabled"]
    assert [kind for kind, _ in await events()] == kinds


async def test_a_new_password_ends_the_sessions(operator: UserCommands, ada: Account, bob: Account) -> None:
    assert (
        await operator.reset_password("ADA", NEW)
        == "ada has a new password, and its sessions have ended; its API tokens still work."
    )
    is_problem(await ada.get("/users/me"), 401, "invalid_token")
    is_problem(await sign_in(ada.client, "ada"), 401, "bad_credentials")
    assert (await sign_in(ada.client, "ada", NEW)).status_code == 200
    assert (await bob.get("/users/me")).status_code == 200
    assert await events() == [("password_reset", {})]


async def test_a_new_password_unblocks_the_account(operator: UserCommands, app: FastAPI, ada: Account) -> None:
    async with at(app, "192.0.2.77") as elsewhere:
        await guess(elsewhere, ACCOUNT.free_attempts)
        is_problem(await sign_in(elsewhere, "ada"), 429, "too_many_attempts")
        await operator.reset_password("ada", NEW)
        assert await failures(app, ACCOUNT, "ada") is None
        assert (await sign_in(elsewhere, "ada", NEW)).status_code == 200


async def test_a_password_is_made_up(operator: UserCommands, ada: Account) -> None:
    first, second = [await operator.reset_password("ada", None) for _ in range(2)]
    assert len(first) == 20
    assert first != second
    is_problem(await sign_in(ada.client, "ada", first), 401, "bad_credentials")
    assert (await sign_in(ada.client, "ada", second)).status_code == 200


async def test_a_lost_second_factor_is_taken_off(operator: UserCommands, ada: Account) -> None:
    factor = {"two_factor": True, "authenticator": {"secret": b"sealed", "last_step": 1, "recovery": []}}
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": factor})
    is_problem(await sign_in(ada.client, "ada"), 401, "second_factor_required")
    assert await operator.remove_two_factor("ADA") == "ADA signs in with the password alone."
    assert await operator.remove_two_factor("ada") == "ada has no second factor."
    assert (await sign_in(ada.client, "ada")).status_code == 200
    assert not factor.keys() & (await stored_user(ada.id)).keys()
    assert await events() == [("two_factor_disabled", {})]


@pytest.mark.parametrize(
    "action",
    [UserCommands.promote, UserCommands.demote, UserCommands.disable, UserCommands.enable, UserCommands.remove_two_factor],
)
async def test_nobody_is_not_found(operator: UserCommands, action: Any) -> None:
    with pytest.raises(NotFound):
        await action(operator, "nobody")
    with pytest.raises(NotFound):
        await operator.reset_password("nobody", NEW)
    assert await events() == []


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": "x"}, "username: String should have at least 3 characters"),
        ({"email": "nowhere"}, "email: must be an e-mail address such as ada@example.com"),
        ({"password": "short"}, "password: String should have at least 8 characters"),
        ({"password": "a\x00bcdefgh", "name": "y"}, "username: String should have at least 3 characters; password: must not"),
        ({"name": "ADA"}, "Username already registered"),
    ],
)
async def test_failure_to_create_an_account_is_one_line(
    operator: UserCommands, ada: Account, fields: dict[str, str], says: str
) -> None:
    with pytest.raises((ValidationError, DomainError)) as caught:
        await operator.create(**{"name": "bob", "email": None, "password": PASSWORD, **fields}, admin=True)  # type: ignore[arg-type]
    assert why(caught.value).startswith(says)
    assert "\n" not in why(caught.value)
    assert await collection(UserDocument).count_documents({}) == 1


async def test_why_a_password_is_refused_is_said(operator: UserCommands, ada: Account) -> None:
    before = await stored_user(ada.id)
    with pytest.raises(ValidationError) as caught:
        await operator.reset_password("ada", "")
    assert why(caught.value) == "password: String should have at least 8 characters"
    for easy in ("password1", "ada@example.com"):
        await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"email": "ada@example.com"}})
        before = await stored_user(ada.id)
        with pytest.raises(InvalidInput) as refused:
            await operator.reset_password("ada", easy)
        assert why(refused.value).startswith("password: must not be one of")
    assert await stored_user(ada.id) == before


def test_a_database_error_is_said_without_its_addresses() -> None:
    assert why(AutoReconnect("db.internal:27017 closed")) == "MongoDB: AutoReconnect"
    assert why(KeyboardInterrupt()) == "interrupted"


async def test_all_accounts_are_listed(operator: UserCommands, ada: Account) -> None:
    user = await stored_user(ada.id)
    names = [f"user{n:03}" for n in range(250)]
    await collection(UserDocument).insert_many(
        {**user, "_id": ObjectId(), "username": name, "username_key": name, "disabled": True} for name in names
    )
    head, first, *rest = (await operator.list()).splitlines()
    assert head.split() == ["role", "state", "made", "name"]
    assert first.split() == ["user", "active", f"{user['created_at']:%Y-%m-%d}", "ada"]
    assert [line.split()[-1] for line in rest] == names
    assert {line.split()[1] for line in rest} == {"disabled"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("typed", [f"{NEW}\n", f"{NEW}\r\n", NEW])
def test_a_password_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert cli_users._ask_password() == NEW


def test_terminal_asks_for_the_password_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([NEW, NEW, NEW, "something else"])
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda _: next(answers))
    assert cli_users._ask_password() == NEW
    with pytest.raises(StartupError, match="differ"):
        cli_users._ask_password()


def test_an_empty_standard_input_is_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with pytest.raises(StartupError, match="no password"):
        cli_users._ask_password()


def test_folder_without_data_is_refused_as_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TASKAPI_DATA_DIR", str(tmp_path / "elsewhere"))
    with pytest.raises(StartupError, match=r"there is no data in .*elsewhere; start the API there once"):
        run("list")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("error", [EOFError, KeyboardInterrupt])
def test_who_gives_no_password_is_told_so(monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    def leave(_: str) -> str:
        raise error

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", leave)
    with pytest.raises(StartupError, match="no password"):
        cli_users._ask_password()


def test_closed_standard_input_is_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(StartupError, match="no password"):
        cli_users._ask_password()
