"""Accounts with two workers and from the command line: what one process does, the others know at once."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.client import PASSWORD
from tests.server.process import SERVE, Server, completed, serving
from tests.tools import free_port

pytestmark = pytest.mark.real

SCRIPT = Path(__file__).parents[2] / "scripts" / "refresh.py"
CONNECTIONS = 12  # the workers share them out
NEW = "another good password"


def users(folder: Path, *arguments: str, password: str = PASSWORD, **settings: str) -> tuple[int, str]:
    """Runs ``taskapi users``: its exit status, and everything it said."""
    code, said = completed(folder, [SERVE[0], "users", *arguments], f"{password}\n", **settings)
    assert "Traceback" not in said
    assert PASSWORD not in said
    return code, said


def sign_in(client: httpx.Client, name: str, password: str = PASSWORD) -> dict[str, Any]:
    answer = client.post("/token", data={"username": name, "password": password})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def statuses(server: Server, token: dict[str, Any], path: str = "/users/me") -> set[int]:
    """The statuses of a GET on many connections, so that every worker is asked."""
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    with ExitStack() as stack, ThreadPoolExecutor(CONNECTIONS) as threads:
        clients = [stack.enter_context(server.client(headers=headers)) for _ in range(CONNECTIONS)]
        return {answer.status_code for answer in threads.map(lambda client: client.get(path), clients)}


def test_every_worker_sees_accounts_managed_by_command_line(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    code, said = users(folder, "create", "root", "--admin")  # there is no server yet
    assert (code, said.splitlines()[1]) == (0, f"The database is new: {folder}")
    with serving(folder, "--workers", "2") as server, server.client() as client:
        root = sign_in(client, "root")
        admin = {"Authorization": f"Bearer {root['access_token']}"}
        assert statuses(server, root, "/users") == {200}

        # with a server on the folder, the command joins its MongoDB
        assert users(folder, "create", "ada", "--email", "ada@example.com")[0] == 0
        first, second = sign_in(client, "ada"), sign_in(client, "ada")
        assert statuses(server, first) == statuses(server, second) == {200}
        assert client.post("/revoke", data={"token": first["refresh_token"]}).status_code == 200
        assert statuses(server, first) == {401}
        assert statuses(server, second) == {200}
        assert users(folder, "reset-password", "ADA", password=NEW)[0] == 0
        assert statuses(server, second) == {401}

        ada = sign_in(client, "ada", NEW)
        user = client.get("/users?q=ada", headers=admin).json()[0]
        assert client.patch(f"/users/{user['id']}", headers=admin, json={"role": "admin"}).status_code == 200
        ada = sign_in(client, "ada", NEW)
        assert statuses(server, ada, "/events") == {200}
        assert client.patch(f"/users/{user['id']}", headers=admin, json={"role": "user"}).status_code == 200
        assert statuses(server, ada, "/events") == {401}  # signed out with the role
        assert client.patch(f"/users/{user['id']}", headers=admin, json={"disabled": True}).status_code == 200
        assert statuses(server, ada) == {401}
        me = client.get("/users/me", headers=admin).json()
        assert client.patch(f"/users/{me['id']}", headers=admin, json={"disabled": True}).json()["error"] == "last_admin"

        events = client.get("/events", headers=admin).json()
        done = [event["kind"] for event in reversed(events) if event["agent"] == "command line"]
        assert done == ["account_created", "role_changed", "account_created", "password_reset"]

        script = [sys.executable, str(SCRIPT), "--url", server.url, "--rounds", "40"]
        shown = subprocess.run(script, env=os.environ, capture_output=True, text=True, timeout=120, check=False)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "the session lives" in shown.stdout
        assert "A stolen refresh token was used: the session ended" in shown.stdout
        assert "Traceback" not in server.output


def test_wrong_arguments_and_missing_mongodb_are_reported(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert users(folder, "create", "ada", "a-password-as-an-argument")[0] == 2
    status, said = users(folder, "disable", "\udcff")
    assert (status, said.splitlines()[-1]) == (2, "taskapi users disable: error: argument name: not UTF-8")
    uri = f"mongodb://me:hunter2@127.0.0.1:{free_port()}"
    settings = {"MONGODB_URI": uri, "MONGODB_SELECTION_TIMEOUT_MS": "300", "SECRET_KEY": "0123456789abcdef" * 2}
    status, said = users(folder, "list", **settings)
    assert (status, len(said.splitlines())) == (1, 1)
    assert "no usable server" in said
    assert "hunter2" not in said
    assert not folder.exists()
