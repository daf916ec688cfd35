"""An account of a running server, and an example that keeps a copy of its tasks."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import bson
import httpx

from taskapi.core.clock import utc_now
from taskapi.core.keys import SIGNATURE_BYTES, Keyring, decode_base64url, encode_base64url
from tests.examples.tables import EXAMPLES
from tests.leaks import keep_secret
from tests.server.process import Server, wait_until
from tests.tools import PATIENCE_SECONDS

JSON = dict[str, Any]


class Followed:
    """An account whose tasks an example follows."""

    def __init__(self, example: str, folder: Path, server: Server) -> None:
        self.example, self.folder = example, folder
        self.headers = server.account()
        self.file, self.log = folder / f"{example}.sqlite", folder / f"{example}.log"
        with server.client(headers=self.headers) as client:
            self.id: str = client.get("/users/me").json()["id"]
            made = client.post("/users/me/tokens", json={"name": example, "scopes": ["tasks:read"]})
        self.token = keep_secret(made.json()["token"], "API token")

    @property
    def printed(self) -> str:
        return self.log.read_text()

    @property
    def copy(self) -> dict[str, JSON]:
        """The tasks that the example has stored, by id."""
        with closing(sqlite3.connect(self.file, timeout=PATIENCE_SECONDS)) as stored:
            if not stored.execute("SELECT name FROM sqlite_master WHERE name = 'tasks'").fetchall():
                return {}
            return {task: json.loads(text) for task, text in stored.execute("SELECT id, task FROM tasks")}

    @contextmanager
    def following(self, server: Server) -> Iterator["subprocess.Popen[bytes]"]:
        """The example runs meanwhile."""
        given = {"TASKAPI_URL": server.url, "TASKAPI_TOKEN": self.token, "COPY": str(self.file), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, str(EXAMPLES / f"{self.example}.py")]
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, env={**os.environ, **given}, cwd=self.folder, stdout=log, stderr=log)
        try:
            yield process
            assert process.poll() is None, self.printed
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def client(self, server: Server) -> httpx.Client:
        return server.client(headers=self.headers)

    def is_copied(self, server: Server) -> None:
        """Waits until the copy has exactly the tasks that the API lists."""
        with self.client(server) as client:
            wait_until(lambda: self.copy == _listed(client), f"a copy of everything; it printed {self.printed}")

    def age(self, server: Server, days: int) -> None:
        """Makes the place that the example has reached an earlier one, as if it had not run for so many days."""
        signer = Keyring([(server.folder / "secret_key").read_text().strip()]).signer("positions")
        with closing(sqlite3.connect(self.file, isolation_level=None)) as stored:
            (reached,) = stored.execute("SELECT since FROM place").fetchone()
            payload = bson.decode((decode_base64url(reached) or b"")[SIGNATURE_BYTES:])[""]
            then = bson.Timestamp(int(utc_now().timestamp()) - days * 86_400, 1)
            earlier = bson.encode({"": [payload[0], then, None]})
            place = encode_base64url(signer.sign(bson.ObjectId(self.id).binary, earlier) + earlier)
            stored.execute("UPDATE place SET since = ?", (place,))


def _listed(client: httpx.Client) -> dict[str, JSON]:
    """The tasks of an account by id, whatever changes meanwhile."""
    found: dict[str, JSON] = {}
    cursor: dict[str, str] = {}
    while True:
        page = client.get("/tasks", params={"limit": 100, "count": "none", **cursor})
        found |= {task["id"]: task for task in page.json()}
        if "x-next-cursor" not in page.headers:
            return found
        cursor = {"cursor": page.headers["x-next-cursor"]}
