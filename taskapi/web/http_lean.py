"""What a connection keeps while nothing happens, as small as it can be: a worker may have thousands of them.

``asyncio.Event`` has a queue of its own, which takes 700 bytes even if nobody ever waits, and Uvicorn has two for a connection.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl


class LeanEvent:
    """As ``asyncio.Event``, for few who wait."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: tuple[asyncio.Future[None], ...] = ()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        """Has all go on who wait, and nobody wait any more."""
        self._is_set = True
        for each in self._waiting:
            if not each.done():
                each.set_result(None)

    def clear(self) -> None:
        self._is_set = False

    async def wait(self) -> bool:
        """Waits until it is set."""
        if not self._is_set:
            wait = asyncio.get_running_loop().create_future()
            self._waiting = (*self._waiting, wait)
            try:
                await wait
            finally:
                self._waiting = tuple(each for each in self._waiting if each is not wait)
        return True


class LeanQueue(list[Any]):
    """The requests behind the one that is being answered: a ``deque`` takes 700 bytes even if there are none."""

    __slots__ = ()

    def appendleft(self, request: Any) -> None:
        """Puts a request behind all others."""
        self.insert(0, request)


class LeanMessages:
    """As ``asyncio.Queue``, without an end, for one who takes."""

    __slots__ = ("_has_some", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[Any] = []
        self._has_some = LeanEvent()

    def empty(self) -> bool:
        return not self._waiting

    def put_nowait(self, message: Any) -> None:
        self._waiting.append(message)
        self._has_some.set()

    async def get(self) -> Any:
        """Waits for the next message."""
        while not self._waiting:
            self._has_some.clear()
            await self._has_some.wait()
        return self._waiting.pop(0)


class LeanFlow(FlowControl):
    """Uvicorn's flow control with another event."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.read_paused = self.write_paused = False
        self._is_writable_event = LeanEvent()  # type: ignore[assignment]  # which it only sets, clears and waits for
        self._is_writable_event.set()
