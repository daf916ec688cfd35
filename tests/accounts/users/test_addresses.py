"""E-mail addresses: verified once, then given up only with the password, and replaced only by one that is verified."""

import asyncio
from dataclasses import replace

import httpx
import pytest

from taskapi.accounts.security.throttling import VERIFICATION
from taskapi.accounts.users.documents import UserDocument
from taskapi.audit.documents import SecurityEventDocument
from tests.accounts.api_tokens.calls import make as make_token
from tests.client import PASSWORD, Account, is_problem, make_account, stored_user, wrong_fields
from tests.mailbox import Mailbox, text_of
from tests.stored import collection

OLD, NEXT = "ada@example.com", "countess@example.com"


@pytest.fixture
async def fresh(mailbox: Mailbox, anonymous: httpx.AsyncClient) -> Account:
    """Somebody whose address is not verified."""
    return await make_account(anonymous, "ada", email=OLD)


@pytest.fixture
async def verified(fresh: Account, mailbox: Mailbox) -> Account:
    """Somebody whose address is verified."""
    await confirm(fresh, await mailbox.token(OLD))
    await mailbox.empty()
    return fresh


async def confirm(ada: Account, token: str) -> None:
    answer = await ada.client.post("/email/verify", json={"token": token})
    assert (answer.status_code, answer.content) == (204, b"")


async def change(ada: Account, email: str | None, **more: str) -> httpx.Response:
    return await ada.patch("/users/me", json={"email": email, **more})


async def again(ada: Account) -> httpx.Response:
    return await ada.post("/users/me/email/verification")


async def state(ada: Account) -> tuple[str | None, bool, str | None]:
    """The address, whether it is verified, and the one that waits: as the API says and as it is stored."""
    said, kept = (await ada.get("/users/me")).json(), await stored_user(ada.id)
    assert kept.get("email_key") == (kept["email"] and kept["email"].lower())
    assert (kept["email"], kept["email_verified"], kept.get("pending_email")) == (
        said["email"],
        said["email_verified"],
        said["pending_email"],
    )
    return said["email"], said["email_verified"], said["pending_email"]


async def kinds() -> list[str]:
    events = await collection(SecurityEventDocument).find({"kind": {"$regex": "^email"}}, sort=[("_id", 1)]).to_list(None)
    return [event["kind"] for event in events]


async def test_registering_with_an_email_asks_to_verify_it(fresh: Account, mailbox: Mailbox) -> None:
    assert await state(fresh) == (OLD, False, None)
    (mail,) = await mailbox.to(OLD)
    assert OLD in text_of(mail)
    await confirm(fresh, await mailbox.token(OLD))
    assert await state(fresh) == (OLD, True, None)
    assert await kinds() == ["email_verified"]
    again = await fresh.client.post("/email/verify", json={"token": await mailbox.token(OLD)})
    is_problem(again, 400, "invalid_one_time_token")


async def test_of_many_verifications_at_once_one_wins(fresh: Account, mailbox: Mailbox) -> None:
    token = await mailbox.token(OLD)
    answers = await asyncio.gather(*(fresh.client.post("/email/verify", json={"token": token}) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [204] + [400] * 7
    assert await kinds() == ["email_verified"]


async def test_unverified_email_changes_at_once(fresh: Account, mailbox: Mailbox) -> None:
    assert (await change(fresh, NEXT)).status_code == 200
    assert await state(fresh) == (NEXT, False, None)
    assert await kinds() == ["email_changed"]
    await confirm(fresh, await mailbox.token(NEXT))
    assert await state(fresh) == (NEXT, True, None)


async def test_an_account_of_before_counts_as_not_verified(fresh: Account) -> None:
    await collection(UserDocument).update_one({}, {"$unset": {"email_verified": ""}})
    assert (await fresh.get("/users/me")).json()["email_verified"] is False
    assert (await change(fresh, NEXT)).status_code == 200
    assert await state(fresh) == (NEXT, False, None)


@pytest.mark.parametrize("email", [NEXT, None])
async def test_changing_a_verified_email_needs_the_password(verified: Account, mailbox: Mailbox, email: str | None) -> None:
    assert wrong_fields(await change(verified, email)) == {"current_password": "missing"}
    is_problem(await change(verified, email, current_password="not it at all"), 400, "wrong_password")
    assert await state(verified) == (OLD, True, None)
    assert await mailbox.all() == []


async def test_verified_email_stays_until_the_new_is_verified(verified: Account, mailbox: Mailbox) -> None:
    answer = await change(verified, NEXT, current_password=PASSWORD)
    assert (answer.json()["email"], answer.json()["pending_email"]) == (OLD, NEXT)
    assert await state(verified) == (OLD, True, NEXT)
    (notice,) = await mailbox.to(OLD)
    assert notice["Subject"] == "Your e-mail address is changing"
    assert NEXT not in text_of(notice)
    assert "email_changed" not in await kinds()
    await confirm(verified, await mailbox.token(NEXT))
    assert await state(verified) == (NEXT, True, None)
    assert await kinds() == ["email_verified", "email_changed"]


async def test_a_verified_address_can_be_removed(verified: Account, mailbox: Mailbox) -> None:
    assert (await change(verified, None, current_password=PASSWORD)).status_code == 200
    assert await state(verified) == (None, False, None)
    assert [mail["Subject"] for mail in await mailbox.to(OLD)] == ["Your e-mail address is changing"]


async def test_the_newest_of_several_changes_counts(verified: Account, mailbox: Mailbox) -> None:
    await change(verified, "first@example.com", current_password=PASSWORD)
    first = await mailbox.token("first@example.com")
    await change(verified, NEXT, current_password=PASSWORD)
    second = await mailbox.token(NEXT)
    is_problem(await verified.client.post("/email/verify", json={"token": first}), 400, "invalid_one_time_token")
    await confirm(verified, second)
    assert await state(verified) == (NEXT, True, None)


async def test_sending_the_current_email_cancels_a_change(verified: Account, mailbox: Mailbox) -> None:
    await change(verified, NEXT, current_password=PASSWORD)
    token = await mailbox.token(NEXT)
    assert (await change(verified, "Ada@example.com")).status_code == 200
    assert await state(verified) == ("Ada@example.com", True, None)
    is_problem(await verified.client.post("/email/verify", json={"token": token}), 400, "invalid_one_time_token")


async def test_a_new_password_calls_a_change_off(verified: Account, mailbox: Mailbox) -> None:
    await change(verified, NEXT, current_password=PASSWORD)
    token = await mailbox.token(NEXT)
    answer = await verified.patch("/users/me", json={"password": "a staple of batteries", "current_password": PASSWORD})
    assert answer.status_code == 200
    assert await state(verified) == (OLD, True, None)
    is_problem(await verified.client.post("/email/verify", json={"token": token}), 400, "invalid_one_time_token")
    assert len(await mailbox.to(OLD, "password was changed")) == 1


async def test_password_and_address_change_together(verified: Account, mailbox: Mailbox) -> None:
    answer = await change(verified, NEXT, password="a staple of batteries", current_password=PASSWORD)
    assert answer.status_code == 200
    await confirm(verified, await mailbox.token(NEXT))
    assert await state(verified) == (NEXT, True, None)


@pytest.mark.real  # mongomock does not say which index refused
async def test_an_address_that_somebody_else_has_stays_theirs(verified: Account, mailbox: Mailbox) -> None:
    await change(verified, NEXT, current_password=PASSWORD)
    token = await mailbox.token(NEXT)
    await make_account(verified.client, "carol", email=NEXT)
    is_problem(await verified.client.post("/email/verify", json={"token": token}), 400, "email_taken")
    assert await state(verified) == (OLD, True, NEXT)
    await mailbox.empty()
    is_problem(await change(verified, NEXT, current_password=PASSWORD), 400, "email_taken")
    assert await mailbox.all() == []
    assert await collection(UserDocument).count_documents({"email_key": NEXT}) == 1


async def test_mails_to_addresses_of_ones_choice_are_limited(fresh: Account, mailbox: Mailbox) -> None:
    """They may be somebody else's."""
    for number in range(VERIFICATION.free_attempts):
        answer = await (change(fresh, f"ada{number}@example.com") if number % 2 else again(fresh))
        assert answer.is_success
    before, sent = await state(fresh), len(await mailbox.all())
    is_problem(await change(fresh, "somebody@example.org"), 429, "too_many_attempts")
    is_problem(await again(fresh), 429, "too_many_attempts")
    assert (await state(fresh), len(await mailbox.all())) == (before, sent)
    assert (await change(fresh, None)).status_code == 200  # which sends none


async def test_api_token_needs_the_password_to_change_email(fresh: Account, mailbox: Mailbox) -> None:
    """Or a token that was stolen would give the account away, by a password reset."""
    script = replace(fresh, token=(await make_token(fresh, "script", "account"))["token"])
    assert wrong_fields(await change(script, NEXT)) == {"current_password": "missing"}
    assert await state(fresh) == (OLD, False, None)
    assert (await change(script, NEXT, current_password=PASSWORD)).status_code == 200
    assert await state(fresh) == (NEXT, False, None)
