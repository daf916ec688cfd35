"""Requests to addresses that users name: to public ones only, with limits on the size of what comes back.

The address is checked where the connection is made, after resolving the name and for every request, so a name that resolves
differently the second time (DNS rebinding) gains nothing. See OWASP, Server-Side Request Forgery Prevention.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import certifi
import httpcore
import httpx

from taskapi.core.public_addresses import is_public
from taskapi.core.resolver import NameNotResolved, Resolver

KEEPALIVE_SECONDS = 5
# h11 parses all it is given at once, and each tiny piece costs time, so responses are read in parts and the parts are counted.
MAX_HEAD_BYTES = 64 * 1024  # of one response, with the interim ones (1xx) before it
MAX_HEADS = 50  # of one response
HEAD_READ_BYTES, BODY_READ_BYTES = 4 * 1024, 16 * 1024
BEGIN_SECONDS = 60  # a connection that nothing was sent on by then belongs to a request that was broken off


class AddressRefused(httpcore.ConnectError):
    """The name resolves to an address that is not public."""


class _Ends:
    """Ends responses and connections in tasks of their own: who breaks off a request must not break off its end as well.

    The pool of httpcore closes connections one after another, and forgets the rest if it is cancelled meanwhile.
    """

    def __init__(self) -> None:
        self._tasks = set[asyncio.Task[None]]()

    def begin(self, end: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Begins ``end``, which must not fail, and returns at once."""
        task = asyncio.create_task(end)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def finish(self) -> None:
        """Waits for all that have begun."""
        await asyncio.gather(*self._tasks, return_exceptions=True)


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only, unless ``allow_private``."""

    def __init__(self, resolver: Resolver, ends: _Ends, *, allow_private: bool) -> None:
        self._backend = httpcore.AnyIOBackend()
        self._resolver = resolver
        self._ends = ends
        self._allow_private = allow_private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connects to the first address of ``host``. Raises AddressRefused if any of its addresses is not public."""
        try:
            addresses = await self._resolver.addresses(host)
        except NameNotResolved as error:
            raise httpcore.ConnectError("the name does not resolve") from error
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("the name does not resolve in time") from error
        if not (self._allow_private or all(is_public(address) for address in addresses)):
            raise AddressRefused("the address is not public")
        if not 0 < port < 65_536:
            raise AddressRefused("there is no such port")
        stream = await self._backend.connect_tcp(addresses[0], port, timeout, local_address, socket_options)
        return _BoundedStream(stream, self._ends)

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """Always raises AddressRefused."""
        raise AddressRefused("the address is not public")

    async def sleep(self, seconds: float) -> None:
        """Waits, for the pool's retries."""
        await self._backend.sleep(seconds)


class _BoundedStream(httpcore.AsyncNetworkStream):
    """A connection that limits the size of response heads."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, ends: _Ends) -> None:
        self._stream = stream
        self._ends = ends
        self.expect_head()

    def expect_head(self) -> None:
        self._in_head, self._size, self._heads = True, 0, 0

    def expect_body(self) -> None:
        self._in_head = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Reads some of the bytes that have arrived."""
        if not self._in_head:
            return await self._stream.read(min(max_bytes, BODY_READ_BYTES), timeout)
        data = await self._stream.read(min(max_bytes, HEAD_READ_BYTES), timeout)
        self._size += len(data)
        self._heads += data.count(b"HTTP/")
        if self._size > MAX_HEAD_BYTES or self._heads > MAX_HEADS:
            raise httpcore.ReadError("the head is too large")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Sends a request, or a part of one."""
        self.expect_head()
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Begins to close the connection."""
        self._ends.begin(self._stream.aclose())

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """The same connection, encrypted."""
        try:
            stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except asyncio.CancelledError:
            await self.aclose()  # httpcore closes it after a failure only
            raise
        return _BoundedStream(stream, self._ends)

    def get_extra_info(self, info: str) -> Any:
        """Information from the underlying connection."""
        return self._stream.get_extra_info(info)


@contextmanager
def _httpx_errors() -> Iterator[None]:
    """Raises errors of httpcore as those of httpx, with the original as their cause."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise httpx.TimeoutException(str(error)) from error
    except httpcore.UnsupportedProtocol as error:
        raise httpx.UnsupportedProtocol(str(error)) from error
    except httpcore.ProtocolError as error:
        raise httpx.ProtocolError(str(error)) from error
    except httpcore.NetworkError as error:
        raise httpx.NetworkError(str(error)) from error


class _Connection(httpcore.AsyncHTTPConnection):
    """A connection whose place in the pool becomes free however its request was broken off.

    Those of httpcore keep their place for ever if that happens between two steps, before the first byte is sent.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._begin_until = time.monotonic() + BEGIN_SECONDS
        self._has_begun, self._is_over = False, False

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Sends ``request``. Raises ConnectionNotAvailable if the pool must choose another connection."""
        if self._is_over:
            raise httpcore.ConnectionNotAvailable
        self._has_begun = True
        try:
            return await super().handle_async_request(request)
        except httpcore.ConnectionNotAvailable:
            raise
        except BaseException:
            self._is_over = True
            await self.aclose()
            raise

    def is_closed(self) -> bool:
        """Whether the pool must forget it."""
        if not self._has_begun and time.monotonic() > self._begin_until:
            self._is_over = True
        return self._is_over or super().is_closed()


class _Pool(httpcore.AsyncConnectionPool):
    def __init__(self, max_connections: int, **of_connections: Any) -> None:
        """``of_connections`` are the options of each connection."""
        super().__init__(max_connections=max_connections, max_keepalive_connections=max_connections // 5, **of_connections)
        self._of_connections = of_connections

    def create_connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        """A connection to ``origin`` that is not open yet."""
        return _Connection(origin=origin, **self._of_connections)


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response, ends: _Ends) -> None:
        self._response = response
        self._ends = ends

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _httpx_errors():
            async for part in self._response.aiter_stream():
                yield part

    async def aclose(self) -> None:
        await asyncio.shield(self._ends.begin(self._response.aclose()))


class _Transport(httpx.AsyncBaseTransport):
    """Sends through a connection pool with ``CheckedBackend``, for which httpx's own transport has no parameter."""

    def __init__(self, resolver: Resolver, *, allow_private: bool, max_connections: int) -> None:
        self._ends = _Ends()
        self._pool = _Pool(
            max_connections,
            ssl_context=ssl.create_default_context(cafile=certifi.where()),
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=CheckedBackend(resolver, self._ends, allow_private=allow_private),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends ``request``, whose body must be an async stream; the body of the response is not read yet."""
        url = request.url
        with _httpx_errors():
            response = await self._pool.handle_async_request(
                httpcore.Request(
                    request.method,
                    httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        body = _Body(response, self._ends)
        return httpx.Response(response.status, headers=response.headers, stream=body, extensions=response.extensions)

    async def aclose(self) -> None:
        """Closes the pool and its connections."""
        await self._pool.aclose()
        await self._ends.finish()


def client(
    resolver: Resolver, *, allow_private: bool, timeout: float, max_connections: int, headers: Mapping[str, str]
) -> httpx.AsyncClient:
    """A client with one pool of connections for all users, and without cookies, proxies and credentials of the environment.

    It connects to public addresses only, unless ``allow_private``. ``timeout`` is in seconds, for each step of a request.
    """
    return httpx.AsyncClient(
        transport=_Transport(resolver, allow_private=allow_private, max_connections=max_connections),
        timeout=timeout,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # one user's cookies are not another's
        headers=headers,
        trust_env=False,
    )


def is_refused(error: BaseException) -> bool:
    """Whether a request failed because its address is not public."""
    return isinstance(error.__cause__, AddressRefused)
