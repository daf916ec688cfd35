"""Migrations are applied once, in order, by one process at a time, and go on where a killed one stopped."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from beanie import Document
from bson import ObjectId
from pymongo.errors import AutoReconnect

from taskapi.core.errors import StartupError
from taskapi.db.connection import Database
from taskapi.db.expressions import literals
from taskapi.db.migrations import repository, startup
from taskapi.db.migrations.backfill import Backfill, backfill, store_missing
from taskapi.db.migrations.documents import MigrationDocument
from taskapi.db.migrations.migrator import Migrator, Schema
from taskapi.db.migrations.repair import Repair
from taskapi.db.migrations.startup import OnStart, make_ready
from taskapi.db.migrations.step import Migration, Phase, Progress
from taskapi.db.service_state import ServiceStateDocument
from tests.db.migrations.conftest import Store
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real


class Thing(Document):
    """What the tests migrate."""

    class Settings:
        name = "things"
        indexes = ()


def step(number: int, phase: Phase = Phase.expand) -> Migration:
    """Gives things the field ``added_N``, 1."""
    return backfill(
        number,
        f"step_{number}",
        "Adds a field.",
        document=Thing,
        **store_missing(literals({f"added_{number}": 1})),
        phase=phase,
    )


def schema(*migrations: Migration) -> Schema:
    return Schema((Thing, ServiceStateDocument, MigrationDocument), migrations)


STEPS = (step(1), step(2), step(3, Phase.contract))


def insert(store: Store, count: int = 1200) -> None:
    store.things.insert_many([{"number": number} for number in range(count)], bypass_document_validation=True)


def left(store: Store, number: int) -> int:
    return int(store.things.count_documents({f"added_{number}": {"$exists": False}}))


def applied(store: Store) -> dict[int, int]:
    return {each["_id"]: each["changed"] for each in store.migrations.find() if each["finished_at"]}


async def test_expand_steps_run_in_order(database: Database, store: Store) -> None:
    insert(store)
    ran = await Migrator(database, schema(*STEPS)).up()
    assert [each.number for each in ran] == [1, 2]
    assert [left(store, number) for number in (1, 2, 3)] == [0, 0, 1200]
    assert applied(store) == {1: 1200, 2: 1200}
    assert await Migrator(database, schema(*STEPS)).up() == []


async def test_contract_repeats_expand_steps(database: Database, store: Store) -> None:
    insert(store)
    migrator = Migrator(database, schema(*STEPS))
    await migrator.up()
    insert(store, 10)  # by workers of the previous version
    assert [each.number for each in await migrator.up(contract=True)] == [1, 2, 3]
    assert [left(store, number) for number in (1, 2, 3)] == [0, 0, 0]
    assert applied(store) == {1: 1210, 2: 1210, 3: 1210}
    assert await migrator.up(contract=True) == []


class Killed(BaseException):
    """As SIGKILL ends a process: nothing after it runs."""


def killed_after(migration: Migration, batches: int) -> Migration:
    async def run(database: Database, progress: Progress) -> None:
        calls = 0

        async def count(total: int, changed: int = 0, skipped: int = 0) -> None:
            nonlocal calls
            calls += 1
            await progress(total, changed, skipped)
            if calls > batches:
                raise Killed

        await migration.run(database, count)

    return Migration(migration.number, migration.name, migration.description, migration.phase, run, migration.count_left)


async def test_interrupted_step_continues(database: Database, store: Store) -> None:
    insert(store)
    with pytest.raises(Killed):
        await Migrator(database, schema(killed_after(STEPS[0], 1))).up()
    assert left(store, 1) == 700
    assert applied(store) == {}
    await Migrator(database, schema(*STEPS)).up()
    assert applied(store) == {1: 1200, 2: 1200}


async def test_lease_of_a_killed_process_expires(database: Database, store: Store) -> None:
    insert(store, 10)
    until = datetime.now(UTC) + timedelta(seconds=1)
    store.service_state.insert_one({"_id": "migration", "since": until, "leased_until": until, "holder": ObjectId()})
    await Migrator(database, schema(*STEPS)).up()
    assert datetime.now(UTC) >= until
    assert left(store, 1) == 0


async def test_ten_processes_run_each_step_once(database: Database, store: Store) -> None:
    insert(store)
    runs: list[int] = []

    async def run(_: Database, progress: Progress) -> None:
        runs.append(1)
        await progress(1, 1)

    async def none(_: Database) -> int:
        return 0

    once = schema(STEPS[0], Migration(2, "once", "Counts.", Phase.expand, run, none))
    ran = await asyncio.gather(*(Migrator(database, once).up() for _ in range(10)))
    assert sorted(map(len, ran)) == [0] * 9 + [2]
    assert (runs, applied(store)) == ([1], {1: 1200, 2: 1})


class Slow(Backfill):
    """Inserts a thing with each run; during the first one, another process takes the lease."""

    async def run(self, database: Database, progress: Progress) -> None:
        await database.collection(Thing).insert_one({})
        if await runs(database) == 1:
            taken = {"holder": ObjectId(), "leased_until": datetime.now(UTC)}
            await database.collection(ServiceStateDocument).update_one({"_id": "migration"}, {"$set": taken})
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    await progress(1)
                    await asyncio.sleep(0.01)

    async def count_left(self, database: Database) -> int:
        return 0


async def runs(database: Database) -> int:
    return await database.collection(Thing).count_documents({})


async def test_process_that_lost_its_lease_stops(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "RENEW_SECONDS", 0.01)
    slow = Slow(Thing, {}, {})
    await Migrator(database, schema(Migration(1, "slow", "Waits.", Phase.expand, slow.run, slow.count_left))).up()
    assert await runs(database) == 2


async def test_repair_that_lost_its_lease_begins_anew(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "RENEW_SECONDS", 0.01)
    migrator = Migrator(database, replace(schema(), repairs=[Repair("slow", "Waits.", Slow(Thing, {}, {}))]))
    await migrator.up()
    await migrator.repair_documents()
    assert await runs(database) == 2


async def test_step_continues_after_an_election(database: Database, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskapi.db.migrations.migrator.PAUSE_SECONDS", 0)
    insert(store)
    failures = [AutoReconnect("primary stepped down")] * 2

    async def run(using: Database, progress: Progress) -> None:
        if failures:
            raise failures.pop()
        await STEPS[0].run(using, progress)

    interrupted = Migration(1, "interrupted", "Fails twice.", Phase.expand, run, STEPS[0].count_left)
    await Migrator(database, schema(interrupted)).up()
    assert (failures, applied(store)) == ([], {1: 1200})


async def test_unwritable_documents_are_skipped_and_named(
    database: Database, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    insert(store)
    store.things.create_index([("a", 1), ("added_1", 1)])
    damaged = store.things.insert_one({"a": [1, 2]}).inserted_id
    lists = backfill(1, "lists", "Adds a list.", document=Thing, **store_missing(literals({"added_1": [1]})))
    await Migrator(database, schema(lists)).up()
    assert left(store, 1) == 1
    assert store.migrations.find_one({"_id": 1})["skipped"] == 1
    (record,) = [each for each in caplog.records if each.message.startswith("document not migrated")]
    assert record.__dict__["fields"] == {"collection": "things", "document": str(damaged)}
    assert [each.number for each in await Migrator(database, schema(lists)).up(thorough=True)] == [1]
    assert store.migrations.find_one({"_id": 1})["skipped"] == 1


async def test_stored_values_are_kept(database: Database, store: Store) -> None:
    kept: list[Any] = [{"_id": 1, "added_1": None}, {"_id": 2, "added_1": [1]}, {"_id": 3, "added_1": {"a": 1}}]
    store.things.insert_many([*kept, {"_id": 4}])
    await Migrator(database, schema(STEPS[0])).up()
    assert list(store.things.find()) == [*kept, {"_id": 4, "added_1": 1}]


@pytest.mark.parametrize("on_start", OnStart)
async def test_empty_database_is_set_up_as_new(database: Database, store: Store, on_start: OnStart) -> None:
    await asyncio.gather(*(make_ready(database, schema(*STEPS), on_start) for _ in range(5)))
    assert applied(store) == {1: 0, 2: 0, 3: 0}


async def test_start_refuses_an_older_database(database: Database, store: Store) -> None:
    insert(store, 1)
    expected = rf"^the database {store.name} needs 2 migrations before this version can start; run: taskapi migrate up$"
    with pytest.raises(StartupError, match=expected):
        await make_ready(database, schema(*STEPS), OnStart.check)
    assert left(store, 1) == 1
    await Migrator(database, schema(*STEPS)).up()
    await make_ready(database, schema(*STEPS), OnStart.check)  # the contract phase may wait


async def test_start_migrates_as_it_is_told(database: Database, store: Store) -> None:
    insert(store, 1)
    await make_ready(database, schema(*STEPS), OnStart.auto)
    assert set(applied(store)) == {1, 2}
    await make_ready(database, schema(*STEPS), OnStart.everything)
    assert set(applied(store)) == {1, 2, 3}


async def test_start_logs_its_progress(
    database: Database, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(startup, "LOG_SECONDS", 0)
    insert(store)
    with caplog.at_level("INFO"):
        await make_ready(database, schema(STEPS[0]), OnStart.auto)
    logged = [each.message for each in caplog.records if " of 1200 documents" in each.message]
    assert logged == [f"migration 1 (step_1): {done} of 1200 documents" for done in (0, 500, 1000, 1200)]


async def test_foreign_records_are_ignored(database: Database, store: Store) -> None:
    store.migrations.insert_many([{"_id": "0001_init"}, {"_id": ObjectId()}, {"_id": None}])
    await make_ready(database, schema(*STEPS), OnStart.check)
    assert [state.is_applied for state in await Migrator(database, schema(*STEPS)).states()] == [True] * 3


@pytest.mark.parametrize("on_start", OnStart)
async def test_start_refuses_a_newer_database(database: Database, store: Store, on_start: OnStart) -> None:
    await make_ready(database, schema(*STEPS, step(4)), OnStart.check)
    with pytest.raises(
        StartupError, match=r"is newer than this version: it has migration 4 \(step_4\), and this version knows 3;"
    ):
        await make_ready(database, schema(*STEPS), on_start)
