"""The background job that adopts what workers of version 1.4 write beside this one."""

from taskapi.tasks.storage.adoption import AdoptionRepository


class TaskAdoption:
    """Adopts tasks until the contract phase of the migrations, and costs nothing afterwards."""

    def __init__(self, tasks: AdoptionRepository) -> None:
        self._tasks = tasks
        self._is_over = False

    async def adopt_all(self) -> None:
        """Adopts all tasks that need it. Every worker may do so at once: each write checks that it is still needed."""
        if self._is_over:
            return
        if not await self._tasks.is_needed():
            self._is_over = True
            return
        while await self._tasks.adopt():
            pass
