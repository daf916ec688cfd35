"""Forgotten passwords and addresses to verify, over HTTP."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI

from taskapi.accounts.recovery.documents import OneTimeTokenDocument
from taskapi.accounts.recovery.service import AccountRecovery
from taskapi.accounts.users.documents import UserDocument
from taskapi.audit.documents import SecurityEventDocument
from taskapi.core.clock import utc_now
from taskapi.db.connection import BSON
from taskapi.mail.documents import MailJobDocument
from taskapi.mail.queue import MailJob
from taskapi.main import DOCUMENTS
from tests.client import PASSWORD, Account, at, is_problem, make_account, sign_in, stored_user, wrong_fields
from tests.conftest import another
from tests.mailbox import Mailbox, text_of, token_of
from tests.stored import audit_log, collection

ADDRESS = "ada@example.com"
NEW = "a staple of batteries"
RESET, VERIFY, CHANGED = "Reset", "Verify", "was changed"


@pytest.fixture
async def ada(mailbox: Mailbox, anonymous: httpx.AsyncClient) -> Account:
    """Somebody with an address."""
    return await make_account(anonymous, "ada", email=ADDRESS)


async def forgot(client: httpx.AsyncClient, email: str = ADDRESS) -> None:
    answer = await client.post("/password/forgot", json={"email": email})
    assert (answer.status_code, answer.content) == (202, b"")


async def reset(client: httpx.AsyncClient, token: str, password: str = NEW) -> httpx.Response:
    return await client.post("/password/reset", json={"token": token, "password": password})


async def verify(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/email/verify", json={"token": token})


def is_dead(answer: httpx.Response) -> None:
    is_problem(answer, 400, "invalid_one_time_token", "The token is wrong, expired or already used. Request a new mail.")


async def events(kind: str) -> list[BSON]:
    return await collection(SecurityEventDocument).find({"kind": kind}, sort=[("_id", 1)]).to_list(None)


async def set_user(account: Account, **values: Any) -> None:
    await collection(UserDocument).update_one({"_id": ObjectId(account.id)}, {"$set": values})


async def asked(ada: Account, mailbox: Mailbox) -> str:
    """The token of a reset that Ada asked for."""
    await forgot(ada.client)
    return await mailbox.token(ADDRESS, RESET)


async def test_reset_sets_the_password_and_ends_every_session(ada: Account, mailbox: Mailbox) -> None:
    token = await asked(ada, mailbox)
    other = (await sign_in(ada.client, "ada")).json()["refresh_token"]
    answer = await reset(ada.client, token)
    assert (answer.status_code, answer.content) == (204, b"")
    user = await stored_user(ada.id)
    assert (user["sessions"], user["email_verified"]) == ([], True)
    is_problem(await ada.get("/users/me"), 401, "invalid_token")
    for refresh_token in (other, ada.refresh_token):
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        is_problem(await ada.client.post("/token", data=form), 400, "invalid_grant")
    is_problem(await sign_in(ada.client, "ada"), 401, "bad_credentials")
    assert (await sign_in(ada.client, "ada", NEW)).status_code == 200
    (event,) = await events("password_reset")
    assert (event["user"], event["outcome"], event["address"]) == (ObjectId(ada.id), "success", "127.0.0.1")
    (notice,) = await mailbox.to(ADDRESS, CHANGED)
    assert "ada" in text_of(notice)
    assert await collection(OneTimeTokenDocument).count_documents({"purpose": "password_reset"}) == 0


async def test_reset_still_works_while_deletion_is_pending(ada: Account, mailbox: Mailbox) -> None:
    assert (await ada.call("DELETE", "/users/me", json={"password": PASSWORD})).status_code == 202
    assert (await reset(ada.client, await asked(ada, mailbox))).status_code == 204
    assert "leaving" in await stored_user(ada.id)
    assert (await sign_in(ada.client, "ada", NEW)).status_code == 200
    assert "leaving" not in await stored_user(ada.id)


async def test_reset_refuses_weak_passwords_and_unblocks_the_account(app: FastAPI, ada: Account, mailbox: Mailbox) -> None:
    token = await asked(ada, mailbox)
    for weak in ("password123", "ADA@example.com"):
        assert wrong_fields(await reset(ada.client, token, weak)).keys() == {"password"}
    async with at(app, "192.0.2.1") as stranger:
        for _ in range(5):
            is_problem(await sign_in(stranger, "ada", "wrong password"), 401, "bad_credentials")
        is_problem(await sign_in(stranger, "ada"), 429, "too_many_attempts")
        assert (await reset(stranger, token)).status_code == 204
        assert (await sign_in(stranger, "ada", NEW)).status_code == 200


@pytest.mark.parametrize("typed", ["ADA@EXAMPLE.COM", f" {ADDRESS}", f"{ADDRESS}\t", f"\u00a0{ADDRESS}\n"])
async def test_email_matches_in_any_case_mails_as_stored(ada: Account, mailbox: Mailbox, typed: str) -> None:
    await forgot(ada.client, typed)
    assert len(await mailbox.to(ADDRESS, RESET)) == 1
    assert not await mailbox.to("ADA@example.com")
    (event,) = await events("password_reset_requested")
    assert (event["user"], event["outcome"], event["address"]) == (ObjectId(ada.id), "success", "127.0.0.1")
    assert event["request_id"] not in ("", "-")


async def test_unknown_and_disabled_emails_queue_alike_send_nothing(app: FastAPI, ada: Account, mailbox: Mailbox) -> None:
    carol = await make_account(ada.client, "carol", email="carol@example.com")
    await set_user(carol, disabled=True)
    await mailbox.settle()
    await mailbox.empty()
    recovery = app.state.services[AccountRecovery]
    asleep = replace(recovery, mail=replace(recovery.mail, wake=lambda: None))
    for address in (ADDRESS, "nobody@example.com", "carol@example.com"):
        await asleep.request_reset(address, audit_log())
    varying = {"_id", "address", "due_at", "leased_until", "created_at", "expires_at"}
    jobs = await collection(MailJobDocument).find({}).to_list(None)
    shown = [{name: value for name, value in job.items() if name not in varying} for job in jobs]
    origin = {"address": "192.0.2.7", "agent": "curl/8.5.0", "request_id": "-"}
    assert shown == [{"kind": "password_reset", "user": None, "origin": origin, "attempts": 0}] * 3
    app.state.services[MailJob].wake()
    assert [mail["To"] for mail in await mailbox.all()] == [ADDRESS]
    outcomes = [(event["user"], event["outcome"], event["address"]) for event in await events("password_reset_requested")]
    assert outcomes == [(ObjectId(ada.id), "success", "192.0.2.7"), *[(None, "failure", "192.0.2.7")] * 2]
    assert await collection(OneTimeTokenDocument).count_documents({"purpose": "password_reset"}) == 1


@pytest.mark.parametrize(
    "email",
    [
        "nobody",
        "ada@example.com\r\nBcc: eve@example.com",
        "Ada <ada@example.com>",
        "a@b@example.com",
        "",
        None,
        ["a@example.com"],
    ],
)
async def test_what_is_no_address_is_refused(anonymous: httpx.AsyncClient, email: Any) -> None:
    assert list(wrong_fields(await anonymous.post("/password/forgot", json={"email": email}))) in (["email"], ["email.0"])
    assert await collection(MailJobDocument).count_documents({}) == 0


async def test_of_many_uses_at_once_one_wins(ada: Account, mailbox: Mailbox) -> None:
    token = await asked(ada, mailbox)
    passwords = [f"{NEW} {number}" for number in range(8)]
    answers = await asyncio.gather(*(reset(ada.client, token, password) for password in passwords))
    assert sorted(answer.status_code for answer in answers) == [204] + [400] * 7
    winner = next(password for password, answer in zip(passwords, answers, strict=True) if answer.status_code == 204)
    assert (await sign_in(ada.client, "ada", winner)).status_code == 200
    assert len(await events("password_reset")) == 1
    is_dead(await reset(ada.client, token))


async def test_used_token_is_dead_even_if_not_removed(ada: Account, mailbox: Mailbox) -> None:
    token = await asked(ada, mailbox)
    kept = await collection(OneTimeTokenDocument).find_one({"purpose": "password_reset"})
    assert kept is not None
    assert (await reset(ada.client, token)).status_code == 204
    await collection(OneTimeTokenDocument).insert_one(kept)  # as after a crash between the two writes
    is_dead(await reset(ada.client, token))


async def test_an_expired_token_is_dead(ada: Account, mailbox: Mailbox) -> None:
    token = await asked(ada, mailbox)
    found = await collection(OneTimeTokenDocument).find_one({"purpose": "password_reset"})
    assert found is not None
    assert timedelta(minutes=59) < found["expires_at"].replace(tzinfo=utc_now().tzinfo) - utc_now() <= timedelta(hours=1)
    await collection(OneTimeTokenDocument).update_many({}, {"$set": {"expires_at": utc_now()}})
    is_dead(await reset(ada.client, token))


async def test_newer_mail_invalidates_the_previous_token(ada: Account, mailbox: Mailbox) -> None:
    first = await asked(ada, mailbox)
    await mailbox.empty()
    second = await asked(ada, mailbox)
    is_dead(await reset(ada.client, first))
    assert (await reset(ada.client, second)).status_code == 204


async def test_a_token_is_good_for_its_purpose_alone(ada: Account, mailbox: Mailbox) -> None:
    verification = await mailbox.token(ADDRESS, VERIFY)
    for_reset = await asked(ada, mailbox)
    is_dead(await reset(ada.client, verification))
    is_dead(await verify(ada.client, for_reset))
    assert (await verify(ada.client, verification)).status_code == 204
    assert (await reset(ada.client, for_reset)).status_code == 204


async def test_password_change_invalidates_both_tokens(ada: Account, mailbox: Mailbox) -> None:
    verification, for_reset = await mailbox.token(ADDRESS, VERIFY), await asked(ada, mailbox)
    assert (await ada.patch("/users/me", json={"password": NEW, "current_password": PASSWORD})).status_code == 200
    is_dead(await reset(ada.client, for_reset, "the words of a thief"))
    is_dead(await verify(ada.client, verification))
    assert (await sign_in(ada.client, "ada", NEW)).status_code == 200


async def test_email_change_invalidates_the_token(ada: Account, mailbox: Mailbox) -> None:
    verification, for_reset = await mailbox.token(ADDRESS, VERIFY), await asked(ada, mailbox)
    assert (await ada.patch("/users/me", json={"email": "countess@example.com"})).status_code == 200
    await mailbox.settle()
    is_dead(await reset(ada.client, for_reset))
    is_dead(await verify(ada.client, verification))
    assert (await stored_user(ada.id))["email_verified"] is False


@pytest.mark.parametrize("values", [{"disabled": True}, {"password_hash": "$argon2id$another"}], ids=str)
async def test_change_of_the_account_invalidates_its_tokens(ada: Account, mailbox: Mailbox, values: dict[str, Any]) -> None:
    verification, for_reset = await mailbox.token(ADDRESS, VERIFY), await asked(ada, mailbox)
    await set_user(ada, **values)
    before = await stored_user(ada.id)
    is_dead(await reset(ada.client, for_reset))
    is_dead(await verify(ada.client, verification))
    assert await stored_user(ada.id) == before


@pytest.mark.parametrize("token", ["x", "x" * 200, "ä" * 43, "$ne", "A" * 43])
async def test_a_made_up_token_is_dead(ada: Account, token: str) -> None:
    is_dead(await reset(ada.client, token))
    is_dead(await verify(ada.client, token))


@pytest.mark.parametrize("token", ["", "x" * 201, "a\x00b", None, 7, {"$ne": ""}])
async def test_what_is_no_text_is_refused(anonymous: httpx.AsyncClient, token: Any) -> None:
    for path, body in (("/password/reset", {"password": NEW}), ("/email/verify", {})):
        assert list(wrong_fields(await anonymous.post(path, json={**body, "token": token}))) == ["token"]


async def test_refused_password_leaves_the_token_valid(ada: Account, mailbox: Mailbox) -> None:
    token = await asked(ada, mailbox)
    assert list(wrong_fields(await reset(ada.client, token, "short"))) == ["password"]
    assert (await reset(ada.client, token)).status_code == 204


async def test_reset_cancels_a_pending_email_change(ada: Account, mailbox: Mailbox) -> None:
    """Whoever was in the account and gave an address of theirs cannot confirm it any more."""
    assert (await verify(ada.client, await mailbox.token(ADDRESS, VERIFY))).status_code == 204
    change = {"email": "eve@example.com", "current_password": PASSWORD}
    assert (await ada.patch("/users/me", json=change)).status_code == 200
    of_eve = await mailbox.token("eve@example.com", VERIFY)
    assert (await reset(ada.client, await asked(ada, mailbox))).status_code == 204
    is_dead(await verify(ada.client, of_eve))
    user = await stored_user(ada.id)
    assert (user["email"], "pending_email" in user) == (ADDRESS, False)


async def test_no_token_is_stored_in_clear(ada: Account, mailbox: Mailbox) -> None:
    tokens = [await mailbox.token(ADDRESS, VERIFY), await asked(ada, mailbox)]
    everything = str([await collection(document).find({}).to_list(None) for document in DOCUMENTS])
    assert ADDRESS in everything
    assert not [token for token in tokens if token in everything]


@pytest.mark.real
async def test_mails_link_to_the_configured_web_application(mailbox: Mailbox) -> None:
    async with another(app_url="https://tasks.example.com/app/") as client:
        await make_account(client, "ada", email=ADDRESS)
        await forgot(client)
        (mail,) = await mailbox.to(ADDRESS, RESET)
        link = f"https://tasks.example.com/app/reset-password#token={token_of(mail)}"
        assert link in text_of(mail)
        assert f'<a href="{link}">{link}</a>' in text_of(mail, "html")
        (verification,) = await mailbox.to(ADDRESS, VERIFY)
        assert "https://tasks.example.com/app/verify-email#token=" in text_of(verification)


async def test_the_mail_can_be_sent_again(ada: Account, mailbox: Mailbox) -> None:
    first = await mailbox.token(ADDRESS, VERIFY)
    await mailbox.empty()
    answer = await ada.post("/users/me/email/verification")
    assert (answer.status_code, answer.content) == (202, b"")
    await mailbox.settle()
    is_dead(await verify(ada.client, first))
    assert (await verify(ada.client, await mailbox.token(ADDRESS, VERIFY))).status_code == 204
    is_problem(await ada.post("/users/me/email/verification"), 409, "nothing_to_verify")
    is_problem(await ada.client.post("/users/me/email/verification"), 401, "not_authenticated")


async def test_without_an_address_there_is_nothing_to_verify(bob: Account) -> None:
    is_problem(await bob.post("/users/me/email/verification"), 409, "nothing_to_verify")
    assert await collection(MailJobDocument).count_documents({}) == 0
