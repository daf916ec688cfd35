"""Fetches web pages that users name: from public addresses only, with limits on time, size and pages per account.

The address is checked for every redirect: see ``web.outbound``.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx

from taskapi.core.cooperative import CooperativeYield
from taskapi.core.fair_turns import FairTurns
from taskapi.core.resolver import Resolver
from taskapi.web import outbound

USER_AGENT = "taskapi-links/1"
MAX_BYTES = 256 * 1024
MAX_REDIRECTS = 5
MAX_PAGES = 100  # fetched at once by a worker; each has at most two sockets: two look-ups, then a connection
MAX_PAGES_PER_ACCOUNT = 10  # as many as one task can have
STOPPING_SECONDS = 1.0  # for pages that are being fetched when the server stops
MAX_PIECES = 4096  # of a body


class PageFetcher:
    """Fetches pages for many accounts, each of which has a share, with one pool of connections and without cookies.

    ``timeout`` is in seconds and covers a page as a whole: the wait for its turn, look-ups, redirects and body.
    """

    def __init__(self, resolver: Resolver, *, allow_private: bool, timeout: float) -> None:
        self._client = outbound.client(
            resolver,
            allow_private=allow_private,
            timeout=timeout,
            max_connections=MAX_PAGES,
            headers={"User-Agent": USER_AGENT, "Accept": "text/html, */*;q=0.1", "Accept-Encoding": "identity"},
        )
        self._timeout = timeout
        self._latest = math.inf  # when all pages must end, by the clock of the event loop
        self._deadlines: set[asyncio.Timeout] = set()
        self._turns = FairTurns(MAX_PAGES, MAX_PAGES_PER_ACCOUNT)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._client.__aexit__(*error)

    def stop(self) -> None:
        """Gives all pages, including those that wait for their turn, one more second, because the server stops."""
        self._latest = min(self._latest, asyncio.get_running_loop().time() + STOPPING_SECONDS)
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(min(deadline.when() or self._latest, self._latest))

    @asynccontextmanager
    async def open(self, url: str, account: str) -> AsyncIterator[httpx.Response]:
        """The response at ``url`` after at most five redirects. Its body is not read yet; those of redirects never are.

        Raises:
            TimeoutError: the time is over, including the wait for the account's turn.
            httpx.HTTPError: there is no response; for example TooManyRedirects, UnsupportedProtocol or TimeoutException.
        """
        async with asyncio.timeout_at(min(asyncio.get_running_loop().time() + self._timeout, self._latest)) as deadline:
            self._deadlines.add(deadline)
            try:
                async with self._turns.turn(account), _follow_redirects(self._client, url) as response:
                    yield response
            finally:
                self._deadlines.discard(deadline)


@asynccontextmanager
async def _follow_redirects(client: httpx.AsyncClient, url: str) -> AsyncIterator[httpx.Response]:
    request: httpx.Request | None = client.build_request("GET", url)
    for _ in range(MAX_REDIRECTS + 1):
        assert request is not None
        response = await client.send(request, stream=True, follow_redirects=False)
        try:
            response.extensions["network_stream"].expect_body()
            request = response.next_request
            if request is None:
                yield response
                return
        finally:
            await response.aclose()
    raise httpx.TooManyRedirects("too many redirects", request=request)


async def read_start(response: httpx.Response) -> bytes:
    """The first 256 KiB or 4,096 pieces of a streamed body. It is not decompressed, so a small body stays small."""
    parts: list[bytes] = []
    size, turns = 0, CooperativeYield()
    async for piece in response.aiter_raw():
        parts.append(piece)
        size += len(piece)
        if size >= MAX_BYTES or len(parts) >= MAX_PIECES:
            break
        await turns.checkpoint()
    return b"".join(parts)[:MAX_BYTES]
