"""The indexes at start and in migrations: missing ones are created, others are only touched when an operator asks."""

import asyncio
from functools import partial
from typing import Any

import pytest
from beanie import Document
from fastapi import FastAPI
from pymongo import ASCENDING, DESCENDING, TEXT
from pymongo.errors import OperationFailure

from taskapi.accounts.sessions.documents import SessionDocument
from taskapi.accounts.users.documents import UserDocument
from taskapi.core.errors import StartupError
from taskapi.db import indexes
from taskapi.db.connection import Database, open_database
from taskapi.db.indexes import Drift, IndexDrift
from taskapi.db.migrations.migrator import Migrator
from taskapi.db.migrations.startup import OnStart, make_ready
from taskapi.main import DOCUMENTS, SCHEMA, prepare
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account
from tests.conftest import make_settings
from tests.stored import collection, service

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


async def test_start_says_that_it_builds_indexes(database: Database, ada: Account, caplog: pytest.LogCaptureFixture) -> None:
    await collection(UserDocument).drop_index("username_unique")
    await collection(TaskDocument).delete_many({})
    await collection(TaskDocument).drop_index("changed")
    with caplog.at_level("INFO"):
        await make_ready(database, SCHEMA, OnStart.check)
    assert [each.message for each in caplog.records if "to build" in each.message] == ["indexes of users to build first: 1"]


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

    tasks = service(Database).collection(TaskDocument)
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


GUARDED: dict[str, tuple[type[Document], str, dict[str, Any]]] = {
    "text": (TaskDocument, "owner_text", {"keys": [("owner.id", ASCENDING), ("title", TEXT)]}),
    "unique": (UserDocument, "username_unique", {"keys": [("username_key", ASCENDING)], "unique": True, "sparse": True}),
    "not unique": (UserDocument, "username_unique", {"keys": [("username_key", ASCENDING)]}),
    "unique, renamed": (
        UserDocument,
        "username_unique",
        {"keys": [("username_key", ASCENDING)], "unique": True, "name": "other"},
    ),
}


@pytest.mark.parametrize("guarded", GUARDED.values(), ids=GUARDED)
async def test_guarded_index_is_left_to_the_operator(
    database: Database,
    ada: Account,
    caplog: pytest.LogCaptureFixture,
    guarded: tuple[type[Document], str, dict[str, Any]],
) -> None:
    """While it is built again, duplicates could come in, and then it could not be built any more."""
    document, name, drift = guarded
    handle = collection(document)
    expected = await handle.index_information()
    await handle.drop_index(name)
    await handle.create_index(**{"name": name, **drift})
    drifted = await handle.index_information()
    try:
        await Migrator(database, SCHEMA).up()
        assert await handle.index_information() == drifted
        (found,) = await database.compare_indexes(DOCUMENTS)
        stored = drift.get("name", name)
        assert found.is_guarded
        assert found.describe().endswith(f"; stop the service, drop {stored} in mongosh, then run: taskapi migrate up")
        assert [each.message for each in caplog.records if "differs" in each.message] == [
            f"an index differs from its definition; {found.remedy}"
        ]
    finally:
        await handle.drop_index(drift.get("name", name))
        await Migrator(database, SCHEMA).up()
    assert await handle.index_information() == expected


IN_PLACE: dict[str, tuple[type[Document], str, dict[str, Any]]] = {
    "hidden unique": (UserDocument, "username_unique", {"hidden": True}),
    "other expiry": (SessionDocument, "session_expiry", {"expireAfterSeconds": 77}),
}


@pytest.mark.parametrize("changed", IN_PLACE.values(), ids=IN_PLACE)
async def test_options_are_changed_in_place(
    database: Database, ada: Account, monkeypatch: pytest.MonkeyPatch, changed: tuple[type[Document], str, dict[str, Any]]
) -> None:
    document, name, options = changed
    handle = collection(document)
    expected = await handle.index_information()
    await handle.database.command("collMod", handle.name, index={"name": name, **options})
    assert await handle.index_information() != expected
    monkeypatch.setattr(indexes, "_drop", None)
    await Migrator(database, SCHEMA).up()
    assert await handle.index_information() == expected


async def test_start_names_an_index_that_cannot_be_built(database: Database, ada: Account) -> None:
    users = collection(UserDocument)
    await users.drop_index("username_unique")
    await users.insert_one({"username_key": "ada"})
    expected = "the index username_unique of the collection users cannot be built: several documents have the same username_key"
    try:
        with pytest.raises(StartupError, match=f"^{expected}$"):
            async with open_database(make_settings(mongodb_database=database.name), partial(prepare, OnStart.check)):
                raise AssertionError("it has started")
    finally:
        await users.delete_one({"username_key": "ada", "username": {"$exists": False}})
        await make_ready(database, SCHEMA, OnStart.check)
    assert "username_unique" in await users.index_information()
