"""What a start does about migrations: nothing, apply them, or refuse."""

import logging
import time
from enum import StrEnum

from taskapi.core.errors import StartupError
from taskapi.db.connection import Database
from taskapi.db.indexes import MIGRATE
from taskapi.db.migrations.migrator import Migrator, Report, Schema
from taskapi.db.migrations.step import Migration, Phase

log = logging.getLogger(__name__)

LOG_SECONDS = 10.0


class OnStart(StrEnum):
    """How a start treats a database of an earlier version."""

    check = "check"  # refuses to start
    auto = "auto"  # applies the expand steps: workers of the previous version may be running
    everything = "everything"  # applies all steps: the database is embedded, and no other process uses it


async def make_ready(database: Database, schema: Schema, on_start: OnStart) -> None:
    """Sets up an empty database. Brings an older one up to date, or refuses.

    Raises:
        StartupError: migrations are left and must not run now, or the database is newer; one line with the command to run.
    """
    migrator = Migrator(database, schema)
    phases = tuple(Phase) if on_start is OnStart.everything else (Phase.expand,)
    pending = await migrator.pending(phases)
    if pending and await migrator.is_empty():
        await migrator.set_up()
        return
    if on_start is not OnStart.check and (pending or await _came_back(migrator, on_start) or await migrator.validator_drifts()):
        await migrator.up(contract=on_start is OnStart.everything, report=_log_progress())
        return
    if pending and (pending := await migrator.pending(phases)):  # unless another worker has just set it up
        raise StartupError(
            f"the database {database.name} needs {_steps(len(pending))} before this version can start; run: {MIGRATE}"
        )
    await database.create_collections(schema.documents)
    for each in await migrator.validator_drifts():
        log.warning("%s; to repair it: %s", each.describe(), MIGRATE)
    if on_start is OnStart.everything:
        await database.repair_views(schema.views)
    else:
        await database.create_views(schema.views)


async def _came_back(migrator: Migrator, on_start: OnStart) -> bool:
    """Whether the previous version has used the database since all steps were applied, so that they are needed again."""
    contracted = on_start is OnStart.everything or not await migrator.pending((Phase.contract,))
    return contracted and await migrator.has_former_indexes()


def _log_progress() -> Report:
    """Logs how far a step is, at most every ten seconds."""
    logged_at = time.monotonic()

    def report(migration: Migration, total: int, done: int) -> None:
        nonlocal logged_at
        if (now := time.monotonic()) - logged_at >= LOG_SECONDS:
            logged_at = now
            log.info("migration %d (%s): %d of %d documents", migration.number, migration.name, done, total)

    return report


def _steps(count: int) -> str:
    return f"{count} migration{'s' if count > 1 else ''}"
