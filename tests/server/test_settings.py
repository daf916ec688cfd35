"""Settings that only a running server shows: its root path, its connections, and what it says at the start."""

import socket
import sys
from pathlib import Path

import httpx
import pytest

from tests.client import PASSWORD, is_problem
from tests.server.process import UVICORN, completed, run_to_end, serving
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real

MISSPELT = "TASKAPI_LOGLEVEL is not a setting; did you mean TASKAPI_LOG_LEVEL?"
USERS = [str(Path(sys.executable).with_name("taskapi")), "users", "list"]


@pytest.mark.parametrize("command", [None, UVICORN, USERS], ids=["serve", "uvicorn", "users"])
def test_env_file_not_utf8_stops_the_start(folder: Path, command: list[str] | None) -> None:
    (folder.parent / ".env").write_bytes(b"TASKAPI_DOCS=\xff\n")
    status, said = completed(folder, command) if command is USERS else run_to_end(folder, command=command)
    assert (status, said) == (1, "taskapi: .env is not UTF-8 (line 1); save it as UTF-8\n")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_misspelt_name_is_reported_once_idle_timeout_applies(folder: Path, workers: str) -> None:
    (folder.parent / ".env").write_text("TASKAPI_LOGLEVEL=debug\nTASKAPI_KEEP_ALIVE_SECONDS=1\n")
    with serving(folder, "--workers", workers) as server:
        assert server.output.count(f".env, line 1: {MISSPELT}") == 1
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS) as idle:  # below the default of 75 s
            idle.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            while idle.recv(4096):
                pass


def test_uvicorn_logs_a_misspelt_name_once(folder: Path) -> None:
    (folder.parent / ".env").write_text("TASKAPI_LOGLEVEL=debug\n")
    with serving(folder, command=UVICORN) as server:
        assert server.output.count(f".env, line 1: {MISSPELT}") == 1


def test_users_command_reports_a_misspelt_name_too(folder: Path) -> None:
    status, said = completed(folder, [*USERS[:2], "create", "grace"], given=f"{PASSWORD}\n", LOGLEVEL="debug")
    assert (status, said.splitlines()[0]) == (0, f"taskapi: warning: {MISSPELT}")


def test_database_in_the_uri_is_ignored_and_reported(folder: Path) -> None:
    status, said = run_to_end(
        folder,
        MONGODB_URI="mongodb://127.0.0.1:1/shop",
        MONGODB_SELECTION_TIMEOUT_MS="100",
        SECRET_KEY="0123456789abcdef0123456789abcdef",
    )
    assert status != 0
    assert said.startswith("taskapi: warning: TASKAPI_MONGODB_URI names the database 'shop', which is ignored")


def test_root_path_works_with_stripping_and_passing_proxies(folder: Path) -> None:
    with serving(folder, ROOT_PATH="/api") as server, server.client(headers=server.account()) as client:
        for prefix in ("/api", ""):  # as the proxy sends it
            made = client.post(f"{prefix}/tasks", json={"title": "Under a path"}, headers={"Idempotency-Key": "one"})
            assert made.status_code == 201, made.text
            assert made.headers["location"] == f"/api/tasks/{made.json()['id']}"
            assert client.get(prefix + made.headers["location"].removeprefix("/api")).json() == made.json()
            assert client.get(f"{prefix}/tasks/").status_code == 200
            assert client.options(f"{prefix}/tasks").headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST"
            listed = client.get(f"{prefix}/tasks", params={"limit": 1})
            assert listed.links["first"]["url"].startswith("/api/tasks?")
            assert client.get(f"{prefix}/").json()["links"]["tasks"] == "/api/tasks"
            document = client.get(f"{prefix}/openapi.json").json()
            assert document["servers"][0]["url"] == "/api"
            assert "/tasks" in document["paths"]
            page = client.get(f"{prefix}/docs").text
            assert "'/api/openapi.json'" in page
            assert client.get(f"{prefix}/docs/assets/swagger-ui.css").status_code == 200
            is_problem(client.get(f"{prefix}/nowhere"), 404, "not_found")
            imported = client.post(
                f"{prefix}/tasks/import",
                content=b'{"title": "abc", "description": "' + b"x" * 2_000_000 + b'"}\n',
                headers={"Content-Type": "application/jsonl"},
            )
            assert (imported.status_code, imported.json()["failed"]) == (
                200,
                1,
            )  # and not refused as too large, as anything but an import is
        assert client.get("/api").json() == client.get("/api/").json() == client.get("/").json()
        is_problem(client.get("/apitasks"), 404, "not_found")
        assert httpx.get(f"{server.url}/api/health", timeout=PATIENCE_SECONDS).json() == {"status": "healthy"}
