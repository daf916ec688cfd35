"""``taskapi migrate verify --fix`` repairs accounts whose damage has one right answer, and leaves all others."""

from typing import Any

import pytest
from bson import Decimal128, ObjectId

from taskapi.accounts.users.documents import UserDocument
from taskapi.db.connection import Database
from taskapi.db.migrations.migrator import Migrator
from taskapi.main import SCHEMA
from tests.client import Account, sign_in, stored_user
from tests.damage import MISSING, ODD, damaged, set_at, store
from tests.sound import SOUND
from tests.stored import collection, service

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("moderate", "made_anew")]

USER = {**SOUND[UserDocument], "sessions": []}
(TOKEN,) = USER["api_tokens"]
Damage = dict[str, Any]  # values by their paths
REPAIRED: list[tuple[Damage, Damage]] = [
    ({"username_key": MISSING}, {"username_key": "grace"}),
    ({"username_key": None}, {"username_key": "grace"}),
    ({"username_key": ["grace"]}, {"username_key": "grace"}),
    ({"username_key": "Grace"}, {"username_key": "grace"}),
    ({"email_key": MISSING}, {"email_key": "grace@example.com"}),
    ({"email_key": 5}, {"email_key": "grace@example.com"}),
    ({"email": None, "email_key": None}, {"email": None, "email_key": MISSING}),
    ({"email": MISSING, "email_key": None}, {"email": MISSING, "email_key": MISSING}),
    *(
        ({name: None}, {name: MISSING})
        for name in ("email_verified", "role", "sessions", "last_admin_checks", "leaving", "renames", "renaming", "api_tokens")
    ),
    *(({name: None}, {name: MISSING}) for name in ("leaving.leased_until", "renaming.leased_until", "renaming.holder")),
    ({"renames": 3.0, "last_admin_checks": Decimal128("4")}, {"renames": 3, "last_admin_checks": 4}),
    ({"authenticator.last_step": 5.0}, {"authenticator.last_step": 5}),
    ({"api_tokens": [{**TOKEN, "scopes": []}]}, {"api_tokens": []}),
]
LEFT: list[Damage] = [
    {"username_key": "somebody_else"},
    {"username": 5},
    {"username": "No", "username_key": None},
    {"email": None},
    {"email": None, "email_key": 5},
    {"email": ["grace@example.com"], "email_key": None},
    {"email": "grace@bücher.example", "email_key": None},
    {"disabled": None},
    {"two_factor": None},
    {"authenticator.recovery": None},
    {"authenticator": None},
    {"password_hash": None},
    {"renames": 3.5},
    {"renames": -1.0},
    {"renames": [3.0]},
    {"leaving": [{"leased_until": None}]},
    {"created_at": None},
    {"colour": None},
    {"api_tokens": [[{**TOKEN, "scopes": []}]]},
    {"api_tokens": [{**TOKEN, "scopes": [[]]}]},
    {"api_tokens": {**TOKEN, "scopes": []}},
]


def wrong_user(damage: Damage) -> dict[str, Any]:
    wrong = {**USER, "_id": ObjectId()}
    for path, value in damage.items():
        wrong = set_at(wrong, path, value)
    return wrong


def migrator() -> Migrator:
    return Migrator(service(Database), SCHEMA)


@pytest.mark.parametrize(("damage", "expected"), REPAIRED, ids=", ".join)
async def test_one_right_answer_is_stored(ada: Account, damage: Damage, expected: Damage) -> None:
    wrong = wrong_user(damage)
    await collection(UserDocument).insert_one(wrong)
    before = await stored_user(str(wrong["_id"]))
    (_, found), *_ = await migrator().count_repairable()
    assert found == 1
    assert await stored_user(str(wrong["_id"])) == before  # counting changes nothing
    right = before
    for path, value in expected.items():
        right = set_at(right, path, value)
    for _ in range(2):
        await migrator().repair_documents()
        assert await stored_user(str(wrong["_id"])) == right
        assert await migrator().invalid_documents() == []


@pytest.mark.parametrize("damage", LEFT, ids=", ".join)
async def test_what_has_no_right_answer_is_left(ada: Account, damage: Damage) -> None:
    wrong = wrong_user(damage)
    await collection(UserDocument).insert_one(wrong)
    before = await stored_user(str(wrong["_id"]))
    assert await migrator().count_repairable() == []
    await migrator().repair_documents()
    assert await stored_user(str(wrong["_id"])) == before
    (invalid,) = await migrator().invalid_documents()
    assert (invalid.collection, invalid.count) == ("users", 1)


async def test_name_of_another_account_is_left(ada: Account, bob: Account) -> None:
    users = collection(UserDocument)
    taken = {**wrong_user({"username_key": MISSING, "email_key": MISSING, "email": None}), "username": "ADA", "api_tokens": []}
    await users.insert_one(taken)
    await users.update_one({"_id": ObjectId(bob.id)}, {"$set": {"username_key": "Bob"}})
    assert (await sign_in(ada.client, "bob")).status_code == 401
    await migrator().repair_documents()
    assert "username_key" not in await stored_user(str(taken["_id"]))
    assert (await sign_in(ada.client, "bob")).status_code == 200
    assert (await sign_in(ada.client, "ada")).status_code == 200


async def test_any_damage_can_be_met(ada: Account) -> None:
    documents = [*damaged({**USER, "api_tokens": []}, [name for name in USER if name != "_id"], list(ODD))]
    for number, each in enumerate(documents):
        each |= {name: f"{number}" for name in ("username_key", "email_key") if not each["note"].startswith(name)}
    assert len(await store(UserDocument, documents)) > 600
    await migrator().repair_documents()
    assert {repair.name for repair, _ in await migrator().count_repairable()} <= {"username_key", "email_key"}  # taken names
    assert (await ada.get("/users/me")).status_code == 200
