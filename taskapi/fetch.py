"""Fetching web pages that users name: public addresses alone, in bounded time and size.

The address is checked where the connection is made, after resolving and for every redirect, so a name that answers
differently the second time (DNS rebinding) gains nothing. See OWASP, Server-Side Request Forgery Prevention.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import certifi
import httpcore
import httpx
from httpcore._backends.auto import AutoBackend

from taskapi.public_addresses import is_public

USER_AGENT = "taskapi-links/1"
MOST_BYTES = 256 * 1024
MOST_REDIRECTS = 5
MOST_CONNECTIONS = 100
KEEPALIVE_SECONDS = 5


class AddressRefused(httpcore.ConnectError):
    """The name resolves to an address that is not public."""


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only, unless ``allow_private``."""

    def __init__(self, *, allow_private: bool) -> None:
        self._backend = AutoBackend()
        self._allow_private = allow_private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connects to the first address of ``host``. Raises AddressRefused when any of them is not public."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name does not resolve") from error
        addresses = [str(entry[4][0]) for entry in found]
        if not (self._allow_private or all(is_public(address) for address in addresses)):
            raise AddressRefused("the address is not public")
        return await self._backend.connect_tcp(addresses[0], port, timeout, local_address, socket_options)

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """Refused always."""
        raise AddressRefused("the address is not public")

    async def sleep(self, seconds: float) -> None:
        """Waits, for the pool's retries."""
        await self._backend.sleep(seconds)


class _Transport(httpx.AsyncHTTPTransport):
    def __init__(self, backend: CheckedBackend) -> None:
        super().__init__(trust_env=False)
        # httpx has no public parameter for the backend of its pool
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(cafile=certifi.where()),
            max_connections=MOST_CONNECTIONS,
            max_keepalive_connections=MOST_CONNECTIONS // 5,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=backend,
        )


def client(*, allow_private: bool, timeout: float) -> httpx.AsyncClient:
    """The one pooled client, which remembers nothing between requests. ``timeout`` is in seconds, for each step."""
    return httpx.AsyncClient(
        transport=_Transport(CheckedBackend(allow_private=allow_private)),
        timeout=timeout,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # one user's cookies are not another's
        headers={"User-Agent": USER_AGENT, "Accept": "text/html, */*;q=0.1", "Accept-Encoding": "identity"},
        trust_env=False,
    )


@asynccontextmanager
async def opened(client: httpx.AsyncClient, url: str) -> AsyncIterator[httpx.Response]:
    """The answer at ``url`` after at most five redirects, its body not read yet; those of the redirects never are.

    Raises:
        httpx.HTTPError: there is none; TooManyRedirects, UnsupportedProtocol and TimeoutException among others.
    """
    request: httpx.Request | None = client.build_request("GET", url)
    for _ in range(MOST_REDIRECTS + 1):
        assert request is not None
        response = await client.send(request, stream=True, follow_redirects=False)
        try:
            request = response.next_request
            if request is None:
                yield response
                return
        finally:
            await response.aclose()
    raise httpx.TooManyRedirects("too many redirects", request=request)


async def read_start(response: httpx.Response) -> bytes:
    """The first 256 KiB of a streamed body, not decompressed: what comes small stays small."""
    parts: list[bytes] = []
    size = 0
    async for chunk in response.aiter_raw(16 * 1024):
        parts.append(chunk)
        size += len(chunk)
        if size >= MOST_BYTES:
            break
    return b"".join(parts)[:MOST_BYTES]
