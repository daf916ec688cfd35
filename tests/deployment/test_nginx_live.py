"""Events and the page /live through the shipped nginx, from a real ``taskapi serve``."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent, connect_sse
from websockets import Origin
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.browser import chromium
from tests.client import is_problem
from tests.deployment.conftest import ALICE, Site
from tests.server.live_page import open_page
from tests.server.process import wait_until
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real


@contextmanager
def listening(client: httpx.Client, **query: str) -> Iterator[Iterator[ServerSentEvent]]:
    """What a stream tells that a new ticket opens, without a header."""
    ticket = client.post("/events/tickets").json()["ticket"]
    anonymous = {"Authorization": ""}
    with connect_sse(client, "GET", "/events/stream", params={"ticket": ticket, **query}, headers=anonymous) as stream:
        assert stream.response.status_code == 200
        assert "content-encoding" not in stream.response.headers
        yield (message for message in stream.iter_sse() if message.event != "message")


def titles(events: Iterator[ServerSentEvent], count: int) -> list[str]:
    """The titles of the tasks in the next events."""
    return [next(events).json()["task"]["title"] for _ in range(count)]


def test_events_pass_while_they_happen(site: Site, alice: httpx.Client) -> None:
    with listening(alice) as events:
        since = next(events).json()["position"]
        for number in range(3):  # each is read before the next one is made
            assert alice.post("/tasks", json={"title": f"Task {number}"}).status_code == 201
            assert titles(events, 1) == [f"Task {number}"]
    with listening(alice, since=since) as events:
        assert next(events).event == "hello"
        assert titles(events, 3) == ["Task 0", "Task 1", "Task 2"]


def test_a_reload_ends_no_stream(site: Site, alice: httpx.Client) -> None:
    with listening(alice) as events:
        next(events)
        pid = int((site.nginx_log.parent / "nginx.pid").read_text())
        before = workers(pid)
        os.kill(pid, signal.SIGHUP)
        wait_until(lambda: bool(workers(pid) - before), "nginx to start other workers")
        assert alice.post("/tasks", json={"title": "After the reload"}).status_code == 201
        assert titles(events, 1) == ["After the reload"]


def workers(pid: int) -> set[str]:
    """The children of nginx's main process."""
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def test_no_ticket_is_in_a_log(site: Site, alice: httpx.Client) -> None:
    ticket = alice.post("/events/tickets").json()["ticket"]
    with site.caller() as client:
        with client.stream("GET", f"/events/stream?ticket={ticket}") as stream:
            assert stream.status_code == 200
        is_problem(client.get(f"/events/stream?ticket={ticket}"), 401, "invalid_ticket")  # it works once
    wait_until(lambda: site.log.read_text().count("path=/events/stream") >= 2, "the requests to be logged")
    for log in (site.log, site.nginx_log):
        assert "/events/stream" in log.read_text()
        assert ticket not in log.read_text()


def socket(site: Site, path: str = "/events/ws", **options: Any) -> ClientConnection:
    """A WebSocket through nginx, from an address that is not trusted."""
    url = f"{site.url.replace('http', 'ws', 1)}{path}"
    wire: ClientConnection = connect(url, source_address=(ALICE, 0), proxy=None, **options)
    return wire


def test_a_websocket_tells_it_too(site: Site, alice: httpx.Client) -> None:
    ticket = alice.post("/events/tickets").json()["ticket"]
    with socket(site, f"/events/ws?ticket={ticket}", origin=Origin(site.url)) as wire:  # as a page of this server connects
        wire.send(json.dumps({"type": "subscribe", "id": "all"}))
        assert [json.loads(wire.recv(PATIENCE_SECONDS))["type"] for _ in range(2)] == ["ready", "subscribed"]
        for number in range(3):
            assert alice.post("/tasks", json={"title": f"Over the wire {number}"}).status_code == 201
            event = json.loads(wire.recv(PATIENCE_SECONDS))["event"]
            assert event["task"]["title"] == f"Over the wire {number}"
    with socket(site, additional_headers={"Authorization": alice.headers["Authorization"]}) as wire:
        assert json.loads(wire.recv(PATIENCE_SECONDS)) == {"type": "ready"}
        wire.send(json.dumps({"type": "subscribe", "id": "all", "since": event["id"]}))
        assert json.loads(wire.recv(PATIENCE_SECONDS))["position"] == event["id"]
    with pytest.raises(InvalidStatus, match="403"):
        socket(site, origin=Origin("https://evil.example"))
    for log in (site.log, site.nginx_log):
        assert ticket not in log.read_text()


def test_the_page_is_live_behind_nginx(site: Site, alice: httpx.Client, tmp_path: Path) -> None:
    alice.post("/tasks", json={"title": "There before"})
    with chromium(tmp_path / "profile") as browser:
        page = open_page(browser, site.url, "alice")
        assert "There before" in page.titles()
        alice.post("/tasks", json={"title": "From elsewhere"})
        page.wait(lambda: page.titles()[0] == "From elsewhere", "the task")
        assert page.complaints() == []
