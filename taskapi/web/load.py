"""Load shedding: measures the requests in progress, and tells when another one would wait for too long."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from taskapi.core.cooperative import activity
from taskapi.db.driver_threads import DriverThreads

MAX_READS = 512  # requests that read; far more than ordinary clients have at the same time, and answered within a second
READS = ("GET", "HEAD")
REFUSALS_PER_SECOND = 500  # that are answered at once: thousands of retrying callers would take all the time
MAX_DELAY_SECONDS = 0.8  # of a refusal beyond them


class Load:
    """The requests of one application, except those in a bulkhead and those waiting for their own body."""

    def __init__(self, threads: DriverThreads) -> None:
        self._threads = threads
        self.reads = 0  # in progress
        self._refused_until = 0.0  # when the last refusal is answered

    def is_too_high(self, method: str) -> bool:
        """Whether a request with ``method`` should be refused."""
        if self._threads.reads.is_congested:
            return True
        return self.reads > MAX_READS if method in READS else self._threads.writes.is_congested

    @contextmanager
    def without(self, method: str) -> Iterator[None]:
        """A request with ``method`` that does not count meanwhile."""
        self.reads -= method in READS
        try:
            yield
        finally:
            self.reads += method in READS

    def pause(self, method: str) -> None:
        """From now on, a request with ``method`` only waits for what happens: nothing has to make room for it."""
        self.reads -= method in READS
        activity.requests -= 1

    def resume(self, method: str) -> None:
        """A request that was paused counts again."""
        self.reads += method in READS
        activity.requests += 1

    def next_delay(self) -> float:
        """The delay of the next refusal, in seconds; 0 while there are few."""
        now = time.monotonic()
        delay = min(max(self._refused_until - now, 0), MAX_DELAY_SECONDS)
        self._refused_until = now + delay + 1 / REFUSALS_PER_SECOND
        return delay
