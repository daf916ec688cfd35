"""Several workers: one that ends is replaced, one that cannot start is tried again, and the others go on."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.leaks import keep_secret
from tests.server.process import Server, launched, serving, wait_until
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real

OLD = keep_secret("old-0123456789abcdef0123456789abcdef", "secret key")
NEW = keep_secret("new-fedcba9876543210fedcba9876543210", "secret key")
SILENT_SECONDS = 10
IMPATIENT = f"""
from taskapi.cli import serve, supervisor
supervisor.SILENT_SECONDS = {SILENT_SECONDS}
serve.main()
"""


def workers(server: Server) -> list[int]:
    return server.members("spawn_main")


def kill_a_worker(server: Server) -> None:
    """Kills one, and returns when its end was noticed."""
    pid = workers(server)[0]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: f"worker {pid} ended (SIGKILL)" in server.output, "the end to be noticed")


def test_workers_failing_to_start_are_retried_others_continue(folder: Path) -> None:
    with serving(folder, "--workers", "2", MONGODB_SELECTION_TIMEOUT_MS="2000") as server:
        wait_until(lambda: server.output.count("is ready") == 2, "both workers")
        with MongoClient[dict[str, Any]](server.mongodb_uri) as mongo:
            mongo.admin.command("replSetStepDown", 600, force=True)
            kill_a_worker(server)
            wait_until(lambda: "did not start (status 3); a replacement starts" in server.output, "an attempt")
            assert server.status("/health") == 200  # the other one
            kill_a_worker(server)
            wait_until(lambda: "did not start" in server.output.rpartition("(SIGKILL)")[2], "an attempt without any worker")
            wait_until(lambda: server.status("/health") == 0, "connections to be refused")
            assert server.process.poll() is None
            mongo.admin.command("replSetFreeze", 0)
        wait_until(lambda: server.status() == 200, "the service to come back by itself")
        assert "Traceback" not in server.output
        server.process.terminate()
        assert server.process.wait(PATIENCE_SECONDS) == 0


def test_stop_reaching_workers_first_is_no_failed_start(folder: Path) -> None:
    """As with SIGTERM to a whole process group, which comes to the workers while they start."""
    with launched(folder, "--workers", "2") as server:
        wait_until(lambda: len(workers(server)) == 2, "both workers to begin")
        os.kill(server.process.pid, signal.SIGSTOP)
        for pid in workers(server):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not workers(server), "their end")
        server.process.terminate()
        os.kill(server.process.pid, signal.SIGCONT)
        assert server.process.wait(PATIENCE_SECONDS) == 0, server.output


def test_replacements_keep_the_settings_of_the_start(folder: Path) -> None:
    env = folder.parent / ".env"
    env.write_text(f"TASKAPI_SECRET_KEY={OLD}\nTASKAPI_REQUESTS_PER_MINUTE=1000\n")
    with serving(folder, "--workers", "2") as server:
        wait_until(lambda: server.output.count("is ready") == 2, "both workers")
        ada = server.account("ada")
        env.write_text(f"TASKAPI_SECRET_KEYS={NEW},{OLD}\nTASKAPI_REQUESTS_PER_MINUTE=7000\n")  # for the next start
        replaced = workers(server)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.output.count("is ready") == 4 and not {*workers(server)} & {*replaced}, "others", 120)
        assert answers(server, ada) == {(200, "1000")}
        env.write_text("nonsense\n")
        kill_a_worker(server)
        wait_until(lambda: server.output.count("is ready") == 5, "a replacement", 120)
        assert answers(server, ada) == {(200, "1000")}


def test_pause_of_all_processes_ends_no_worker(folder: Path) -> None:
    with serving(folder, "--workers", "2", command=[sys.executable, "-c", IMPATIENT, "serve"]) as server:
        wait_until(lambda: server.output.count("is ready") == 2, "both workers")
        paused = [server.process.pid, *workers(server)]
        for pid in paused:
            os.kill(pid, signal.SIGSTOP)
        until = time.monotonic() + 1.5 * SILENT_SECONDS
        wait_until(lambda: time.monotonic() > until, "more than a worker may be silent")
        for pid in paused:
            os.kill(pid, signal.SIGCONT)
        server.process.send_signal(signal.SIGHUP)  # noticed after the workers were looked at
        wait_until(lambda: server.output.count("is ready") == 4, "replacements", 120)
        assert "does not respond" not in server.output


def answers(server: Server, headers: dict[str, str]) -> set[tuple[int, str | None]]:
    """The status and the limit in the answers on so many connections that each worker accepts some."""
    found = set()
    for _ in range(32):
        with server.client(headers=headers) as client:
            answer = client.get("/users/me")
        found.add((answer.status_code, answer.headers.get("ratelimit-limit")))
    return found
