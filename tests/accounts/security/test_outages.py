"""While MongoDB is away, guesses stay counted, and attempts that nobody could check do not."""

from typing import Any

import pyotp
import pytest
from fastapi import FastAPI
from pymongo.errors import AutoReconnect, PyMongoError

from taskapi.accounts.security.repository import ThrottleRepository
from taskapi.accounts.security.throttling import ACCOUNT, ADDRESS, CURRENT_PASSWORD, KNOWN_ADDRESS
from taskapi.accounts.sessions.documents import SessionDocument
from taskapi.accounts.sessions.repository import SessionRepository
from taskapi.accounts.two_factor.repository import TwoFactorRepository
from taskapi.accounts.users.repository import UserRepository
from taskapi.audit.repository import SecurityEventRepository
from taskapi.db.driver_threads import QueueFull
from tests.accounts.security.guesses import failures, guess, must_wait
from tests.client import PASSWORD, Account, at, is_problem, sign_in
from tests.stored import collection


def fails(monkeypatch: pytest.MonkeyPatch, repository: type, method: str, error: type[PyMongoError] = AutoReconnect) -> None:
    """MongoDB is away from this method on."""

    async def away(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(repository, method, away)


@pytest.mark.parametrize("error", [AutoReconnect, QueueFull])
@pytest.mark.parametrize(
    "where", [(UserRepository, "find_for_sign_in"), (SessionRepository, "add")], ids=["before the check", "after it"]
)
async def test_an_outage_locks_no_owner_out(
    app: FastAPI, ada: Account, monkeypatch: pytest.MonkeyPatch, where: tuple[type, str], error: type[PyMongoError]
) -> None:
    async with at(app, "192.0.2.1") as stranger:
        with monkeypatch.context() as outage:
            fails(outage, *where, error)
            for client in (ada.client, stranger):
                answers = [await sign_in(client, "ada") for _ in range(KNOWN_ADDRESS.free_attempts + 1)]
                assert {answer.status_code for answer in answers} == {503}
        assert await failures(app, KNOWN_ADDRESS, "127.0.0.1\nada") == await failures(app, ACCOUNT, "ada") == 0
        assert await failures(app, ADDRESS, "192.0.2.1") == 0
        assert (await sign_in(stranger, "ada")).status_code == 200


async def test_half_counted_attempt_is_taken_back(app: FastAPI, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    count = ThrottleRepository._count

    async def away_at_the_address(self: ThrottleRepository, counter: Any, now: Any) -> Any:
        if counter.policy is ADDRESS:
            raise AutoReconnect
        return await count(self, counter, now)

    monkeypatch.setattr(ThrottleRepository, "_count", away_at_the_address)
    async with at(app, "192.0.2.1") as stranger:
        is_problem(await sign_in(stranger, "ada"), 503, "database_unavailable")
    assert await failures(app, ACCOUNT, "ada") == 0


async def test_outage_does_not_block_the_current_password(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"password": "a new password", "current_password": PASSWORD}
    with monkeypatch.context() as outage:
        fails(outage, UserRepository, "find_for_sign_in")
        for _ in range(CURRENT_PASSWORD.free_attempts + 1):
            is_problem(await ada.patch("/users/me", json=body), 503, "database_unavailable")
    assert (await ada.patch("/users/me", json=body)).status_code == 200


async def test_wrong_password_stays_counted_in_an_outage(app: FastAPI, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(monkeypatch, SecurityEventRepository, "add")  # which is asked to record the failure
    async with at(app, "192.0.2.1") as stranger:
        assert await guess(stranger, ACCOUNT.free_attempts) == [503] * ACCOUNT.free_attempts
        must_wait(await sign_in(stranger, "ada"), 1)
    assert await failures(app, ACCOUNT, "ada") == await failures(app, ADDRESS, "192.0.2.1") == ACCOUNT.free_attempts
    wrong = {"password": "a new password", "current_password": "a guess"}
    for _ in range(CURRENT_PASSWORD.free_attempts):
        is_problem(await ada.patch("/users/me", json=wrong), 503, "database_unavailable")
    must_wait(await ada.patch("/users/me", json={**wrong, "current_password": PASSWORD}), 1)


async def test_success_that_stays_counted_is_a_success(app: FastAPI, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = await collection(SessionDocument).count_documents({})
    fails(monkeypatch, ThrottleRepository, "write")
    assert (await sign_in(ada.client, "ada")).status_code == 200
    assert await collection(SessionDocument).count_documents({}) == sessions + 1
    assert await failures(app, KNOWN_ADDRESS, "127.0.0.1\nada") == 1


async def test_wrong_code_stays_counted_in_an_outage(app: FastAPI, ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = (await ada.post("/users/me/two-factor", json={"password": PASSWORD})).json()
    confirmed = await ada.post("/users/me/two-factor/confirm", json={"code": pyotp.TOTP(begun["secret"]).now()})
    recovery, *_ = confirmed.json()["recovery_codes"]
    form = {"username": "ada", "password": PASSWORD}
    with monkeypatch.context() as outage:
        fails(outage, TwoFactorRepository, "use_recovery_code")  # where a wrong code is looked for next
        for wrong in range(1, 4):
            answer = await ada.client.post("/token", data={**form, "otp": "000-000"})  # a code by chance once in 300,000 runs
            is_problem(answer, 503, "database_unavailable")
            assert await failures(app, KNOWN_ADDRESS, "127.0.0.1\nada") == wrong
    with monkeypatch.context() as outage:
        fails(outage, SessionRepository, "add")
        is_problem(await ada.client.post("/token", data={**form, "otp": recovery}), 503, "database_unavailable")
    assert await failures(app, KNOWN_ADDRESS, "127.0.0.1\nada") == wrong
