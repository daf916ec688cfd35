"""What a caller without an account can have stored is bounded by their IP address."""

import httpx
import pytest
from fastapi import FastAPI

from taskapi.accounts.errors import TooManyAttempts
from taskapi.accounts.security.documents import ThrottleDocument
from taskapi.accounts.security.throttling import ADDRESS, RESET_ADDRESS, Throttle
from taskapi.web.idempotency.documents import IdempotencyDocument
from tests.accounts.security.guesses import guess, must_wait
from tests.client import PASSWORD, at, sign_in, wrong_fields
from tests.conftest import another
from tests.stored import collection


async def count_counters() -> int:
    return await collection(ThrottleDocument).count_documents({})


async def test_blocked_address_adds_no_counters(app: FastAPI) -> None:
    async with at(app, "192.0.2.1") as stranger:
        for n in range(ADDRESS.free_attempts):
            await guess(stranger, 1, f"user{n}")
        before = await count_counters()
        for n in range(5):
            must_wait(await sign_in(stranger, f"another{n}"), 1)
    assert await count_counters() == before


async def test_blocked_address_adds_no_reset_counters(app: FastAPI) -> None:
    throttle: Throttle = app.state.services[Throttle]
    for n in range(RESET_ADDRESS.free_attempts):
        await throttle.reset_request(f"user{n}@example.com", "192.0.2.1")
    before = await count_counters()
    with pytest.raises(TooManyAttempts):
        await throttle.reset_request("another@example.com", "192.0.2.1")
    assert await count_counters() == before


@pytest.mark.real
async def test_refused_registrations_store_few_keys(anonymous: httpx.AsyncClient) -> None:
    """They count as no registrations, but each key is stored for a day, with the answer."""
    async with another(registrations_per_address=3) as client:
        for n in range(6):
            refused = await client.post("/register", json={"username": "?"}, headers={"Idempotency-Key": f"key-{n}"})
            assert set(wrong_fields(refused)) == {"username", "password"}
        must_wait(await client.post("/register", json={"username": "?"}, headers={"Idempotency-Key": "more"}), 1)
        assert await collection(IdempotencyDocument).count_documents({}) == 6
        assert (await client.post("/register", json={"username": "ada", "password": PASSWORD})).status_code == 201
