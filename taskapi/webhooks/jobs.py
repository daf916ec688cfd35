"""The background jobs of webhooks."""

from contextlib import suppress

from taskapi.core.background import Job
from taskapi.webhooks.worker import DeliveryWorker


class DispatchJob(Job):
    """Turns changes into deliveries, in one worker at a time."""


class DeliveryJob(Job):
    """Sends what is due. At its end, it breaks off the attempts in flight, which another worker repeats."""

    def __init__(self, name: str, worker: DeliveryWorker, seconds: float) -> None:
        super().__init__(name, worker.run_due, seconds)
        self._worker = worker
        worker.wake = self.wake

    async def run(self) -> None:
        """Runs until it is cancelled."""
        try:
            await super().run()
        finally:
            with suppress(Exception):
                await self._worker.close()
