"""``taskapi migrate verify --fix`` repairs tasks whose damage has one right answer, and leaves all others."""

from datetime import timedelta
from typing import Any

import pytest
from bson import CodecOptions, Decimal128, Int64, ObjectId

from taskapi.db import shapes
from taskapi.db.connection import Database
from taskapi.db.migrations.migrator import Migrator
from taskapi.main import SCHEMA
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account
from tests.damage import ODD, damaged, store
from tests.sound import DAY, NOW, SOUND
from tests.stored import collection, service

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("moderate", "made_anew")]

TASK = {name: value for name, value in SOUND[TaskDocument].items() if name != "key"}
OPEN = {"status": "todo", "completed": False, "completed_at": None}
REPAIRED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({**OPEN, "completed": True}, OPEN),
    ({**OPEN, "completed_at": NOW}, OPEN),
    ({"completed": False}, {"completed": True, "completed_at": NOW}),
    ({"priority": 3.0}, {"priority": 3}),
    ({"priority": Int64(3), "estimate_minutes": Decimal128("90")}, {"priority": 3, "estimate_minutes": 90}),
    ({"progress": 1}, {"progress": 1.0}),
    ({"progress": Int64(1)}, {"progress": 1.0}),
    ({"tags": ["b", "a", "b"]}, {"tags": ["b", "a"]}),
    ({"due_date": DAY + timedelta(hours=5)}, {"due_date": DAY}),
]
LEFT: list[dict[str, Any]] = [
    {"completed_at": None},
    {"status": "DONE"},
    {"status": ["done"], "completed": False},
    {"priority": 3.5},
    {"priority": 9},
    {"title": "No"},
    {"colour": "red"},
    {"trash": {"owner": TASK["owner"], "deleted_at": NOW, "expires_at": NOW}},
]


def migrator() -> Migrator:
    return Migrator(service(Database), SCHEMA)


async def stored(task_id: ObjectId) -> dict[str, Any]:
    tasks = service(Database).collection(TaskDocument).with_options(CodecOptions(tz_aware=True))
    return await tasks.find_one({"_id": task_id}) or {}


@pytest.mark.parametrize(("damage", "expected"), REPAIRED, ids=str)
async def test_one_right_answer_is_stored(ada: Account, damage: dict[str, Any], expected: dict[str, Any]) -> None:
    wrong = {**TASK, **damage, "_id": ObjectId()}
    await collection(TaskDocument).insert_one(wrong)
    assert sum(count for _, count in await migrator().count_repairable()) >= 1
    assert await stored(wrong["_id"]) == wrong  # counting changes nothing
    await migrator().repair_documents()
    found = await stored(wrong["_id"])
    assert {name: found[name] for name in expected} == expected
    assert found["version"] > wrong["version"]
    assert found["changed_at"] > wrong["changed_at"]
    assert await migrator().invalid_documents() == []
    shapes.validate(TaskDocument, found)
    await migrator().repair_documents()
    assert await stored(wrong["_id"]) == found


async def test_what_has_no_right_answer_is_left(ada: Account) -> None:
    wrong = [{**TASK, **damage, "_id": ObjectId()} for damage in LEFT]
    await collection(TaskDocument).insert_many(wrong)
    await migrator().repair_documents()
    assert [await stored(each["_id"]) for each in wrong] == wrong


async def test_any_damage_can_be_met(ada: Account) -> None:
    names = [name for name in TASK if name not in ("_id", "owner_id", "state")]
    await store(TaskDocument, list(damaged(TASK, names, [kind for kind in ODD if "text" not in kind])))
    await migrator().repair_documents()
    assert await migrator().count_repairable() == []
    assert (await ada.get("/tasks")).status_code == 200
