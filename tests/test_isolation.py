"""Who may do what: every operation of the OpenAPI document is called by all who may not, and by the one who may."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Route

from taskapi.accounts.security.scopes import MEANING
from taskapi.core.clock import utc_now
from tests.client import is_problem
from tests.isolation import ENDLESS, SECRET_TITLE, Operation, World, operations

pytestmark = pytest.mark.real

PUBLIC = "public"
SESSION = "session"  # an API token is not enough
# What each operation needs: scopes, a session, or nothing. A new route says it here, or fails.
POLICY = {
    "welcome": PUBLIC,
    "health": PUBLIC,
    "ready": PUBLIC,
    "register": PUBLIC,
    "sign_in": PUBLIC,
    "revoke_token": PUBLIC,
    "sign_out": SESSION,
    "sign_out_everywhere": "account session",
    "read_me": "account",
    "update_me": "account",
    "delete_me": "account session",
    "export_me": "account tasks:read",
    "forgot_password": PUBLIC,
    "reset_password": PUBLIC,
    "verify_email": PUBLIC,
    "send_verification": "account",
    "create_token": "account session",
    "list_tokens": "account",
    "rotate_token": "account session",
    "delete_token": "account",
    "begin_two_factor": "account session",
    "confirm_two_factor": "account session",
    "renew_recovery_codes": "account session",
    "disable_two_factor": "account session",
    "list_sessions": "account",
    "end_session": "account",
    "list_own_events": "account",
    "list_events": "admin",
    "list_users": "admin",
    "read_user": "admin",
    "update_user": "admin",
    "end_users_sessions": "admin",
    "list_tasks": "tasks:read",
    "search_tasks": "tasks:read",
    "read_task": "tasks:read",
    "read_task_summary": "tasks:read",
    "read_task_links": "tasks:read",
    "read_task_history": "tasks:read",
    "read_checklist": "tasks:read",
    "list_trash": "tasks:read",
    "list_changes": "tasks:read",
    "export_tasks": "tasks:read",
    "read_summary": "tasks:read",
    "read_throughput": "tasks:read",
    "read_burndown": "tasks:read",
    "read_flow": "tasks:read",
    "read_lead_time": "tasks:read",
    "read_tags": "tasks:read",
    "stream_events": "tasks:read",
    "create_webhook": "account tasks:read",
    "list_webhooks": "account tasks:read",
    "read_webhook": "account tasks:read",
    "update_webhook": "account tasks:read",
    "delete_webhook": "account tasks:read",
    "rotate_webhook_secret": "account tasks:read",
    "ping_webhook": "account tasks:read",
    "list_deliveries": "account tasks:read",
    "redeliver": "account tasks:read",
    "create_ticket": "tasks:read",
    "create_task": "tasks:write",
    "update_task": "tasks:write",
    "put_task": "tasks:write",
    "delete_task": "tasks:write",
    "update_tasks": "tasks:write",
    "delete_tasks": "tasks:write",
    "change_in_bulk": "tasks:write",
    "import_tasks": "tasks:write",
    "add_checklist_item": "tasks:write",
    "update_checklist_item": "tasks:write",
    "remove_checklist_item": "tasks:write",
    "restore_task": "tasks:write",
    "remove_task": "tasks:write",
    "revert_task": "tasks:write",
}
# Operations that refuse even the right caller in this small world, for a reason of their own: the status of that.
ELSE = {
    "reset_password": 400,  # the token is made up
    "verify_email": 400,  # so it is
    "send_verification": 409,  # there is no address
    "confirm_two_factor": 409,  # there is no second factor
    "renew_recovery_codes": 409,
    "disable_two_factor": 409,
}
ALL = frozenset(MEANING)
LEAVING = {"requested_at": utc_now(), "due_at": utc_now() + timedelta(days=1)}
STATES = (  # of an account whose sessions are worth nothing meanwhile
    ("a disabled user", {"$set": {"disabled": True}}, {"$set": {"disabled": False}}),
    ("a leaving user", {"$set": {"leaving": LEAVING}}, {"$unset": {"leaving": ""}}),
)
UNDESCRIBED = {"/docs", "/redoc", "/openapi.json", "/asyncapi.json", "/events/ws", "/live"}  # and the files of the last


def scopes_of(name: str) -> set[str]:
    return set(POLICY[name].split()) - {PUBLIC, SESSION}


def test_every_operation_has_a_policy_and_says_so(app: FastAPI) -> None:
    found = operations(app.openapi())
    assert POLICY.keys() == found.keys()
    for name, operation in found.items():
        documented = [set(way["password"]) for way in operation.get("security", ()) if "password" in way]
        assert documented == ([] if POLICY[name] == PUBLIC else [scopes_of(name)]), name


def test_only_pages_about_the_api_are_undocumented(app: FastAPI) -> None:
    described = {route.path for route in app.routes if isinstance(route, Route) and route.include_in_schema}
    assert described - app.openapi()["paths"].keys() == set()
    pages = {route.path for route in app.routes if isinstance(route, Route)} - described
    assert {path for path in pages if not path.startswith("/live/")} == UNDESCRIBED


@dataclass(frozen=True)
class Refusal:
    """Somebody who is refused, and how."""

    who: str
    token: str | None
    status: int
    code: str
    challenge: str | None = None  # RFC 6750, section 3


def lacks(who: str, token: str, scope: str) -> Refusal:
    return Refusal(who, token, 403, "insufficient_scope", f'Bearer error="insufficient_scope", scope="{scope}"')


async def refusals(world: World, name: str) -> AsyncIterator[Refusal]:
    """All who must not do what the owner may; the state of the owner is such until the next is asked for."""
    scopes = scopes_of(name)
    token = await world.token()
    yield Refusal("nobody", None, 401, "not_authenticated", "Bearer")
    for who, change, back in STATES:
        await world.set_owner(change)
        yield Refusal(who, token, 401, "invalid_token", "Bearer")
        await world.set_owner(back)
    for scope in sorted(scopes):
        yield lacks(f"a token without {scope}", await world.token(" ".join(sorted(ALL - {scope}))), scope)
    if "admin" in scopes:
        yield lacks("a plain user", world.stranger.token, "admin")
        await world.set_owner({"$set": {"role": "user"}})
        yield lacks("a former admin", token, "admin")
        await world.set_owner({"$set": {"role": "admin"}})
    if SESSION in POLICY[name].split() and "create_token" in POLICY:
        yield Refusal("an API token", await world.api_token(), 403, "session_required")
    assert (await world.client.post("/logout", headers={"Authorization": f"Bearer {token}"})).status_code == 204
    yield Refusal("a token whose session has ended", token, 401, "invalid_token", "Bearer")


def is_let_in(answer: httpx.Response, name: str, operation: Operation) -> None:
    assert str(answer.status_code) in operation["responses"]
    if name in ELSE:
        assert answer.status_code == ELSE[name] not in (401, 403, 404), answer.text
    else:
        assert answer.is_success, answer.text


@pytest.mark.parametrize("name", sorted(name for name in POLICY if POLICY[name] == PUBLIC))
async def test_what_is_public_asks_nobody_who_they_are(app: FastAPI, anonymous: httpx.AsyncClient, name: str) -> None:
    operation = operations(app.openapi())[name]
    call = await (await World.made(anonymous)).call(operation)
    is_let_in(await call.by(anonymous, None), name, operation)


@pytest.mark.parametrize("name", sorted(name for name in POLICY if POLICY[name] != PUBLIC))
async def test_only_the_right_caller_is_admitted(app: FastAPI, anonymous: httpx.AsyncClient, name: str) -> None:
    world = await World.made(anonymous)
    if "admin" in scopes_of(name):
        await world.set_owner({"$set": {"role": "admin"}})
    operation = operations(app.openapi())[name]
    call = await world.call(operation)
    async for refusal in refusals(world, name):
        before = await world.kept()
        answer = await call.by(anonymous, refusal.token)
        assert (answer.status_code, answer.json()["error"]) == (refusal.status, refusal.code), refusal.who
        assert answer.headers.get("www-authenticate") == refusal.challenge, refusal.who
        assert await world.kept() == before, refusal.who
    if name in ENDLESS:
        call = replace(call, method="HEAD")
    if "admin" not in scopes_of(name):
        before = await world.kept()
        answer = await call.by(anonymous, world.stranger.token)
        if call.names_something:
            is_problem(answer, 404, "not_found")
        assert answer.status_code not in (401, 403)
        assert not [secret for secret in (world.owner.id, SECRET_TITLE) if secret in answer.text]
        assert await world.kept() == before
    is_let_in(await call.by(anonymous, await world.token()), name, operation)
