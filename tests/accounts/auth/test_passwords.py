"""Passwords by RFC 8265: typed in any Unicode form they are the same, and those of before are known as they were."""

import asyncio
import unicodedata

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI
from pydantic import ValidationError

from taskapi.accounts.security.access_tokens import PasswordHasher
from taskapi.accounts.security.documents import ThrottleDocument
from taskapi.accounts.security.throttling import KNOWN_ADDRESS
from taskapi.accounts.users.documents import UserDocument
from taskapi.cli.user_actions import why
from tests.accounts.security.guesses import failures
from tests.cli.operator import user_commands
from tests.client import Account, is_problem, make_account, sign_in, stored_user, wrong_fields
from tests.mailbox import Mailbox
from tests.stored import collection
from tests.tools import PATIENCE_SECONDS

NFC = "pässwörter 한국 \u1ebf"
NFD = unicodedata.normalize("NFD", NFC)
SPACED = NFC.replace(" ", "\u00a0")
MIXED = NFC.replace("\u1ebf", "\u00ea\u0301")
FORMS = [NFC, NFD, SPACED, MIXED]
OLD = ["tab\tinside it", "👩\u200d👩\u200d👧 family", "\u0958" * 65, NFD, MIXED, SPACED]
REFUSED = [
    "tab\tinside it",
    "escape\x1b inside",
    "zero\u200bwidth",
    "👩\u200d👩\u200d👧 family",
    "unassigned \U000e0fff",
    "x" * 7 + "\x7f",
]


@pytest.fixture
async def carol(anonymous: httpx.AsyncClient) -> Account:
    """Somebody whose password is not ASCII."""
    return await make_account(anonymous, "carol", password=NFD, email="carol@example.com")


async def keep_old(app: FastAPI, account: Account, password: str) -> str:
    """Gives the account the hash that version 1.2 made of ``password``."""
    hashed: str = await app.state.services[PasswordHasher].hash(password)
    await collection(UserDocument).update_one({"_id": ObjectId(account.id)}, {"$set": {"password_hash": hashed}})
    return hashed


@pytest.mark.parametrize("form", FORMS, ids=ascii)
async def test_a_password_is_the_same_in_every_form(carol: Account, form: str) -> None:
    before = (await stored_user(carol.id))["password_hash"]
    assert (await sign_in(carol.client, "carol", form)).status_code == 200
    assert (await stored_user(carol.id))["password_hash"] == before
    is_problem(await sign_in(carol.client, "carol", f"{form}!"), 401, "bad_credentials")


@pytest.mark.parametrize("old", OLD, ids=ascii)
async def test_old_hash_verifies_and_is_renewed_if_possible(app: FastAPI, carol: Account, old: str) -> None:
    before = await keep_old(app, carol, old)
    assert (await sign_in(carol.client, "carol", old)).status_code == 200
    if old in FORMS:
        after = (await stored_user(carol.id))["password_hash"]
        assert after != before
        assert {(await sign_in(carol.client, "carol", form)).status_code for form in FORMS} == {200}
        assert (await stored_user(carol.id))["password_hash"] == after
    else:
        assert (await stored_user(carol.id))["password_hash"] == before
        assert (await sign_in(carol.client, "carol", old)).status_code == 200


async def test_simultaneous_sign_ins_may_all_renew_the_hash(
    app: FastAPI, carol: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await keep_old(app, carol, NFD)
    hasher, all_verified = app.state.services[PasswordHasher], asyncio.Barrier(3)
    verify = hasher.verify

    async def verify_together(password: str, stored: str | None) -> tuple[bool, str | None]:
        verified: tuple[bool, str | None] = await verify(password, stored)
        if stored == before:
            await all_verified.wait()
        return verified

    monkeypatch.setattr(hasher, "verify", verify_together)
    async with asyncio.timeout(PATIENCE_SECONDS):
        answers = await asyncio.gather(*(sign_in(carol.client, "carol", NFD) for _ in range(3)))
    assert [answer.status_code for answer in answers] == [200] * 3
    user = await stored_user(carol.id)
    assert user["password_hash"] != before
    assert len(user["sessions"]) == 1 + 3
    assert await failures(app, KNOWN_ADDRESS, "127.0.0.1\ncarol") == 0


async def test_renewed_hash_leaves_mailed_tokens_valid(app: FastAPI, carol: Account, mailbox: Mailbox) -> None:
    await mailbox.settle()
    await mailbox.empty()
    before = await keep_old(app, carol, NFD)
    assert (await carol.post("/users/me/email/verification")).status_code == 202
    assert (await carol.client.post("/password/forgot", json={"email": "carol@example.com"})).status_code == 202
    verification = await mailbox.token("carol@example.com", "Verify")
    for_reset = await mailbox.token("carol@example.com", "Reset your password")
    assert (await sign_in(carol.client, "carol", NFD)).status_code == 200
    assert (await stored_user(carol.id))["password_hash"] != before
    assert (await carol.client.post("/email/verify", json={"token": verification})).status_code == 204
    assert (await stored_user(carol.id))["email_verified"] is True
    answer = await carol.client.post("/password/reset", json={"token": for_reset, "password": f"new {NFD}"})
    assert answer.status_code == 204


@pytest.mark.parametrize("stored", [NFC, NFD, "tab\tinside it"], ids=ascii)
async def test_the_current_password_is_known_in_every_place(app: FastAPI, carol: Account, stored: str) -> None:
    typed = NFD if stored == NFC else stored
    await keep_old(app, carol, stored)
    assert (await carol.post("/users/me/two-factor", json={"password": typed})).status_code == 201
    wrong = await carol.patch("/users/me", json={"password": "a staple of batteries", "current_password": f"{typed}!"})
    is_problem(wrong, 400, "wrong_password")
    changed = await carol.patch("/users/me", json={"password": MIXED, "current_password": typed})
    assert changed.status_code == 200, changed.text
    assert (await sign_in(carol.client, "carol", NFC)).status_code == 200
    leaving = await carol.client.request("DELETE", "/users/me", headers=carol.headers, json={"password": NFD})
    assert leaving.status_code == 202


@pytest.mark.parametrize("password", REFUSED, ids=ascii)
async def test_every_password_change_enforces_rfc_8265(carol: Account, mailbox: Mailbox, password: str) -> None:
    expected = {"password": "password_characters"}
    answer = await carol.client.post("/register", json={"username": "dave", "password": password})
    assert wrong_fields(answer) == expected
    (fault,) = answer.json()["details"]
    assert fault["message"] == "must not contain control, invisible or unassigned characters (some emoji contain them)"
    assert wrong_fields(await carol.patch("/users/me", json={"password": password, "current_password": NFD})) == expected
    assert wrong_fields(await carol.client.post("/password/reset", json={"token": "x", "password": password})) == expected
    operator = user_commands()
    for refused in (operator.create("dave", None, password, admin=False), operator.reset_password("carol", password)):
        with pytest.raises(ValidationError) as caught:
            await refused
        assert why(caught.value) == f"password: {fault['message']}"
    is_problem(await sign_in(carol.client, "carol", password), 401, "bad_credentials")


@pytest.mark.parametrize(
    ("password", "status"),
    [
        ("e\u0301" * 7, 422),  # seven letters
        ("e\u0301" * 128, 201),
        ("e\u0301" * 129, 422),
        ("\u0958" * 65, 422),  # of which NFC makes two each
        ("\u30fb" * 127 + "\u30a2", 201),  # dots among Katakana, each looked at in its context
        ("\u0301" * 500_000, 413),
    ],
    ids=["7", "128", "129", "130", "in context", "many"],
)
async def test_the_length_counts_composed_characters(anonymous: httpx.AsyncClient, password: str, status: int) -> None:
    answer = await anonymous.post("/register", json={"username": "dave", "password": password})
    assert answer.status_code == status, answer.text
    if status == 201:
        assert (await sign_in(anonymous, "dave", unicodedata.normalize("NFC", password))).status_code == 200


async def test_own_names_are_known_in_every_form(carol: Account) -> None:
    for name in ("Zo\u00eb B\u0142aszczyk", "Zoe\u0308 B\u0142aszczyk"):
        await collection(UserDocument).update_one({"_id": ObjectId(carol.id)}, {"$set": {"full_name": name}})
        for password in ("zo\u00eb b\u0142aszczyk", "ZOE\u0308 B\u0141ASZCZYK"):
            answer = await carol.patch("/users/me", json={"password": password, "current_password": NFC})
            assert wrong_fields(answer) == {"password": "password_is_name"}


async def test_a_reset_by_mail_prepares_the_password(carol: Account, mailbox: Mailbox) -> None:
    assert (await carol.client.post("/password/forgot", json={"email": "carol@example.com"})).status_code == 202
    token = await mailbox.token("carol@example.com", "Reset your password")
    answer = await carol.client.post("/password/reset", json={"token": token, "password": f"new {NFD}"})
    assert answer.status_code == 204
    assert (await sign_in(carol.client, "carol", f"new {NFC}")).status_code == 200


@pytest.mark.parametrize(
    ("typed", "hashes"), [(NFC, 1), (NFD, 2), (SPACED, 2), ("tab\tinside", 1), ("plain words", 1)], ids=ascii
)
async def test_number_of_hashes_reveals_nothing_about_the_account(
    app: FastAPI, carol: Account, monkeypatch: pytest.MonkeyPatch, typed: str, hashes: int
) -> None:
    verified: list[str] = []
    verify = app.state.services[PasswordHasher]._context.verify

    def counted(password: str, stored: str) -> bool:
        verified.append(stored)
        return bool(verify(password, stored))

    monkeypatch.setattr(app.state.services[PasswordHasher]._context, "verify", counted)
    for name in ("carol", "nobody"):
        await collection(ThrottleDocument).delete_many({})
        verified.clear()
        is_problem(await sign_in(carol.client, name, f"{typed}!"), 401, "bad_credentials")
        assert len(verified) == hashes
