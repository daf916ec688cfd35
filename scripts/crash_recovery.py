"""Kills a real server with SIGKILL in the middle of heavy imports, again and again, and starts it each time as systemd would.

Prints how long each start took until the API was ready, and how many tasks there are. Fails when a start took longer than
--most seconds or gave up, or when a task is missing whose import was answered.
"""

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
from pymongo import MongoClient

SERVE = [str(Path(sys.executable).with_name("taskapi")), "serve"]
ACCOUNT = {"username": "ada", "password": "correct horse battery"}
LINE = (
    '{"title": "A task that was imported", "description": "' + "lorem ipsum dolor sit amet " * 8 + '", "priority": 2, '
    '"tags": ["work", "writing"], "metadata": {"project": "Apollo", "estimate": {"hours": 12, "rate": 80.5}}}\n'
)
GIVE_UP_SECONDS = 600


class Service:
    """A server on one data folder that is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float | None:
        """Starts it. Returns the seconds until it was ready, or None when it gave up."""
        began = time.monotonic()
        with (self.folder / "serve.log").open("ab") as log:
            environment = {**os.environ, "TASKAPI_DATA_DIR": str(self.folder / "data"), "TASKAPI_MONGODB_URI": ""}
            self.process = subprocess.Popen(
                [*SERVE, "--port", str(self.port)], env=environment, cwd=self.folder, stdout=log, stderr=log
            )
        while time.monotonic() - began < GIVE_UP_SECONDS and self.process.poll() is None:
            with suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/ready", timeout=5).status_code == 200:
                    return time.monotonic() - began
            time.sleep(0.05)
        return None

    def end(self, number: signal.Signals) -> None:
        """Sends it a signal and waits until it has exited."""
        assert self.process
        self.process.send_signal(number)
        self.process.wait()

    def tasks(self) -> int:
        """The number of tasks."""
        uri = (self.folder / "data" / "mongodb_uri").read_text()
        with MongoClient[dict[str, object]](uri) as client:
            return client["taskapi"]["tasks"].count_documents({})


class Importers:
    """Clients that import until the server is gone."""

    def __init__(self, url: str, token: str, callers: int, lines: int) -> None:
        self.acknowledged = 0
        self._url, self._token, self._body = url, token, (LINE * lines).encode()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._import) for _ in range(callers)]
        for thread in self._threads:
            thread.start()

    def _import(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/jsonl"}
        with (
            httpx.Client(base_url=self._url, headers=headers, timeout=120) as client,
            suppress(httpx.TransportError),
        ):
            while True:
                answer = client.post("/tasks/import", content=self._body)
                if answer.status_code == 200:
                    with self._lock:
                        self.acknowledged += answer.json()["created"]
                else:
                    time.sleep(0.1)

    def join(self) -> None:
        """Waits until all of them have ended."""
        for thread in self._threads:
            thread.join()


def sign_in(url: str) -> str:
    """Signs in, registering the account first when needed; the access token."""
    httpx.post(f"{url}/register", json=ACCOUNT, timeout=30)
    answer = httpx.post(f"{url}/token", data=ACCOUNT, timeout=30).raise_for_status()
    return str(answer.json()["access_token"])


def run(options: argparse.Namespace, folder: Path) -> bool:
    """Runs the whole test. Returns whether everything held."""
    service = Service(folder)
    took: list[float] = []
    acknowledged = missing = 0
    if service.start() is None:
        sys.exit(f"crash_recovery: the first start failed:\n{(folder / 'serve.log').read_text()}")
    for crash in range(1, options.crashes + 1):
        importers = Importers(service.url, sign_in(service.url), options.callers, options.lines)
        time.sleep(options.seconds)
        service.end(signal.SIGKILL)
        importers.join()
        acknowledged += importers.acknowledged
        seconds = service.start()
        if seconds is None:
            print(f"crash {crash}: no start\n{(folder / 'serve.log').read_text()[-2000:]}")
            return False
        took.append(seconds)
        found = service.tasks()
        missing += max(acknowledged - found, 0)
        print(
            f"crash {crash:3}: ready after {seconds:5.1f} s, {importers.acknowledged:7,} tasks acknowledged, {found:9,} found",
            flush=True,
        )
        acknowledged = found  # includes tasks of interrupted imports, which must persist from now on as well
    service.end(signal.SIGTERM)
    print(
        f"{len(took)} crashes: ready after {statistics.median(took):.1f} s (median), {max(took):.1f} s (longest); {missing} lost"
    )
    return max(took) <= options.most and not missing


def main() -> None:
    parser = argparse.ArgumentParser(prog="crash_recovery", description=(__doc__ or "").strip())
    parser.add_argument("--crashes", type=int, default=30, help="how often it is killed (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="of imports before each (default %(default)s)")
    parser.add_argument("--callers", type=int, default=4, help="that import at the same time (default %(default)s)")
    parser.add_argument("--lines", type=int, default=5000, help="of each import (default %(default)s)")
    parser.add_argument("--most", type=float, default=20, help="seconds that a start may take (default %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="taskapi-crash-") as folder:
        if not run(options, Path(folder)):
            sys.exit("crash_recovery: below the bar")


if __name__ == "__main__":
    main()
