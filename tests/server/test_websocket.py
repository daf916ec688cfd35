"""WebSockets of a real server: behind a path, over restarts and among workers, and with nothing secret in its log."""

import json
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from taskapi.core.settings import Settings
from taskapi.db.mongod_program import find_mongod
from tests.events.sockets import quiet
from tests.leaks import keep_secret
from tests.server.process import Server, serving, wait_until
from tests.tools import PATIENCE_SECONDS, free_port, running

pytestmark = pytest.mark.real


def receive(wire: ClientConnection) -> dict[str, Any]:
    return dict(json.loads(wire.recv(PATIENCE_SECONDS)))


@contextmanager
def subscribed(server: Server, headers: dict[str, str], root: str = "", **members: Any) -> Iterator[tuple[ClientConnection, str]]:
    """A connection with a subscription, and the position where it begins."""
    offered = [Subprotocol("taskapi.bearer"), Subprotocol(headers["Authorization"].removeprefix("Bearer "))]
    url = f"ws://127.0.0.1:{server.port}{root}/events/ws"
    with connect(url, subprotocols=offered, logger=quiet, close_timeout=1) as wire:
        assert receive(wire)["type"] == "ready"
        wire.send(json.dumps({"type": "subscribe", "id": "s", **members}))
        begun = receive(wire)
        assert begun["type"] == "subscribed", begun
        yield wire, begun["position"]


def make_task(client: httpx.Client, title: str) -> None:
    assert client.post("/tasks", json={"title": title}).status_code == 201


def test_a_stop_ends_connections_at_once(folder: Path) -> None:
    with serving(folder) as server:
        headers = server.account()
        with subscribed(server, headers) as (wire, _), subscribed(server, headers) as (other, _):
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            for each in (wire, other):
                with pytest.raises(ConnectionClosed) as end:
                    each.recv(PATIENCE_SECONDS)
                assert end.value.rcvd is not None
                assert end.value.rcvd.code == 1001
            assert time.monotonic() - began < 15  # half of what requests have to end
            assert server.process.wait(PATIENCE_SECONDS) in (0, -signal.SIGTERM)
        assert "cut off" not in server.output
        assert "Traceback" not in server.output


def test_a_client_goes_on_after_a_restart(folder: Path) -> None:
    with serving(folder, ROOT_PATH="/v1") as server:
        headers = server.account()
        with server.client(headers=headers) as client, subscribed(server, headers, "/v1") as (wire, position):
            make_task(client, "before")
            assert receive(wire)["event"]["task"]["title"] == "before"
            make_task(client, "missed")
        server.kill_everything()
    with serving(folder) as server, server.client(headers=headers) as client:
        with subscribed(server, headers, since=position) as (wire, _):
            make_task(client, "after")
            told = [receive(wire)["event"]["task"]["title"] for _ in range(3)]
        assert told == ["before", "missed", "after"]


def test_every_worker_tells_of_the_writes_of_all(folder: Path) -> None:
    with serving(folder, "--workers", "2") as server:
        headers = server.account()
        with server.client(headers=headers) as client:
            ticket = keep_secret(client.post("/events/tickets").json()["ticket"], "ticket")
            with connect(f"ws://127.0.0.1:{server.port}/events/ws?ticket={ticket}", logger=quiet) as wire:
                assert receive(wire)["type"] == "ready"
                wire.send(json.dumps({"type": "subscribe", "id": "s"}))
                assert receive(wire)["type"] == "subscribed"
                for number in range(20):
                    with server.client(headers=headers) as another:  # a connection of its own, to either worker
                        make_task(another, f"task {number}")
                titles = [receive(wire)["event"]["task"]["title"] for _ in range(20)]
        assert titles == [f"task {number}" for number in range(20)]
        wait_until(lambda: "websocket method=GET path=/events/ws status=101" in server.output, "the line of the connection")
        assert ticket not in server.output


def test_a_debugging_log_has_no_secret(folder: Path) -> None:
    with serving(folder, LOG_LEVEL="debug") as server:
        headers = server.account()
        with subscribed(server, headers):
            pass
        wait_until(lambda: "closed=1000" in server.output, "the line of the connection")
        assert headers["Authorization"].removeprefix("Bearer ") not in server.output


def test_a_standalone_mongodb_has_no_events(folder: Path) -> None:
    port, data = free_port(), folder.with_name("standalone")
    data.mkdir()
    command = [str(find_mongod(Settings(_env_file=None))), "--dbpath", str(data), "--port", str(port), "--nounixsocket"]
    with running(command, folder.with_name("mongod.log"), port):
        uri = f"mongodb://127.0.0.1:{port}/"
        with serving(folder, MONGODB_URI=uri, SECRET_KEY=keep_secret(secrets.token_hex(32), "secret key")) as server:
            headers = server.account()
            with server.client(headers=headers) as client:
                make_task(client, "kept")
                assert client.get("/events/stream").status_code == 501
            with connect(f"ws://127.0.0.1:{server.port}/events/ws", additional_headers=headers, logger=quiet) as wire:
                with pytest.raises(ConnectionClosed) as end:
                    wire.recv(PATIENCE_SECONDS)
                assert end.value.rcvd is not None
                assert (end.value.rcvd.code, end.value.rcvd.reason) == (4501, "change_streams_unsupported")
