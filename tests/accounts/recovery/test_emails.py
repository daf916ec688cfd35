"""The mail that is written for a job of the queue."""

from email.message import EmailMessage
from typing import get_args

import httpx
import pytest
from bson import ObjectId

from taskapi.accounts.recovery.emails import AccountEmails
from taskapi.accounts.recovery.tokens import OneTimeTokens
from taskapi.accounts.users.documents import UserDocument
from taskapi.accounts.users.email_repository import EmailRepository
from taskapi.audit.repository import SecurityEventRepository
from taskapi.mail.documents import Kind
from tests.client import make_account
from tests.stored import collection, service

ADDRESS = "ada@example.com"


async def compose(kind: str, user: str, address: str | None = ADDRESS) -> EmailMessage | None:
    emails = AccountEmails(
        service(OneTimeTokens), service(EmailRepository), service(SecurityEventRepository), "tasks@example.com", None
    )
    origin = {"address": "192.0.2.7", "agent": "curl/8.5.0", "request_id": ""}
    return await emails.compose({"kind": kind, "user": ObjectId(user), "address": address, "origin": origin, "attempts": 1})


async def test_every_kind_has_a_mail_of_its_own(anonymous: httpx.AsyncClient) -> None:
    ada = await make_account(anonymous, "ada", email=ADDRESS)
    mails = [await compose(kind, ada.id) for kind in get_args(Kind)]
    assert [mail["To"] for mail in mails if mail] == [ADDRESS] * len(mails)
    assert len({mail["Subject"] for mail in mails if mail}) == len(mails)


async def test_notices_go_to_no_unverified_address(anonymous: httpx.AsyncClient) -> None:
    """Or whoever registers with somebody else's address could fill their mailbox: a webhook can be disabled every second."""
    ada = await make_account(anonymous, "ada", email=ADDRESS)
    assert await compose("notice_webhook", ada.id, None) is None
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"email_verified": True}})
    mail = await compose("notice_webhook", ada.id, None)
    assert mail is not None
    assert mail["To"] == ADDRESS


async def test_an_unknown_kind_is_refused(anonymous: httpx.AsyncClient) -> None:
    ada = await make_account(anonymous, "ada", email=ADDRESS)
    with pytest.raises(ValueError, match="'notice_login'"):
        await compose("notice_login", ada.id)
