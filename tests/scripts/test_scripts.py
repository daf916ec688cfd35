"""The report and the seed script, run as a user runs them."""

import os
import runpy
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from tests.conftest import URI_VARIABLE
from tests.tools import free_port

pytestmark = pytest.mark.real

SCRIPTS = Path(__file__).parents[2] / "scripts"
DELETE: list[dict[str, Any]] = [{"$set": {"state": "trash", "trash": {"owner": "$owner"}}}, {"$unset": "owner"}]
SMALL = ("--users", "20", "--tasks", "700", "--seed", "7", "--last-day", "2026-11-01")


@pytest.fixture
def database() -> Iterator[Database[dict[str, Any]]]:
    """An empty database of this worker's own, dropped afterwards."""
    with MongoClient[dict[str, Any]](os.environ[URI_VARIABLE]) as client:
        found = client[f"scripts_{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}"]
        client.drop_database(found.name)
        yield found
        client.drop_database(found.name)
        client.drop_database(f"{found.name}_again")


def run(name: str, *arguments: str, folder: Path) -> tuple[int, str]:
    """The exit status and everything that was said."""
    command = [sys.executable, str(SCRIPTS / f"{name}.py"), *arguments]
    cheap = {"TASKAPI_ARGON2_MEMORY_KIB": "8", "TASKAPI_ARGON2_ROUNDS": "1", "MPLCONFIGDIR": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **cheap}, text=True, capture_output=True, timeout=180, check=False
    )
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    return done.returncode, said


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a script says that ends at once, run within this process, which has imported everything."""

    def call(name: str, *arguments: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(SCRIPTS))
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
        assert stop.value.code not in (None, 0)
        reason = f"{stop.value.code}\n" if isinstance(stop.value.code, str) else ""
        said = capsys.readouterr()
        return said.out + said.err + reason

    return call


def test_seed_writes_the_same_documents_again(database: Database[dict[str, Any]], tmp_path: Path) -> None:
    where = ("--uri", os.environ[URI_VARIABLE], "--database", database.name)
    small = (*SMALL[:-1], "2126-11-01")  # or else MongoDB would remove the tombstones
    status, said = run("seed", *where, *small, folder=tmp_path)
    assert (status, "Added 20 users and 700 tasks" in said) == (0, True)
    assert set(database["tasks"].index_information()) > {"owner_id_newest", "owner_id_due"}

    status, said = run("seed", *where, *small, folder=tmp_path)
    assert (status, "Nothing added" in said) == (0, True)
    again = ("--uri", os.environ[URI_VARIABLE], "--database", f"{database.name}_again")
    assert run("seed", *again, *small, folder=tmp_path)[0] == 0
    twin = database.client[f"{database.name}_again"]
    for name in ("users", "tasks"):
        assert list(database[name].find().sort("_id")) == list(twin[name].find().sort("_id"))
    status, said = run("seed", *where, *SMALL[:4], "--seed", "8", folder=tmp_path)
    assert (status, "not of this seed" in said) == (1, True)


def test_report_counts_what_exists_and_only_reads(database: Database[dict[str, Any]], tmp_path: Path) -> None:
    where = ("--uri", os.environ[URI_VARIABLE], "--database", database.name)
    assert run("seed", *where, *SMALL, folder=tmp_path)[0] == 0
    database["tasks"].update_many(
        {"_id": {"$in": [task["_id"] for task in database["tasks"].find({"state": "active"}).limit(30)]}}, DELETE
    )
    unpurged = {"state": {"$ne": "purged"}}
    everything = list(database["tasks"].find(unpurged).sort("_id"))
    names = set(database.list_collection_names())
    tasks = [task for task in everything if "owner" in task]
    said = ""
    for ending, begins in (("png", b"\x89PNG"), ("html", b"<!doctype html>")):
        output = tmp_path / f"report.{ending}"
        status, said = run("report", *where, "--output", str(output), folder=tmp_path)
        assert status == 0, said
        assert output.read_bytes().startswith(begins)
    assert list(database["tasks"].find(unpurged).sort("_id")) == everything
    assert set(database.list_collection_names()) == names

    rows = {line.split("  ")[0].strip(): line.split()[-1] for line in said.splitlines() if "  " in line}
    counts = {line.split("  ")[0].strip(): line.split()[-2] for line in said.splitlines() if line.rstrip().endswith("%")}
    today = datetime.now(UTC).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    assert rows["Tasks"] == str(len(tasks))
    overdue = [task for task in tasks if task["due_date"] and task["due_date"] < today and task["status"] != "done"]
    assert rows["Overdue"] == str(len(overdue))
    days = [(task["completed_at"] - task["created_at"]).total_seconds() / 86_400 for task in tasks if task["completed_at"]]
    assert rows["Median days to completion"] == f"{statistics.median(days):.2f}"
    for status_name, count in Counter(task["status"] for task in tasks).items():
        assert counts[status_name] == str(count)
    for priority, count in Counter(task["priority"] for task in tasks).items():
        assert counts[str(priority)] == str(count)
    for tag, count in Counter(tag for task in tasks for tag in task["tags"]).most_common(5):
        assert counts[tag] == str(count)
    assert rows["Median days to completion"] in output.read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--database", "nothing_here"), "holds no tasks"),
        (("--output", "report.pdf"), "must end in .png or .html"),
        (("--output", "no/such/folder/report.png"), "cannot be written"),
        (("--uri", "mongodb://"), "malformed"),
        (("--uri", "mongodb://me:hun/ter2@h"), "percent-encoded"),
        (("--uri", "mongodb://me:hunter2@127.0.0.1:{closed}/?serverSelectionTimeoutMS=200"), "cannot be reached"),
    ],
)
def test_failure_of_the_report_is_one_line(refused: Callable[..., str], arguments: tuple[str, str], says: str) -> None:
    given = [argument.replace("{closed}", str(free_port())) for argument in arguments]
    said = refused("report", "--uri", os.environ[URI_VARIABLE], *given)
    assert says in said
    assert len(said.strip().splitlines()) == 1
    assert "hunter2" not in said
    assert "ter2" not in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--uri", "mongodb://localhost", "--password", "short"), "--password"),
        (("--uri", "nonsense"), "must start with mongodb://"),
        (("--tasks", "-1"), "not a number"),
    ],
)
def test_failure_of_the_seed_is_explained(refused: Callable[..., str], arguments: tuple[str, ...], says: str) -> None:
    assert says in refused("seed", *arguments)


def test_unreachable_seed_database_is_named_without_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKAPI_MONGODB_SELECTION_TIMEOUT_MS", "200")
    uri = f"mongodb://me:hunter2@127.0.0.1:{free_port()}/"
    status, said = run("seed", "--uri", uri, folder=tmp_path)
    assert (status, "cannot be used" in said, "hunter2" in said) == (1, True, False)


def test_some_hostile_requests_are_answered_well(tmp_path: Path) -> None:
    """The whole of it, 20,000 cases, is a command for whoever changes what the cases are about."""
    status, said = run("fuzz", "--cases", "60", "--seed", "1", folder=tmp_path)
    assert (status, "nothing of another owner seen or changed" in said) == (0, True), said
