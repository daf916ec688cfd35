"""Guesses at passwords, and what is counted of them."""

import httpx
from fastapi import FastAPI

from taskapi.accounts.security.attempt_counters import BackoffPolicy
from taskapi.accounts.security.documents import ThrottleDocument
from taskapi.accounts.security.throttling import Throttle
from tests.client import is_problem, sign_in
from tests.stored import collection


async def failures(app: FastAPI, pace: BackoffPolicy, subject: str) -> int | None:
    """What is stored for a counter; None when it is not."""
    counter_id = app.state.services[Throttle]._counter(pace, subject).counter_id
    found = await collection(ThrottleDocument).find_one({"_id": counter_id})
    return int(found["failures"]) if found else None


async def guess(client: httpx.AsyncClient, times: int, username: str = "ada") -> list[int]:
    return [(await sign_in(client, username, f"guess number {n}")).status_code for n in range(times)]


def must_wait(answer: httpx.Response, seconds: int) -> None:
    is_problem(answer, 429, "too_many_attempts")
    assert answer.headers["retry-after"] == str(seconds)
