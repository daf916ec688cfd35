"""Whether one more request would wait for too long: what is under way is measured, and the rest refused at once."""

from taskapi.driver_threads import DriverThreads

MAX_READS = 512  # requests that read; far more than ordinary clients have at the same time, and answered within a second
READS = ("GET", "HEAD")


class Load:
    """The requests of one application, but for those that wait for their turn behind a bulkhead or for their own body."""

    def __init__(self, threads: DriverThreads) -> None:
        self._threads = threads
        self.reads = 0  # that are under way

    def is_too_high(self, method: str) -> bool:
        """Whether a request of ``method`` should not be begun."""
        if self._threads.reads.is_congested:
            return True
        return self.reads > MAX_READS if method in READS else self._threads.writes.is_congested
