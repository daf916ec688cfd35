"""The command ``taskapi migrate`` as an operator runs it, and what starts say before and after it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.conftest import SECRET, URI_VARIABLE
from tests.db.migrations.legacy import TASKS, USERS
from tests.server.process import SERVE, completed, environment, run_to_end, serving
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real

TASKAPI = SERVE[0]
SCRIPT = Path(__file__).parents[2] / "scripts" / "migration_kills.py"
Store = Any


@pytest.fixture
def store() -> Iterator[Store]:
    """A database with documents of versions 1.0 to 1.2."""
    name = f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}_migrate"
    with MongoClient[dict[str, Any]](os.environ[URI_VARIABLE], tz_aware=True) as client:
        client.drop_database(name)
        client[name]["users"].insert_many([dict(each) for each in USERS.values()])
        client[name]["tasks"].insert_many([dict(each) for each in TASKS.values()])
        yield client[name]
        client.drop_database(name)


def settings(store: Store) -> dict[str, Any]:
    return {"MONGODB_URI": os.environ[URI_VARIABLE], "MONGODB_DATABASE": store.name, "SECRET_KEY": SECRET}


def migrate(folder: Path, store: Store, *arguments: str) -> tuple[int, str]:
    code, said = completed(folder / "data", [TASKAPI, "migrate", *arguments], **settings(store))
    assert "Traceback" not in said
    return code, said


def test_command_brings_an_old_database_up(tmp_path: Path, store: Store) -> None:
    before = list(store.tasks.find())
    code, said = migrate(tmp_path, store, "status")
    assert (code, "run: taskapi migrate up\n" in said) == (4, True)
    code, said = migrate(tmp_path, store, "up", "--dry-run")
    assert (code, f"1 task_defaults: would change {len(TASKS)} documents" in said) == (4, True), said
    assert (list(store.tasks.find()), store.migrations.count_documents({})) == (before, 0)
    code, said = migrate(tmp_path, store, "up")
    assert (code, said.splitlines()[-1].endswith("The database is up to date.")) == (0, True), said
    code, said = migrate(tmp_path, store, "up", "--contract")
    assert code == 0, said
    assert migrate(tmp_path, store, "verify") == (0, "Nothing found.\n")


def test_nothing_is_found_on_a_new_server(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        with server.client(headers=server.account()) as client:
            kept, deleted, purged = (client.post("/tasks", json={"title": "New"}).json()["id"] for _ in range(3))
            client.patch(f"/tasks/{kept}", json={"status": "done"})
            for task in (deleted, purged):
                assert client.delete(f"/tasks/{task}").status_code == 204
            assert client.delete(f"/trash/{purged}").status_code == 204
        assert completed(server.folder, [TASKAPI, "migrate", "verify"]) == (0, "Nothing found.\n")


def test_start_names_the_command_and_then_serves(tmp_path: Path, store: Store) -> None:
    code, said = run_to_end(tmp_path / "data", **settings(store))
    assert code != 0
    (refusal,) = [line for line in said.splitlines() if "migrat" in line and "ERROR" in line]
    assert refusal.endswith("before this version can start; run: taskapi migrate up")
    assert "Traceback" not in said
    assert migrate(tmp_path, store, "up")[0] == 0
    with serving(tmp_path / "data", "--workers", "2", **settings(store)):
        pass


def test_start_that_may_migrate_serves(tmp_path: Path, store: Store) -> None:
    with serving(tmp_path / "data", "--workers", "3", **settings(store), MIGRATE="auto") as server:
        assert server.output.count("migration 1 (task_defaults) begins") == 1
    assert {each["changed"] for each in store.migrations.find({"_id": 1})} == {len(TASKS)}


def test_newer_database_is_refused(tmp_path: Path, store: Store) -> None:
    store.migrations.insert_one({"_id": 999, "name": "of_the_future"})
    expected = "is newer than this version: it has migration 999 (of_the_future)"
    for code, said in (run_to_end(tmp_path / "data", **settings(store)), migrate(tmp_path, store, "up")):
        assert (code != 0, expected in said, "Traceback" in said) == (True, True, False), said


def test_killed_and_concurrent_runs_lose_nothing() -> None:
    command = [sys.executable, str(SCRIPT), "--tasks", "6000", "--kills", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "Nothing lost, nothing done twice, nothing left."


def test_command_ends_quietly_when_its_reader_is_gone(tmp_path: Path, store: Store) -> None:
    unread, written = os.pipe()
    os.close(unread)
    with os.fdopen(written, "wb") as pipe:
        done = subprocess.run(
            [TASKAPI, "migrate", "status"],
            env=environment(tmp_path / "data", **settings(store)),
            stdout=pipe,
            stderr=subprocess.PIPE,
            timeout=PATIENCE_SECONDS,
            text=True,
            check=False,
        )
    assert done.returncode == 128 + signal.SIGPIPE, done.stderr
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_command_on_full_disk_ends_with_one_line(tmp_path: Path, store: Store) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [TASKAPI, "migrate", "status"],
            env=environment(tmp_path / "data", **settings(store)),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=4 * PATIENCE_SECONDS,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "taskapi: standard output cannot be written: No space left on device\n"
