"""A request that is broken off, at whatever moment, leaves no connection behind and takes no place in the pool."""

import asyncio
import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from taskapi.core.resolver import Resolver
from taskapi.web import outbound
from tests.tools import PATIENCE_SECONDS
from tests.web_site import site

TURNS = range(40)  # of the event loop: a request that opens a connection needs fewer


def client(max_connections: int) -> httpx.AsyncClient:
    return outbound.client(Resolver(), allow_private=True, timeout=PATIENCE_SECONDS, max_connections=max_connections, headers={})


async def break_off(asking: httpx.AsyncClient, url: str, turns: int) -> bool:
    """Whether a request had not ended after so many turns of the event loop."""
    request = asyncio.create_task(asking.get(url))
    for _ in range(turns):
        await asyncio.sleep(0)
    request.cancel()
    (ended,) = await asyncio.gather(request, return_exceptions=True)
    return isinstance(ended, asyncio.CancelledError)


@contextmanager
def nothing_left_open() -> Iterator[None]:
    gc.collect()
    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(each.message) for each in left] == []


async def test_no_connection_stays_open() -> None:
    broken_off = set[bool]()
    with nothing_left_open():
        async with site() as here, client(max_connections=20) as asking:
            for turns in TURNS:
                async with site() as gone:  # its connections are closed by the next request
                    await asyncio.gather(*(asking.get(f"{gone.base}/{number}") for number in range(4)))
                broken_off.add(await break_off(asking, f"{here.base}/page", turns))
    assert True in broken_off


async def test_handshake_that_is_broken_off_leaves_nothing_open() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        begun.set()
        await reader.read(-1)
        writer.close()
        ended.set()

    with nothing_left_open():
        async with await asyncio.start_server(hang, "127.0.0.1", 0) as listening, client(max_connections=1) as asking:
            request = asyncio.create_task(asking.get(f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"))
            await begun.wait()
            request.cancel()
            await asyncio.wait([request])
            async with asyncio.timeout(PATIENCE_SECONDS):
                await ended.wait()


async def test_no_place_in_the_pool_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "BEGIN_SECONDS", 0)
    async with site() as here, client(max_connections=1) as asking:
        for turns in TURNS:
            await break_off(asking, f"{here.base}/page", turns)
            assert (await asking.get(f"{here.base}/page")).status_code == 200
