"""Streams of events of a real server: restarts, crashes, several workers, clients that do not read, and stops."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.server.process import Server, serving, wait_until
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real

WORKERS = [(), ("--workers", "2")]


class Sent(NamedTuple):
    name: str
    data: dict[str, Any]
    id: str


class Stream:
    """An open stream, read event by event."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._file = connection.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        while self._file.readline() not in (b"\r\n", b""):
            pass

    def lines(self) -> Iterator[str]:
        """Without the chunks: each is a line of its size, then whole lines, then an empty one."""
        while size := int(self._file.readline() or b"0", 16):
            yield from self._file.read(size).decode().split("\n")[:-1]
            self._file.readline()

    def next(self) -> Sent | None:
        """The next event; None at the end."""
        fields: dict[str, str] = {}
        for line in self.lines_left:
            if line == "":
                if "data" in fields:
                    return Sent(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
                fields = {}  # a heartbeat, whose id is not that of the next event
            name, found, value = line.partition(": ")
            if found and name:
                fields[name] = value
        return None

    def __enter__(self) -> "Stream":
        self.lines_left = self.lines()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.connection.close()

    def titles(self, count: int) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            sent = self.next()
            assert sent is not None
            assert sent.name.startswith("task."), sent
            found.append(sent.data["task"]["title"])
        return found


@contextmanager
def following(server: Server, headers: dict[str, str], since: str = "", buffer: int = 0) -> Iterator[Stream]:
    connection = socket.socket()
    connection.settimeout(PATIENCE_SECONDS)
    if buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.connect(("127.0.0.1", server.port))
    given = {"Host": "a", **headers, **({"Last-Event-ID": since} if since else {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    connection.sendall(f"GET /events/stream HTTP/1.1\r\n{head}\r\n".encode())
    with Stream(connection) as stream:
        yield stream


def make_tasks(server: Server, headers: dict[str, str], *titles: str, **fields: Any) -> None:
    with server.client(headers=headers) as client:
        for title in titles:
            assert client.post("/tasks", json={"title": title, **fields}).status_code == 201


def make_again(server: Server, headers: dict[str, str], title: str) -> bool:
    """Whether the task is made, once, however often this is called while MongoDB cannot be reached."""
    with server.client(headers={**headers, "Idempotency-Key": title}) as client:
        answer = client.post("/tasks", json={"title": title})
    assert answer.status_code in (201, 409, 503), answer.text
    return answer.status_code == 201


def begin(stream: Stream) -> str:
    hello = stream.next()
    assert hello is not None
    assert hello.name == "hello"
    return hello.id


def test_smallest_pool_serves_streams_webhooks_and_writes(folder: Path) -> None:
    with serving(folder, MONGODB_POOL_SIZE="3", WEBHOOKS_ALLOW_PRIVATE="true") as server:
        headers = server.account()
        with server.client(headers=headers) as client:
            assert client.post("/webhooks", json={"url": "http://127.0.0.1:9/"}).status_code == 201
        with following(server, headers) as stream:
            begin(stream)
            titles = [f"Task {number}" for number in range(10)]
            make_tasks(server, headers, *titles)
            assert stream.titles(10) == titles


@pytest.mark.parametrize("arguments", WORKERS, ids=["one", "two"])
def test_a_stop_ends_streams_at_once(folder: Path, arguments: tuple[str, ...]) -> None:
    with serving(folder, *arguments) as server:
        headers = server.account()
        with following(server, headers) as first, following(server, headers) as second:
            begin(first), begin(second)
            make_tasks(server, headers, "One", "Two")
            assert second.titles(2) == ["One", "Two"]
            event = first.next()
            assert event is not None
            began = time.monotonic()
            server.process.terminate()
            assert server.process.wait(PATIENCE_SECONDS) == 0
            assert time.monotonic() - began < 15
            assert second.next() == ("end", {"reason": "server_stopping"}, "")
        assert server.output.count("path=/events/stream status=200") == 2
        assert "Traceback" not in server.output
    with serving(folder, *arguments) as server:
        make_tasks(server, headers, "Three")
        with following(server, headers, since=event.id) as stream:
            assert begin(stream) == event.id
            assert stream.titles(2) == ["Two", "Three"]


def test_a_killed_mongod_is_waited_for(folder: Path) -> None:
    with serving(folder) as server:
        headers = server.account()
        with following(server, headers) as stream:
            position = begin(stream)
            make_tasks(server, headers, "Before")
            os.kill(server.mongod(), signal.SIGKILL)
            wait_until(lambda: make_again(server, headers, "After"), "another mongod")
            assert stream.titles(2) == ["Before", "After"]
        with following(server, headers, since=position) as again:
            begin(again)
            assert again.titles(2) == ["Before", "After"]


def test_two_workers_tell_the_same(folder: Path) -> None:
    with serving(folder, "--workers", "2") as server:
        headers = server.account()
        streams = [following(server, headers) for _ in range(6)]
        opened = [each.__enter__() for each in streams]
        for stream in opened:
            begin(stream)
        make_tasks(server, headers, *(f"Task {number}" for number in range(10)))
        events = [[stream.next() for _ in range(10)] for stream in opened]
        assert all(each == events[0] for each in events)
        for each in streams:
            each.__exit__(None, None, None)


def test_a_killed_worker_loses_nothing(folder: Path) -> None:
    with serving(folder, "--workers", "2") as server:
        headers = server.account()
        with following(server, headers) as stream:
            begin(stream)
            make_tasks(server, headers, "One")
            event = stream.next()
            assert event is not None
            for worker in server.members("spawn_main"):
                os.kill(worker, signal.SIGKILL)
        wait_until(lambda: server.status() == 200, "another worker")
        make_tasks(server, headers, "Two")
        with following(server, headers, since=event.id) as stream:
            begin(stream)
            assert stream.titles(1) == ["Two"]


def make_large_tasks(server: Server, headers: dict[str, str]) -> None:
    """Some 40 MB of events, far more than the system and the server hold for a client that does not read."""
    line = json.dumps({"title": "Large", "description": "x" * 2000, "metadata": {"text": "y" * 14_000}})
    with server.client(headers=headers | {"Content-Type": "application/jsonl"}) as client:
        for _ in range(6):
            answer = client.post("/tasks/import", content="\n".join([line] * 450))
            assert answer.json()["created"] == 450, answer.text


def test_who_does_not_read_has_to_start_anew(server: Server) -> None:
    headers = server.account()
    with following(server, headers, buffer=4096) as slow:
        begin(slow)
        make_large_tasks(server, headers)
        names = []
        while (sent := slow.next()) is not None and sent.name != "reset":
            names.append(sent.name)
        assert sent is not None
        assert sent.data["reason"] == "slow"
        assert len(names) < 6 * 450
        make_tasks(server, headers, "After the reset")
        while "Large" in (titles := slow.titles(1)):  # those that came after it was told
            pass
        assert titles == ["After the reset"]


def test_who_does_not_read_holds_up_no_stop(folder: Path) -> None:
    with serving(folder) as server:
        headers = server.account()
        with following(server, headers, buffer=4096):
            make_large_tasks(server, headers)
            began = time.monotonic()
            server.process.terminate()
            assert server.process.wait(PATIENCE_SECONDS) == 0
            assert time.monotonic() - began < 15
        assert "Traceback" not in server.output


def test_an_ended_session_ends_its_stream(server: Server) -> None:
    headers = server.account()
    with following(server, headers) as stream, server.client(headers=headers) as client:
        begin(stream)
        began = time.monotonic()
        assert client.post("/logout").status_code == 204
        assert stream.next() == ("end", {"reason": "session_ended"}, "")
        assert time.monotonic() - began < 15
        assert stream.next() is None
