"""One's own sessions: seeing them, and ending them one by one."""

import asyncio
from datetime import datetime, timedelta

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI

from taskapi.accounts.auth.loaders import SessionsLastUsed
from taskapi.accounts.sessions.documents import SessionDocument
from taskapi.accounts.sessions.refresh import RefreshToken
from taskapi.audit.documents import SecurityEventDocument
from taskapi.core.clock import in_utc, utc_now
from tests.client import Account, is_problem, make_account, sign_in, signed_in, stored, stored_user
from tests.plans import explain, found_in, stages
from tests.stored import collection

MOST = 100
FIELDS = {"id", "created_at", "last_seen_at", "expires_at", "address", "agent", "scopes", "current"}


def session_id(account: Account) -> str:
    token = RefreshToken.read(account.refresh_token)
    assert token
    return str(token.session)


async def seen(session: str, ago: timedelta) -> None:
    """Makes a session one that was last seen so long ago."""
    when = {"$set": {"last_seen_at": utc_now() - ago}}
    assert (await collection(SessionDocument).update_one({"_id": ObjectId(session)}, when)).matched_count == 1


async def test_sessions_are_listed_last_seen_first(
    anonymous: httpx.AsyncClient, app: FastAPI, ada: Account, bob: Account
) -> None:
    before = utc_now()
    agent = {"User-Agent": "Ada's telephone"}
    answer = await anonymous.post(
        "/token", data={"username": "ada", "password": "correct horse battery", "scope": "account"}, headers=agent
    )
    telephone = Account(anonymous, ada.id, "ada", answer.json()["access_token"], answer.json()["refresh_token"])
    await app.state.services[SessionsLastUsed].close()
    await seen(session_id(ada), timedelta(minutes=5))
    first, second = (await telephone.get("/users/me/sessions")).json()
    assert set(first) == FIELDS
    assert (first["id"], first["current"], first["agent"]) == (session_id(telephone), True, "Ada's telephone")
    assert (first["address"], first["scopes"]) == ("127.0.0.1", ["account"])
    assert before <= datetime.fromisoformat(first["created_at"]) <= utc_now()
    assert datetime.fromisoformat(first["expires_at"]) >= before + timedelta(days=30)
    assert (second["id"], second["current"], second["scopes"]) == (
        session_id(ada), False, ["account", "tasks:read", "tasks:write"],
    )  # fmt: skip


async def test_no_secret_is_in_the_list(ada: Account) -> None:
    kept = await stored(SessionDocument, session_id(ada))
    assert kept
    text = (await ada.get("/users/me/sessions")).text
    assert not {"token_hash", "chain", "rotations", "generation"} & set(text.split('"'))


async def test_one_session_is_ended(ada: Account) -> None:
    second = await signed_in(ada.client, ada)
    assert (await ada.delete(f"/users/me/sessions/{session_id(second)}")).status_code == 204
    is_problem(await second.get("/tasks"), 401, "invalid_token")
    assert [session["id"] for session in (await ada.get("/users/me/sessions")).json()] == [session_id(ada)]
    assert (await stored_user(ada.id))["sessions"] == [ObjectId(session_id(ada))]
    assert await stored(SessionDocument, session_id(second)) is None
    event = await collection(SecurityEventDocument).find_one({"kind": "session_ended"})
    assert event
    assert (event["user"], event["details"]) == (ObjectId(ada.id), {"session": session_id(second)})
    is_problem(await ada.delete(f"/users/me/sessions/{session_id(second)}"), 404, "not_found", "Session not found")


async def test_current_session_can_be_ended_like_any_other(ada: Account) -> None:
    assert (await ada.delete(f"/users/me/sessions/{session_id(ada)}")).status_code == 204
    is_problem(await ada.get("/users/me"), 401, "invalid_token")


async def test_somebody_elses_session_is_not_found(ada: Account, bob: Account) -> None:
    for given in (session_id(bob), bob.id, "65f1a2b3c4d5e6f708192a3b", "nonsense"):
        is_problem(await ada.delete(f"/users/me/sessions/{given}"), 404, "not_found", "Session not found")
    assert (await bob.get("/users/me")).status_code == 200
    assert await stored(SessionDocument, session_id(bob))
    assert session_id(bob) not in (await ada.get("/users/me/sessions")).text


async def test_an_access_token_dies_at_the_next_request(ada: Account) -> None:
    second = await signed_in(ada.client, ada)
    for _ in range(20):
        assert (await second.get("/tasks")).status_code == 200
    await ada.delete(f"/users/me/sessions/{session_id(second)}")
    is_problem(await second.get("/tasks"), 401, "invalid_token")


async def test_a_session_is_seen_when_it_is_used(app: FastAPI, ada: Account) -> None:
    second = await signed_in(ada.client, ada)  # of which this worker has noted no use yet
    long_ago = utc_now() - timedelta(days=1)
    await seen(session_id(second), timedelta(days=1))
    used = utc_now()
    await second.get("/tasks")
    await app.state.services[SessionsLastUsed].close()
    kept = await stored(SessionDocument, session_id(second))
    assert kept
    assert in_utc(kept["last_seen_at"]) >= used > long_ago
    await seen(session_id(second), timedelta(days=1))
    await second.get("/tasks")  # within a minute of the one before
    await app.state.services[SessionsLastUsed].close()
    kept = await stored(SessionDocument, session_id(second))
    assert kept
    assert in_utc(kept["last_seen_at"]) <= long_ago + timedelta(minutes=1)


@pytest.mark.real
async def test_session_101_replaces_the_one_unused_longest(ada: Account) -> None:
    accounts = [ada, *[await signed_in(ada.client, ada) for _ in range(MOST - 1)]]
    assert len((await stored_user(ada.id))["sessions"]) == MOST
    unseen = accounts[7]
    await seen(session_id(unseen), timedelta(days=2))
    await seen(session_id(accounts[50]), timedelta(days=1))
    newest = await signed_in(ada.client, ada)
    listed = (await stored_user(ada.id))["sessions"]
    assert len(listed) == MOST
    assert set(map(session_id, (ada, accounts[50], accounts[99], newest))) <= set(map(str, listed))
    is_problem(await unseen.get("/users/me"), 401, "invalid_token")
    assert (await newest.get("/users/me")).status_code == 200
    assert len((await newest.get("/users/me/sessions")).json()) == MOST
    await asyncio.gather(*(sign_in(ada.client, "ada") for _ in range(5)))
    assert len((await stored_user(ada.id))["sessions"]) == MOST


@pytest.mark.real
async def test_concurrent_sign_ins_do_not_evict_each_other(ada: Account) -> None:
    for _ in range(16):
        accounts = await asyncio.gather(*(signed_in(ada.client, ada) for _ in range(8)))  # as many as are not too many
        for account in accounts:
            assert (await account.get("/users/me")).status_code == 200
    assert len((await stored_user(ada.id))["sessions"]) == MOST


@pytest.mark.real
async def test_sessions_of_an_account_are_found_by_index(anonymous: httpx.AsyncClient, ada: Account) -> None:
    for name in ("bob", "eve"):
        account = await make_account(anonymous, name)
        for _ in range(10):
            await signed_in(anonymous, account)
    explained = await explain(
        SessionDocument, [{"$match": {"user": ObjectId(ada.id)}}, {"$sort": {"last_seen_at": -1}}, {"$limit": MOST}]
    )
    assert set(found_in(explained, "indexName")) == {"user_last_seen"}
    assert not stages(explained) & {"COLLSCAN", "SORT"}
    expiry = (await collection(SessionDocument).index_information())["session_expiry"]
    assert (expiry["key"], expiry["expireAfterSeconds"]) == ([("expires_at", 1)], 0)
