"""The action of ``taskapi analytics refresh``, on the configured MongoDB or the embedded one."""

import asyncio
from datetime import timedelta

from taskapi.analytics.daily.repository import BATCH_SECONDS
from taskapi.analytics.daily.service import refresh
from taskapi.analytics.watermarks import overlap_of
from taskapi.cli.extract_actions import require_ready
from taskapi.cli.progress import Progress, bar
from taskapi.core import logs
from taskapi.core.clock import rfc3339
from taskapi.core.settings import load_settings
from taskapi.db import blocking, embedded


def run(*, full: bool) -> None:
    """Brings the daily figures up to date, and says of how many users.

    Raises:
        StartupError: it failed or was refused; one line that says why.
        KeyboardInterrupt: SIGINT, SIGTERM or SIGHUP arrived.
    """
    settings = load_settings()
    embedded.require_data(settings)
    logs.configure("error", settings.log_format)
    progress = Progress()

    def report(done: int, total: int) -> None:
        progress.update(f"{bar(done, total)}  {done:,} of {total:,} users")

    try:
        with embedded.provide(settings, join=True) as complete:
            asyncio.run(require_ready(complete))
            with blocking.connected(complete, BATCH_SECONDS + 5) as database:
                kept = timedelta(days=complete.trash_days)
                refreshed = refresh(database, overlap_of(complete), kept, report, full=full)
    finally:
        progress.end()
    print(f"Users whose tasks were counted: {refreshed.users:,}; as of {rfc3339(refreshed.at)}")
