"""The actions of ``taskapi migrate`` on databases in which something came after the steps were applied."""

import pytest

from taskapi.cli.migrate_actions import MigrateCommands
from taskapi.cli.progress import Progress
from taskapi.core.errors import StartupError
from taskapi.db.connection import Database
from taskapi.db.migrations.migrator import Migrator
from taskapi.db.migrations.startup import OnStart, make_ready
from taskapi.main import SCHEMA
from taskapi.tasks.storage.documents import TaskDocument
from tests.db.migrations.conftest import Store

pytestmark = pytest.mark.real


@pytest.fixture
async def commands(database: Database, store: Store) -> MigrateCommands:
    """The actions, on a database that a start has set up."""
    await make_ready(database, SCHEMA, OnStart.check)
    return MigrateCommands(Migrator(database, SCHEMA), Progress())


async def test_up_leaves_an_empty_newer_database(commands: MigrateCommands, store: Store) -> None:
    store.migrations.insert_one({**store.migrations.find_one({"_id": 1}), "_id": 999, "name": "of_the_future"})
    theirs = [{"$match": {"of": "the newer version"}}]
    store.command("collMod", "v_tasks", viewOn="tasks", pipeline=theirs)
    with pytest.raises(StartupError, match="is newer than this version"):
        await commands.up(contract=False, dry_run=False)
    (view,) = store.list_collections(filter={"name": "v_tasks"})
    assert view["options"]["pipeline"] == theirs


async def test_up_repairs_an_empty_database(commands: MigrateCommands, store: Store) -> None:
    declared = store.tasks.index_information()["changed"]
    store.tasks.drop_index("changed")
    store.tasks.create_index([("changed_at", -1)], name="changed")
    assert not await commands.status()
    assert await commands.up(contract=False, dry_run=False)
    assert store.tasks.index_information()["changed"] == declared
    assert await commands.status()


async def test_contract_clears_an_empty_database(commands: MigrateCommands, store: Store) -> None:
    former = min(TaskDocument.Settings.former_indexes)
    store.tasks.create_index("owner.id", name=former)
    assert await commands.up(contract=True, dry_run=False)
    assert former not in store.tasks.index_information()
