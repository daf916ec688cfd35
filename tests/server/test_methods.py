"""HEAD and OPTIONS through the real server: what is on the wire."""

import socket

import pytest

from tests.server.process import Server
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real


def test_head_and_options_keep_the_connection_usable(server: Server) -> None:
    asked = ["HEAD /openapi.json", "OPTIONS /tasks", "HEAD /docs/assets/swagger-ui.css", "HEAD /tasks", "GET /health"]
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS) as wire:
        for number, line in enumerate(asked, 1):
            close = "Connection: close\r\n" if number == len(asked) else ""
            wire.sendall(f"{line} HTTP/1.1\r\nHost: a\r\n{close}\r\n".encode())
        answers = b"".join(iter(lambda: wire.recv(65_536), b"")).decode()
    assert "Traceback" not in server.output
    *heads, last, body = answers.split("\r\n\r\n")
    assert body == '{"status":"healthy"}'
    statuses = [int(head.split(" ", 2)[1]) for head in (*heads, last)]
    assert statuses == [200, 204, 200, 401, 200]
