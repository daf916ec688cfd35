"""The views of a database at start and in migrations: missing ones are created, others only change when an operator asks."""

import asyncio
from typing import Any, Final

import pytest
from pymongo.errors import OperationFailure

from taskapi.cli.migrate_actions import MigrateCommands
from taskapi.cli.progress import Progress
from taskapi.db import views
from taskapi.db.codes import UNAUTHORIZED
from taskapi.db.connection import Database
from taskapi.db.indexes import Drift
from taskapi.db.migrations.migrator import Migrator, Schema
from taskapi.db.migrations.startup import OnStart, make_ready
from taskapi.db.views import View, ViewDrift
from taskapi.main import DOCUMENTS, MIGRATIONS, SCHEMA, VIEWS
from taskapi.tasks.storage.documents import TaskDocument
from tests.db.migrations.conftest import Store, database, store

__all__ = ["database", "store"]

pytestmark = pytest.mark.real

ONE: Final = View("v_one", TaskDocument, [{"$match": {"state": "active"}}], "One.", ())
CHANGED: Final = View("v_one", TaskDocument, [{"$match": {"state": "trash"}}], "One.", ())


def schema(*declared: View, former: frozenset[str] = frozenset()) -> Schema:
    return Schema(DOCUMENTS, MIGRATIONS, declared, former)


def stored(store: Store) -> dict[str, Any]:
    return {each["name"]: each["options"]["pipeline"] for each in store.list_collections(filter={"type": "view"})}


@pytest.mark.parametrize("on_start", OnStart)
async def test_new_database_gets_all_views(database: Database, store: Store, on_start: OnStart) -> None:
    await make_ready(database, SCHEMA, on_start)
    assert stored(store).keys() == {view.name for view in VIEWS}
    assert await Migrator(database, SCHEMA).drifts() == []


async def test_ten_workers_create_them_at_once(database: Database, store: Store) -> None:
    await asyncio.gather(*(database.create_views(VIEWS) for _ in range(10)))
    assert await database.compare_views(VIEWS) == []
    await asyncio.gather(*(database.repair_views([CHANGED, *VIEWS]) for _ in range(10)))
    assert await database.compare_views([CHANGED, *VIEWS]) == []


async def test_start_creates_missing_views_only(database: Database, store: Store) -> None:
    await make_ready(database, schema(ONE), OnStart.check)
    store.drop_collection("v_one")
    await make_ready(database, schema(ONE), OnStart.check)
    assert stored(store) == {"v_one": [*ONE.pipeline]}
    await make_ready(database, schema(CHANGED), OnStart.check)
    assert stored(store) == {"v_one": [*ONE.pipeline]}


async def test_start_names_views_that_differ(database: Database, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    await database.create_views([ONE])
    await database.create_views([CHANGED])
    assert "view v_one has another definition; to repair it: taskapi migrate up" in caplog.messages


async def test_embedded_start_changes_views(database: Database, store: Store) -> None:
    await make_ready(database, schema(ONE), OnStart.everything)
    await make_ready(database, schema(CHANGED), OnStart.everything)
    assert stored(store) == {"v_one": [*CHANGED.pipeline]}


async def test_migrations_repair_views(database: Database, store: Store) -> None:
    await make_ready(database, schema(ONE), OnStart.check)
    migrator = Migrator(database, schema(CHANGED))
    assert await migrator.drifts() == [ViewDrift("v_one", Drift.changed)]
    await migrator.up()
    assert await migrator.drifts() == []


async def test_status_and_verify_name_views(database: Database, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    await make_ready(database, schema(ONE), OnStart.check)
    store.mail_jobs.insert_one({"not": "empty"}, bypass_document_validation=True)
    commands = MigrateCommands(Migrator(database, schema(CHANGED)), Progress())
    assert not await commands.status()
    said = capsys.readouterr().out
    assert "view v_one has another definition\n" in said
    assert "To do: 0 migrations, 0 indexes, 1 view; run: taskapi migrate up\n" in said
    assert not await commands.verify()
    assert "view v_one has another definition\n" in capsys.readouterr().out


async def test_migrations_say_which_views_are_left(
    database: Database, store: Store, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    await make_ready(database, schema(ONE), OnStart.check)
    store.v_two.insert_one({"theirs": 1})
    two = View("v_two", TaskDocument, [], "Two.", ())
    commands = MigrateCommands(Migrator(database, schema(CHANGED, two)), Progress())
    assert not await commands.up(contract=False, dry_run=False)
    left = "view v_two is missing; a collection has its name: rename that"
    assert (capsys.readouterr().out, caplog.messages) == (f"{left}\n0 migrations applied.\n", [left])
    assert stored(store) == {"v_one": [*CHANGED.pipeline]}
    store.v_two.rename("v_theirs")
    assert await commands.up(contract=False, dry_run=False)
    assert await commands.migrator.drifts() == []


async def test_former_views_go_in_the_contract_phase(database: Database, store: Store) -> None:
    await make_ready(database, schema(ONE), OnStart.check)
    migrator = Migrator(database, schema(former=frozenset({"v_one", "v_never"})))
    assert await migrator.drifts() == [ViewDrift("v_one", Drift.former)]
    await migrator.up()
    assert stored(store).keys() == {"v_one"}
    await migrator.up(contract=True)
    assert (stored(store), await migrator.drifts()) == ({}, [])


async def test_collection_with_the_name_stays(database: Database, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.v_one.insert_one({"theirs": 1})
    await database.repair_views([ONE])
    await database.drop_former_views({"v_one"})
    assert store.v_one.count_documents({}) == 1
    (drift,) = await database.compare_views([ONE])
    assert drift.describe() in caplog.text
    assert drift.describe() == "view v_one is missing; a collection has its name: rename that"


def database_of(database: Database) -> Any:
    """The driver's handle, for a user who may do everything."""
    return database.collection(TaskDocument).database


class Killed(Exception):
    """In place of a SIGKILL."""


class ReadWrite:
    """The database for a user of the role ``readWrite``, who may not change a view, and maybe is killed before a command."""

    def __init__(self, database: Database, killed_before: str = "") -> None:
        self._handle = database_of(database)
        self._killed_before = killed_before

    async def command(self, name: str, *arguments: Any, **named: Any) -> Any:
        if name == self._killed_before:
            raise Killed
        if name == "collMod":
            raise OperationFailure("not authorized", UNAUTHORIZED)
        return await self._handle.command(name, *arguments, **named)


@pytest.mark.parametrize("command", ["collMod", "drop", "create"])
async def test_killed_repair_leaves_nothing_undone(database: Database, store: Store, command: str) -> None:
    await database.create_views([ONE])
    with pytest.raises(Killed):
        await views.repair(ReadWrite(database, command), [CHANGED])
    assert stored(store) == ({} if command == "create" else {"v_one": [*ONE.pipeline]})
    await views.create_missing(ReadWrite(database), [CHANGED])  # as the next start does
    assert stored(store).keys() == {"v_one"}
    await asyncio.gather(*(views.repair(user, [CHANGED]) for user in [ReadWrite(database), database_of(database)] * 5))
    assert stored(store) == {"v_one": [*CHANGED.pipeline]}


class Refusing:
    """A server's database that allows nothing."""

    async def command(self, name: str, *_: Any, **__: Any) -> Any:
        raise OperationFailure("not authorized", UNAUTHORIZED)


async def test_lacking_rights_stop_nothing(caplog: pytest.LogCaptureFixture) -> None:
    await views.create_missing(Refusing(), VIEWS)
    await views.repair(Refusing(), VIEWS)
    await views.drop_former(Refusing(), ["v_one"])
    assert caplog.messages == [views.NO_RIGHTS] * 3
