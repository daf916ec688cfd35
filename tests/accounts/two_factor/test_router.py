"""Turning a second factor on and off, and signing in with one."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pyotp
import pytest
from bson import ObjectId
from pydantic import SecretStr

from taskapi.accounts.security.documents import ThrottleDocument
from taskapi.accounts.users.documents import UserDocument
from taskapi.audit.documents import SecurityEventDocument
from taskapi.core.clock import utc_now
from taskapi.db.shapes import validate
from tests.client import PASSWORD, Account, is_problem, stored_user, wrong_fields
from tests.conftest import SECRET, another
from tests.stored import collection

PATH = "/users/me/two-factor"
NEVER = "000-000"  # a code by chance once in 300,000 runs


@dataclass(frozen=True)
class Factor:
    """What Ada has in her hands."""

    secret: str
    recovery: list[str]

    def code(self, steps: int = 0) -> str:
        """The code of so many steps from now. Codes of the future are also good a moment later; those of the past may not be."""
        return pyotp.TOTP(self.secret).at(utc_now() + timedelta(seconds=30 * steps))


async def begin(ada: Account) -> Factor:
    answer = await ada.post(PATH, json={"password": PASSWORD})
    assert answer.status_code == 201, answer.text
    return Factor(answer.json()["secret"], [])


async def turn_on(ada: Account) -> Factor:
    """Ada's second factor; the code of this moment is used."""
    begun = await begin(ada)
    answer = await ada.post(f"{PATH}/confirm", json={"code": begun.code()})
    assert answer.status_code == 200, answer.text
    return Factor(begun.secret, answer.json()["recovery_codes"])


async def enter(client: httpx.AsyncClient, otp: str | None = None, password: str = PASSWORD) -> httpx.Response:
    form = {"username": "ada", "password": password} | ({} if otp is None else {"otp": otp})
    return await client.post("/token", data=form)


async def change(ada: Account, update: dict[str, Any]) -> None:
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, update)


async def factor_of(ada: Account) -> dict[str, Any]:
    return dict((await stored_user(ada.id))["authenticator"])


async def events(ada: Account, *kinds: str) -> list[tuple[str, str, dict[str, str]]]:
    found = collection(SecurityEventDocument).find({"user": ObjectId(ada.id), "kind": {"$in": kinds}}, sort=[("_id", 1)])
    return [(event["kind"], event["outcome"], event["details"]) async for event in found]


async def test_it_is_on_once_it_is_confirmed(ada: Account, anonymous: httpx.AsyncClient) -> None:
    answer = await ada.post(PATH, json={"password": PASSWORD})
    assert (answer.status_code, set(answer.json())) == (201, {"secret", "uri", "expires_at"})
    assert f"secret={answer.json()['secret']}" in answer.json()["uri"]
    assert (await ada.get("/users/me")).json()["two_factor"] is False
    assert (await enter(anonymous)).status_code == 200  # nothing is asked for yet

    begun = Factor(answer.json()["secret"], [])
    is_problem(await ada.post(f"{PATH}/confirm", json={"code": NEVER}), 400, "wrong_code")
    is_problem(await ada.post(f"{PATH}/confirm", json={"code": begun.code(3)}), 400, "wrong_code")
    assert "two_factor" not in await stored_user(ada.id)
    confirmed = await ada.post(f"{PATH}/confirm", json={"code": begun.code()})
    assert (confirmed.status_code, len(confirmed.json()["recovery_codes"])) == (200, 10)
    assert (await ada.get("/users/me")).json()["two_factor"] is True
    assert (await ada.patch("/users/me", json={"full_name": "Ada"})).json()["two_factor"] is True
    assert await events(ada, "two_factor_enabled") == [("two_factor_enabled", "success", {})]


async def test_no_secret_is_stored_that_can_be_read(ada: Account) -> None:
    factor = await turn_on(ada)
    user = await stored_user(ada.id)
    assert validate(UserDocument, user).authenticator is not None
    for secret in (factor.secret, *factor.recovery, *(code.replace("-", "") for code in factor.recovery)):
        assert secret not in str(user)
    assert len(user["authenticator"]["recovery"]) == 10
    assert factor.secret not in (await ada.get("/users/me")).text


async def test_signing_in_asks_for_it(ada: Account, anonymous: httpx.AsyncClient) -> None:
    factor = await turn_on(ada)
    for otp in (None, ""):
        answer = await enter(anonymous, otp)
        is_problem(answer, 401, "second_factor_required")
        assert answer.headers["www-authenticate"] == "Bearer"
    for wrong in (NEVER, factor.code(3), factor.code(-3), "nonsense", "K7QX-M2VD-9RTA", "x" * 1000, 6 * "\uff11"):
        is_problem(await enter(anonymous, wrong), 401, "bad_second_factor")
    assert list(wrong_fields(await enter(anonymous, "x" * 1001))) == ["otp"]
    answer = await enter(anonymous, factor.code(1))
    assert answer.status_code == 200
    refreshed = {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"]}
    assert (await anonymous.post("/token", data=refreshed)).status_code == 200
    signed = await events(ada, "sign_in")
    assert signed[1] == ("sign_in", "failure", {"reason": "no second factor"})
    assert signed[3] == ("sign_in", "failure", {"reason": "wrong second factor"})
    assert signed[-1][1] == "success"
    assert len(signed) == 11


async def test_a_wrong_password_says_nothing_about_the_code(ada: Account, anonymous: httpx.AsyncClient) -> None:
    factor = await turn_on(ada)
    for otp in (None, NEVER, factor.code(1), factor.recovery[0]):
        is_problem(await enter(anonymous, otp, "wrong password"), 401, "bad_credentials")
    assert len((await factor_of(ada))["recovery"]) == 10
    assert (await enter(anonymous, factor.code(1))).status_code == 200  # the code was not used up


async def test_a_disabled_account_uses_no_code_up(ada: Account, anonymous: httpx.AsyncClient) -> None:
    factor = await turn_on(ada)
    await change(ada, {"$set": {"disabled": True}})
    is_problem(await enter(anonymous, factor.recovery[0]), 400, "inactive_user")
    assert len((await factor_of(ada))["recovery"]) == 10


async def test_whoever_leaves_comes_back_with_it(ada: Account, anonymous: httpx.AsyncClient) -> None:
    factor = await turn_on(ada)
    assert (await ada.call("DELETE", "/users/me", json={"password": PASSWORD})).status_code == 202
    is_problem(await enter(anonymous), 401, "second_factor_required")
    assert "leaving" in await stored_user(ada.id)
    assert (await enter(anonymous, factor.code(1))).status_code == 200
    assert "leaving" not in await stored_user(ada.id)


async def test_each_code_serves_once(ada: Account, anonymous: httpx.AsyncClient) -> None:
    begun = await begin(ada)
    code, later = begun.code(), begun.code(1)
    assert (await ada.post(f"{PATH}/confirm", json={"code": code})).status_code == 200
    is_problem(await enter(anonymous, code), 401, "bad_second_factor")  # confirming was its use
    assert (await enter(anonymous, later)).status_code == 200
    is_problem(await enter(anonymous, later), 401, "bad_second_factor")
    is_problem(await enter(anonymous, code), 401, "bad_second_factor")


@pytest.mark.real
async def test_concurrent_uses_of_a_code_admit_exactly_one(ada: Account, anonymous: httpx.AsyncClient) -> None:
    factor = await turn_on(ada)
    async with another() as second:
        for code in (factor.code(1), factor.recovery[0]):
            await collection(ThrottleDocument).delete_many({})  # so many wrong codes would be slowed down
            answers = await asyncio.gather(*(enter(client, code) for _ in range(2) for client in (anonymous, second)))
            assert sorted(answer.status_code for answer in answers) == [200] + [401] * 3
    assert len((await factor_of(ada))["recovery"]) == 9


async def test_recovery_codes_serve_once_however_they_are_typed(ada: Account, anonymous: httpx.AsyncClient) -> None:
    factor = await turn_on(ada)
    first, second, third = factor.recovery[:3]
    for typed in (first, second.lower().replace("-", ""), f" {third.replace('-', ' ')}".replace("0", "o").replace("1", "l")):
        assert (await enter(anonymous, typed)).status_code == 200, typed
        is_problem(await enter(anonymous, typed), 401, "bad_second_factor")
    assert await events(ada, "recovery_code_used") == [("recovery_code_used", "success", {"left": n}) for n in ("9", "8", "7")]


async def test_one_accounts_codes_are_worth_nothing_to_another(ada: Account, bob: Account, anonymous: httpx.AsyncClient) -> None:
    await turn_on(ada)
    other = await turn_on(bob)
    for code in (other.code(1), other.recovery[0]):
        is_problem(await enter(anonymous, code), 401, "bad_second_factor")
    assert len((await factor_of(bob))["recovery"]) == 10


async def test_beginning_again_forgets_the_first_secret(ada: Account) -> None:
    first, second = await begin(ada), await begin(ada)
    is_problem(await ada.post(f"{PATH}/confirm", json={"code": first.code()}), 400, "wrong_code")
    assert (await ada.post(f"{PATH}/confirm", json={"code": second.code()})).status_code == 200
    is_problem(await ada.post(PATH, json={"password": PASSWORD}), 409, "two_factor_on")
    is_problem(await ada.post(f"{PATH}/confirm", json={"code": second.code(1)}), 409, "no_enrolment")


async def test_confirmation_needs_a_setup_within_ten_minutes(ada: Account) -> None:
    is_problem(await ada.post(f"{PATH}/confirm", json={"code": "123456"}), 409, "no_enrolment")
    begun = await begin(ada)
    await change(ada, {"$set": {"authenticator.expires_at": utc_now()}})
    is_problem(await ada.post(f"{PATH}/confirm", json={"code": begun.code()}), 409, "no_enrolment")


async def test_of_two_confirmations_at_once_one_gives_codes(ada: Account) -> None:
    begun = await begin(ada)
    answers = await asyncio.gather(*(ada.post(f"{PATH}/confirm", json={"code": begun.code()}) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 4


async def test_every_change_needs_the_password(ada: Account) -> None:
    is_problem(await ada.post(PATH, json={"password": "wrong password"}), 400, "wrong_password")
    assert "authenticator" not in await stored_user(ada.id)
    await turn_on(ada)
    before = await factor_of(ada)
    for path in (PATH, f"{PATH}/disable", f"{PATH}/recovery-codes"):
        is_problem(await ada.post(path, json={"password": "wrong password"}), 400, "wrong_password")
        assert list(wrong_fields(await ada.post(path, json={}))) == ["password"]
    assert await factor_of(ada) == before


async def test_turned_off_it_is_gone(ada: Account, anonymous: httpx.AsyncClient) -> None:
    is_problem(await ada.post(f"{PATH}/disable", json={"password": PASSWORD}), 409, "two_factor_off")
    await turn_on(ada)
    assert (await ada.post(f"{PATH}/disable", json={"password": PASSWORD})).status_code == 204
    assert not {"two_factor", "authenticator"} & (await stored_user(ada.id)).keys()
    assert (await enter(anonymous)).status_code == 200
    assert len(await events(ada, "two_factor_disabled")) == 1


async def test_new_recovery_codes_end_the_old_ones(ada: Account, anonymous: httpx.AsyncClient) -> None:
    is_problem(await ada.post(f"{PATH}/recovery-codes", json={"password": PASSWORD}), 409, "two_factor_off")
    factor = await turn_on(ada)
    answer = await ada.post(f"{PATH}/recovery-codes", json={"password": PASSWORD})
    assert answer.status_code == 201
    is_problem(await enter(anonymous, factor.recovery[0]), 401, "bad_second_factor")
    assert (await enter(anonymous, answer.json()["recovery_codes"][0])).status_code == 200
    assert len(await events(ada, "recovery_codes_made")) == 1


async def test_api_tokens_and_narrow_sessions_are_refused(ada: Account, anonymous: httpx.AsyncClient) -> None:
    token = (await ada.post("/users/me/tokens", json={"name": "x", "scopes": ["account"]})).json()["token"]
    form = {"username": "ada", "password": PASSWORD, "scope": "tasks:read"}
    narrow = (await anonymous.post("/token", data=form)).json()["access_token"]
    for path in (PATH, f"{PATH}/confirm", f"{PATH}/disable", f"{PATH}/recovery-codes"):
        body = {"code": "123456"} if path.endswith("confirm") else {"password": PASSWORD}
        for bearer, code in ((token, "session_required"), (narrow, "insufficient_scope")):
            is_problem(await anonymous.post(path, json=body, headers={"Authorization": f"Bearer {bearer}"}), 403, code)
        is_problem(await anonymous.post(path, json=body), 401, "not_authenticated")


@pytest.mark.real
async def test_new_service_secret_keeps_and_reencrypts_the_factor(ada: Account) -> None:
    factor = await turn_on(ada)
    sealed = (await factor_of(ada))["secret"]
    new = "another-secret-of-the-test-suite-0123456789"
    async with another(secret_key=None, secret_keys=[SecretStr(new), SecretStr(SECRET)]) as client:
        assert (await enter(client, factor.code(1))).status_code == 200
        assert (await enter(client, factor.recovery[0])).status_code == 200
        assert (await factor_of(ada))["secret"] != sealed
        await change(ada, {"$set": {"authenticator.last_step": 0}})
    async with another(secret_key=None, secret_keys=[SecretStr(new)]) as client:
        resealed = (await factor_of(ada))["secret"]
        assert (await enter(client, factor.code())).status_code == 200
        assert (await factor_of(ada))["secret"] == resealed  # it is the current key's already
        is_problem(await enter(client, factor.recovery[1]), 401, "bad_second_factor")  # its hash is of the old secret


async def test_refused_scope_does_not_use_up_a_code(ada: Account, anonymous: httpx.AsyncClient) -> None:
    factor = await turn_on(ada)
    form = {"username": "ada", "password": PASSWORD, "otp": factor.recovery[0]}
    is_problem(await anonymous.post("/token", data={**form, "scope": "admin"}), 400, "invalid_scope")
    assert (await anonymous.post("/token", data=form)).status_code == 200


@pytest.mark.usefixtures("moderate")
@pytest.mark.parametrize("value", [None, 5, "text", ["a"], {}, {"secret": "text"}, {"secret": 5, "expires_at": 5}], ids=repr)
async def test_damaged_authenticator_is_none(ada: Account, value: Any) -> None:
    await change(ada, {"$set": {"authenticator": value}})
    is_problem(await ada.post(f"{PATH}/confirm", json={"code": NEVER}), 409, "no_enrolment")
    await turn_on(ada)
    await change(ada, {"$set": {"authenticator": value}})
    is_problem(await enter(ada.client, NEVER), 401, "bad_second_factor")
