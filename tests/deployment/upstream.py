"""A stub of the API, behind nginx."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MIB = 1024 * 1024


def _largest_tcp_buffer(which: str) -> int:
    """The bytes to which Linux lets a connection's buffer grow (tcp(7)): what is on the way, read by nobody yet."""
    return int(Path(f"/proc/sys/net/ipv4/{which}").read_text().split()[2])


HELD_BYTES = _largest_tcp_buffer("tcp_rmem") + 2 * _largest_tcp_buffer("tcp_wmem")  # by an nginx that reads no further
EXPORT_BYTES = 2 * HELD_BYTES + 16 * MIB


@dataclass
class Upstream:
    """Stands for the API: notes what it is asked, and answers 200, an export, a stream of events, or a WebSocket."""

    port: int
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    sent: int = 0  # bytes of an export or of events
    speaking: threading.Event = field(default_factory=threading.Event)  # while not set, it only tells the first event of a stream
    events: list[bytes] = field(default_factory=lambda: [b"event: hello\n\n", b"event: task.created\n\n"])


@contextmanager
def answering() -> Iterator[Upstream]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            upstream.requests.append((self.command, self.path, headers, body))
            if headers.get("upgrade") == "websocket":
                self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello")
                self.wfile.write(self.rfile.readline().upper())
                self.close_connection = True
                return
            if self.path.partition("?")[0].rstrip("/").endswith("/events/stream"):
                self.stream()
                return
            upstream.speaking.wait()
            export = self.path.endswith("/export")
            self.send_response(200)
            self.send_header("Content-Type", "application/jsonl" if export else "text/plain")
            self.send_header("Content-Length", str(EXPORT_BYTES if export else 2))
            self.end_headers()
            if not export:
                self.wfile.write(b"ok")
                return
            while upstream.sent < EXPORT_BYTES:
                self.wfile.write(b"x" * 65_536)
                upstream.sent += 65_536

        def stream(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.close_connection = True
            with suppress(ConnectionError):
                for event in upstream.events:
                    self.wfile.write(event)
                    upstream.sent += len(event)
                    upstream.speaking.wait()

        do_GET = do_POST = handle_one  # noqa: N815

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        upstream = Upstream(server.server_port)
        upstream.speaking.set()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield upstream
        finally:
            upstream.speaking.set()
            server.shutdown()
            thread.join()
