"""Takes the workers of a real service away in five ways, and prints the figures; fails when one exceeds its bar.

.venv/bin/python scripts/supervision.py [--workers 2] [--kills 5]
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from pymongo import MongoClient

PATIENCE_SECONDS = 120
COMMAND = str(Path(sys.executable).with_name("taskapi"))
PORT = 8917


class Service:
    """A service in a folder of its own, with its embedded MongoDB."""

    def __init__(self, folder: Path, workers: int, **settings: str) -> None:
        self.folder, self.workers, self.log = folder, workers, folder / "log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TASKAPI_")}
        own = {"DATA_DIR": str(folder / "data"), "MONGOD_CACHE_GB": "0.25", "MONGODB_SELECTION_TIMEOUT_MS": "500"} | settings
        with self.log.open("wb") as sink:
            self.process = subprocess.Popen(
                [COMMAND, "serve", "--port", str(PORT), "--workers", str(workers)],
                env=kept | {f"TASKAPI_{name}": value for name, value in own.items()},
                cwd=folder,
                stdout=sink,
                stderr=sink,
            )

    def said(self, words: str) -> int:
        return self.log.read_text().count(words)

    def children(self) -> list[int]:
        """The process ids of the workers."""
        listed = subprocess.run(["pgrep", "-P", str(self.process.pid), "-f", "spawn_main"], stdout=subprocess.PIPE, check=False)
        return [int(pid) for pid in listed.stdout.split()]

    def status(self, path: str = "/health") -> int:
        with closing(HTTPConnection("127.0.0.1", PORT, timeout=10)) as connection, suppress(OSError, HTTPException):
            connection.request("GET", path)
            return connection.getresponse().status
        return 0

    def kill_worker(self) -> None:
        pid = self.children()[0]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: bool(self.said(f"worker {pid} ended")))

    def mongo(self) -> "MongoClient[dict[str, Any]]":
        return MongoClient((self.folder / "data" / "mongodb_uri").read_text())


def wait_until(condition: Callable[[], bool]) -> float:
    """Waits until ``condition`` holds. Returns how many seconds that took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise TimeoutError(f"waited {PATIENCE_SECONDS} s")
        time.sleep(0.02)
    return time.monotonic() - began


@contextmanager
def polled(service: Service) -> Iterator[list[int]]:
    """Polls /health on new connections during the block; collects all statuses but 200, and 0 for a failed connection."""
    failed: list[int] = []
    over = threading.Event()

    def poll() -> None:
        while not over.is_set():
            if (status := service.status()) != 200:
                failed.append(status)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield failed
    finally:
        over.set()
        thread.join()


def figures(folder: Path, workers: int, kills: int) -> Iterator[tuple[str, float, float]]:
    """Each measure with its figure and its bar."""
    service = Service(folder, workers)
    try:
        wait_until(lambda: service.said("is ready") == workers)
        with polled(service) as failed:
            for number in range(kills):
                service.kill_worker()
                wait_until(lambda number=number: service.said("is ready") == workers + number + 1)  # type: ignore[misc]
        # The connection that the killed worker had accepted is lost with it.
        yield f"{kills} workers killed: failed requests of others", len(failed), kills
        with polled(service) as failed:
            service.process.send_signal(signal.SIGHUP)
            wait_until(lambda: service.said("is ready") == 2 * workers + kills)
        yield "reload: failed requests", len(failed), 0
        wait_until(lambda: len(service.children()) == workers)
        with service.mongo() as mongo:
            mongo.admin.command("replSetStepDown", 600, force=True)
            yield "no primary: seconds until /ready says so", wait_until(lambda: service.status("/ready") == 503), 2
            service.kill_worker()
            with polled(service) as failed:
                wait_until(lambda: service.said("did not start") >= 3)
            yield "no primary, a worker cannot start: failed requests of the others", len(failed), 0
            yield "no primary, a worker cannot start: the service ended", service.process.poll() is not None, 0
            mongo.admin.command("replSetFreeze", 0)
        for _ in range(workers - 1):
            service.kill_worker()
        yield "all workers lost: seconds until it is ready by itself", wait_until(lambda: service.status("/ready") == 200), 60
        service.process.terminate()
        yield "exit status of a stop", service.process.wait(PATIENCE_SECONDS), 0
    finally:
        service.process.kill()
    for count in (1, workers):
        refused = Service(folder, count, MONGODB_URI="mongodb://127.0.0.1:1/", SECRET_KEY="0123456789abcdef" * 2)
        status = refused.process.wait(PATIENCE_SECONDS)
        yield f"without MongoDB, {count} worker(s): exit status 0", status == 0, 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=5)
    options = parser.parse_args()
    if options.workers < 2:
        parser.error("it takes two workers")
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        for what, figure, bar in figures(Path(folder), options.workers, options.kills):
            missed += figure > bar
            print(f"{'ok  ' if figure <= bar else 'FAIL'} {figure:8.2f}  (at most {bar:g})  {what}", flush=True)
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
