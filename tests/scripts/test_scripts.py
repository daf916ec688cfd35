"""The seed and the fuzzing script, run as a user runs them."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from tests.conftest import URI_VARIABLE
from tests.tools import free_port

pytestmark = pytest.mark.real

SCRIPTS = Path(__file__).parents[2] / "scripts"
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
    cheap = {"TASKAPI_ARGON2_MEMORY_KIB": "8", "TASKAPI_ARGON2_ROUNDS": "1"}
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


def test_seed_takes_the_uri_of_env_file(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TASKAPI_MONGODB_URI=nonsense\n")
    assert "must start with mongodb://" in refused("seed")


def test_unreachable_seed_database_is_named_without_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKAPI_MONGODB_SELECTION_TIMEOUT_MS", "200")
    uri = f"mongodb://me:hunter2@127.0.0.1:{free_port()}/"
    status, said = run("seed", "--uri", uri, folder=tmp_path)
    assert (status, "cannot be used" in said, "hunter2" in said) == (1, True, False)


def test_some_hostile_requests_are_answered_well(tmp_path: Path) -> None:
    """The whole of it, 20,000 cases, is a command for whoever changes what the cases are about."""
    status, said = run("fuzz", "--cases", "60", "--seed", "1", folder=tmp_path)
    assert (status, "nothing of another owner seen or changed" in said) == (0, True), said
