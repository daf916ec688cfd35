"""Giving tokens back, and signing out."""

import httpx
import pytest
from bson import ObjectId

from taskapi.accounts.sessions.documents import SessionDocument
from taskapi.accounts.users.documents import UserDocument
from taskapi.audit.documents import SecurityEventDocument
from tests.client import PASSWORD, Account, is_problem, sign_in, signed_in, stored_user, wrong_fields
from tests.stored import collection


async def revoke(account: Account, token: str, **form: str) -> None:
    """Revokes a token, which is answered alike whatever the token is."""
    answer = await account.client.post("/revoke", data={"token": token, **form})
    assert (answer.status_code, answer.content) == (200, b"")


async def refresh(account: Account, token: str | None = None) -> httpx.Response:
    data = {"grant_type": "refresh_token", "refresh_token": token or account.refresh_token}
    return await account.client.post("/token", data=data)


async def is_out(account: Account) -> None:
    is_problem(await account.get("/users/me"), 401, "invalid_token")
    is_problem(await refresh(account), 400, "invalid_grant")


async def is_in(account: Account) -> None:
    assert (await account.get("/users/me")).status_code == 200


async def endings(account: Account) -> list[str]:
    """The kinds of events about ended sessions; the oldest first."""
    about = {"user": ObjectId(account.id), "kind": {"$in": ["session_ended", "sessions_ended", "refresh_token_reused"]}}
    return [event["kind"] async for event in collection(SecurityEventDocument).find(about, sort=[("_id", 1)])]


@pytest.mark.parametrize("hint", ["", "refresh_token", "access_token", "nonsense"])
@pytest.mark.parametrize("kind", ["refresh", "spent", "access"])
async def test_any_token_of_a_session_ends_only_it(ada: Account, bob: Account, kind: str, hint: str) -> None:
    second = await signed_in(ada.client, ada)
    token = ada.token if kind == "access" else ada.refresh_token
    if kind == "spent":
        assert (await refresh(ada)).status_code == 200
    for _ in range(2):  # the second time there is nothing left to end
        await revoke(ada, token, **({"token_type_hint": hint} if hint else {}))
    await is_out(ada)
    await is_in(second)
    await is_in(bob)
    assert len((await stored_user(ada.id))["sessions"]) == 1
    assert await collection(SessionDocument).count_documents({"user": ObjectId(ada.id)}) == 1
    assert await endings(ada) == ["session_ended"]


@pytest.mark.parametrize("text", ["nonsense", "a.b.c", "tsr_" + "A" * 48, "tsk_" + "x" * 40, "x" * 1000, "é", "{}"])
async def test_nonsense_is_taken_and_nothing_happens(ada: Account, text: str) -> None:
    await revoke(ada, text)
    await revoke(ada, f"{ada.token}x")
    await is_in(ada)
    assert await endings(ada) == []


async def test_revoking_an_already_ended_session_succeeds(ada: Account) -> None:
    second = await signed_in(ada.client, ada)
    await ada.patch("/users/me", json={"password": "another password 1", "current_password": PASSWORD})
    await revoke(ada, second.refresh_token)
    await revoke(ada, second.token)
    await collection(UserDocument).delete_one({"_id": ObjectId(ada.id)})
    await revoke(ada, ada.refresh_token)
    await revoke(ada, ada.token)


async def test_a_form_without_a_token_is_refused(anonymous: httpx.AsyncClient) -> None:
    assert wrong_fields(await anonymous.post("/revoke", data={"token_type_hint": "access_token"})) == {"token": "missing"}
    is_problem(await anonymous.post("/revoke", json={"token": "x"}), 415, "unsupported_media_type")


async def test_signing_out_ends_this_session(ada: Account) -> None:
    second = await signed_in(ada.client, ada)
    assert (await ada.post("/logout")).status_code == 204
    await is_out(ada)
    await is_in(second)
    is_problem(await ada.post("/logout"), 401, "invalid_token")
    assert await endings(ada) == ["session_ended"]


async def test_signing_out_everywhere_ends_all_of_them(ada: Account, bob: Account) -> None:
    second = await signed_in(ada.client, ada)
    assert (await second.post("/logout/all")).status_code == 204
    await is_out(ada)
    await is_out(second)
    await is_in(bob)
    assert (await stored_user(ada.id))["sessions"] == []
    assert await collection(SessionDocument).count_documents({"user": ObjectId(ada.id)}) == 0
    assert await endings(ada) == ["sessions_ended"]
    assert (await sign_in(ada.client, "ada")).status_code == 200


@pytest.mark.parametrize("path", ["/logout", "/logout/all"])
async def test_who_is_not_signed_in_cannot_sign_out(anonymous: httpx.AsyncClient, path: str) -> None:
    is_problem(await anonymous.post(path), 401, "not_authenticated")


async def test_new_password_ends_all_sessions_but_this_one(ada: Account, bob: Account) -> None:
    others = [await signed_in(ada.client, ada) for _ in range(2)]
    new = "another password 1"
    assert (await ada.patch("/users/me", json={"password": new, "current_password": PASSWORD})).status_code == 200
    await is_in(ada)
    assert (await refresh(ada)).status_code == 200
    for other in others:
        await is_out(other)
    await is_in(bob)
    assert len((await ada.get("/users/me/sessions")).json()) == 1


async def test_a_refused_change_of_the_password_ends_none(ada: Account) -> None:
    other = await signed_in(ada.client, ada)
    wrong = await ada.patch("/users/me", json={"password": "another password 1", "current_password": "not it at all"})
    is_problem(wrong, 400, "wrong_password")
    await is_in(ada)
    await is_in(other)
