"""``taskapi migrate verify`` names the documents that their validators refuse, and why."""

from typing import Any

import pytest
from bson import ObjectId
from bson.datetime_ms import DatetimeMS

from taskapi.accounts.users.documents import UserDocument
from taskapi.db.connection import Database
from taskapi.db.invalid_documents import MAX_NAMED
from taskapi.db.migrations.migrator import Migrator
from taskapi.main import SCHEMA
from taskapi.tasks.storage.documents import TaskDocument, Tombstone
from tests.client import Account
from tests.damage import ODD, store
from tests.sound import SOUND
from tests.stored import collection, service

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("moderate", "made_anew")]

TASK = {name: value for name, value in SOUND[TaskDocument].items() if name != "key"}  # which is unique
WRONG: dict[str, dict[str, Any]] = {
    "priority": {"priority": 9},
    "status,tags": {"status": "DONE", "tags": ["a", "a"], "completed": False, "completed_at": None},
    "history": {"history": [{**TASK["history"][0], "colour": 1}]},
    "a field that is not known": {"colour": "red"},
    "a date that is out of range": {"created_at": DatetimeMS(2**60)},
}


async def test_invalid_tasks_are_named_with_their_reasons(ada: Account) -> None:
    await ada.make_task()
    assert await Migrator(service(Database), SCHEMA).invalid_documents() == []
    wrong = {reason: {**TASK, **changes, "_id": ObjectId()} for reason, changes in WRONG.items()}
    await collection(TaskDocument).insert_many(wrong.values())
    (found,) = await Migrator(service(Database), SCHEMA).invalid_documents()
    assert (found.collection, found.count) == ("tasks", len(WRONG))
    assert dict(found.reasons) == {each["_id"]: reason.split(",") for reason, each in wrong.items()}
    for document_id in (each["_id"] for each in wrong.values()):
        assert any(str(document_id) in line for line in found.describe())


async def test_disagreeing_fields_are_a_reason(ada: Account) -> None:
    await collection(TaskDocument).insert_one({**TASK, "_id": ObjectId(), "completed": False})
    (found,) = await Migrator(service(Database), SCHEMA).invalid_documents()
    ((_, (reason,)),) = found.reasons
    assert "completed" in reason


async def test_tombstones_are_compared_with_tombstones(ada: Account) -> None:
    tombstone = {name: TASK.get(name, TASK["created_at"]) for name in Tombstone.model_fields if name != "id"}
    odd = {**tombstone, "_id": ObjectId(), "state": "purged", "version": "two"}
    await collection(TaskDocument).insert_many([odd, {**odd, "_id": ObjectId(), "version": 2}])
    (found,) = await Migrator(service(Database), SCHEMA).invalid_documents()
    assert list(found.reasons) == [(odd["_id"], ["version"])]


async def test_output_is_bounded_and_shows_no_values(ada: Account) -> None:
    secret = {**SOUND[UserDocument], "password_hash": 47114711, "username": "UNSEEN"}
    del secret["_id"], secret["email_key"]
    users = [{**secret, "_id": ObjectId(), "username_key": f"u{number}", "api_tokens": 1} for number in range(30)]
    await store(UserDocument, users)
    (found,) = await Migrator(service(Database), SCHEMA).invalid_documents()
    lines = found.describe()
    assert (found.count, len(lines)) == (30, MAX_NAMED + 2)
    assert "47114711" not in "".join(lines)
    assert "UNSEEN" not in "".join(lines)


async def test_all_kinds_of_damage_are_looked_through(ada: Account) -> None:
    for path in ("title", "history", "metadata", "owner", "changed_at", "checklist"):
        await store(TaskDocument, [{**TASK, "_id": ObjectId(), path: ODD[kind]} for kind in ODD if kind != "missing"])
    (found,) = await Migrator(service(Database), SCHEMA).invalid_documents()
    assert found.count >= 150
    assert all(reasons for _, reasons in found.reasons)
