"""Returns memory to the system after large requests: glibc would keep it for later use, in an arena for each thread."""

import asyncio
import ctypes
import gc
from collections.abc import Callable

PAUSE_SECONDS = 1.0  # large requests come in groups


def _find_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library, which returns memory by itself or not at all
        return None


class MemoryReturn:
    """Returns free memory to the system some seconds after a large request, at most once in that time."""

    def __init__(self) -> None:
        self._trim = _find_trim()
        self._timer: asyncio.TimerHandle | None = None

    def schedule(self) -> None:
        """To be called when a large request has ended."""
        if self._trim and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._give_back)

    def _give_back(self) -> None:
        self._timer = None
        gc.collect()  # what was there at the start is not looked at
        assert self._trim
        asyncio.get_running_loop().run_in_executor(None, self._trim, 0)
