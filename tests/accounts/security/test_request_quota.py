"""How many requests an account may send."""

import time

import httpx
import pytest
from fastapi import FastAPI

from taskapi.accounts.security import request_quota
from taskapi.accounts.security.request_quota import MINUTE, SECOND, RequestLimit
from taskapi.web.cors import EXPOSED_HEADERS
from tests.client import PASSWORD, Account, is_problem, make_account, sign_in
from tests.conftest import another

NAMES = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time in nanoseconds, which stands still until a test moves it."""
    now = [10**18]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now[0])
    return now


def told(limit: RequestLimit, account: str = "ada") -> tuple[int, int, int, int]:
    """What a request is told: limit, remaining, reset, and how long to stay away."""
    headers, retry_after = limit.take(account)
    assert tuple(name.decode() for name, _ in headers) == NAMES
    first, second, third = (int(value) for _, value in headers)
    return first, second, third, retry_after


def test_quota_is_used_up_and_refills_gradually(clock: list[int]) -> None:
    limit = RequestLimit(6)
    assert [told(limit) for _ in range(6)] == [(6, 5 - n, 10 * (n + 1), 0) for n in range(6)]
    assert told(limit) == told(limit) == (6, 0, 60, 10)  # what is refused uses nothing up
    clock[0] += 10 * SECOND - 1
    assert told(limit) == (6, 0, 51, 1)
    clock[0] += 1
    assert told(limit) == (6, 0, 60, 0)
    assert told(limit, "bob") == (6, 5, 10, 0)
    clock[0] += MINUTE
    assert told(limit) == (6, 5, 10, 0)


@pytest.mark.parametrize("per_minute", [1, 7, 60_000, 9_999_999])
def test_every_request_counts_as_one(clock: list[int], per_minute: int) -> None:
    limit = RequestLimit(per_minute)
    few = min(per_minute, 1000)
    assert [told(limit)[1] for _ in range(few)] == [per_minute - n - 1 for n in range(few)]


def test_what_is_remembered_is_bounded(clock: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_quota, "MAX_ACCOUNTS", 100)
    limit = RequestLimit(6)
    for n in range(1000):
        assert told(limit, f"user{n}") == (6, 5, 10, 0)
        assert len(limit._free_at) <= 100
    clock[0] += MINUTE
    for n in range(80):
        told(limit, f"early{n}")
    clock[0] += 5 * SECOND
    for n in range(20):
        told(limit, f"late{n}")
    clock[0] += 5 * SECOND  # now the early ones have their whole quota again, and make room
    assert told(limit, "another") == (6, 5, 10, 0)
    assert len(limit._free_at) == 21
    assert told(limit, "late0") == (6, 4, 15, 0)


async def test_every_authenticated_response_reports_the_remaining_quota(ada: Account) -> None:
    answers = [await ada.get(path) for path in ("/users/me", "/tasks", "/tasks/65f1a2b3c4d5e6f708192a3b", "/tasks?limit=no")]
    answers.append(await ada.post("/tasks", json={"title": "With a key"}, headers={"Idempotency-Key": "one"}))
    answers.append(await ada.post("/tasks", json={"title": "With a key"}, headers={"Idempotency-Key": "one"}))
    assert [answer.status_code for answer in answers] == [200, 200, 404, 422, 201, 201]
    for answer in answers:
        assert all(answer.headers.get_list(name) for name in NAMES)
        assert answer.headers["ratelimit-limit"] == "60000"
        assert 59_000 < int(answer.headers["ratelimit-remaining"]) < 60_000
        assert answer.headers["ratelimit-reset"] == "1"
        assert all(len(answer.headers.get_list(name)) == 1 for name in NAMES)


async def test_others_are_told_nothing(anonymous: httpx.AsyncClient, ada: Account) -> None:
    for answer in (await anonymous.get("/tasks"), await anonymous.get("/health"), await sign_in(anonymous, "ada")):
        assert not set(NAMES) & set(answer.headers)


@pytest.mark.real
@pytest.mark.usefixtures("clock")
async def test_account_over_its_limit_gets_retry_after(ada: Account, bob: Account) -> None:
    async with another(requests_per_minute=2) as client:
        for _ in range(2):
            assert (await client.get("/tasks", headers=ada.headers)).status_code == 200
        for answer in (
            await client.get("/tasks", headers=ada.headers),
            await client.get("/users/me", headers=ada.headers),
            await client.post("/tasks", json={"title": "One too many"}, headers={**ada.headers, "Idempotency-Key": "one"}),
        ):
            is_problem(answer, 429, "too_many_requests")
            assert [answer.headers[name] for name in NAMES] == ["2", "0", "60"]
            assert answer.headers["retry-after"] == "30"
        assert (await client.get("/tasks", headers=bob.headers)).status_code == 200
    answer = await ada.post("/tasks", json={"title": "One too many"}, headers={"Idempotency-Key": "one"})
    assert (answer.status_code, "idempotent-replay" in answer.headers) == (201, False)  # the refusal was not kept


@pytest.mark.real
async def test_there_may_be_no_limit(anonymous: httpx.AsyncClient) -> None:
    async with another(requests_per_minute=0) as client:
        ada = await make_account(client, "ada", password=PASSWORD)
        assert not set(NAMES) & set((await ada.get("/tasks")).headers)


def test_browsers_and_the_document_know_the_headers(app: FastAPI) -> None:
    assert {"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After"} <= set(EXPOSED_HEADERS)
    for path, item in app.openapi()["paths"].items():
        for method, operation in item.items():
            answers = operation["responses"]
            limited = [status for status, answer in answers.items() if "RateLimit-Limit" in answer.get("headers", {})]
            if operation["security"]:
                assert set(limited) == {status for status in answers if status < "500"}, (method, path)
                assert "Retry-After" in answers["429"]["headers"]
            else:
                assert not limited
