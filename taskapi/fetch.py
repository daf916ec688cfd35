"""Fetching web pages that users name: public addresses alone, in bounded time and size.

The address is checked where the connection is made, after resolving and for every redirect, so a name that answers
differently the second time (DNS rebinding) gains nothing. See OWASP, Server-Side Request Forgery Prevention.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from typing import Any

import certifi
import httpcore
import httpx
from httpcore._backends.auto import AutoBackend

USER_AGENT = "taskapi-links/1"
MOST_BYTES = 256 * 1024
MOST_REDIRECTS = 5
MOST_CONNECTIONS = 100


class AddressRefused(httpcore.ConnectError):
    """The name resolves to an address that is not public."""


class PublicBackend(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only."""

    def __init__(self) -> None:
        self._backend = AutoBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connects to one of the addresses of ``host``. Raises AddressRefused when any of them is not public."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name does not resolve") from error
        addresses = [str(entry[4][0]) for entry in found]
        if not all(is_public(address) for address in addresses):
            raise AddressRefused("the address is not public")
        return await self._backend.connect_tcp(addresses[0], port, timeout, local_address, socket_options)

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """Refused always."""
        raise AddressRefused("the address is not public")

    async def sleep(self, seconds: float) -> None:
        """Waits, for the pool's retries."""
        await self._backend.sleep(seconds)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet's; what an IPv6 address wraps is looked at too."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        wrapped = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo and parsed.teredo[1])
        if wrapped:
            return is_public(str(wrapped))
        if parsed in ipaddress.ip_network("64:ff9b::/96"):  # NAT64 (RFC 6052): the last four bytes
            return is_public(str(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)))
    return parsed.is_global and not parsed.is_multicast


class _PublicTransport(httpx.AsyncHTTPTransport):
    def __init__(self) -> None:
        super().__init__(trust_env=False)
        # httpx has no public parameter for the backend of its pool
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(cafile=certifi.where()),
            max_connections=MOST_CONNECTIONS,
            network_backend=PublicBackend(),
        )


def client(*, allow_private: bool, timeout: float) -> httpx.AsyncClient:
    """The one pooled client. ``timeout`` is in seconds, for each step of a request."""
    return httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(trust_env=False) if allow_private else _PublicTransport(),
        timeout=timeout,
        follow_redirects=True,
        max_redirects=MOST_REDIRECTS,
        headers={"User-Agent": USER_AGENT, "Accept": "text/html, */*;q=0.1", "Accept-Encoding": "identity"},
        trust_env=False,
    )


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
