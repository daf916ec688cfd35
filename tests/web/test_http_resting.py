"""What a connection keeps while its request takes long to answer, and how it reads what comes meanwhile, over raw sockets."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, cast

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from taskapi.web.disconnect import of_scope
from taskapi.web.http_protocol import HttpProtocol
from taskapi.web.middleware import RootPath

LONG = b"GET /long HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer secret\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Site:
    """A server whose answer to ``/long`` rests until it may end."""

    def __init__(self) -> None:
        self.rests, self.may_end = asyncio.Event(), asyncio.Event()
        self.state = ServerState()
        self.asked: list[tuple[str, dict[bytes, bytes]]] = []
        self.port = 0

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append((scope["path"], dict(scope["headers"])))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        if scope["path"] == "/long":
            of_scope(scope).rest()
            self.rests.set()
            await self.may_end.wait()
        await send({"type": "http.response.body", "body": scope["path"][1:].encode()})

    @property
    def connection(self) -> HttpProtocol:
        (found,) = self.state.connections
        return cast(HttpProtocol, found)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    config = Config(site.answer, interface="asgi3", lifespan="off", log_config=None)
    config.load()
    make = partial(HttpProtocol, config=config, server_state=site.state, app_state={})
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    yield site
    server.close()
    while site.state.connections:  # noqa: ASYNC110 - a set of Uvicorn's
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (LONG, [NEXT]),
        (LONG, [NEXT[:9], NEXT[9:]]),
        (LONG + NEXT[:9], [NEXT[9:]]),
        (LONG + NEXT, []),
    ],
)
async def test_a_request_behind_a_resting_one_is_answered(site: Site, first: bytes, later: list[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(first)
    await site.rests.wait()
    for packet in later:
        writer.write(packet)
        while site.connection.parser is None:  # noqa: ASYNC110 - an attribute of Uvicorn's
            await asyncio.sleep(0)
    site.may_end.set()
    text = await reader.read()
    writer.close()
    assert [text.count(body) for body in (b"\r\n\r\nlong", b"\r\n\r\nnext")] == [1, 1]
    assert text.endswith(b"next")
    assert site.asked[1] == ("/next", {b"host": b"a", b"connection": b"close"})


async def test_a_resting_connection_keeps_no_token(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(LONG)
    await site.rests.wait()
    assert site.asked[0][1][b"authorization"] == b"Bearer secret"
    assert site.connection.headers == []
    assert not site.connection.parser
    site.may_end.set()
    assert (await reader.readuntil(b"long")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_root_path_makes_no_copy() -> None:
    scopes: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    scope = {"type": "http", "path": "/tasks"}
    await RootPath(application, "/api")(scope, None, None)  # type: ignore[arg-type]
    assert scopes[0] is scope  # of which a stream drops what it does not need
    assert scope == {"type": "http", "path": "/api/tasks", "root_path": "/api"}


async def test_nothing_is_read_behind_the_last_request(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(LONG.replace(b"Host", b"Connection: close\r\nHost"))
    await site.rests.wait()
    assert site.connection.parser is not None
    writer.write(NEXT)
    site.may_end.set()
    assert (await reader.read()).endswith(b"long")
    writer.close()
    assert [path for path, _ in site.asked] == ["/long"]
