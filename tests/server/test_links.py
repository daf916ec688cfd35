"""Links of a running server whose name server is silent: others do not wait, and neither does a stop."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.server.process import Server, serving

pytestmark = pytest.mark.real


def make_task(server: Server, headers: dict[str, str], links: list[str]) -> str:
    with server.client(headers=headers) as client:
        return str(client.post("/tasks", json={"title": "A task", "links": links}).json()["id"])


def test_a_stop_waits_for_no_link(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dns, socket.create_server(("127.0.0.1", 0)) as site:
        dns.bind(("127.0.0.1", 0))
        settings: dict[str, Any] = {
            "DNS_SERVERS": f"127.0.0.1:{dns.getsockname()[1]}",
            "LINKS_ALLOW_PRIVATE": "true",
            "LINKS_TIMEOUT_SECONDS": "60",  # longer than a stop waits for requests
        }
        with serving(tmp_path / "data", **settings) as server, ThreadPoolExecutor(1) as threads:
            headers = server.account()
            task = make_task(server, headers, [f"http://127.0.0.1:{site.getsockname()[1]}/", "http://name.example/"])

            def read_links() -> str:
                with server.client(headers=headers) as client:
                    return client.get(f"/tasks/{task}/links").text

            answer = threads.submit(read_links)
            connection, _ = site.accept()
            with connection:  # the page is asked for, and never answered; nor is the question for the name
                dns.recv(512)
                server.process.terminate()
                assert [link["outcome"] for link in json.loads(answer.result())] == ["timeout", "timeout"]
