"""Guessing is slowed down, and nobody can keep somebody else out by it."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI

from taskapi.accounts.errors import BadCredentials, TooManyAttempts
from taskapi.accounts.security.documents import ThrottleDocument
from taskapi.accounts.security.throttling import (
    ACCOUNT,
    ADDRESS,
    CURRENT_PASSWORD,
    KNOWN_ADDRESS,
    REFRESH,
    RESET_ADDRESS,
    RESET_EMAIL,
    Throttle,
)
from taskapi.accounts.users.documents import UserDocument
from taskapi.core.clock import in_utc
from tests.accounts.security.guesses import failures, guess, must_wait
from tests.client import PASSWORD, Account, at, is_problem, sign_in, stored_user
from tests.conftest import another
from tests.stored import collection

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


async def elapse(time: timedelta) -> None:
    """Lets time pass for the counters."""
    async for each in collection(ThrottleDocument).find({}):
        moments = {name: value - time for name, value in each.items() if name not in ("_id", "failures", "account") and value}
        await collection(ThrottleDocument).update_one({"_id": each["_id"]}, {"$set": moments})


@pytest.mark.parametrize("username", ["ada", "nobody"])
async def test_wait_doubles_after_the_free_guesses(app: FastAPI, ada: Account, username: str) -> None:
    async with at(app, "192.0.2.1") as stranger:
        assert await guess(stranger, ACCOUNT.free_attempts, username) == [401] * ACCOUNT.free_attempts
        for seconds in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900):
            before = await collection(ThrottleDocument).find({}).to_list(None)
            must_wait(await sign_in(stranger, username, "a guess"), seconds)
            must_wait(await sign_in(stranger, username.upper()), seconds)  # the right password is no exception
            assert await collection(ThrottleDocument).find({}).to_list(None) == before
            await elapse(timedelta(seconds=seconds))
            assert await guess(stranger, 1, username) == [401]


@pytest.mark.real  # mongomock is not atomic
async def test_concurrent_guesses_are_counted_before_they_are_checked(app: FastAPI, ada: Account) -> None:
    async with at(app, "192.0.2.1") as stranger:
        answers = await asyncio.gather(*(sign_in(stranger, "ada", f"guess number {n}") for n in range(200)))
        assert Counter(answer.status_code for answer in answers) == {401: ACCOUNT.free_attempts, 429: 200 - ACCOUNT.free_attempts}
    assert await failures(app, ACCOUNT, "ada") == await failures(app, ADDRESS, "192.0.2.1") == ACCOUNT.free_attempts


@pytest.mark.real
async def test_two_workers_count_together(app: FastAPI, ada: Account) -> None:
    async with at(app, "192.0.2.1") as one, another() as two:
        assert await guess(one, 3, "nobody") == [401] * 3
        assert await guess(two, ACCOUNT.free_attempts - 3, "nobody") == [401] * (ACCOUNT.free_attempts - 3)
        must_wait(await sign_in(one, "nobody"), 1)
        must_wait(await sign_in(two, "nobody"), 1)
        assert await guess(two, 1) == [401]  # from where Ada is known, whichever worker made her so
        assert await failures(app, KNOWN_ADDRESS, "127.0.0.1\nada") == 1


async def test_failures_are_forgotten_an_hour_after_the_last(app: FastAPI, ada: Account) -> None:
    async with at(app, "192.0.2.1") as stranger:
        await guess(stranger, ACCOUNT.free_attempts)
        await elapse(HOUR - MINUTE)
        assert await guess(stranger, 1) == [401]
        must_wait(await sign_in(stranger, "ada"), 2)
        await elapse(HOUR)
        assert await guess(stranger, ACCOUNT.free_attempts) == [401] * ACCOUNT.free_attempts


async def test_a_success_takes_its_attempt_back(app: FastAPI, ada: Account) -> None:
    async with at(app, "192.0.2.1") as stranger:
        await guess(stranger, ACCOUNT.free_attempts)
        await elapse(timedelta(seconds=1))
        assert (await sign_in(stranger, "ada")).status_code == 200
        assert await failures(app, ACCOUNT, "ada") == await failures(app, ADDRESS, "192.0.2.1") == ACCOUNT.free_attempts
        assert await failures(app, KNOWN_ADDRESS, "192.0.2.1\nada") == 0
        assert (await sign_in(stranger, "ada")).status_code == 200  # it is known now, and blocked by nothing
    async with at(app, "192.0.2.2") as elsewhere:  # the counter of the account goes on where it was
        assert (await sign_in(elsewhere, "ada", "a guess")).status_code == 401
        must_wait(await sign_in(elsewhere, "ada"), 2)


async def test_success_does_not_lift_a_block_by_others(app: FastAPI, ada: Account) -> None:
    throttle: Throttle = app.state.services[Throttle]
    async with at(app, "192.0.2.1") as stranger:
        async with throttle.sign_in("ada", "192.0.2.9"):
            assert await guess(stranger, ACCOUNT.free_attempts - 1) == [401] * (ACCOUNT.free_attempts - 1)
        must_wait(await sign_in(stranger, "ada"), 1)


async def test_guesses_from_elsewhere_do_not_block_the_owner(app: FastAPI, ada: Account) -> None:
    async with at(app, "192.0.2.1") as stranger:
        await guess(stranger, ACCOUNT.free_attempts)
        must_wait(await sign_in(stranger, "ada"), 1)
        assert (await sign_in(ada.client, "ada")).status_code == 200
        assert (await sign_in(ada.client, "ada", "a slip")).status_code == 401
        must_wait(await sign_in(stranger, "ada"), 1)


async def test_guesses_from_a_known_address_are_limited_too(app: FastAPI, ada: Account) -> None:
    await guess(ada.client, KNOWN_ADDRESS.free_attempts)
    for seconds in (1, 2, 4, 8, 16, 32, 60, 60):
        must_wait(await sign_in(ada.client, "ada"), seconds)
        await elapse(timedelta(seconds=seconds))
        assert await guess(ada.client, 1) == [401]
    async with at(app, "192.0.2.1") as elsewhere:
        assert (await sign_in(elsewhere, "ada")).status_code == 200


async def test_an_address_is_known_for_30_days(ada: Account) -> None:
    await elapse(29 * DAY)
    assert await guess(ada.client, ACCOUNT.free_attempts + 1) == [401] * (ACCOUNT.free_attempts + 1)
    await elapse(2 * DAY)
    assert await guess(ada.client, ACCOUNT.free_attempts + 1) == [401] * ACCOUNT.free_attempts + [429]


async def test_one_address_is_slowed_down_whomever_it_tries(app: FastAPI, ada: Account) -> None:
    async with at(app, "2001:db8:0:7::1") as stranger, at(app, "2001:db8:0:7:ffff::1") as same, at(app, "2001:db8::1") as other:
        for n in range(ADDRESS.free_attempts):
            assert await guess(stranger if n % 2 else same, 1, f"user{n}") == [401]
        must_wait(await sign_in(same, "ada"), 1)
        must_wait(await sign_in(same, "ada"), 1)
        assert (await sign_in(other, "ada")).status_code == 200
    assert (await sign_in(ada.client, "ada")).status_code == 200


async def test_an_ipv4_address_in_ipv6_is_that_address(app: FastAPI, ada: Account) -> None:
    async with at(app, "::ffff:192.0.2.1") as mapped, at(app, "192.0.2.1") as plain, at(app, "::ffff:192.0.2.2") as other:
        await guess(mapped, 1, "one")
        await guess(plain, 1, "two")
        await guess(other, 1, "three")
    assert await failures(app, ADDRESS, "192.0.2.1") == 2


async def test_typed_user_names_are_not_stored(anonymous: httpx.AsyncClient) -> None:
    await sign_in(anonymous, "hunter2-hunter2", "x")
    found = await collection(ThrottleDocument).find({}).to_list(None)
    assert "hunter2" not in str(found)
    assert all(len(each["_id"]) == 16 for each in found)
    assert set(found[0]) == {"_id", "failures", "blocked_until", "forgotten_at", "expires_at"}
    assert in_utc(found[0]["expires_at"]) == in_utc(found[0]["forgotten_at"])


async def test_right_password_of_disabled_account_is_no_guess(app: FastAPI, ada: Account) -> None:
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"disabled": True}})
    async with at(app, "192.0.2.1") as stranger:
        for _ in range(ACCOUNT.free_attempts + 1):
            is_problem(await sign_in(stranger, "ada"), 400, "inactive_user")
    assert await failures(app, ACCOUNT, "ada") == await failures(app, ADDRESS, "192.0.2.1") == 0
    assert await failures(app, KNOWN_ADDRESS, "192.0.2.1\nada") is None


async def test_a_stolen_token_cannot_guess_the_password(ada: Account) -> None:
    async def change(headers: dict[str, str], current: str) -> httpx.Response:
        body = {"password": "a new password", "current_password": current}
        return await ada.client.patch("/users/me", json=body, headers=headers)

    before = await stored_user(ada.id)
    for n in range(CURRENT_PASSWORD.free_attempts):
        is_problem(await change(ada.headers, f"guess number {n}"), 400, "wrong_password")
    must_wait(await change(ada.headers, PASSWORD), 1)
    assert await stored_user(ada.id) == before
    owner = (await sign_in(ada.client, "ada")).json()["access_token"]  # who has the password can begin another session
    assert (await change({"Authorization": f"Bearer {owner}"}, PASSWORD)).status_code == 200


@pytest.mark.real
async def test_accounts_are_made_one_after_the_other(anonymous: httpx.AsyncClient) -> None:
    async with another(registrations_per_address=3) as client:
        bodies: list[dict[str, Any]] = [{"username": f"user{n}", "password": PASSWORD} for n in range(5)]
        answers = await asyncio.gather(*(client.post("/register", json=body) for body in bodies[:4]))
        assert sorted(answer.status_code for answer in answers) == [201, 201, 201, 429]
        key = {"Idempotency-Key": "one"}
        must_wait(await client.post("/register", json=bodies[4], headers=key), 1)
        await elapse(timedelta(seconds=1))
        assert (await client.post("/register", json=bodies[4], headers=key)).status_code == 201
        assert (await client.post("/register", json=bodies[4], headers=key)).status_code == 201  # a repeat counts nothing
    assert await collection(UserDocument).count_documents({}) == 4


async def test_only_wrong_refresh_tokens_are_counted(app: FastAPI, ada: Account) -> None:
    async def refresh(token: str) -> httpx.Response:
        return await ada.client.post("/token", data={"grant_type": "refresh_token", "refresh_token": token})

    for n in range(REFRESH.free_attempts):
        is_problem(await refresh(f"guess number {n}"), 400, "invalid_grant")
    must_wait(await refresh("a guess"), 1)
    assert (await refresh(ada.refresh_token)).status_code == 200
    assert await failures(app, REFRESH, "127.0.0.1") == REFRESH.free_attempts


async def test_reset_requests_are_counted_by_ip_and_email(app: FastAPI, anonymous: httpx.AsyncClient) -> None:
    throttle: Throttle = app.state.services[Throttle]
    for n in range(RESET_EMAIL.free_attempts):
        await throttle.reset_request("Ada@example.com", f"192.0.2.{n}")
    with pytest.raises(TooManyAttempts) as caught:
        await throttle.reset_request("ada@example.com", "192.0.2.9")
    assert caught.value.retry_after == 1
    assert await failures(app, RESET_EMAIL, "ada@example.com") == RESET_EMAIL.free_attempts
    assert await failures(app, RESET_ADDRESS, "192.0.2.9") is None


async def test_who_has_proved_who_they_are_starts_anew(app: FastAPI, ada: Account) -> None:
    throttle: Throttle = app.state.services[Throttle]
    for n in range(ACCOUNT.free_attempts):
        with pytest.raises(BadCredentials):
            async with throttle.sign_in("ada", f"192.0.2.{n}"):
                raise BadCredentials
    async with at(app, "192.0.2.9") as owner:
        must_wait(await sign_in(owner, "ada"), 1)
        await throttle.reset("ADA")
        assert (await sign_in(owner, "ada")).status_code == 200
