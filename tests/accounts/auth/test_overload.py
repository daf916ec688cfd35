"""Many sign-ins at once: they do not starve other requests, and their time does not tell who exists."""

import asyncio
import statistics
import threading
import time

import httpx
import pytest

from taskapi.accounts.security.access_tokens import PasswordHasher
from taskapi.accounts.security.documents import ThrottleDocument
from taskapi.main import create_app
from tests.client import at, is_problem, make_account, sign_in
from tests.conftest import make_settings, running
from tests.stored import collection
from tests.tools import PATIENCE_SECONDS

DEFAULT_COST = {"argon2_memory_kib": 19_456, "argon2_rounds": 2}
SAMPLES = 11


@pytest.mark.real
async def test_busy_password_hashing_does_not_delay_other_requests(
    anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = create_app(make_settings(hash_workers=1, hash_queue=2))
    release = threading.Event()
    async with running(small) as client:
        ada = await make_account(client, "ada")
        hasher = small.state.services[PasswordHasher]
        verify = hasher._context.verify

        def blocked(password: str, stored: str) -> bool:
            assert release.wait(PATIENCE_SECONDS)
            return bool(verify(password, stored))

        monkeypatch.setattr(hasher._context, "verify", blocked)
        attackers = [asyncio.create_task(sign_in(client, f"user{n}", "a guess")) for n in range(3)]
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while hasher._room:
                    assert (await ada.get("/tasks")).status_code == 200
            refused = await sign_in(client, "ada")
            is_problem(refused, 503, "overloaded")
            assert refused.headers["retry-after"] == "1"
            is_problem(await client.post("/register", json={"username": "new", "password": "a good password"}), 503, "overloaded")
            assert (await ada.post("/tasks", json={"title": "Not disturbed"})).status_code == 201
            refreshed = {"grant_type": "refresh_token", "refresh_token": ada.refresh_token}
            assert (await client.post("/token", data=refreshed)).status_code == 200
        finally:
            release.set()
        assert [answer.status_code for answer in await asyncio.gather(*attackers)] == [401] * 3
        assert (await sign_in(client, "ada")).status_code == 200
        failures = [each["failures"] async for each in collection(ThrottleDocument).find({"failures": {"$gt": 0}})]
        assert sorted(failures) == [1, 1, 1, 2, 3]


@pytest.mark.real
async def test_unknown_name_takes_as_long_as_wrong_password(anonymous: httpx.AsyncClient) -> None:
    """At the real cost of a hash, which is most of the time: were it left out, the medians would be far apart."""
    dear = create_app(make_settings(**DEFAULT_COST))
    seconds: dict[str, list[float]] = {"ada": [], "nobody": []}
    async with running(dear) as client, at(dear, "192.0.2.1") as stranger:
        await make_account(client, "ada")
        for _ in range(SAMPLES):
            for username, taken in seconds.items():
                await collection(ThrottleDocument).delete_many({})
                started = time.perf_counter()
                assert (await sign_in(stranger, username, "a wrong password")).status_code == 401
                taken.append(time.perf_counter() - started)
    known, unknown = (statistics.median(taken) for taken in seconds.values())
    assert abs(known - unknown) < max(known, unknown) * 0.4
