"""Streams end with what they were opened by: its session, its token, its account, its scope."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId
from fastapi import FastAPI
from pymongo.errors import AutoReconnect

from taskapi.accounts.users.documents import UserDocument
from taskapi.accounts.users.repository import UserRepository
from taskapi.core.clock import utc_now
from taskapi.events import guard
from taskapi.events.guard import ListenerGuard
from tests.client import Account, signed_in
from tests.events.listening import Listening, listening
from tests.leaks import keep_secret
from tests.stored import collection, service

pytestmark = pytest.mark.real


async def api_token(account: Account) -> dict[str, str]:
    """The headers of a script of the account."""
    answer = await account.post("/users/me/tokens", json={"name": "script", "scopes": ["tasks:read"]})
    return {"Authorization": f"Bearer {keep_secret(answer.json()['token'], 'API token')}"}


async def change_user(account: Account, change: dict[str, Any]) -> None:
    await collection(UserDocument).update_one({"_id": ObjectId(account.id)}, change)


async def sign_out(account: Account) -> None:
    assert (await account.post("/logout")).status_code == 204


async def revoke_token(account: Account) -> None:
    (token,) = (await account.get("/users/me/tokens")).json()
    assert (await account.delete(f"/users/me/tokens/{token['id']}")).status_code == 204


async def disable(account: Account) -> None:
    await change_user(account, {"$set": {"disabled": True}})


async def leave(account: Account) -> None:
    await change_user(account, {"$set": {"leaving": {"requested_at": utc_now(), "due_at": utc_now() + timedelta(days=1)}}})


async def erase(account: Account) -> None:
    await collection(UserDocument).delete_one({"_id": ObjectId(account.id)})


async def take_scope(account: Account) -> None:
    await change_user(account, {"$set": {"api_tokens.0.scopes": ["tasks:write"]}})


@asynccontextmanager
async def two_streams(app: FastAPI, headers: dict[str, str], other: Account) -> AsyncIterator[tuple[Listening, Listening]]:
    async with listening(app, headers) as stream, listening(app, other.headers) as kept:
        await stream.next(), await kept.next()
        yield stream, kept
        await other.make_task("Still told")
        assert (await kept.next()).name == "task.created"


async def has_ended(stream: Listening, reason: str) -> None:
    await service(ListenerGuard).sweep()
    assert (await stream.next())[:2] == ("end", {"reason": reason})
    await stream.end()


@pytest.mark.parametrize(
    ("change", "reason"),
    [(sign_out, "session_ended"), (disable, "account_disabled"), (leave, "account_disabled"), (erase, "account_disabled")],
)
async def test_a_stream_of_a_session_ends_with_it(
    app: FastAPI, ada: Account, bob: Account, change: Callable[[Account], Awaitable[None]], reason: str
) -> None:
    async with two_streams(app, ada.headers, bob) as (stream, _):
        await change(ada)
        await has_ended(stream, reason)


@pytest.mark.parametrize(
    ("change", "reason"), [(revoke_token, "session_ended"), (take_scope, "scope_lost"), (disable, "account_disabled")]
)
async def test_the_stream_of_an_api_token_ends(
    app: FastAPI, ada: Account, bob: Account, change: Callable[[Account], Awaitable[None]], reason: str
) -> None:
    async with two_streams(app, await api_token(ada), bob) as (stream, _):
        await change(ada)
        await has_ended(stream, reason)


async def test_other_sessions_of_the_account_go_on(app: FastAPI, ada: Account) -> None:
    second = await signed_in(ada.client, ada)
    async with two_streams(app, second.headers, ada) as (stream, _):
        await sign_out(second)
        await has_ended(stream, "session_ended")


async def test_a_stream_ends_when_its_token_expires(app: FastAPI, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(app, ada.headers) as stream, listening(app, await api_token(ada)) as script:
        await stream.next(), await script.next()
        with monkeypatch.context() as patch:
            patch.setattr(guard, "utc_now", lambda: utc_now() + timedelta(hours=1))
            await has_ended(stream, "token_expired")
        await ada.make_task("Still told")
        assert (await script.next()).name == "task.created"


async def test_without_mongodb_the_streams_go_on(app: FastAPI, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable(*_: Any) -> Any:
        raise AutoReconnect

    async with listening(app, ada.headers) as stream:
        await stream.next()
        with monkeypatch.context() as patch:
            patch.setattr(UserRepository, "find_active", unreachable)
            with pytest.raises(AutoReconnect):
                await service(ListenerGuard).sweep()
        await ada.make_task("Still told")
        assert (await stream.next()).name == "task.created"


async def test_many_accounts_are_looked_up_in_batches(
    app: FastAPI, ada: Account, bob: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BATCH", 1)
    async with two_streams(app, ada.headers, bob) as (stream, _):
        await sign_out(ada)
        await has_ended(stream, "session_ended")


async def test_the_job_looks_by_itself(app: FastAPI, ada: Account) -> None:
    async with listening(app, ada.headers) as stream:
        await stream.next()
        await sign_out(ada)
        assert (await stream.next()).data == {"reason": "session_ended"}  # well within the five seconds that are promised


@pytest.mark.parametrize("is_api_token", [False, True], ids=["session", "API token"])
async def test_new_user_name_is_shown(app: FastAPI, ada: Account, is_api_token: bool) -> None:
    headers = await api_token(ada) if is_api_token else ada.headers
    async with listening(app, headers) as stream:
        await stream.next()
        assert (await ada.patch("/users/me", json={"username": "countess"})).status_code == 200
        await service(ListenerGuard).sweep()
        await ada.make_task()
        event = await stream.next()
    assert event.data["task"]["owner"]["username"] == "countess"
