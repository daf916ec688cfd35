"""Brings the daily figures up to date."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pymongo.database import Database

from taskapi.analytics.daily.repository import DailyRepository
from taskapi.db.connection import BSON

OWNERS_BATCH: Final = 20

Progress = Callable[[int, int], None]
"""Called with the number of users whose tasks were counted so far, and of all that are to be counted."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The result: of how many users the tasks were counted, and until when all writes are in the figures."""

    users: int
    at: datetime


def refresh(
    database: "Database[BSON]", overlap: timedelta, kept: timedelta, progress: Progress, *, full: bool = False
) -> Refreshed:
    """Counts the tasks of all users of whom one has changed since the last refresh, or of all with ``full``.

    A run that is killed leaves figures of which the next one counts those again that may be wrong. ``overlap`` is subtracted
    from the time of the last refresh. ``kept`` is how long a purged task leaves a tombstone: after a longer time, all is counted.

    Raises StartupError: another refresh is running, or the database lacks the views.
    """
    figures = DailyRepository(database)
    figures.require_views()
    with figures.leased() as run:
        last = run.refreshed_at()
        is_recent = last is not None and run.time - last < kept
        if last and is_recent and not full:
            owners = run.owners_since(last - overlap)
        else:
            owners = run.all_owners()
            run.mark_all()
        for start in range(0, len(owners), OWNERS_BATCH):
            progress(start, len(owners))
            run.replace(owners[start : start + OWNERS_BATCH])
        progress(len(owners), len(owners))
        run.remove_erased()
        run.sum_up()
        return Refreshed(len(owners), run.time)
