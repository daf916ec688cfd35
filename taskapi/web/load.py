"""Whether one more request would wait for too long: what is under way is measured, and the rest refused at once."""

import time

from taskapi.db.driver_threads import DriverThreads

MAX_READS = 512  # requests that read; far more than ordinary clients have at the same time, and answered within a second
READS = ("GET", "HEAD")
REFUSALS_PER_SECOND = 500  # that are answered at once: thousands of callers who repeat theirs would take all of the time
MAX_DELAY_SECONDS = 0.8  # of a refusal beyond them


class Load:
    """The requests of one application, but for those that wait for their turn behind a bulkhead or for their own body."""

    def __init__(self, threads: DriverThreads) -> None:
        self._threads = threads
        self.reads = 0  # that are under way
        self._refused_until = 0.0  # when the last refusal is answered

    def is_too_high(self, method: str) -> bool:
        """Whether a request of ``method`` should not be begun."""
        if self._threads.reads.is_congested:
            return True
        return self.reads > MAX_READS if method in READS else self._threads.writes.is_congested

    def next_delay(self) -> float:
        """The seconds after which the next refusal is to be answered; 0 while there are few."""
        now = time.monotonic()
        delay = min(max(self._refused_until - now, 0), MAX_DELAY_SECONDS)
        self._refused_until = now + delay + 1 / REFUSALS_PER_SECOND
        return delay
