"""A second factor whose key the service does not have: said in the log and in the answer, and no dead end."""

from collections.abc import AsyncIterator

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI
from pydantic import SecretStr

from taskapi.accounts.two_factor import service
from taskapi.accounts.two_factor.repository import TwoFactorRepository
from taskapi.accounts.two_factor.service import TwoFactorKeys
from taskapi.accounts.users.documents import UserDocument
from taskapi.core.background import Jobs
from taskapi.core.keys import Keyring
from taskapi.main import create_app
from tests.accounts.two_factor.test_router import NEVER, PATH, begin, enter, events, factor_of, turn_on
from tests.client import PASSWORD, Account, is_problem, stored_user, wrong_fields
from tests.conftest import SECRET, another, make_settings, running
from tests.leaks import keep_secret
from tests.plans import explain, found_in
from tests.stored import collection

pytestmark = pytest.mark.real

NEW = keep_secret("another-secret-of-the-test-suite-0123456789", "secret key")
CIPHER = Keyring([NEW]).cipher("second factors")
UNREADABLE = "second_factor_unreadable"


@pytest.fixture
async def elsewhere(ada: Account) -> AsyncIterator[httpx.AsyncClient]:
    """The same database under another secret."""
    async with another(secret_key=SecretStr(NEW)) as client:
        yield client


async def test_uncheckable_code_is_not_reported_as_wrong(
    ada: Account, elsewhere: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    factor = await turn_on(ada)
    before = await factor_of(ada)
    caplog.clear()
    for code in (factor.code(1), factor.recovery[0], NEVER):
        answer = await enter(elsewhere, code)
        assert "lacks the key with which it was created" in is_problem(answer, 503, UNREADABLE)["detail"]
        assert int(answer.headers["retry-after"]) > 0
    assert {record.levelname for record in caplog.records} == {"ERROR"}
    assert f"the second factor of {ada.id} was created with a secret key that is not set" in caplog.messages[0]
    assert "TASKAPI_SECRET_KEYS" in caplog.messages[0]
    assert await factor_of(ada) == before
    assert (await events(ada, "sign_in"))[-1] == ("sign_in", "failure", {"reason": "second factor unreadable"})


async def test_a_stranger_learns_nothing_of_it(ada: Account, elsewhere: httpx.AsyncClient) -> None:
    await turn_on(ada)
    is_problem(await enter(elsewhere, NEVER, "wrong password"), 401, "bad_credentials")
    is_problem(await enter(elsewhere), 401, "second_factor_required")
    assert list(wrong_fields(await enter(elsewhere, "x" * 1001))) == ["otp"]


async def test_recovery_codes_of_a_configured_key_still_work(ada: Account) -> None:
    await turn_on(ada)
    async with another(secret_key=None, secret_keys=(SecretStr(NEW), SecretStr(SECRET))) as both:
        answer = await both.post(f"{PATH}/recovery-codes", json={"password": PASSWORD}, headers=ada.headers)
        codes = answer.json()["recovery_codes"]
    async with another(secret_key=SecretStr(NEW)) as client:
        assert (await enter(client, codes[0])).status_code == 200
        is_problem(await enter(client, codes[0]), 503, UNREADABLE)


async def test_with_the_right_key_again_everything_works(ada: Account, elsewhere: httpx.AsyncClient) -> None:
    factor = await turn_on(ada)
    is_problem(await enter(elsewhere, factor.code(1)), 503, UNREADABLE)
    assert (await enter(ada.client, factor.code(1))).status_code == 200
    assert (await enter(ada.client, factor.recovery[0])).status_code == 200


async def seal_with_another_key(ada: Account) -> None:
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"authenticator.secret": CIPHER.encrypt("x")}})


async def test_it_can_be_turned_off_with_the_password(ada: Account) -> None:
    await turn_on(ada)
    await seal_with_another_key(ada)
    assert (await ada.post(f"{PATH}/disable", json={"password": PASSWORD})).status_code == 204
    assert (await enter(ada.client)).status_code == 200


async def test_an_enrolment_under_another_key_is_begun_again(ada: Account) -> None:
    begun = await begin(ada)
    await seal_with_another_key(ada)
    is_problem(await ada.post(f"{PATH}/confirm", json={"code": begun.code()}), 409, "no_enrolment")
    await turn_on(ada)


async def test_the_start_says_how_many_cannot_be_checked(
    app: FastAPI, ada: Account, bob: Account, caplog: pytest.LogCaptureFixture
) -> None:
    await turn_on(ada)
    await service.report_unreadable(app.state.services[TwoFactorRepository], app.state.services[TwoFactorKeys].cipher)
    assert caplog.messages == []
    await turn_on(bob)
    caplog.clear()
    second = create_app(make_settings(secret_key=SecretStr(NEW)))
    async with running(second):
        (job,) = [job for job in second.state.services[Jobs] if job.name == "second factor check"]
        await job._work()  # as at the start, where nobody waits for it
    (line, *_) = [message for message in caplog.messages if "second factors were" in message]
    assert line.startswith("2 second factors were created with a secret key that is not set")
    assert "taskapi users remove-two-factor" in line


async def test_the_count_is_bounded(
    app: FastAPI, ada: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await turn_on(ada)
    user = await stored_user(ada.id)
    names = [f"user{n:03}" for n in range(60)]
    await collection(UserDocument).insert_many(
        {**user, "_id": ObjectId(), "username": name, "username_key": name} for name in names
    )
    caplog.clear()
    monkeypatch.setattr(service, "MAX_CHECKED", 50)
    await service.report_unreadable(app.state.services[TwoFactorRepository], CIPHER)
    assert [message.partition(" second")[0] for message in caplog.messages] == ["at least 50"]
    explained = await explain(UserDocument, [{"$match": {"two_factor": True}}, {"$project": {"authenticator.secret": 1}}])
    assert set(found_in(explained, "indexName")) == {"with_two_factor"}
