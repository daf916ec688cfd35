"""Server-sent events (HTML Standard, section 9.2): a response that goes on until something ends it.

A worker may have thousands of these, which wait nearly all the time: each keeps no task and no timer beside its own, and
nothing of its request that it does not need.
"""

import asyncio
import logging
from abc import abstractmethod
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any, Final

from pymongo.errors import PyMongoError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from taskapi.core.errors import DomainError
from taskapi.web.admission import Admission
from taskapi.web.disconnect import of_scope
from taskapi.web.request_state import forget_request
from taskapi.web.services import services_of

log = logging.getLogger(__name__)

SEND_SECONDS: Final = 30.0  # that a client may leave what it gets unread before it is cut off
LAST_SECONDS: Final = 1.0  # the same for the last event


def event(name: str, data: bytes, position: str | None = None) -> bytes:
    """An event. ``data`` is JSON, which has no line breaks; ``position`` is the ``Last-Event-ID`` to go on after it."""
    place = "" if position is None else f"id: {position}\n"
    return b"event: %b\n%bdata: %b\n\n" % (name.encode(), place.encode(), data)


def heartbeat(position: str) -> bytes:
    """A sign of life, which clients take no notice of but for the position."""
    return b": heartbeat\nid: %b\n\n" % position.encode()


def retry(milliseconds: int) -> bytes:
    """After how long a client connects again once it has lost the connection."""
    return b"retry: %d\n\n" % milliseconds


class Until:
    """Cancels its block when a future is done, and raises nothing: the future says why."""

    __slots__ = ("_future", "_task")

    def __init__(self, future: "asyncio.Future[Any]") -> None:
        self._future = future
        self._task: asyncio.Task[Any] | None = None

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        self._future.add_done_callback(self._cancel)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        task, self._task = self._task, None
        self._future.remove_done_callback(self._cancel)
        if kind is not asyncio.CancelledError or not self._future.done() or task is None:
            return False
        return task.uncancel() == 0  # otherwise somebody else has cancelled the task as well

    def _cancel(self, _: "asyncio.Future[Any]") -> None:
        if self._task is not None:
            self._task.cancel()


class EventStream(Response):
    """Sends ``first``, then each of ``messages``, until ``ended`` is done or the client disconnects."""

    media_type = "text/event-stream"

    def __init__(self, first: bytes, messages: AsyncGenerator[Any, None], ended: "asyncio.Future[Any]") -> None:
        # Not what Starlette's responses have: it would be kept for as long as the stream goes on.
        self._first, self._messages, self._ended = first, messages, ended

    @abstractmethod
    def render(self, message: Any) -> bytes:
        """A message as it is sent."""

    @abstractmethod
    def render_end(self) -> bytes:
        """What is sent once ``ended`` is done."""

    @abstractmethod
    def close(self) -> None:
        """Frees what the stream holds, at its end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the stream. A client that does not read is cut off."""
        load, disconnect = services_of(scope)[Admission].load, of_scope(scope)
        load.pause(scope["method"])
        disconnect.tell(self._ended)
        is_read = True
        try:
            async with Until(self._ended):
                await send({"type": "http.response.start", "status": 200, "headers": list(HEAD)})
                forget_request(scope)  # which middleware looks at until then
                disconnect.rest()
                is_read = await _send(send, self._first, SEND_SECONDS)
                self._first = b""
                while is_read:
                    is_read = await _send(send, self.render(await anext(self._messages)), SEND_SECONDS)
                    await asyncio.sleep(0)  # a caller who takes everything at once must not keep the others waiting
        except StopAsyncIteration:
            pass
        except (DomainError, PyMongoError) as error:  # the client goes on with another stream
            log.warning("a stream of events was ended: %s", type(error).__name__)
        finally:
            disconnect.forget(self._ended)
            load.resume(scope["method"])
            self.close()
            await self._messages.aclose()
        if is_read:
            is_read = await _send(send, self._end(), LAST_SECONDS, more=False)
        if not is_read:
            disconnect.abort()
            while (await receive())["type"] != "http.disconnect":
                pass

    def _end(self) -> bytes:
        return self.render_end() if self._ended.done() and self._ended.exception() is None else b""


HEADERS: Final = {"Content-Type": f"{EventStream.media_type}; charset=utf-8", "X-Accel-Buffering": "no"}  # nginx sends at once
HEAD: Final = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


async def _send(send: Send, part: bytes, seconds: float, *, more: bool = True) -> bool:
    """Whether the client has read enough of what came before to take ``part`` within ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            await send({"type": "http.response.body", "body": part, "more_body": more})
    except TimeoutError:
        return False
    return True
