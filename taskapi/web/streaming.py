"""Responses that are sent while they are produced, and bodies that are read while they arrive."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Final

from pymongo.errors import PyMongoError
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from taskapi.core.errors import DomainError
from taskapi.web.disconnect import Disconnect, of_scope

log = logging.getLogger(__name__)

SEND_SECONDS: Final = 60.0  # that a client may read nothing: meanwhile its answer may hold a place that others wait for


class _Unread(Exception):
    """The client has read nothing for ``SEND_SECONDS``."""


class Streamed(StreamingResponse):
    """A body that is sent part by part. If a part fails, the connection is cut, so that the body never looks complete.

    A client that does not read is cut off.
    """

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes, None], headers: Mapping[str, str]) -> None:
        super().__init__(self._in_turn(first, rest), headers=headers)
        self._rest = rest
        self._disconnect = Disconnect()

    @classmethod
    async def begun(cls, parts: AsyncGenerator[bytes, None], headers: Mapping[str, str]) -> "Streamed":
        """A response whose first part was already produced, so that a failure to produce it is an ordinary error."""
        return cls(await anext(parts, b""), parts, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the body."""
        self._disconnect = of_scope(scope)
        await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        """Sends the parts. The server notices a response that does not end, and closes its connection."""

        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await send(message)
            except TimeoutError:
                raise _Unread from None

        try:
            await super().stream_response(send_in_time)
        except _Unread:
            log.info("a streamed answer was cut off: its client does not read")
            self._disconnect.abort()
            await asyncio.sleep(0)  # until the server has noticed it
        except (DomainError, PyMongoError) as error:
            log.error("a streamed answer was cut off: %s", type(error).__name__)
        finally:
            await self._rest.aclose()

    @staticmethod
    async def _in_turn(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
        yield first
        async for part in rest:
            yield part
            await asyncio.sleep(0)  # a caller who takes everything at once must not keep the others waiting


async def rendered(batches: AsyncGenerator[list[Any], None], render: Callable[[Any], Iterable[str]]) -> AsyncGenerator[str, None]:
    """The text that ``render`` makes of each document. Close it if you stop early."""
    async with aclosing(batches):
        async for batch in batches:
            for document in batch:
                for text in render(document):
                    yield text


async def lines(chunks: AsyncIterable[bytes], longest: int) -> AsyncIterator[bytes]:
    """The lines of a text without their line ends. A line of more than ``longest`` bytes is truncated to one byte more."""
    line = bytearray()
    async for chunk in chunks:
        for number, part in enumerate(chunk.split(b"\n")):
            if number:  # a line has ended
                yield bytes(line)
                line.clear()
            line += part[: longest + 1 - len(line)]
    if line:
        yield bytes(line)
