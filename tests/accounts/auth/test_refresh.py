"""Staying signed in: refresh tokens over HTTP."""

import asyncio
import itertools
from datetime import timedelta
from typing import Any

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI
from jose import jwt

from taskapi.accounts.security.access_tokens import TokenCodec
from taskapi.accounts.sessions.documents import SessionDocument
from taskapi.accounts.sessions.refresh import LAYOUT, RefreshToken
from taskapi.accounts.users.documents import UserDocument
from taskapi.audit.documents import SecurityEventDocument
from taskapi.core.clock import in_utc, utc_now
from taskapi.db.connection import BSON
from taskapi.db.shapes import validate
from tests.client import Account, is_problem, signed_in, stored_user, wrong_fields
from tests.conftest import another
from tests.stored import collection

PAIRS = 200
HOUR = timedelta(hours=1)


async def refresh(account: Account, token: str | None = None, *, agent: str = "", **form: str) -> httpx.Response:
    """The answer to the current refresh token, or to ``token``; from another user agent when one is given."""
    data = {"grant_type": "refresh_token", "refresh_token": token or account.refresh_token, **form}
    return await account.client.post("/token", data=data, headers={"User-Agent": agent} if agent else {})


async def rotated(account: Account, token: str | None = None, times: int = 1) -> str:
    """The refresh token after so many rotations."""
    current = token or account.refresh_token
    for _ in range(times):
        answer = await refresh(account, current)
        assert answer.status_code == 200, answer.text
        current = answer.json()["refresh_token"]
    return current


async def session_of(account: Account) -> BSON | None:
    return await collection(SessionDocument).find_one({"_id": RefreshToken.read(account.refresh_token).session})  # type: ignore[union-attr]


async def change(account: Account, **values: Any) -> None:
    """Changes the stored session of ``account``."""
    token = RefreshToken.read(account.refresh_token)
    assert token
    assert (await collection(SessionDocument).update_one({"_id": token.session}, {"$set": values})).matched_count == 1


async def passed(account: Account, time: timedelta) -> None:
    """Makes the rotations of the session older by ``time``."""
    session = await session_of(account)
    assert session
    await change(account, rotations=[{**rotation, "at": rotation["at"] - time} for rotation in session["rotations"]])


async def is_ended(account: Account, *tokens: str) -> None:
    """Asserts that nothing of the session is worth anything, and that an event says why."""
    is_problem(await account.get("/users/me"), 401, "invalid_token")
    for token in (account.refresh_token, *tokens):
        is_problem(await refresh(account, token), 400, "invalid_grant")
    assert (await stored_user(account.id))["sessions"] == []
    assert await session_of(account) is None
    events = await collection(SecurityEventDocument).find({"kind": "refresh_token_reused"}).to_list(None)
    assert [(event["user"], event["outcome"]) for event in events] == [(ObjectId(account.id), "failure")]


async def test_refresh_token_works_once_and_yields_its_successor(ada: Account) -> None:
    answer = await refresh(ada)
    assert answer.status_code == 200
    given = answer.json()
    assert set(given) == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
    assert answer.headers["cache-control"] == "no-store"
    assert given["refresh_token"] != ada.refresh_token
    claims, before = (jwt.get_unverified_claims(token) for token in (given["access_token"], ada.token))
    assert (claims["sid"], claims["scope"], claims["sub"]) == (before["sid"], before["scope"], ada.id)
    for token in (ada.token, given["access_token"]):
        assert (await ada.client.get("/users/me", headers={"Authorization": f"Bearer {token}"})).status_code == 200
    session = await session_of(ada)
    assert session
    assert session["generation"] == 1
    assert given["refresh_token"] not in str(session)
    validate(SessionDocument, session)


async def test_what_is_stored_gives_no_token_away(ada: Account) -> None:
    session = await session_of(ada)
    token = RefreshToken.read(ada.refresh_token)
    assert session
    assert token
    assert token.secret not in session.values()
    assert token.secret.hex() not in str(session)


@pytest.mark.parametrize("again", [1, 3])
async def test_retry_by_one_client_gets_the_same_successor(ada: Account, again: int) -> None:
    successor = await rotated(ada)
    for _ in range(again):
        answer = await refresh(ada)
        assert (answer.status_code, answer.json()["refresh_token"]) == (200, successor)
    assert await rotated(ada, successor) != successor
    session = await session_of(ada)
    assert session
    assert session["generation"] == 2


async def test_client_that_fell_behind_follows_the_chain(ada: Account) -> None:
    last = await rotated(ada, times=9)
    assert await rotated(ada, times=9) == last


async def test_a_retry_comes_within_ten_seconds(ada: Account) -> None:
    successor = await rotated(ada)
    await passed(ada, timedelta(seconds=9))
    assert await rotated(ada) == successor
    await passed(ada, timedelta(seconds=2))
    is_problem(await refresh(ada), 400, "invalid_grant")
    await is_ended(ada, successor)


async def test_spent_token_from_another_client_ends_the_session(ada: Account, bob: Account) -> None:
    successor = await rotated(ada)
    is_problem(
        await refresh(ada, agent="a thief's"), 400, "invalid_grant", "The refresh token is no longer valid. Sign in again."
    )
    await is_ended(ada, successor)
    assert (await bob.get("/users/me")).status_code == 200


async def test_spent_token_from_another_ip_ends_the_session(app: FastAPI, ada: Account) -> None:
    successor = await rotated(ada)
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://taskapi") as elsewhere:
        data = {"grant_type": "refresh_token", "refresh_token": ada.refresh_token}
        is_problem(await elsewhere.post("/token", data=data), 400, "invalid_grant")
    await is_ended(ada, successor)


async def test_owner_ends_the_session_when_a_thief_refreshed(ada: Account) -> None:
    stolen = (await refresh(ada, agent="a thief's")).json()
    is_problem(await refresh(ada), 400, "invalid_grant")
    await is_ended(ada, stolen["refresh_token"])
    thief = await ada.client.get("/tasks", headers={"Authorization": f"Bearer {stolen['access_token']}"})
    is_problem(thief, 401, "invalid_token")


@pytest.mark.parametrize("generations", [11, 40])
async def test_a_token_spent_long_ago_ends_the_session(ada: Account, generations: int) -> None:
    last = await rotated(ada, times=generations)
    session = await session_of(ada)
    assert session
    assert len(session["rotations"]) == 10
    is_problem(await refresh(ada), 400, "invalid_grant")
    await is_ended(ada, last)


async def test_other_sessions_of_the_account_go_on(ada: Account) -> None:
    second = await signed_in(ada.client, ada)
    await rotated(ada)
    is_problem(await refresh(ada, agent="a thief's"), 400, "invalid_grant")
    is_problem(await ada.get("/users/me"), 401, "invalid_token")
    assert (await second.get("/users/me")).status_code == 200
    await rotated(second)


async def test_forged_token_of_a_real_session_does_nothing(ada: Account) -> None:
    current = await rotated(ada, times=2)
    token = RefreshToken.read(current)
    assert token
    before = await session_of(ada)
    for generation, secret in itertools.product((0, 1, 2, 3, 2**32 - 1), (bytes(20), b"x" * 20)):
        invented = RefreshToken(token.session, generation, secret)
        is_problem(await refresh(ada, str(invented)), 400, "invalid_grant")
        assert (await ada.client.post("/revoke", data={"token": str(invented)})).status_code == 200
    for generation in (0, 1, 3):  # the right secret under another number
        is_problem(await refresh(ada, str(RefreshToken(token.session, generation, token.secret))), 400, "invalid_grant")
    is_problem(await refresh(ada, str(RefreshToken(ObjectId(), 2, token.secret))), 400, "invalid_grant")
    assert await session_of(ada) == before
    assert (await ada.get("/users/me")).status_code == 200
    await rotated(ada, current)


@pytest.mark.parametrize("text", ["", "x", "tsr_", "tsr_" + "A" * 48, "tsr_" + "A" * (LAYOUT.size * 4 // 3), "é" * 52, "." * 900])
async def test_nonsense_is_no_token(ada: Account, text: str) -> None:
    is_problem(await refresh(ada, text or " "), 400, "invalid_grant")
    assert (await ada.get("/users/me")).status_code == 200


async def test_an_access_token_is_no_refresh_token(ada: Account) -> None:
    is_problem(await refresh(ada, ada.token), 400, "invalid_grant")
    with_refresh = await ada.client.get("/users/me", headers={"Authorization": f"Bearer {ada.refresh_token}"})
    is_problem(with_refresh, 401, "invalid_token")


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"grant_type": "refresh_token"}, {"refresh_token": "missing"}),
        ({"grant_type": "refresh_token", "refresh_token": "tsr_\x00"}, {"refresh_token": "string_nul"}),
        ({"grant_type": "refresh_token", "refresh_token": "x" * 1001}, {"refresh_token": "string_too_long"}),
    ],
)
async def test_a_form_without_the_token_is_refused(anonymous: httpx.AsyncClient, form: Any, expected: dict[str, str]) -> None:
    assert wrong_fields(await anonymous.post("/token", data=form)) == expected


@pytest.mark.real
async def test_pairs_of_requests_at_once_lose_no_session(ada: Account) -> None:
    current = ada.refresh_token
    for number in range(1, PAIRS + 1):
        pair = await asyncio.gather(refresh(ada, current), refresh(ada, current))
        assert [answer.status_code for answer in pair] == [200, 200], number
        (current,) = {answer.json()["refresh_token"] for answer in pair}
    session = await session_of(ada)
    assert session
    assert session["generation"] == PAIRS
    assert (await ada.get("/users/me")).status_code == 200


@pytest.mark.real
async def test_many_at_once_get_one_successor(ada: Account) -> None:
    answers = await asyncio.gather(*(refresh(ada) for _ in range(20)))
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    session = await session_of(ada)
    assert session
    assert session["generation"] == 1


async def test_refresh_extends_the_session_up_to_its_maximum(ada: Account) -> None:
    now = utc_now()
    session = await session_of(ada)
    assert session
    assert session["expires_at"] - session["created_at"] == timedelta(days=30)
    assert session["ends_at"] - session["created_at"] == timedelta(days=90)
    await change(ada, expires_at=now + HOUR)
    current = await rotated(ada)
    session = await session_of(ada)
    assert session
    assert in_utc(session["expires_at"]) >= now + timedelta(days=30)
    await change(ada, ends_at=now + HOUR)
    await rotated(ada, current)
    session = await session_of(ada)
    assert session
    assert in_utc(session["expires_at"]) == now + HOUR


async def test_access_token_never_outlives_its_session(app: FastAPI, ada: Account) -> None:
    await change(ada, ends_at=utc_now() + timedelta(minutes=5))
    for _ in range(2):  # the second is a retry
        body = (await refresh(ada)).json()
        assert 0 < body["expires_in"] <= 300
        assert app.state.services[TokenCodec].read(body["access_token"]).expiry <= utc_now().timestamp() + 300


@pytest.mark.real
async def test_the_settings_say_how_long_a_session_lives(ada: Account) -> None:
    async with another(refresh_token_days=2, session_days=3) as client:
        session = await session_of(await signed_in(client, ada))
        assert session
        assert (session["expires_at"] - session["created_at"]).days == 2
        assert (session["ends_at"] - session["created_at"]).days == 3


async def test_expired_session_is_not_refreshed_while_still_stored(ada: Account) -> None:
    await change(ada, expires_at=utc_now() - timedelta(milliseconds=1))
    is_problem(await refresh(ada), 400, "invalid_grant")
    assert (await ada.get("/users/me/sessions")).json() == []
    assert await collection(SecurityEventDocument).count_documents({"kind": "refresh_token_reused"}) == 0


async def test_a_disabled_account_is_not_refreshed(ada: Account) -> None:
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"disabled": True}})
    is_problem(await refresh(ada), 400, "invalid_grant")
    session = await session_of(ada)
    assert session
    assert session["generation"] == 0


async def test_a_refresh_says_where_the_session_is_now(ada: Account) -> None:
    assert (await refresh(ada, agent="x" * 300)).status_code == 200
    session = await session_of(ada)
    assert session
    assert (session["agent"], session["address"]) == ("x" * 200, "127.0.0.1")
    (rotation,) = session["rotations"]
    assert (rotation["agent"], rotation["address"]) == (session["agent"], session["address"])
