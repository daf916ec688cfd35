"""Webhooks of real processes: whoever is killed, each change arrives, in the order of its task, and at its owner's alone."""

import json
import os
import signal
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from tests.server.process import Server, serving, wait_until

pytestmark = pytest.mark.real

TASKS, CHANGES, KILLS = 5, 12, 4


@dataclass
class Inbox:
    """What receivers have taken: the events by the path that a webhook was given."""

    port: int
    events: defaultdict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    secrets: dict[str, str] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def versions(self, path: str) -> dict[str, set[int]]:
        found = defaultdict[str, set[int]](set)
        for event in [*self.events[path]]:
            found[event["task_id"]].add(event["version"])
        return found


@contextmanager
def inbox() -> Iterator[Inbox]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            Webhook(found.secrets[self.path]).verify(body.decode(), headers)
            found.ids.append(headers["webhook-id"])
            found.events[self.path].append(json.loads(body)["data"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Inbox(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


def workers(server: Server) -> list[int]:
    return server.members("spawn_main")


def add_hook(server: Server, headers: dict[str, str], inbox: Inbox, path: str) -> None:
    with server.client(headers=headers) as client:
        made = client.post("/webhooks", json={"url": inbox.url(path)})
    assert made.status_code == 201, made.text
    inbox.secrets[path] = made.json()["secret"]


def write(server: Server, headers: dict[str, str], written: dict[str, int]) -> None:
    """Creates tasks and changes them; an answer that is lost with its worker is asked for again."""
    with server.client(headers=headers) as client:
        for number in range(TASKS):
            task = until_answered(client, "POST", "/tasks", {"title": f"Task {number}"}, {"Idempotency-Key": str(number)})
            written[task["id"]] = task["version"]
        for number in range(CHANGES):
            for task_id in written:
                changed = until_answered(client, "PATCH", f"/tasks/{task_id}", {"estimate_minutes": number})
                written[task_id] = changed["version"]


def until_answered(
    client: httpx.Client, method: str, path: str, body: dict[str, Any], headers: dict[str, str] | None = None
) -> dict[str, Any]:
    while True:
        try:
            answer = client.request(method, path, json=body, headers=headers)
        except httpx.TransportError:
            continue
        if answer.is_success:
            return dict(answer.json())
        assert answer.status_code in (409, 503), answer.text


def test_nothing_is_lost_when_workers_are_killed(folder: Path) -> None:
    with inbox() as taken, serving(folder, "--workers", "2", WEBHOOKS_ALLOW_PRIVATE="true") as server:
        wait_until(lambda: server.output.count("is ready") == 2, "both workers")
        owners = {path: server.account() for path in ("/ada", "/bob")}
        for path, headers in owners.items():
            add_hook(server, headers, taken, path)
        written: dict[str, dict[str, int]] = {path: {} for path in owners}
        threads = [threading.Thread(target=write, args=(server, owners[path], written[path])) for path in owners]
        for thread in threads:
            thread.start()
        for number in range(KILLS):
            wait_until(lambda number=number: len(taken.ids) > number * 10, "deliveries")  # type: ignore[misc]
            os.kill(workers(server)[number % 2], signal.SIGKILL)
            wait_until(lambda number=number: server.output.count("is ready") == 3 + number, "another worker")  # type: ignore[misc]
        for thread in threads:
            thread.join()
        for path, versions in written.items():
            wait_until(lambda p=path, v=versions: _is_complete(taken, p, v), f"all changes of {path}", 90)  # type: ignore[misc]
            assert taken.versions(path).keys() == versions.keys()  # none of somebody else's
            for task_id in versions:
                _in_order([event["version"] for event in taken.events[path] if event["task_id"] == task_id])
    assert "Traceback" not in server.output


def _is_complete(taken: Inbox, path: str, versions: dict[str, int]) -> bool:
    found = taken.versions(path)
    return all(set(range(1, version + 1)) <= found[task_id] for task_id, version in versions.items())


def _in_order(versions: list[int]) -> None:
    """An event may come twice, but none before the first time of an earlier one."""
    seen = list(dict.fromkeys(versions))
    assert seen == sorted(seen)


def test_nothing_leaves_the_machine_by_default(folder: Path) -> None:
    with inbox() as taken, serving(folder) as server:
        headers = server.account()
        with server.client(headers=headers) as client:
            assert client.post("/webhooks", json={"url": taken.url("/ada")}).status_code == 422
    assert taken.ids == []
