"""How the real server ends: what it finishes, what it cuts and when, and that its MongoDB is left clean each time."""

import itertools
import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.server.process import Server, serving, wait_until
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real

CALLERS = 12
WORKERS = [(), ("--workers", "2")]
REQUEST = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"


def was_left_clean(server: Server) -> bool:
    """Whether the MongoDB had its own end: the last thing it does is to log that, and to empty its lock."""
    return (server.folder / "mongodb" / "mongod.lock").stat().st_size == 0


@contextmanager
def slow_request(server: Server) -> Iterator[socket.socket]:
    """An answer in progress: the body of the request does not come to its end."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        headers = {"Host": "a", "Content-Type": "application/json", "Content-Length": "20", "Expect": "100-continue"}
        head = "".join(f"{name}: {value}\r\n" for name, value in (headers | server.account()).items())
        connection.sendall(f"POST /tasks HTTP/1.1\r\n{head}\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")  # it is being answered
        yield connection


@pytest.mark.parametrize(
    ("arguments", "again"), [(WORKERS[0], signal.SIGTERM), (WORKERS[0], signal.SIGINT), (WORKERS[1], signal.SIGTERM)]
)
def test_second_signal_ends_at_once_with_a_message(folder: Path, arguments: tuple[str, ...], again: signal.Signals) -> None:
    with serving(folder, *arguments) as server, slow_request(server):
        server.process.terminate()
        wait_until(lambda: server.output.count("Shutting down") > 0, "the stop to begin")

        def ended() -> bool:
            server.process.send_signal(again)
            return server.process.poll() is not None

        wait_until(ended, "the end")
        assert server.process.returncode == 1
        assert "cut" in server.output
        assert was_left_clean(server)
        assert "Traceback" not in server.output


@pytest.mark.parametrize("arguments", WORKERS, ids=["one", "two"])
def test_one_signal_delivered_twice_is_one(folder: Path, arguments: tuple[str, ...]) -> None:
    with serving(folder, *arguments) as server, slow_request(server) as connection:
        os.killpg(server.process.pid, signal.SIGINT)  # as a terminal does, to the parent and the workers
        server.process.send_signal(signal.SIGINT)
        wait_until(lambda: "Shutting down" in server.output, "the stop to begin")
        connection.sendall(b'{"title": "In time"}')
        assert b"201 Created" in connection.recv(4096)
        assert server.process.wait(PATIENCE_SECONDS) == 0
        assert was_left_clean(server)
        assert "Traceback" not in server.output


def test_hangup_is_ignored_and_logged_by_one_worker(server: Server) -> None:
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "SIGHUP is ignored" in server.output, "a word")
    assert server.status() == 200


def test_a_hangup_replaces_every_worker_and_refuses_nobody(folder: Path) -> None:
    with serving(folder, "--workers", "2") as server:
        wait_until(lambda: server.output.count("is ready") == 2, "both workers")
        before = set(server.members("spawn_main"))
        statuses = []
        server.process.send_signal(signal.SIGHUP)

        def replaced() -> bool:
            statuses.append(server.status("/health"))
            return not before & set(server.members("spawn_main"))

        wait_until(replaced, "new workers")
        assert set(statuses) == {200}
        wait_until(lambda: server.output.count("is ready") == 4, "both new workers")


@pytest.mark.parametrize("arguments", WORKERS, ids=["one", "two"])
def test_connections_accepted_during_a_stop_are_served(folder: Path, arguments: tuple[str, ...]) -> None:
    """Callers connect as fast as they can while the server stops: each is refused, or has its answer."""
    with serving(folder, *arguments) as server:
        broken, stop = [], threading.Event()

        def call() -> None:
            while not stop.is_set():
                with socket.socket() as connection:
                    connection.settimeout(PATIENCE_SECONDS)
                    try:
                        connection.connect(("127.0.0.1", server.port))
                    except OSError:
                        return
                    try:
                        connection.sendall(REQUEST)
                        answer = connection.recv(4096)
                    except OSError as error:
                        answer = repr(error).encode()
                    if not answer.startswith(b"HTTP/1.1 200 "):
                        broken.append(answer)

        with ThreadPoolExecutor(16) as threads:
            calls = [threads.submit(call) for _ in range(16)]
            server.process.terminate()
            assert server.process.wait(PATIENCE_SECONDS) == 0
            stop.set()
        for each in calls:
            each.result()
        assert broken == []


@pytest.mark.parametrize("arguments", WORKERS, ids=["one", "two"])
def test_restart_under_load_loses_and_doubles_nothing(folder: Path, arguments: tuple[str, ...]) -> None:
    acknowledged: dict[str, str] = {}
    uncertain: list[str] = []
    broken: list[str] = []
    enough, over = threading.Event(), threading.Event()

    def post(server: Server, headers: dict[str, str], caller: int) -> None:
        with server.client(headers=headers) as client:
            for number in itertools.count():
                key = f"{caller}-{number}"
                while not over.is_set():
                    try:
                        answer = client.post("/tasks", json={"title": key}, headers={"Idempotency-Key": key})
                    except httpx.ConnectError:
                        if server.process.poll() is not None:
                            uncertain.append(key)
                            return
                        continue  # refused: the server stops; nothing was sent
                    except httpx.TransportError as error:
                        broken.append(f"{key}: {error!r}")
                        uncertain.append(key)
                        return
                    assert answer.status_code == 201, answer.text
                    acknowledged[key] = answer.json()["id"]
                    if len(acknowledged) > 100:
                        enough.set()
                    break
                else:
                    return

    with serving(folder, *arguments) as server, ThreadPoolExecutor(CALLERS) as threads:
        headers = server.account()
        callers = [threads.submit(post, server, headers, caller) for caller in range(CALLERS)]
        assert enough.wait(PATIENCE_SECONDS)
        server.process.terminate()
        assert server.process.wait(PATIENCE_SECONDS) == 0
        over.set()
        for each in callers:
            each.result()
    assert broken == []
    with serving(folder, *arguments) as server, server.client(headers=headers) as client:
        for key in uncertain:
            with suppress(httpx.TransportError):
                again = client.post("/tasks", json={"title": key}, headers={"Idempotency-Key": key})
                acknowledged[key] = again.json()["id"]
        stored = [task for page in _pages(client) for task in page]
    assert {task["title"]: task["id"] for task in stored} == acknowledged
    assert len(stored) == len(acknowledged)


def _pages(client: httpx.Client) -> Iterator[list[dict[str, str]]]:
    for offset in itertools.count(0, 100):
        page = client.get("/tasks", params={"limit": 100, "offset": offset}).json()
        if not page:
            return
        yield page
