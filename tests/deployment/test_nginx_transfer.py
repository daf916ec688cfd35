"""Exports and imports through nginx, and leaving: a DELETE with a body."""

import io
import json
import re
import socket
from typing import Any
from zipfile import ZipFile

import httpx
import pytest

from taskapi.core.settings import Settings
from tests.client import PASSWORD, is_problem
from tests.deployment.conftest import Site
from tests.deployment.nginx import shipped
from tests.deployment.test_nginx import LIMIT
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real

LEAVER = "127.0.0.68"
LARGEST = int(Settings.model_fields["max_import_bytes"].default)
JSONL = {"content-type": "application/jsonl"}


def test_import_limits_match_those_of_the_api() -> None:
    text = shipped()
    (limit,) = re.findall(r"import/\*\$ \{\n *client_max_body_size (\d+)m;", text)
    assert int(limit) * 2**20 == LARGEST
    assert f'import/*$" {LARGEST};\n' in text


def test_large_file_round_trips(alice: httpx.Client) -> None:
    text = b"".join(
        json.dumps({"title": f"task {n}", "description": "x" * 900, "key": str(n)}).encode() + b"\n" for n in range(2000)
    )
    assert len(text) > LIMIT
    for path in ("/tasks/import", "/tasks/import/"):
        report = alice.post(path, content=text, headers=JSONL)
        assert report.status_code == 200, report.text
    assert report.json()["unchanged"] == 2000
    for kind, separator in (("jsonl", b"\n"), ("csv", b"\r\n")):
        plain = alice.get(f"/tasks/export?format={kind}", headers={"Accept-Encoding": "identity"})
        assert plain.content.count(separator) == 2000 + (kind == "csv")
        packed = alice.get(f"/tasks/export?format={kind}", headers={"Accept-Encoding": "gzip"})
        assert (packed.headers["content-encoding"], packed.content) == ("gzip", plain.content)


def test_file_over_the_limit_is_refused_at_once(site: Site) -> None:
    host, port = site.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as raw:
        raw.sendall(f"POST /tasks/import HTTP/1.1\r\nHost: x\r\nContent-Length: {LARGEST + 1}\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"}"):
            answer += raw.recv(4096)
    problem: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (problem["status"], problem["error"]) == (413, "body_too_large")
    assert problem["detail"] == f"The body is larger than {LARGEST} bytes."


def test_somebody_takes_all_along_and_leaves(site: Site) -> None:
    who = {"username": "leaver", "password": PASSWORD}
    with site.caller(LEAVER) as client:
        assert client.post("/register", json=who).status_code == 201
        client.headers["Authorization"] = f"Bearer {client.post('/token', data=who).json()['access_token']}"
        with ZipFile(io.BytesIO(client.get("/users/me/export").content)) as archive:
            assert archive.testzip() is None
        is_problem(client.request("DELETE", "/users/me", json={"password": "not it at all"}), 400, "wrong_password")
        assert client.request("DELETE", "/users/me", json={"password": PASSWORD}).status_code == 202
        is_problem(client.get("/users/me"), 401, "invalid_token")
