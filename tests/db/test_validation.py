"""How collections get their validators, and what happens when a document is invalid all the same."""

import asyncio
import logging
from typing import Any

import bson
import pytest
from bson import ObjectId
from pymongo.errors import OperationFailure

from taskapi.accounts.users.documents import UserDocument
from taskapi.db import validation
from taskapi.db.connection import Database
from taskapi.db.indexes import Drift
from taskapi.db.migrations.documents import MigrationDocument
from taskapi.db.migrations.migrator import Migrator
from taskapi.db.migrations.startup import OnStart, make_ready
from taskapi.db.validation import ValidatorDrift
from taskapi.db.validators import BSON, validator
from taskapi.main import DOCUMENTS, SCHEMA
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, is_problem
from tests.conftest import another
from tests.sound import SOUND
from tests.stored import collection, service

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("made_anew")]


LATE_MARKS = 4  # a step of the contract phase


async def options() -> BSON:
    return dict(await service(Database).collection(TaskDocument).options())


async def anew(**stored_with: Any) -> None:
    """Has the collection of tasks created again, with these options, and the service started."""
    tasks = service(Database).collection(TaskDocument)
    await tasks.drop()
    if stored_with:
        await tasks.database.create_collection(tasks.name, **stored_with)
    await service(Database).create_collections(DOCUMENTS)


async def test_new_collections_are_strict(anonymous: object) -> None:
    await anew()
    assert (await options())["validationLevel"] == "strict"
    await asyncio.gather(*(service(Database).create_collections(DOCUMENTS) for _ in range(8)))
    assert (await options())["validationLevel"] == "strict"


async def test_workers_that_start_at_once_all_start(anonymous: object) -> None:
    await service(Database).collection(TaskDocument).drop()
    await asyncio.gather(*(service(Database).create_collections(DOCUMENTS) for _ in range(8)))
    assert (await options())["validationAction"] == "error"


async def test_older_collections_are_moderate_until_the_contract_phase(ada: Account) -> None:
    await anew(capped=False)
    assert "validator" not in await options()  # a start leaves them alone
    migrator = Migrator(service(Database), SCHEMA)
    assert ValidatorDrift("tasks", Drift.missing) in await migrator.validator_drifts()
    tasks, steps = service(Database).collection(TaskDocument), service(Database).collection(MigrationDocument)
    former = {name: value for name, value in SOUND[TaskDocument].items() if name not in ("owner_id", "state", "changed_at")}
    await steps.update_one({"_id": LATE_MARKS}, {"$set": {"finished_at": None}})  # workers of version 1.4 may go on
    await migrator.up()
    assert ((await options())["validationLevel"], await migrator.validator_drifts()) == ("moderate", [])
    await tasks.insert_one({**former, "_id": ObjectId()})  # by such a worker
    for wrong in ({"status": "DONE"}, {"state": "purged"}):
        with pytest.raises(OperationFailure, match="failed validation"):
            await tasks.insert_one({**former, "_id": ObjectId(), **wrong})
    await migrator.up(contract=True)
    assert ((await options())["validationLevel"], await migrator.validator_drifts()) == ("strict", [])
    with pytest.raises(OperationFailure, match="failed validation"):
        await tasks.insert_one({**former, "_id": ObjectId()})


async def test_collections_with_invalid_documents_stay_moderate(ada: Account) -> None:
    await anew(capped=False)
    tasks, migrator = service(Database).collection(TaskDocument), Migrator(service(Database), SCHEMA)
    wrong = (await collection(TaskDocument).insert_one({**SOUND[TaskDocument], "_id": ObjectId(), "priority": 9})).inserted_id
    await migrator.up(contract=True)
    assert ((await options())["validationLevel"], await migrator.validator_drifts()) == ("moderate", [])
    assert await validation.count_invalid(tasks.database, TaskDocument) == 1
    await tasks.delete_one({"_id": wrong})
    await migrator.up(contract=True)
    assert (await options())["validationLevel"] == "strict"


async def test_drifted_validators_are_named_and_repaired(ada: Account) -> None:
    tasks, migrator = service(Database).collection(TaskDocument), Migrator(service(Database), SCHEMA)
    drifts: list[tuple[BSON, Drift]] = [
        ({"validator": {"$jsonSchema": {"required": ["nothing"]}}}, Drift.changed),
        ({"validator": {}}, Drift.missing),
        ({"validationAction": "warn"}, Drift.changed),
        ({"validationLevel": "off"}, Drift.changed),
    ]
    for change, fault in drifts:
        await tasks.database.command({"collMod": "tasks", **change})
        assert await migrator.validator_drifts() == [ValidatorDrift("tasks", fault)]
        await migrator.up()
        assert ((await options())["validationLevel"], await migrator.validator_drifts()) == ("strict", [])
        assert bson.encode((await options())["validator"]) == bson.encode(validator(TaskDocument))


async def test_service_starts_without_the_right_to_validate(
    anonymous: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await anew(capped=False)
    tasks = service(Database).collection(TaskDocument)
    kind: Any = type(tasks.database)
    command = kind.command

    async def without_right(database: Any, what: Any, *arguments: Any, **named: Any) -> Any:
        if what == "collMod":
            raise OperationFailure("not authorized on taskapi to execute command", 13)
        return await command(database, what, *arguments, **named)

    monkeypatch.setattr(kind, "command", without_right)
    with caplog.at_level(logging.WARNING):
        await make_ready(service(Database), SCHEMA, OnStart.auto)
    (record,) = [each for each in caplog.records if each.name == "taskapi.db.validation"]
    assert record.__dict__["fields"]["collection"] == "tasks"
    assert "dbAdmin" in record.__dict__["fields"]["remedy"]
    monkeypatch.undo()
    await anew()


async def test_invalid_document_can_be_changed_despite_strictness(ada: Account, caplog: pytest.LogCaptureFixture) -> None:
    await anew()
    task = await ada.make_task()
    await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$set": {"tags": "none", "colour": 1}})
    assert (await ada.patch(f"/tasks/{task['id']}", json={"priority": 5})).status_code == 200
    assert "an invalid document was met" in caplog.text
    assert (await options())["validationLevel"] == "moderate"
    assert (await ada.delete(f"/tasks/{task['id']}")).status_code == 204
    assert (await ada.post(f"/tasks/{task['id']}/restore")).status_code == 200
    await anew()


@pytest.mark.parametrize("query", ["", "&expect=3"])
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_filter_changes_invalid_tasks_despite_strictness(ada: Account, method: str, query: str) -> None:
    await anew()
    tasks = [await ada.make_task() for _ in range(3)]
    await collection(TaskDocument).update_one({"_id": ObjectId(tasks[1]["id"])}, {"$set": {"tags": "none", "colour": 1}})
    path = f"/tasks?where={{}}{query}"
    answer = await (ada.patch(path, json={"priority": 5}) if method == "PATCH" else ada.delete(path))
    assert (answer.status_code, answer.json()) == (200, {"matched": 3, "changed": 3}), answer.text
    assert [task["version"] async for task in collection(TaskDocument).find()] == [2, 2, 2]
    await anew()


async def test_import_changes_invalid_tasks_despite_strictness(ada: Account) -> None:
    await anew()
    tasks = [await ada.make_task() for _ in range(3)]
    await collection(TaskDocument).update_one({"_id": ObjectId(tasks[1]["id"])}, {"$set": {"tags": "none", "colour": 1}})
    lines = [*({"id": task["id"], "title": "Changed"} for task in tasks), {"title": "Created"}]
    report = (await ada.post("/tasks/import?match=id", json=lines)).json()
    assert (report["updated"], report["created"], report["failed"]) == (3, 1, 0)
    assert sorted([task["version"] async for task in collection(TaskDocument).find()]) == [1, 2, 2, 2]
    await anew()


async def test_owner_of_an_invalid_account_can_sign_in(ada: Account) -> None:
    await collection(UserDocument).update_one({"_id": ObjectId(ada.id)}, {"$set": {"renames": "often"}})
    async with another() as client:
        form = {"username": "ada", "password": "correct horse battery"}
        assert (await client.post("/token", data=form)).status_code == 200


async def test_what_other_validators_refuse_is_a_conflict(ada: Account) -> None:
    tasks = service(Database).collection(TaskDocument)
    await tasks.database.command({"collMod": tasks.name, "validator": {"title": "only this"}})
    is_problem(await ada.post("/tasks", json={"title": "Another"}), 409, "damaged_task")
    await anew()
