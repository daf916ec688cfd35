"""The handshake of WebSockets: at which paths, by which pages, with which heads."""

from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.web.sockets import APP, KEY, OFFER, Service, serving, shake_hands


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as served:
        yield served


@pytest.mark.parametrize("path", ["/echo/more", "/", "/tasks", "/echo%2F", "//echo"])
async def test_other_paths_are_served_as_http(service: Service, path: str) -> None:
    head, _, writer = await shake_hands(service, *OFFER, path=path)
    assert head.startswith(b"HTTP/1.1 200 ")
    writer.close()


@pytest.mark.parametrize("path", ["/echo", "/echo/", "/echo?ticket=tkt_x"])
async def test_the_path_takes_websockets(service: Service, path: str) -> None:
    head, _, writer = await shake_hands(service, *OFFER, path=path)
    assert head.startswith(b"HTTP/1.1 101 ")
    writer.close()


@pytest.mark.parametrize("changes", [{KEY: "X: y"}, {KEY: "Sec-WebSocket-Key: short"}, {OFFER[3]: "Sec-WebSocket-Version: 8"}])
async def test_an_incomplete_handshake_is_http(service: Service, changes: dict[str, str]) -> None:
    head, _, writer = await shake_hands(service, *(changes.get(line, line) for line in OFFER))
    assert head.startswith(b"HTTP/1.1 200 ")
    writer.close()


@pytest.mark.parametrize("more", [[f"X-{number}: y" for number in range(200)], ["X: " + 9000 * "y"]], ids=["many", "long"])
async def test_heads_beyond_its_limits_are_refused(service: Service, more: list[str]) -> None:
    head, reader, writer = await shake_hands(service, *OFFER, *more)
    assert head.startswith(b"HTTP/1.1 431 ")
    assert await reader.read() != b"x"
    writer.close()


@pytest.mark.parametrize(
    "origin", ["https://evil.example", f"{APP}.evil.example", "null", "http://app.example.com", "http://[", ""]
)
async def test_pages_of_other_origins_are_refused(service: Service, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(service.url, additional_headers={"Origin": origin})
    response = refused.value.response
    assert (response.status_code, response.headers["content-type"]) == (403, "application/problem+json")
    assert b'"error":"origin_refused"' in (response.body or b"")


async def test_pages_of_allowed_origins_are_admitted(service: Service) -> None:
    proxied = {"Origin": "https://tasks.example:8443", "X-Forwarded-Host": "tasks.example:8443"}
    for headers in ({"Origin": APP}, {"Origin": f"http://127.0.0.1:{service.port}"}, proxied):
        async with connect(service.url, additional_headers=headers) as wire:
            await wire.send("hello")
            assert await wire.recv() == "hello"
