"""What nginx does between a caller and the API: its own answers, TLS, upgrades, slow readers. The API is a stub here."""

import shlex
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.client import is_problem
from tests.deployment.nginx import ORIGIN, ROOT, configuration, nginx, site_configuration
from tests.deployment.upstream import EXPORT_BYTES, MIB, Upstream, answering
from tests.tools import PATIENCE_SECONDS, free_port, running

pytestmark = pytest.mark.real


def calling(port: int, address: str = "127.0.0.2", **options: Any) -> httpx.Client:
    transport = httpx.HTTPTransport(local_address=address, **options)
    url = f"http{'s' * bool(options)}://127.0.0.1:{port}"
    return httpx.Client(base_url=url, transport=transport, trust_env=False, timeout=PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an nginx whose API is down."""
    folder, port = tmp_path_factory.mktemp("lonely"), free_port()
    with running(nginx(configuration(folder, listen=port, api=free_port())), folder / "nginx.log", port):
        yield port


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("GET", "/tasks", {}, 502, "bad_gateway"),
        ("POST", "/tasks", {"content": b" " * (MIB + 1)}, 413, "body_too_large"),
        ("TRACE", "/tasks", {}, 405, "method_not_allowed"),
    ],
)
@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:3000"])
def test_cors_lets_browsers_read_answers_of_nginx(
    lonely: int, origin: str, method: str, path: str, options: dict[str, Any], status: int, code: str
) -> None:
    with calling(lonely) as client:
        answer = client.request(method, path, headers={"Origin": origin}, **options)
    is_problem(answer, status, code)
    assert answer.headers.get_list("access-control-allow-origin") == [origin]
    assert answer.headers["access-control-expose-headers"] == "Retry-After, X-Request-ID"
    assert answer.headers["vary"] == "Origin"


def test_cors_lets_browsers_read_too_long_header_errors(lonely: int) -> None:
    with calling(lonely) as client:
        address = client.get("/tasks", params={"tag": "x" * 9000}, headers={"Origin": ORIGIN})
        headers = client.get("/tasks", headers={"X-Long": "x" * 9000, "Origin": ORIGIN})
    is_problem(address, 414, "uri_too_long")
    is_problem(headers, 431, "headers_too_large")
    assert {answer.headers["access-control-allow-origin"] for answer in (address, headers)} == {"*"}  # the origin was not read


def test_cors_lets_browsers_read_rate_limit_errors(lonely: int) -> None:
    with calling(lonely, "127.0.0.80") as client:
        answers = [client.post("/token", headers={"Origin": ORIGIN}) for _ in range(30)]
    refused = next(answer for answer in answers if answer.status_code == 429)
    is_problem(refused, 429, "too_many_requests")
    assert refused.headers["access-control-allow-origin"] == ORIGIN
    assert refused.headers["retry-after"]


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "null",
        "https://evil.example",
        ORIGIN.upper(),
        f"{ORIGIN}.evil.example",
        f"{ORIGIN}|",
        "https://evil.example|https://evil.example",
        ",https://evil.example|https://evil.example",
        f"http://localhost:3000, {ORIGIN}",
        "*",
    ],
)
def test_no_other_origin_can(lonely: int, origin: str | None) -> None:
    with calling(lonely) as client:
        answer = client.get("/tasks", headers={} if origin is None else {"Origin": origin})
    is_problem(answer, 502, "bad_gateway")
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert answer.headers["vary"] == "Origin"


def test_any_origin_can_where_any_may_call(tmp_path: Path) -> None:
    port = free_port()
    path = configuration(tmp_path, listen=port, api=free_port())
    (tmp_path / "origins.conf").write_text('map "" $taskapi_cors_origins { default "https://a.example,*"; }')
    with running(nginx(path), tmp_path / "nginx.log", port), calling(port) as client:
        assert client.get("/tasks", headers={"Origin": ORIGIN}).headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-origin" not in client.get("/tasks").headers


def encrypted(port: int, folder: Path) -> httpx.Client:
    return calling(port, verify=ssl.create_default_context(cafile=str(folder / "fullchain.pem")))


@pytest.mark.parametrize("make", [configuration, site_configuration])
def test_with_tls_plain_http_serves_only_health_check(tmp_path: Path, make: Any) -> None:
    plain, tls = free_port(), free_port()
    options = {"redirect": True} if make is configuration else {}
    with answering() as upstream:
        path = make(tmp_path, listen=plain, api=upstream.port, tls=tls, **options)
        with running(nginx(path), tmp_path / "nginx.log", plain), calling(plain) as client:
            upload = client.post("/tasks/import?format=jsonl", content=b"x" * (2 * MIB))
            token = client.post("/token", data={"username": "ada", "password": "correct horse battery"})
            page = client.get("/docs", headers={"Host": "tasks.example.com:8080"})
            assert upstream.requests == []
            health = client.get("/health")
            with encrypted(tls, tmp_path) as safe:
                made = safe.post("/tasks", content=b"{}")
    assert {answer.status_code for answer in (upload, token, page)} == {308}
    assert upload.headers["location"] == "https://127.0.0.1/tasks/import?format=jsonl"
    assert page.headers["location"] == "https://tasks.example.com/docs"
    assert (health.status_code, made.status_code) == (200, 200)
    assert "strict-transport-security" not in health.headers
    assert "max-age=31536000" in made.headers["strict-transport-security"]
    ((_, _, _, _), (method, asked, headers, body)) = upstream.requests
    assert (method, asked, headers["x-forwarded-proto"], body) == ("POST", "/tasks", "https", b"{}")


def test_container_health_check_works_with_tls_too() -> None:
    check = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["nginx"]["healthcheck"]["test"]
    assert shlex.join(check).endswith(" http://127.0.0.1:8080/health")


@pytest.mark.parametrize("tls", [None, 8443])
def test_site_file_is_valid_in_an_installed_nginx(tmp_path: Path, tls: int | None) -> None:
    path = site_configuration(tmp_path, listen=free_port(), api=free_port(), tls=tls)
    done = subprocess.run([*nginx(path), "-t"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def test_a_request_passes_through_the_site(tmp_path: Path) -> None:
    port = free_port()
    with answering() as upstream:
        path = site_configuration(tmp_path, listen=port, api=upstream.port)
        with running(nginx(path), tmp_path / "nginx.log", port), calling(port) as client:
            assert client.get("/tasks?secret=1").text == "ok"
            is_problem(client.post("/tasks", content=b" " * (MIB + 1)), 413, "body_too_large")
    assert len(upstream.requests) == 1
    assert '"path":"/tasks","status":"200"' in (tmp_path / "taskapi.log").read_text()


@pytest.fixture(scope="module")
def passing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Upstream]]:
    """An nginx before a stub; its times are a hundredth of the shipped ones."""
    folder, port = tmp_path_factory.mktemp("passing"), free_port()
    hundredth = {"send_timeout 60s": "send_timeout 600ms", "send_timeout 300s": "send_timeout 3s"}
    with answering() as upstream:
        path = configuration(folder, listen=port, api=upstream.port, changes=hundredth)
        with running(nginx(path), folder / "nginx.log", port):
            yield port, upstream


@pytest.mark.parametrize("offer", ["h2c", "TLS/1.0", "h2c, websocket"])
def test_upgrade_offer_is_dropped_and_body_passed_on(passing: tuple[int, Upstream], offer: str) -> None:
    port, upstream = passing
    headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": offer, "HTTP2-Settings": "AAMAAABkAAQAAP__"}
    with calling(port) as client:
        for _ in range(2):  # the second on the same connection
            assert client.post("/tasks", content=b'{"title": "abc"}', headers=headers).text == "ok"
    *_, (_, _, seen, body) = upstream.requests
    assert body == b'{"title": "abc"}'
    assert {"upgrade", "connection"}.isdisjoint(seen)


def test_the_limits_hold_under_a_root_path_too(passing: tuple[int, Upstream]) -> None:
    port, upstream = passing
    with calling(port, "127.0.0.81") as client:
        assert client.post("/v1/tasks/import", content=b"x" * (2 * MIB)).text == "ok"
        assert len(upstream.requests[-1][3]) == 2 * MIB
        is_problem(client.post("/v1/tasks", content=b"x" * (2 * MIB)), 413, "body_too_large")
        assert {client.post("/v1/token").status_code for _ in range(30)} == {200, 429}


@contextmanager
def reading(passing: tuple[int, Upstream], path: str, coding: str = "identity") -> Iterator[socket.socket]:
    port, upstream = passing
    upstream.sent = 0
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        raw.settimeout(PATIENCE_SECONDS)
        raw.connect(("127.0.0.1", port))
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {coding}\r\nConnection: close\r\n\r\n".encode())
        yield raw


def test_slowly_but_steadily_read_export_arrives_whole(passing: tuple[int, Upstream]) -> None:
    """nginx may write anew only when a third of the connection's buffer is free, which takes such a reader a while."""
    pace = threading.Event()
    with reading(passing, "/tasks/export") as raw:
        received = 0
        while part := raw.recv(65_536):
            received += len(part)
            if received < 8 * MIB:
                pace.wait(0.025)
    assert received > EXPORT_BYTES


@pytest.mark.parametrize("path", ["/tasks/export", "/v1/users/me/export"])
def test_export_is_read_at_the_speed_of_client(passing: tuple[int, Upstream], path: str) -> None:
    _, upstream = passing
    with reading(passing, path) as raw:
        received = 0
        while received < 3 * MIB:
            received += len(raw.recv(65_536))
        pause = threading.Event()
        before = -1
        while upstream.sent > before:  # what the connections hold
            before = upstream.sent
            pause.wait(0.1)
        assert upstream.sent < EXPORT_BYTES // 2
        while part := raw.recv(MIB):
            received += len(part)
    assert received > EXPORT_BYTES


def test_an_export_is_compressed_while_it_passes(passing: tuple[int, Upstream]) -> None:
    with reading(passing, "/tasks/export", "gzip") as raw:
        answer = b"".join(iter(lambda: raw.recv(MIB), b""))
    assert b"Content-Encoding: gzip\r\n" in answer
    assert answer.endswith(b"0\r\n\r\n")
