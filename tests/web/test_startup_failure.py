"""What the server is told when an application cannot start."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import Message

from taskapi.core.errors import StartupError
from taskapi.web.middleware import StartupFailure


async def said_by(error: Exception) -> str:
    """The message about a start that ``error`` ended."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        raise error
        yield

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    app = FastAPI(lifespan=lifespan, middleware=[Middleware(StartupFailure)])
    with pytest.raises(type(error)):
        await app({"type": "lifespan", "state": {}}, receive, send)
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    return str(sent[0]["message"])


class Kind(StartupError):
    pass


async def test_a_startup_error_is_told_in_its_words() -> None:
    assert await said_by(StartupError("Set TASKAPI_SECRET_KEY.")) == "Set TASKAPI_SECRET_KEY."
    assert await said_by(Kind("The folder is in use.")) == "The folder is in use."


async def test_other_errors_keep_their_traceback() -> None:
    assert "RuntimeError: unexpected" in await said_by(RuntimeError("unexpected"))
