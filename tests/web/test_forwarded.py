"""Whom the application believes the address and scheme of a client."""

import sys
from typing import Any

import pytest

from taskapi.web.forwarded import ForwardedHeaders

PROXY, STRANGER = "10.0.0.1", "203.0.113.9"
FORWARDED = [(b"x-forwarded-for", b"198.51.100.7, 10.0.0.2"), (b"x-forwarded-proto", b"https")]


async def seen(kind: str, sender: str, headers: list[tuple[bytes, bytes]], trusted: list[str]) -> tuple[str, str]:
    """The address and scheme that the application sees of a request."""
    scopes: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    scheme = {"http": "http", "websocket": "ws"}[kind]
    scope = {"type": kind, "client": (sender, 1234), "scheme": scheme, "headers": headers}
    await ForwardedHeaders(application, trusted)(scope, None, None)  # type: ignore[arg-type]
    assert scopes == [scope]
    return scope["client"][0], scope["scheme"]  # type: ignore[return-value]


@pytest.mark.parametrize(("kind", "scheme"), [("http", "https"), ("websocket", "wss")])
@pytest.mark.parametrize("trusted", [[PROXY, "10.0.0.2"], ["10.0.0.0/8"]])
async def test_trusted_proxies_are_believed(kind: str, scheme: str, trusted: list[str]) -> None:
    assert await seen(kind, PROXY, FORWARDED, trusted) == ("198.51.100.7", scheme)


async def test_an_untrusted_proxy_counts_as_the_client() -> None:
    assert await seen("http", PROXY, FORWARDED, [PROXY]) == ("10.0.0.2", "https")


async def test_strangers_are_not_believed() -> None:
    assert await seen("http", STRANGER, FORWARDED, ["10.0.0.0/8"]) == (STRANGER, "http")


async def test_what_says_nothing_changes_nothing() -> None:
    assert await seen("http", PROXY, [(b"x-forwarded-proto", b"gopher"), (b"x-forwarded-for", b"")], [PROXY]) == (PROXY, "http")


async def test_the_start_of_the_server_is_passed_on() -> None:
    scopes = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    await ForwardedHeaders(application, [PROXY])({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert scopes == [{"type": "lifespan"}]


async def test_headers_are_not_kept_meanwhile() -> None:
    value = b"Bearer a-token-that-nobody-else-has"
    headers = [(b"authorization", value)]
    before = sys.getrefcount(value)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert sys.getrefcount(value) == before

    scope = {"type": "http", "client": (PROXY, 1234), "scheme": "http", "headers": headers}
    await ForwardedHeaders(application, [PROXY])(scope, None, None)  # type: ignore[arg-type]
