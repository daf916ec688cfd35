"""The action of ``taskapi extract``, on the configured MongoDB or the embedded one."""

import asyncio
import time
from typing import Any

from taskapi.analytics.extracts.service import Request, extract
from taskapi.cli.progress import Progress, bar
from taskapi.core import logs
from taskapi.core.clock import rfc3339
from taskapi.core.errors import StartupError
from taskapi.core.settings import Settings, load_settings
from taskapi.db import connection, embedded
from taskapi.db.connection import Database
from taskapi.db.indexes import MIGRATE
from taskapi.db.migrations.migrator import Migrator
from taskapi.db.service_state import ServiceStateRepository
from taskapi.main import SCHEMA


def run(options: dict[str, Any]) -> None:
    """Brings the folder up to date, and says what was written.

    Raises:
        StartupError: the extract failed or was refused; one line that says why.
        KeyboardInterrupt: SIGINT, SIGTERM or SIGHUP arrived.
    """
    settings = load_settings()
    embedded.require_data(settings)
    logs.configure("error", settings.log_format)
    progress = Progress()
    try:
        with embedded.provide(settings, join=True) as complete:
            asyncio.run(require_ready(complete))
            _extract(complete, Request(**options), progress)
    finally:
        progress.end()


def _extract(settings: Settings, request: Request, progress: Progress) -> None:
    began = time.monotonic()

    def report(done: int, total: int) -> None:
        rate = done / max(time.monotonic() - began, 0.001)
        progress.update(f"{bar(done, total)}  {done:,} of {total:,} tasks, {rate:,.0f}/s")

    manifest, rows = extract(settings, request, report)
    progress.end()
    assert manifest.as_of
    written = ", ".join(f"{count:,} {table}" for table, count in rows.items() if count) or "nothing has changed"
    print(f"{written}; as of {rfc3339(manifest.as_of)}")
    print(f"The next run reads from {manifest.watermark} on.")


async def require_ready(settings: Settings) -> None:
    """Raises StartupError unless all tasks say when they have changed."""

    async def check(database: Database) -> None:
        await ServiceStateRepository(database).require_complete()
        if await Migrator(database, SCHEMA).pending():
            raise StartupError(f"the database {database.name} is of an earlier version; first run: {MIGRATE}")

    async with connection.open_database(settings, check):
        pass
