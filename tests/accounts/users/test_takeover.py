"""Whoever registers with somebody else's address keeps no way in once its reader has reset the password, and locks nothing."""

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI

from taskapi.accounts.recovery.service import AccountRecovery, TakeoverErasers
from taskapi.accounts.security.documents import ThrottleDocument
from taskapi.accounts.users.documents import UserDocument
from taskapi.core.errors import DatabaseUnavailable
from taskapi.webhooks.documents import WebhookDeliveryDocument, WebhookDocument
from tests.accounts.api_tokens.calls import make as make_token
from tests.accounts.api_tokens.calls import use
from tests.accounts.two_factor.test_router import NEVER, PATH, begin, turn_on
from tests.client import PASSWORD, Account, at, is_problem, make_account, make_admin, sign_in, signed_in, stored_user
from tests.conftest import another
from tests.mailbox import Mailbox
from tests.stored import audit_log, collection, service

ADDRESS, NEW = "grace@example.com", "a staple of batteries"


@pytest.fixture
async def intruder(mailbox: Mailbox, anonymous: httpx.AsyncClient) -> Account:
    """Somebody whose account has the address of somebody else."""
    return await make_account(anonymous, "ada", email=ADDRESS)


async def reset(account: Account, mailbox: Mailbox) -> None:
    assert (await account.client.post("/password/forgot", json={"email": ADDRESS})).status_code == 202
    body = {"token": await mailbox.token(ADDRESS, "Reset"), "password": NEW}
    assert (await account.client.post("/password/reset", json=body)).status_code == 204


async def test_first_reset_removes_second_factor_tokens_and_sessions(intruder: Account, mailbox: Mailbox) -> None:
    token = await make_token(intruder)
    await turn_on(intruder)
    await reset(intruder, mailbox)
    user = await stored_user(intruder.id)
    assert not {"two_factor", "authenticator"} & user.keys()
    assert (user["api_tokens"], user["sessions"]) == ([], [])
    assert (await sign_in(intruder.client, "ada", NEW)).status_code == 200
    is_problem(await use(intruder, token), 401, "invalid_token")
    is_problem(await intruder.get("/users/me"), 401, "invalid_token")


@pytest.mark.real
@pytest.mark.parametrize("verified", [False, True])
async def test_first_reset_deletes_webhooks(intruder: Account, mailbox: Mailbox, verified: bool) -> None:
    """Or the tasks of whoever takes the account over would go on being sent to the intruder."""
    hook = await intruder.post("/webhooks", json={"url": "https://hooks.invalid/tasks"})
    assert (await intruder.post(f"/webhooks/{hook.json()['id']}/ping")).status_code == 202
    change = {"$set": {"email_verified": verified}}
    await collection(UserDocument).update_one({"_id": ObjectId(intruder.id)}, change)
    await reset(intruder, mailbox)
    for kind in (WebhookDocument, WebhookDeliveryDocument):
        assert await collection(kind).count_documents({"user": ObjectId(intruder.id)}) == verified


async def test_reset_works_again_if_something_cannot_be_erased(intruder: Account, mailbox: Mailbox) -> None:
    async def fail(_: ObjectId) -> None:
        raise DatabaseUnavailable

    assert (await intruder.client.post("/password/forgot", json={"email": ADDRESS})).status_code == 202
    token = await mailbox.token(ADDRESS, "Reset")
    with pytest.raises(DatabaseUnavailable):
        await service(AccountRecovery).reset_password(token, NEW, audit_log(), TakeoverErasers([fail]))
    assert (await intruder.client.post("/password/reset", json={"token": token, "password": NEW})).status_code == 204


async def test_a_factor_that_is_only_begun_goes_too(intruder: Account, mailbox: Mailbox) -> None:
    await begin(intruder)
    await reset(intruder, mailbox)
    assert "authenticator" not in await stored_user(intruder.id)


async def test_a_later_reset_leaves_the_second_factor(intruder: Account, mailbox: Mailbox) -> None:
    body = {"token": await mailbox.token(ADDRESS, "Verify")}
    assert (await intruder.client.post("/email/verify", json=body)).status_code == 204
    await turn_on(intruder)
    await reset(intruder, mailbox)
    is_problem(await sign_in(intruder.client, "ada", NEW), 401, "second_factor_required")


async def test_first_sign_in_cancels_an_intruders_deletion(intruder: Account, mailbox: Mailbox) -> None:
    assert (await intruder.delete("/users/me", json={"password": PASSWORD})).status_code == 202
    await reset(intruder, mailbox)
    assert (await sign_in(intruder.client, "ada", NEW)).status_code == 200
    assert "leaving" not in await stored_user(intruder.id)


async def test_after_a_reset_no_address_is_known(intruder: Account, mailbox: Mailbox) -> None:
    known = {"account": {"$exists": True}}
    assert await collection(ThrottleDocument).count_documents(known) == 1
    await reset(intruder, mailbox)
    assert await collection(ThrottleDocument).count_documents(known) == 0


async def test_confirming_takes_few_guesses(ada: Account) -> None:
    await begin(ada)
    answers = [await ada.post(f"{PATH}/confirm", json={"code": NEVER}) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [400] * 5 + [429]
    assert answers[5].headers["retry-after"] == "1"


async def test_enabling_a_second_factor_ends_other_sessions(ada: Account) -> None:
    other = await signed_in(ada.client, ada)
    await turn_on(ada)
    assert (await ada.get("/users/me")).status_code == 200
    is_problem(await other.post(f"{PATH}/disable", json={"password": PASSWORD}), 401, "invalid_token")


@pytest.mark.real  # mongomock has no $map
async def test_revoked_rights_do_not_come_back(ada: Account) -> None:
    root, carol = await make_admin(ada.client, "root"), await make_admin(ada.client, "carol")
    token = await make_token(carol, "both", "admin", "tasks:read")
    for role in ("user", "admin"):
        assert (await root.patch(f"/users/{carol.id}", json={"role": role})).status_code == 200
    is_problem(await carol.get("/users"), 401, "invalid_token")
    is_problem(await use(carol, token, path="/users"), 403, "insufficient_scope")
    assert (await use(carol, token)).status_code == 200
    for disabled in (True, False):
        assert (await root.patch(f"/users/{carol.id}", json={"disabled": disabled})).status_code == 200
    is_problem(await use(carol, token), 401, "invalid_token")


@pytest.mark.real
async def test_demotion_deletes_tokens_for_nothing_but_admin(ada: Account) -> None:
    """MongoDB refuses a token without scopes, so that an admin who had such a token stayed one."""
    root, carol = await make_admin(ada.client, "root"), await make_admin(ada.client, "carol")
    token, other = await make_token(carol, "admin", "admin"), await make_token(carol, "both", "admin", "tasks:read")
    assert (await root.patch(f"/users/{carol.id}", json={"role": "user"})).json()["role"] == "user"
    is_problem(await use(carol, token, path="/users"), 401, "invalid_token")
    assert (await use(carol, other)).status_code == 200
    assert [token["scopes"] for token in (await stored_user(carol.id))["api_tokens"]] == [["tasks:read"]]


@pytest.mark.real
async def test_revoked_rights_left_by_older_versions_stay_revoked(ada: Account) -> None:
    root, carol = await make_admin(ada.client, "root"), await make_admin(ada.client, "carol")
    token, stored = await make_token(carol, "both", "admin", "tasks:read"), {"_id": ObjectId(carol.id)}
    await collection(UserDocument).update_one(stored, {"$set": {"role": "user"}})
    assert (await root.patch(f"/users/{carol.id}", json={"role": "admin"})).status_code == 200
    is_problem(await use(carol, token, path="/users"), 403, "insufficient_scope")
    assert (await use(carol, token)).status_code == 200
    assert (await root.patch(f"/users/{carol.id}", json={"disabled": False})).status_code == 200
    assert (await use(carol, token)).status_code == 200  # it was not disabled
    await collection(UserDocument).update_one(stored, {"$set": {"disabled": True}})
    assert (await root.patch(f"/users/{carol.id}", json={"disabled": False})).status_code == 200
    is_problem(await use(carol, token), 401, "invalid_token")


@pytest.mark.real
@pytest.mark.parametrize("tokens", [None, 5, [5, {"scopes": "admin"}, {}]])
async def test_an_admin_with_damaged_tokens_can_be_demoted(ada: Account, tokens: object) -> None:
    root, carol = await make_admin(ada.client, "root"), await make_admin(ada.client, "carol")
    await collection(UserDocument).update_one({"_id": ObjectId(carol.id)}, {"$set": {"api_tokens": tokens}})
    assert (await root.patch(f"/users/{carol.id}", json={"role": "user"})).json()["role"] == "user"
    assert (await stored_user(carol.id))["api_tokens"] == tokens


async def test_probing_for_names_by_renaming_is_limited(ada: Account, bob: Account) -> None:
    answers = [await ada.patch("/users/me", json={"username": "bob"}) for _ in range(21)]
    assert [answer.status_code for answer in answers] == [400] * 20 + [429]
    is_problem(await ada.patch("/users/me", json={"username": "nobody-has-this"}), 429, "too_many_attempts")
    assert (await ada.patch("/users/me", json={"username": "Ada"})).status_code == 200  # says nothing of others


@pytest.mark.real
async def test_names_have_one_budget_however_they_are_tried(app: FastAPI, ada: Account, bob: Account) -> None:
    async with another(registrations_per_address=5) as client:
        for _ in range(3):  # with those of Ada and Bob five
            answer = await client.patch("/users/me", json={"username": "bob"}, headers=ada.headers)
            is_problem(answer, 400, "username_taken")
        for name in ("bob", "nobody-has-this"):
            answer = await client.post("/register", json={"username": name, "password": PASSWORD})
            is_problem(answer, 429, "too_many_attempts")
    async with at(app, "192.0.2.1") as elsewhere:
        assert (await elsewhere.post("/register", json={"username": "new", "password": PASSWORD})).status_code == 201
