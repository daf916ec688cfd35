"""HTTP/1.1 on the wire: Uvicorn's httptools protocol, with what httptools leaves out.

Run it with ``uvicorn --http taskapi.web.http_protocol:HttpProtocol --no-proxy-headers``; ``taskapi serve`` does.
"""

import asyncio
from http import HTTPStatus
from typing import Any, cast

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from taskapi.core.logs import request_id
from taskapi.web import disconnect, middleware, problems
from taskapi.web.http_answer import AnswerTransport
from taskapi.web.http_head import INVALID, MAX_HEAD_BYTES, TOO_LARGE, RefusedHead, check_head, join_target
from taskapi.web.http_lean import LeanEvent, LeanFlow, LeanQueue
from taskapi.web.http_reading import FILES_FOR_OTHERS, PacedReading, has_unread, max_connections
from taskapi.web.http_upgrade import AfterHead, is_handshake, new_parser
from taskapi.web.socket_protocol import SocketProtocol

MAX_LINGERING = FILES_FOR_OTHERS // 4  # connections too many that are not closed at once
ON_STOP = "on_stop"  # of the lifespan's state: a function that is called when the server is told to stop
FRAMING = (b"content-length", b"transfer-encoding")


class HttpProtocol(HttpToolsProtocol):
    """Uvicorn's protocol with limits, which serves offers of another protocol as HTTP/1.1 (RFC 9110, section 7.8).

    httptools stops at the end of a head that offers an upgrade, and takes what follows for the other protocol. Here a new
    parser takes over at that place, fed a head that says no more than how the body is framed. WebSocket: ``SocketProtocol``.

    A request that breaks a limit is answered 408 or 431, and its connection is closed; so is a connection too many (503).

    While the server stops, answers say ``Connection: close``, and connections without a request are closed a moment later:
    a request that is on its way meanwhile is still answered.
    """

    max_connections = max_connections()  # of one worker
    head_seconds = 20.0  # for a whole head, from the connection or from its first byte
    body_seconds = 60.0  # between two pieces of a body
    linger_seconds = 2.0  # that an answered client may go on sending: a reset would take the answer away from it
    stop_seconds = 0.5  # that an idle connection stays open once the server stops
    stopping = False  # set on the class: the server stops, and with it all its connections

    __slots__ = ("_awaits", "_closing", "_disconnect", "_paced", "_patience", "_refused", "_running", "_unused")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.pipeline = LeanQueue()  # type: ignore[assignment]
        self._awaits: str | None = "head"  # what the client has yet to send: "head" or "body" of a request, or nothing
        self._unused = 0  # bytes that came since the last progress (the end of a head, a piece of a body), but for the target
        self._patience: asyncio.TimerHandle | None = None
        self._refused = self._closing = False  # what still comes is thrown away; and then the connection is closed
        self._running: RequestResponseCycle | None = None  # the request that is being answered, or was the last to be

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Takes a connection, unless there are too many; called by the event loop."""
        super().connection_made(transport)
        self.flow = LeanFlow(transport)
        self._paced = PacedReading(transport, self.flow, self.loop)
        self._disconnect = disconnect.Disconnect(transport)
        if len(self.connections) > self.max_connections:
            self._refuse(503, "too_many_connections", "Too many connections are open. Try again shortly.")
        else:
            self._wait()
            if self.stopping:
                self.shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cleans up after a connection; called by the event loop."""
        self._stop_waiting()
        self._paced.cancel()
        self._disconnect.notify()
        if self._running:  # Uvicorn tells the last request that has come, which may be waiting behind this one
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)
        self._running = self.cycle = None  # type: ignore[assignment]  # they refer to this object, and would keep it

    def data_received(self, data: bytes) -> None:
        """Parses received bytes; called by the event loop."""
        if self._refused:
            return
        self._unused += len(data)
        self.parser = self.parser or new_parser(self)
        try:
            while True:
                try:
                    self.parser.feed_data(data)
                    break
                except httptools.HttpParserUpgrade as offer:
                    if self._should_upgrade():
                        self._stop_waiting()
                        self.ws_protocol_class = SocketProtocol
                        self.handle_websocket_upgrade()
                        self._running = self.cycle = self.parser = None  # type: ignore[assignment]  # as in connection_lost
                        return
                    self._continue_with_new_parser()
                    data = data[offer.args[0] :]
        except httptools.HttpParserError as error:
            self._refuse(*(error.__context__.args if isinstance(error.__context__, RefusedHead) else INVALID))
            return
        if self._awaits and self._unused > MAX_HEAD_BYTES:
            self._refuse(*TOO_LARGE)
        elif self._awaits:
            self._wait()
            if self._awaits == "body" and self.cycle.response_complete:
                self._paced.pause()
        elif self._patience:
            self._stop_waiting()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keeps a half-closed connection until the client has its responses; called by the event loop."""
        if self._refused or self._awaits == "body" or not self._is_answering() or not self.transport.can_write_eof():
            return False
        self.cycle.keep_alive = False
        self._stop_waiting()
        self._disconnect.notify()
        return True

    def on_message_begin(self) -> None:
        """Notes the first byte of a request. Blank lines before it do not count, and do not keep a connection open."""
        self._unset_keepalive_if_required()
        self._stop_waiting()
        super().on_message_begin()
        self._awaits = "head"

    def on_header(self, name: bytes, value: bytes) -> None:
        """Accepts a header. Trailers are ignored: they are not headers (RFC 9110, section 6.5.1)."""
        if self._awaits == "head":
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Starts handling a request, unless its head is refused."""
        check_head(self.headers, self._unused, self.parser.get_http_version())
        super().on_headers_complete()
        self._awaits, self._unused = "body", 0
        if self._is_answering():
            self.cycle.message_event = LeanEvent()  # type: ignore[assignment]  # nobody waits for the other yet
            self.scope[disconnect.KEY] = self._disconnect  # type: ignore[literal-required]
            answer = AnswerTransport(self.transport, self.cycle, self.loop, self.close_after_answer)
            self.cycle.transport = cast(asyncio.Transport, answer)
            if self.stopping:
                self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Accepts a piece of a body."""
        self._unused = 0
        super().on_body(body)

    def on_url(self, url: bytes) -> None:
        """Collects the target."""
        self._unused -= len(url)
        self.url = join_target(self.url, url)

    def on_message_complete(self) -> None:
        """Notes the end of a request, unless httptools has not parsed its body."""
        if not self.parser.should_upgrade() or self._should_upgrade():
            self._awaits, self._unused = None, 0
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Waits for the next request, unless this was the last response."""
        self._send_waiting_head()
        if not self._closing:
            super().on_response_complete()

    def shutdown(self) -> None:
        """Ends the connection after its pending responses, or soon if it is idle; called by the server when it stops."""
        if on_stop := self.app_state.get(ON_STOP):
            on_stop()
        type(self).stopping = True  # for the connections that are accepted later, and the requests of all
        self.timeout_keep_alive = self.stop_seconds  # type: ignore[assignment]
        if not self._is_answering():
            if self._awaits is None or self.scope is None:
                self._close_when_idle()
        elif not self.cycle.response_started:
            self.cycle.keep_alive = False

    def rest(self) -> None:
        """Drops the headers of the last request, and what reads others: until another one comes, if one may come."""
        if self._awaits is None:
            self.headers = []
            self.parser = None if self.cycle.keep_alive else self.parser  # type: ignore[assignment]

    def is_busy(self) -> bool:
        """Whether a response is pending or incomplete."""
        return self._is_answering() or self.transport.get_write_buffer_size() > 0

    def timeout_keep_alive_handler(self) -> None:
        """Closes an idle connection, unless a request has arrived that was not read yet."""
        if self._awaits == "body" or has_unread(self.transport):
            self._close_when_idle()
        else:
            super().timeout_keep_alive_handler()

    def close_after_answer(self) -> None:
        """Closes the connection after its last response, without a reset if the client is still sending."""
        if self._awaits == "body" or has_unread(self.transport):
            self._stop_waiting()
            self._refused = True
            self._close()
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answers invalid HTTP with a problem, and closes the connection."""
        self._refuse(400, "bad_request", msg)

    def _should_upgrade(self) -> bool:
        # A handshake behind a request that is still being answered would take the connection away from it.
        is_free = not self._is_answering() and not self.stopping and self.scope["method"] == "GET"
        return is_free and super()._should_upgrade() and is_handshake(self.url, self.headers, self.app_state)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _send_waiting_head(self) -> None:
        """Sends a head that waits for content, for there is none, or before something else goes out."""
        if self._running:
            cast(AnswerTransport, self._running.transport).flush()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _continue_with_new_parser(self) -> None:
        self.parser = new_parser(AfterHead(self))
        framing = b"".join(b"%b: %b\r\n" % (name, value) for name, value in self.headers if name in FRAMING)
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % framing)

    def _wait(self) -> None:
        """Starts the timeout for what the client still has to send; each piece of a body restarts it."""
        if self._awaits == "head" and self._patience:
            return
        self._stop_waiting()
        seconds = self.head_seconds if self._awaits == "head" else self.body_seconds
        self._patience = self.loop.call_later(seconds, self._lose_patience)

    def _stop_waiting(self) -> None:
        if self._patience:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        self._patience = None
        if self.flow.read_paused:  # it is not the client who is slow
            self._wait()
        else:
            self._refuse(408, "request_timeout", f"The {self._awaits} of the request did not arrive in time.")

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Answers a request that violates a rule and closes the connection; earlier requests still get their responses."""
        self._send_waiting_head()
        self._stop_waiting()
        self._refused = True
        request_id_bytes = middleware.new_request_id()
        request_id.set(request_id_bytes.decode())  # in the context of this connection's callbacks
        self.logger.info("%d %s", status, detail)
        cycle = self.cycle
        if self._is_answering() and self._awaits != "body":
            cycle.keep_alive = False
            return
        headers = {"Connection": "close", "X-Request-ID": request_id_bytes.decode()}
        headers |= {"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
        response = problems.render(status, code, detail, headers=headers)
        if self.pipeline:  # it is the last of those that wait for their turn
            self.pipeline[0] = (cycle, cast(ASGI3Application, response))
            return
        if self._awaits != "body" or not cycle.response_started:  # else it has an answer, whole or in part
            head = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode())]
            head += [b"%b: %b" % pair for pair in response.raw_headers]
            self.transport.write(b"\r\n".join([*head, b"", bytes(response.body)]))
        if self._is_answering():
            cycle.disconnected = True
            cycle.message_event.set()
        self._close()

    def _close(self) -> None:
        """Closes the connection, later for the client when there are files left to let it go on sending."""
        self._closing = True
        if self.transport.can_write_eof() and len(self.connections) <= self.max_connections + MAX_LINGERING:
            self.transport.write_eof()
            self.flow.resume_reading()
            self._patience = self.loop.call_later(self.linger_seconds, self.transport.close)
        else:
            self.transport.close()

    def _close_when_idle(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
