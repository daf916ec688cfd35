"""The actions of ``taskapi migrate`` on databases in which something came after the steps were applied."""

import pytest

from taskapi.cli.migrate_actions import MigrateCommands
from taskapi.cli.progress import Progress
from taskapi.core.errors import StartupError
from taskapi.db.connection import Database
from taskapi.db.migrations.migrator import Migrator
from taskapi.db.migrations.startup import OnStart, make_ready
from taskapi.db.shapes import validate
from taskapi.main import SCHEMA
from taskapi.tasks.storage.documents import TaskDocument
from tests.db.migrations.conftest import Store
from tests.db.migrations.legacy import TASKS

pytestmark = pytest.mark.real


@pytest.fixture
async def commands(database: Database, store: Store) -> MigrateCommands:
    """The actions, on a database that a start has set up."""
    await make_ready(database, SCHEMA, OnStart.check)
    return MigrateCommands(Migrator(database, SCHEMA), Progress())


def level(store: Store) -> str:
    (found,) = store.list_collections(filter={"name": "tasks"})
    return str(found["options"]["validationLevel"])


@pytest.mark.parametrize("versions", [["1.0"], [*TASKS]], ids=["one", "several"])
async def test_restored_old_tasks_are_brought_up(
    commands: MigrateCommands, store: Store, capsys: pytest.CaptureFixture[str], versions: list[str]
) -> None:
    tasks = [dict(TASKS[version]) for version in versions]
    store.tasks.insert_many(tasks, bypass_document_validation=True)  # as mongorestore --bypassDocumentValidation does
    assert level(store) == "strict"
    assert not await commands.verify()
    assert f"5 task_owner_id: {len(tasks)} documents lack it; run: taskapi migrate up\n" in capsys.readouterr().out
    assert not await commands.up(contract=False, dry_run=True)
    assert f"5 task_owner_id: would change {len(tasks)} documents\n" in capsys.readouterr().out
    assert list(store.tasks.find()) == tasks
    assert await commands.up(contract=False, dry_run=False)
    for task in store.tasks.find():
        validate(TaskDocument, task)
    assert await commands.verify()
    assert level(store) == "strict"


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
