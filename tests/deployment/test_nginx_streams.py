"""Streams of changes through nginx: passed on as they arrive, for as long as they last. The API is a stub."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.client import is_problem
from tests.deployment.nginx import SNIPPETS, configuration, nginx
from tests.deployment.test_nginx_proxying import calling
from tests.deployment.upstream import MIB, Upstream, answering
from tests.server.process import wait_until
from tests.tools import PATIENCE_SECONDS, free_port, running

pytestmark = pytest.mark.real

LIMIT = 5
TICKET = "tst_aTicketThatNobodyMayRead"
SILENCE = 2  # seconds, for any request but a stream
QUICK = {  # and a twentieth of the connections
    "proxy_read_timeout 30s": f"proxy_read_timeout {SILENCE}s",
    "limit_conn taskapi_streams 100": f"limit_conn taskapi_streams {LIMIT}",
}


class Passing:
    """An nginx before a stub; all that it logs is in its folder."""

    def __init__(self, folder: Path, port: int, upstream: Upstream) -> None:
        self.folder, self.port, self.upstream = folder, port, upstream

    @property
    def logged(self) -> str:
        return (self.folder / "nginx.log").read_text()

    def request(self, path: str, address: str, *headers: str, buffer: int = 0) -> socket.socket:
        """A connection on which ``path`` has been requested."""
        raw = socket.socket()
        if buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        raw.settimeout(PATIENCE_SECONDS)
        raw.bind((address, 0))
        raw.connect(("127.0.0.1", self.port))
        raw.sendall("\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode())
        return raw


@contextmanager
def starting(folder: Path, changes: dict[str, str]) -> Iterator[Passing]:
    port = free_port()
    with answering() as upstream:
        path = configuration(folder, listen=port, api=upstream.port, changes=changes)
        with running(nginx(path), folder / "nginx.log", port):
            yield Passing(folder, port, upstream)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Passing]:
    with starting(tmp_path_factory.mktemp("streams"), QUICK) as passing:
        yield passing


@pytest.fixture
def passing(started: Passing) -> Passing:
    started.upstream.sent = 0
    started.upstream.speaking.set()
    started.upstream.events = [b"event: hello\n\n", b"event: task.created\n\n"]
    return started


def until(raw: socket.socket, text: bytes) -> bytes:
    """What arrives on a connection up to ``text``."""
    received = b""
    while text not in received:
        part = raw.recv(65_536)
        assert part, received
        received += part
    return received


def to_the_end(raw: socket.socket) -> bytes:
    return b"".join(iter(lambda: raw.recv(MIB), b""))


@pytest.mark.parametrize("path", ["/events/stream", "/events/stream/", "/v1/events/stream?since=x"])
def test_each_event_passes_at_once(passing: Passing, path: str) -> None:
    passing.upstream.speaking.clear()
    with closing(passing.request(path, "127.0.0.2", "Accept-Encoding: gzip", "Connection: close")) as raw:
        first = until(raw, b"hello")
        assert b"task.created" not in first
        assert b"content-encoding" not in first.lower()
        passing.upstream.speaking.set()
        assert b"task.created" in to_the_end(raw)


def test_only_streams_may_be_silent(passing: Passing) -> None:
    passing.upstream.speaking.clear()
    with calling(passing.port) as client:
        is_problem(client.get("/tasks"), 504, "gateway_timeout")
        is_problem(client.post("/events/tickets"), 504, "gateway_timeout")
        threading.Timer(1.5 * SILENCE, passing.upstream.speaking.set).start()
        assert client.get("/events/stream").text == "event: hello\n\nevent: task.created\n\n"


def test_a_stream_that_stays_silent_ends(tmp_path: Path) -> None:
    with starting(tmp_path, {"proxy_read_timeout 90s": "proxy_read_timeout 1s"}) as passing:
        passing.upstream.speaking.clear()
        with closing(passing.request("/events/stream", "127.0.0.2")) as raw:
            assert b"task.created" not in to_the_end(raw)


def test_a_websocket_passes(passing: Passing) -> None:
    with closing(passing.request("/events/ws", "127.0.0.2", "Connection: keep-alive, Upgrade", "Upgrade: WebSocket")) as raw:
        until(raw, b"hello")
        raw.sendall(b"ping\n")
        assert to_the_end(raw).endswith(b"PING\n")
    assert passing.upstream.requests[-1][2]["connection"] == "upgrade"


@pytest.mark.parametrize(
    ("path", "offer"), [("/tasks", "websocket"), ("/events/stream", "websocket"), ("/tasks", "/events/ws|websocket")]
)
def test_a_websocket_passes_nowhere_else(passing: Passing, path: str, offer: str) -> None:
    with closing(passing.request(path, "127.0.0.2", "Connection: Upgrade", f"Upgrade: {offer}")) as raw:
        assert raw.recv(MIB).startswith(b"HTTP/1.1 200 ")
    assert {"upgrade", "connection"}.isdisjoint(passing.upstream.requests[-1][2])


def test_an_address_has_so_many_streams(passing: Passing) -> None:
    """Those that end make room; requests of other kinds, and those of other addresses, are not limited."""
    passing.upstream.speaking.clear()
    with ExitStack() as open_streams, calling(passing.port, "127.0.0.83") as client:
        for number in range(LIMIT):
            path = ("/events/stream", "/v1/events/stream")[number % 2]
            raw = open_streams.enter_context(closing(passing.request(path, "127.0.0.83")))
            until(raw, b"hello")
        refused = client.get("/events/stream", params={"ticket": TICKET}, headers={"Origin": "http://localhost:3000"})
        is_problem(refused, 429, "too_many_requests")
        assert refused.headers["retry-after"]
        assert refused.headers["access-control-allow-origin"] == "http://localhost:3000"
        is_problem(client.get("/events/ws", headers={"Connection": "Upgrade", "Upgrade": "websocket"}), 429, "too_many_requests")
        with calling(passing.port, "127.0.0.84") as other, other.stream("GET", "/events/stream") as answer:
            assert answer.status_code == 200
        passing.upstream.speaking.set()
        assert client.get("/tasks").status_code == 200
    with calling(passing.port, "127.0.0.83") as client:
        wait_until(lambda: client.get("/events/stream").status_code == 200, "room for another stream")
    assert TICKET not in passing.logged


def test_a_slow_reader_slows_the_api_down(passing: Passing) -> None:
    """nginx keeps a few buffers of it, neither the rest nor a file."""
    passing.upstream.events = [b"data: " + b"x" * 65_536 + b"\n\n"] * 512
    with closing(passing.request("/events/stream", "127.0.0.2", "Connection: close", buffer=65_536)) as raw:
        until(raw, b"data")
        pause, before = threading.Event(), -1
        while passing.upstream.sent > before:  # what the connections hold
            before = passing.upstream.sent
            pause.wait(0.1)
        assert passing.upstream.sent < 24 * MIB
        assert len(to_the_end(raw)) > 24 * MIB - before


def test_tickets_are_not_logged_while_api_is_down(tmp_path: Path) -> None:
    port = free_port()
    program = nginx(configuration(tmp_path, listen=port, api=free_port()))
    with running(program, tmp_path / "nginx.log", port), calling(port) as client:
        for path in ("/events/stream", "/events/ws", "/v1/events/stream/"):
            is_problem(client.get(path, params={"ticket": TICKET}), 502, "bad_gateway")
    log = (tmp_path / "nginx.log").read_text()
    assert log.count('"status":"502"') == 3
    assert TICKET not in log
    assert 'events/stream","status"' in log


def test_one_place_streams_and_no_query_is_logged() -> None:
    shipped = (SNIPPETS / "api.conf").read_text() + (SNIPPETS / "rules.conf").read_text()
    assert shipped.count("proxy_buffering off") == 1
    line = (SNIPPETS / "http.conf").read_text().partition("log_format")[2].partition(";")[0]
    assert not [name for name in ("$request_uri", "$request ", "$args", "$query_string", "$arg_") if name in line]
