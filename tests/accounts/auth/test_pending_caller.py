"""What is looked up beside the account is given to nobody who may not call."""

import asyncio
import gc
from typing import Any

import pytest
from bson import ObjectId
from fastapi import FastAPI
from fastapi.security import SecurityScopes
from starlette.requests import Request

from taskapi.accounts.dependencies import BearerPending, PendingCaller, pending_caller
from taskapi.accounts.users.documents import UserDocument
from taskapi.core.errors import InsufficientScope, InvalidToken, NotFound
from taskapi.web.request_state import begin_state, state_of
from taskapi.web.routing import StrictRoute
from tests.client import Account, is_problem, signed_in
from tests.stored import collection
from tests.tools import PATIENCE_SECONDS

INVALID_QUERY = "?no_such_parameter=1"


async def pending(app: FastAPI, token: str, *scopes: str) -> tuple[Request, PendingCaller]:
    scope: dict[str, Any] = {"type": "http", "app": app, "headers": [(b"authorization", f"Bearer {token}".encode())]}
    begin_state(scope)
    request = Request(scope)
    return request, await pending_caller(request, SecurityScopes(list(scopes)))


def routes_of(app: FastAPI) -> list[str]:
    """The paths of the routes that look something up beside the account."""
    return [
        route.path.replace("{task_id}", str(ObjectId()))
        for route in app.routes
        if isinstance(route, StrictRoute) and any(isinstance(each.call, BearerPending) for each in route.dependant.dependencies)
    ]


async def test_both_are_looked_up_at_once(app: FastAPI, ada: Account) -> None:
    request, caller = await pending(app, ada.token)
    started, gate = asyncio.Event(), asyncio.Event()

    async def look_up(owner_id: ObjectId) -> ObjectId:
        assert state_of(request).caller is None
        started.set()
        await gate.wait()
        return owner_id

    async with asyncio.timeout(PATIENCE_SECONDS):
        both = asyncio.create_task(caller.beside(look_up))
        await started.wait()
        while state_of(request).caller is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        gate.set()
        user, found = await both
    assert (user.id, found) == (ada.id, ObjectId(ada.id))


@pytest.mark.parametrize("fails", [False, True])
async def test_refused_caller_gets_nothing(app: FastAPI, ada: Account, fails: bool) -> None:
    faults: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    _, narrow = await pending(app, ada.token, "admin")
    assert (await ada.post("/logout")).status_code == 204
    _, ended = await pending(app, ada.token)

    async def look_up(_: ObjectId) -> str:
        if fails:
            raise NotFound("no such thing")
        return "secret"

    with pytest.raises(InvalidToken):
        await ended.beside(look_up)
    with pytest.raises(InvalidToken):
        await narrow.beside(look_up)
    gc.collect()
    asyncio.get_running_loop().set_exception_handler(None)
    assert faults == []


async def test_a_missing_scope_goes_before_the_result(app: FastAPI, ada: Account) -> None:
    _, caller = await pending(app, ada.token, "admin")

    async def look_up(_: ObjectId) -> None:
        raise NotFound("no such thing")

    with pytest.raises(InsufficientScope):
        await caller.beside(look_up)


@pytest.mark.parametrize("query", ["", INVALID_QUERY])
async def test_an_ended_session_is_refused_first(app: FastAPI, ada: Account, query: str) -> None:
    other = await signed_in(ada.client, ada)
    assert (await other.post("/logout")).status_code == 204
    for path in routes_of(app):
        is_problem(await other.get(path + query), 401, "invalid_token")
        assert (await ada.get(path + query)).status_code == (422 if query else 404 if ObjectId.is_valid(path[-24:]) else 200)


@pytest.mark.parametrize("query", ["", INVALID_QUERY])
async def test_a_disabled_account_is_refused_first(app: FastAPI, ada: Account, query: str) -> None:
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"disabled": True}})
    for path in routes_of(app):
        is_problem(await ada.get(path + query), 401, "invalid_token")


@pytest.mark.parametrize("query", ["", INVALID_QUERY])
async def test_a_missing_scope_is_refused_first(app: FastAPI, ada: Account, query: str) -> None:
    narrow = await signed_in(ada.client, ada, scope="account")
    for path in routes_of(app):
        is_problem(await narrow.get(path + query), 403, "insufficient_scope")
