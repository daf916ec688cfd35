"""The steps of the service: documents of every earlier version come through them."""

from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId

from taskapi.accounts.users.documents import UserDocument
from taskapi.cli.migrate_actions import MigrateCommands
from taskapi.cli.progress import Progress
from taskapi.core.clock import utc_now
from taskapi.db.connection import Database
from taskapi.db.migrations.migrator import Migrator
from taskapi.db.shapes import validate
from taskapi.main import MIGRATIONS, SCHEMA, create_app
from taskapi.tasks.storage.documents import TaskDocument
from tests.conftest import make_settings, running
from tests.db.migrations.conftest import Store
from tests.db.migrations.legacy import OWNER, TASKS, USERS


def test_numbers_have_no_gaps() -> None:
    assert [each.number for each in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_names_are_unique() -> None:
    assert len({each.name for each in MIGRATIONS}) == len(MIGRATIONS)


async def no_progress(total: int, changed: int = 0, skipped: int = 0) -> None:
    """Reports nothing."""


@pytest.fixture
async def migrated(database: Database, store: Store) -> Store:
    """The database after all steps."""
    store.users.insert_many([dict(each) for each in USERS.values()])
    store.tasks.insert_many([dict(each) for each in TASKS.values()])
    await Migrator(database, SCHEMA).up(contract=True)
    return store


@pytest.mark.real
async def test_tasks_of_earlier_versions_come_through(migrated: Store) -> None:
    for version, before in TASKS.items():
        after: dict[str, Any] = migrated.tasks.find_one({"_id": before["_id"]})
        validate(TaskDocument, after)
        assert {name: after[name] for name in before} == before, version
        assert (after["checklist"], after["metadata"], after["start_date"]) == ([], {}, None), version
        assert after["progress"] == (1.0 if before["status"] == "done" else 0.0), version
        assert after["history"] == before.get("history", []), version
        assert [each["status"] for each in after["status_changes"]] == ["todo", "done"][: 1 + before["completed"]], version


@pytest.mark.real
async def test_accounts_of_earlier_versions_come_through(migrated: Store) -> None:
    for version, before in USERS.items():
        after: dict[str, Any] = migrated.users.find_one({"_id": before["_id"]})
        validate(UserDocument, after)
        assert {name: after[name] for name in before} == before, version
        assert after["role"] == before.get("role", "user"), version
        assert after["email_verified"] is before.get("email_verified", False), version
        assert after["sessions"] == before.get("sessions", []), version


@pytest.mark.real
async def test_nothing_is_left_afterwards(migrated: Store, database: Database) -> None:
    migrator = Migrator(database, SCHEMA)
    assert set((await migrator.count_left(MIGRATIONS)).values()) == {0}
    assert await migrator.index_drifts() == []
    async with running(create_app(make_settings(mongodb_database=migrated.name))) as client:
        assert (await client.get("/ready")).status_code == 200


@pytest.mark.real
async def test_old_workers_can_read_migrated_tasks(migrated: Store) -> None:
    """Versions up to 1.4 find tasks by these fields."""
    assert migrated.tasks.count_documents({"owner.id": OWNER["id"]}) == 5
    assert migrated.tasks.count_documents({"trash.owner.id": OWNER["id"]}) == 1


@pytest.mark.real
async def test_tombstones_stay_as_they_are(migrated: Store, database: Database) -> None:
    at = utc_now()
    tombstone = {"_id": ObjectId(), "owner_id": OWNER["id"], "state": "purged", "created_at": at, "version": 2}
    tombstone |= {"changed_at": at, "expires_at": at + timedelta(days=30)}
    migrated.tasks.insert_one(tombstone)
    before = migrated.tasks.find_one({"_id": tombstone["_id"]})
    migrator = Migrator(database, SCHEMA)
    assert set((await migrator.count_left(MIGRATIONS)).values()) == {0}
    for each in MIGRATIONS:
        await each.run(database, no_progress)
    assert migrated.tasks.find_one({"_id": tombstone["_id"]}) == before


@pytest.mark.real
async def test_empty_older_database_is_set_up(database: Database, store: Store) -> None:
    """Its workers may be running, and store what lacks newer fields."""
    former = min(TaskDocument.Settings.former_indexes)
    store.tasks.create_index("owner.id", name=former)
    assert await MigrateCommands(Migrator(database, SCHEMA), Progress()).up(contract=False, dry_run=False)
    store.tasks.insert_one(dict(TASKS["1.2 imported"]))
