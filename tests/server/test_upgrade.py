"""Requests that offer another protocol (RFC 9110, section 7.8) are served as HTTP/1.1, with their whole body."""

import json
import os
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.client import PASSWORD
from tests.server.process import Server
from tests.tools import PATIENCE_SECONDS, free_port, needs, running

pytestmark = pytest.mark.real

OFFERS = {
    "h2c": ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQBAAAAAAIAAAAA"],
    "tls": ["Upgrade: TLS/1.0", "Connection: Upgrade"],
    "websocket": ["Connection: keep-alive, Upgrade", "Upgrade: websocket"],
    "several": ["Connection: upgrade", "Upgrade: h2c, foo/2"],
}
TASK = b'{"title": "Sent by a client that offers HTTP/2"}'
CLOSE = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def owner(server: Server) -> dict[str, str]:
    return server.account()


def head(line: str, *headers: str, **more: str) -> bytes:
    return "\r\n".join([f"{line} HTTP/1.1", "Host: a", *headers, *(f"{n}: {v}" for n, v in more.items()), "", ""]).encode()


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def answers(port: int, packets: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """What comes back for ``packets``, each sent when the server had the one before it; the last one ends the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for packet in packets:
            wire.sendall(packet)
        text = b"".join(iter(lambda: wire.recv(65_536), b""))
    found = []
    while text:
        start, _, text = text.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", start)
        size = int(length[1]) if length else 0
        found.append((int(start.split(b" ", 2)[1]), text[:size]))
        text = text[size:]
    return found


def framed(offer: Sequence[str], owner: dict[str, str], framing: str) -> list[bytes]:
    common = ["Content-Type: application/json", f"Authorization: {owner['Authorization']}"]
    if framing == "chunked":
        start = head("POST /tasks", *offer, *common, "Transfer-Encoding: chunked")
        return [start + chunked(TASK, 7)]
    start = head("POST /tasks", *common, f"Content-Length: {len(TASK)}", *offer)
    return {
        "one packet": [start + TASK],
        "two packets": [start, TASK],
        "many packets": [(start + TASK)[place : place + 1] for place in range(len(start + TASK))],
        "with the next": [start + TASK + head("GET /health", *OFFERS["h2c"])],
    }[framing]


@pytest.mark.parametrize("framing", ["one packet", "two packets", "many packets", "chunked", "with the next"])
@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_an_offer_is_ignored_and_the_body_arrives(
    server: Server, owner: dict[str, str], offer: Sequence[str], framing: str
) -> None:
    first, *rest = answers(server.port, [*framed(offer, owner, framing), CLOSE])
    assert first[0] == 201, first[1]
    assert json.loads(first[1])["title"] == json.loads(TASK)["title"]
    assert rest == [(200, b'{"status":"healthy"}')] * (1 + (framing == "with the next"))


def test_an_import_that_offers_http2_keeps_its_lines(server: Server, owner: dict[str, str]) -> None:
    line = b'{"title":"abc"}'
    common = ["Content-Type: application/jsonl", f"Authorization: {owner['Authorization']}", f"Content-Length: {len(line)}"]
    (status, body), _ = answers(server.port, [head("POST /tasks/import", *OFFERS["h2c"], *common), line, CLOSE])
    assert (status, json.loads(body)["created"]) == (200, 1)


def test_sign_in_offering_http2_keeps_its_form(server: Server) -> None:
    name = f"user-{secrets.token_hex(8)}"
    server.account(name)
    form = f"username={name}&password={PASSWORD.replace(' ', '+')}".encode()
    common = ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form)}"]
    (status, _), _ = answers(server.port, [head("POST /token", *OFFERS["h2c"], *common) + form, CLOSE])
    assert status == 200


def test_a_key_is_kept_for_the_whole_request(server: Server, owner: dict[str, str]) -> None:
    common = ["Content-Type: application/json", f"Authorization: {owner['Authorization']}", f"Content-Length: {len(TASK)}"]
    key = f"Idempotency-Key: {secrets.token_hex(8)}"
    offering = head("POST /tasks", *OFFERS["h2c"], *common, key)
    first, plain, _ = answers(server.port, [offering, TASK, head("POST /tasks", *common, key) + TASK, CLOSE])
    assert first == plain
    assert first[0] == 201


def test_a_large_body_that_comes_in_pieces_arrives(server: Server, owner: dict[str, str]) -> None:
    body = b"\n".join(b'{"title": "number %d"}' % number for number in range(20_000))
    common = ["Content-Type: application/jsonl", f"Authorization: {owner['Authorization']}", f"Content-Length: {len(body)}"]
    packets = [body[start : start + 65_536] for start in range(0, len(body), 65_536)]
    (status, answer), _ = answers(
        server.port, [head("POST /tasks/import?dry_run=true", *OFFERS["h2c"], *common), *packets, CLOSE]
    )
    assert (status, json.loads(answer)["lines"]) == (200, 20_000)


def test_a_client_that_waits_for_continue_is_told(server: Server, owner: dict[str, str]) -> None:
    common = ["Content-Type: application/json", f"Authorization: {owner['Authorization']}", f"Content-Length: {len(TASK)}"]
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS) as wire:
        wire.sendall(head("POST /tasks", *OFFERS["h2c"], *common, "Expect: 100-continue"))
        assert wire.recv(65_536).startswith(b"HTTP/1.1 100 Continue\r\n")
        wire.sendall(TASK)
        assert wire.recv(65_536).startswith(b"HTTP/1.1 201 Created\r\n")


@pytest.mark.parametrize(
    ("packet", "status"),
    [
        (head("GET /health", *OFFERS["h2c"]) + b"\x00\x01\x02", 200),  # the request before it keeps its answer
        (head("POST /logout", *OFFERS["h2c"], "Content-Length: 5", "Transfer-Encoding: chunked"), 400),
        (head("POST /logout", *OFFERS["h2c"], "Transfer-Encoding: chunked") + b"zz\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"CONNECT example.com:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ],
)
def test_what_is_no_http_is_refused(server: Server, packet: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS) as wire:
        wire.sendall(packet)
        text = b"".join(iter(lambda: wire.recv(65_536), b""))
    assert f"HTTP/1.1 {status} ".encode() in text
    assert "Traceback" not in server.output


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers requests with their bodies, and WebSocket messages with themselves."""
    if scope["type"] == "http":
        message = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(message["body"]))]})
        await send({"type": "http.response.body", "body": message["body"]})
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        await send({"type": "websocket.send", "text": message["text"]})


@pytest.fixture(scope="module")
def websocket_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--http", "taskapi.web.http_protocol:HttpProtocol", "--port", str(port)]
    log = tmp_path_factory.mktemp("websocket") / "log"
    with running([*command, "tests.server.test_upgrade:echo"], log, port):
        yield port


def test_a_websocket_handshake_is_accepted(websocket_port: int) -> None:
    with connect(f"ws://127.0.0.1:{websocket_port}/") as wire:
        wire.send("hello")
        assert wire.recv() == "hello"


def test_websocket_handshake_after_a_request_takes_nothing(websocket_port: int) -> None:
    handshake = head("GET /", *OFFERS["websocket"], "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==")
    packet = head("POST /", "Content-Length: 5") + b"first" + handshake + head("POST /", "Content-Length: 4", "Connection: close")
    assert answers(websocket_port, [packet, b"last"]) == [(200, b"first"), (200, b""), (200, b"last")]


def test_offers_leave_no_line_in_the_log(server: Server, owner: dict[str, str]) -> None:
    answers(server.port, [head("GET /tasks", *OFFERS["h2c"], f"Authorization: {owner['Authorization']}"), CLOSE])
    assert "Unsupported upgrade" not in server.output


def test_curl_that_offers_http2(server: Server, owner: dict[str, str]) -> None:
    curl = [needs("curl", "curl"), "--http2", "--silent", "--header", f"Authorization: {owner['Authorization']}"]
    sent = ["--header", "Content-Type: application/jsonl", "--data-binary", '{"title":"abc"}', f"{server.url}/tasks/import"]
    answer = json.loads(subprocess.run([*curl, *sent], capture_output=True, check=True).stdout)
    assert (answer["lines"], answer["created"]) == (1, 1)


def test_java_that_offers_http2(server: Server, owner: dict[str, str]) -> None:
    java = needs("java", "default-jdk-headless")
    program = Path(__file__).with_name("JavaClient.java")
    done = subprocess.run(
        [java, "-XX:TieredStopAtLevel=1", "-Xshare:auto", str(program)],
        env={**os.environ, "API": server.url, "AUTHORIZATION": owner["Authorization"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["POST 201", "PATCH 200", "import 200 3", "streamed 200 3", "again 200"], done.stderr
