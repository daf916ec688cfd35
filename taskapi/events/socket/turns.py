"""Work of the messages of WebSockets that takes long: a filter of 64 KiB is compiled for some 20 ms."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from bson import ObjectId

from taskapi.core.fair_turns import FairTurns

Result = TypeVar("Result")

LARGE_MESSAGE: Final = 2048  # characters, as many as a filter in a query string may have


class MessageTurns:
    """Runs such work in a thread, one piece at a time, so that requests go on meanwhile. Accounts take turns."""

    def __init__(self) -> None:
        self._turns = FairTurns(1, 1)

    async def run(self, owner_id: ObjectId, work: Callable[[], Result]) -> Result:
        """The result of ``work``, when it is the turn of the account. Raises what ``work`` raises."""
        async with self._turns.turn(owner_id):
            job = asyncio.create_task(asyncio.to_thread(work))
            try:
                return await asyncio.shield(job)
            except asyncio.CancelledError:
                await asyncio.wait([job])  # a caller that disconnects does not free the thread
                raise
