"""Sharing the event loop."""

import asyncio
import time

TURN_SECONDS = 0.003


class Turns:
    """Lets others run while somebody has much to do."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    async def give_way(self) -> None:
        """Goes on at once, or after the others when this took longer than 3 ms."""
        if time.monotonic() - self._since > TURN_SECONDS:
            await asyncio.sleep(0)
            self._since = time.monotonic()
