"""HTTP/1.1 on the wire: Uvicorn's protocol on httptools, for what httptools leaves out.

Run it with ``uvicorn --http taskapi.http_protocol:HttpProtocol``; ``taskapi serve`` does.
"""

from collections.abc import Callable

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from taskapi import problems

MAX_PARSED_BYTES = 65_535  # of a target; httptools refuses a longer one
REFUSED_TARGET = b"/?".ljust(MAX_PARSED_BYTES, b"-")  # so long that the application answers 414
FRAMING = (b"content-length", b"transfer-encoding")


class HttpProtocol(HttpToolsProtocol):
    """Serves a request that offers another protocol as HTTP/1.1, unless it is a WebSocket handshake (RFC 9110, section 7.8).

    httptools stops at the end of a head that offers an upgrade, and takes what follows for the other protocol. Here a new
    parser takes over at that place. It is fed a head that says no more than how the body is framed.
    """

    def data_received(self, data: bytes) -> None:
        """Parses what has come; called by the event loop."""
        self._unset_keepalive_if_required()
        try:
            while True:
                try:
                    self.parser.feed_data(data)
                    return
                except httptools.HttpParserUpgrade as offer:
                    if self._should_upgrade():
                        self.handle_websocket_upgrade()
                        return
                    self._continue_with_new_parser()
                    data = data[offer.args[0] :]
        except httptools.HttpParserError:
            self.send_400_response("The request is not valid HTTP/1.1.")

    def on_url(self, url: bytes) -> None:
        """Collects the target. One too long to be parsed is replaced, not cut: a shorter one might be served."""
        self.url = self.url + url if len(self.url) + len(url) <= MAX_PARSED_BYTES else REFUSED_TARGET

    def on_message_complete(self) -> None:
        """Notes the end of a request, but for one whose body httptools has not looked at."""
        if not self.parser.should_upgrade() or self._should_upgrade():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP with a problem, and closes the connection."""
        self.logger.info(msg)
        response = problems.render(400, "bad_request", msg, headers={"Connection": "close"})
        lines = [b"HTTP/1.1 400 Bad Request", *(b"%b: %b" % pair for pair in response.raw_headers), b"", bytes(response.body)]
        self.transport.write(b"\r\n".join(lines))
        self.transport.close()

    def _should_upgrade(self) -> bool:
        # A handshake behind a request that is still being answered would take the connection away from it.
        is_idle = self.cycle is None or self.cycle.response_complete
        return is_idle and self.scope["method"] == "GET" and super()._should_upgrade()

    def _continue_with_new_parser(self) -> None:
        self.parser = httptools.HttpRequestParser(_AfterHead(self))
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as Uvicorn has it
        framing = b"".join(b"%b: %b\r\n" % (name, value) for name, value in self.headers if name in FRAMING)
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % framing)


class _AfterHead:
    """The callbacks of a parser: those of ``protocol``, but for the first head."""

    def __init__(self, protocol: HttpProtocol) -> None:
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
