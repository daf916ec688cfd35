"""Offers of another protocol: which are taken, and how a parser takes over after another one has read the head."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

SOCKETS: Final = "sockets"  # of the lifespan's state: the paths that take WebSockets; without it, all do
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
_VERSION = b"13"


def is_handshake(url: bytes, headers: Iterable[tuple[bytes, bytes]], state: Mapping[str, Any]) -> bool:
    """Whether an offer of WebSocket is complete (RFC 6455, section 4.2.1), and for a path that takes it."""
    paths = state.get(SOCKETS)
    if paths is not None and url.partition(b"?")[0].rstrip(b"/").decode("latin-1") not in paths:
        return False
    given = dict(headers)
    is_complete = _KEY.fullmatch(given.get(b"sec-websocket-key", b"")) is not None
    return is_complete and given.get(b"sec-websocket-version") == _VERSION


def new_parser(callbacks: Any) -> httptools.HttpRequestParser:
    """A parser as Uvicorn's: it drops what comes behind the last request of a connection, and does not fail."""
    parser = httptools.HttpRequestParser(callbacks)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


class AfterHead:
    """The callbacks of a parser: those of ``protocol``, but for the first head."""

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        self._skipping = True
        self.on_message_begin = self._unless_skipping(protocol.on_message_begin)
        self.on_url = self._unless_skipping(protocol.on_url)
        self.on_header = self._unless_skipping(protocol.on_header)
        self._on_headers_complete = self._unless_skipping(protocol.on_headers_complete)
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete

    def on_headers_complete(self) -> None:
        self._on_headers_complete()
        self._skipping = False

    def _unless_skipping(self, callback: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: bytes) -> None:
            if not self._skipping:
                callback(*arguments)

        return call
