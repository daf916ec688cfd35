"""The command ``taskapi analytics refresh`` as an operator runs it."""

import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.server.analysts import Mongo
from tests.server.process import SERVE, Server, completed, environment, wait_until

pytestmark = pytest.mark.real

COMMAND = [SERVE[0], "analytics", "refresh"]
SECONDS = 60


def fill(server: Server, tasks: int) -> None:
    with server.client(headers=server.account()) as client:
        for number in range(tasks):
            assert client.post("/tasks", json={"title": f"Counted {number}"}).status_code == 201


def test_command_counts_beside_a_running_server(server: Server) -> None:
    fill(server, 3)
    code, said = completed(server.folder, COMMAND)
    assert (code, said.startswith("Users whose tasks were counted: ")) == (0, True), said
    with Mongo(server.mongodb_uri) as client:
        days = list(client["taskapi"]["v_days"].find())
        assert sum(day["created"] for day in days) == client["taskapi"]["v_tasks"].count_documents({})
        assert max(day["todo"] for day in days) >= 3
    assert server.status() == 200


def test_killed_refresh_is_repeated(server: Server) -> None:
    """At any moment; the next one is refused while the lease of the killed one lasts."""
    fill(server, 2)
    with Mongo(server.mongodb_uri) as client:
        states, days = client["taskapi"]["service_state"], client["taskapi"]["v_days"]
        for _ in range(3):
            states.delete_one({"_id": "refresh"})
            process = subprocess.Popen([*COMMAND, "--full"], env=environment(server.folder), stderr=subprocess.PIPE)
            deadline = time.monotonic() + SECONDS
            while not states.count_documents({"_id": "refresh"}) and process.poll() is None:
                assert time.monotonic() < deadline
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=SECONDS)
        now = datetime.now(UTC)
        assert not states.count_documents({"leased_until": {"$gt": now + timedelta(seconds=30)}})
        held, longer = {"_id": "refresh", "holder": {"$ne": None}}, {"leased_until": now + timedelta(hours=1)}
        if states.update_one(held, {"$set": longer}).matched_count:  # than a busy machine needs to start a command
            code, said = completed(server.folder, COMMAND)
            assert (code, "another refresh is running" in said) == (1, True), said
        states.update_one({"_id": "refresh"}, {"$set": {"leased_until": now}})
        assert completed(server.folder, COMMAND)[0] == 0
        assert sum(day["created"] for day in days.find()) == client["taskapi"]["v_tasks"].count_documents({})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_with_one_line(server: Server, number: signal.Signals) -> None:
    """It is waiting for its first write."""
    waiting: list[dict[str, Any]] = [{"$currentOp": {}}, {"$match": {"ns": "taskapi.service_state", "command.q._id": "refresh"}}]
    with Mongo(server.mongodb_uri) as client:
        client.admin.command("fsync", lock=True)
        try:
            process = subprocess.Popen(
                COMMAND, env=environment(server.folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            wait_until(lambda: bool(list(client.admin.aggregate(waiting)) or process.poll()), "the refresh to begin")
            process.send_signal(number)
            said, _ = process.communicate(timeout=SECONDS)
        finally:
            client.admin.command("fsyncUnlock")
        wait_until(lambda: not list(client.admin.aggregate(waiting)), "the write to end")
        client["taskapi"]["service_state"].delete_one({"_id": "refresh"})
    assert (process.returncode, said) == (1, "taskapi: interrupted\n")


def test_without_data_nothing_is_counted(tmp_path: Path) -> None:
    code, said = completed(tmp_path / "data", COMMAND)
    assert (code, len(said.splitlines())) == (1, 1), said
