"""When the next attempt at a delivery is made."""

from datetime import datetime, timedelta
from random import SystemRandom
from typing import Final

_random = SystemRandom()
PAUSES: Final = tuple(
    timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 12 * 3600)
)
JITTER: Final = 0.2  # of a pause, more or less: those that failed together do not come back together
MAX_RETRY_AFTER: Final = timedelta(hours=12)
PATIENCE: Final = timedelta(days=3)  # with one delivery
PATIENCE_WITH_WEBHOOK: Final = timedelta(days=5)  # of failures without a success


def next_attempt(attempts: int, now: datetime, give_up_at: datetime, retry_after: timedelta | None = None) -> datetime | None:
    """When to try again after ``attempts`` failures; None if that would be after ``give_up_at``.

    ``retry_after`` is the pause that the receiver asked for.
    """
    pause = PAUSES[min(attempts, len(PAUSES)) - 1] * _random.uniform(1 - JITTER, 1 + JITTER)
    due = now + max(pause, min(retry_after or timedelta(0), MAX_RETRY_AFTER))
    return due if due <= give_up_at else None
