"""The indexes at start and in migrations: missing ones are created, others are only touched when an operator asks."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from pymongo import ASCENDING, DESCENDING, TEXT
from pymongo.errors import OperationFailure

from taskapi.db.connection import Database
from taskapi.db.indexes import Drift, IndexDrift
from taskapi.db.migrations.migrator import Migrator
from taskapi.db.migrations.startup import OnStart, make_ready
from taskapi.main import DOCUMENTS, SCHEMA
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account
from tests.stored import collection

pytestmark = pytest.mark.real

BY_TITLE = [("owner.id", ASCENDING), ("title", ASCENDING), ("_id", ASCENDING)]


async def present() -> dict[str, Any]:
    return dict(await collection(TaskDocument).index_information())


@pytest.fixture
def database(app: FastAPI) -> Database:
    found: Database = app.state.services[Database]
    return found


async def test_new_database_has_no_drift(database: Database, made_anew: None) -> None:
    assert await database.compare_indexes(DOCUMENTS) == []


@pytest.mark.parametrize("workers", [1, 4])
async def test_start_creates_missing_indexes_only(database: Database, ada: Account, workers: int) -> None:
    expected = await present()
    tasks = collection(TaskDocument)
    await tasks.drop_index("changed")
    await tasks.create_index(BY_TITLE, name="owner_title")
    await tasks.create_index([("owner.id", ASCENDING), ("links", ASCENDING)], name="their_own")
    await asyncio.gather(*(make_ready(database, SCHEMA, OnStart.check) for _ in range(workers)))
    assert (await present()).keys() == {*expected, "owner_title", "their_own"}
    assert (await present())["changed"] == expected["changed"]
    await Migrator(database, SCHEMA).up()  # workers of the previous version may use it
    assert "owner_title" in await present()
    await Migrator(database, SCHEMA).up(contract=True)
    assert (await present()).keys() == {*expected, "their_own"}
    await tasks.drop_index("their_own")


async def test_embedded_start_drops_former_indexes(database: Database, ada: Account) -> None:
    expected = await present()
    await collection(TaskDocument).create_index(BY_TITLE, name="owner_title")
    await make_ready(database, SCHEMA, OnStart.everything)
    assert await present() == expected


async def test_undroppable_index_does_not_stop_the_start(
    database: Database, ada: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As for an account that may make indexes, which was enough for version 1.2, but not drop them."""

    async def refused(*_: Any) -> None:
        raise OperationFailure("not authorized to execute command", 13)

    tasks = collection(TaskDocument)
    await tasks.create_index(BY_TITLE, name="owner_title")
    monkeypatch.setattr(type(tasks), "drop_index", refused)
    await make_ready(database, SCHEMA, OnStart.everything)
    logged = [each.__dict__["fields"] for each in caplog.records if each.message == "former index not dropped"]
    assert {"collection": "tasks", "index": "owner_title", "reason": "not authorized to execute command"} in logged
    monkeypatch.undo()
    await make_ready(database, SCHEMA, OnStart.everything)
    assert "owner_title" not in await present()


DRIFTED: dict[str, dict[str, Any]] = {
    "other keys": {"keys": [("changed_at", DESCENDING), ("_id", ASCENDING)]},
    "other options": {"keys": [("changed_at", ASCENDING), ("_id", ASCENDING)], "sparse": True},
    "other collation": {"keys": [("changed_at", ASCENDING), ("_id", ASCENDING)], "collation": {"locale": "de"}},
    "hidden": {"keys": [("changed_at", ASCENDING), ("_id", ASCENDING)], "hidden": True},
    "other name": {"keys": [("changed_at", ASCENDING), ("_id", ASCENDING)], "name": "changed_at_1__id_1"},
}


@pytest.mark.parametrize("drift", DRIFTED.values(), ids=DRIFTED)
async def test_drifted_index_is_reported_and_repaired(
    database: Database, ada: Account, caplog: pytest.LogCaptureFixture, drift: dict[str, Any]
) -> None:
    expected, tasks = await present(), collection(TaskDocument)
    await tasks.drop_index("changed")
    await tasks.create_index(**{"name": "changed", **drift})
    drifted = await present()
    other = drift.get("name")
    kind = IndexDrift("tasks", "changed", Drift.renamed if other else Drift.changed, other)
    assert await database.compare_indexes(DOCUMENTS) == [kind]
    await make_ready(database, SCHEMA, OnStart.check)
    assert await present() == drifted  # the start only says so
    assert [each.__dict__["fields"] for each in caplog.records if "differs" in each.message] == [
        {"collection": "tasks", "index": "changed"}
    ]
    await Migrator(database, SCHEMA).up()
    assert await present() == expected
    assert await database.compare_indexes(DOCUMENTS) == []


async def test_drifted_text_index_is_repaired(database: Database, ada: Account) -> None:
    expected, tasks = await present(), collection(TaskDocument)
    await tasks.drop_index("owner_text")
    await tasks.create_index([("owner.id", ASCENDING), ("title", TEXT)], name="owner_text")
    assert await database.compare_indexes(DOCUMENTS) == [IndexDrift("tasks", "owner_text", Drift.changed)]
    await Migrator(database, SCHEMA).up()
    assert await present() == expected
