"""Background jobs of every worker, for as long as the application runs.

Work that changes something is stored in MongoDB, and a worker leases what it does: nothing is lost when a worker is killed, and
two workers do not do the same work. A job that only reads and logs takes no lease, nor does one whose writes find nothing to
do after those of another worker: each worker does it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from pymongo.errors import PyMongoError

log = logging.getLogger(__name__)


class Job:
    """Calls ``work`` when woken, and at least every ``seconds``. ``work`` does all that is due."""

    def __init__(self, name: str, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        self.name = name
        self._work = work
        self._seconds = seconds
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Runs the job again at once."""
        self._woken.set()

    async def run(self) -> None:
        """Runs until it is cancelled. A failure is logged, and the work is retried at the next turn."""
        while True:
            self._woken.clear()
            try:
                await self._work()
            except PyMongoError as error:
                _require_not_cancelled()
                log.warning("%s: %s; it will be retried", self.name, type(error).__name__)
            except Exception:
                _require_not_cancelled()
                log.exception("%s failed; it will be retried", self.name)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):  # wait_for may lose a cancellation that comes with the wake-up
                    await self._woken.wait()


def _require_not_cancelled() -> None:
    """Raises CancelledError if the job was cancelled: what its work failed to do at its end must not keep it alive."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Jobs(tuple[Job, ...]):
    """All jobs of an application."""


@asynccontextmanager
async def running(jobs: Sequence[Job]) -> AsyncIterator[None]:
    """Runs the jobs inside the block; cancels and awaits them at its end."""
    tasks = [asyncio.create_task(job.run(), name=job.name) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
