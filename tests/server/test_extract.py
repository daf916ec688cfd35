"""The command ``taskapi extract`` as an operator runs it."""

import errno
import fcntl
import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from taskapi.analytics.extracts.formats import MISSING
from tests.server.process import SERVE, Server, completed, environment
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real

TASKAPI = SERVE[0]
PAGE = Path(__file__).parents[2] / "docs" / "extracts.md"


def extract(server: Server, to: Path, *arguments: str) -> tuple[int, str]:
    code, said = completed(server.folder, [TASKAPI, "extract", "--to", str(to), *arguments])
    assert "Traceback" not in said
    return code, said


def fill(server: Server, tasks: int = 20) -> list[str]:
    with server.client(headers=server.account()) as client:
        return [client.post("/tasks", json={"title": f"Extracted {number}"}).json()["id"] for number in range(tasks)]


def popen(server: Server, to: Path, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
    command = [TASKAPI, "extract", "--to", str(to), *arguments]
    return subprocess.Popen(command, env=environment(server.folder), stderr=subprocess.PIPE, text=True, **options)


def test_command_extracts_beside_a_running_server(server: Server, tmp_path: Path) -> None:
    task_id = fill(server)[0]
    to = tmp_path / "extract"
    code, said = extract(server, to, "--format", "jsonl")
    assert code == 0, said
    assert int(said.splitlines()[-2].partition(" tasks")[0].rpartition("\r")[2]) >= 20  # and those of other tests
    manifest = json.loads((to / "manifest.json").read_text())
    assert said.splitlines()[-1] == f"The next run reads from {manifest['watermark']} on."
    code, said = extract(server, to)
    assert (code, said.splitlines()[0].partition(";")[0]) == (0, "nothing has changed")
    assert extract(server, to, "--format", "csv")[0] == 1
    assert task_id in (to / "tasks" / "part-000001.jsonl").read_text()
    assert (to.stat().st_mode & 0o777, server.status()) == (0o700, 200)


def test_wrong_arguments_are_one_line(server: Server, tmp_path: Path) -> None:
    assert extract(server, tmp_path / "new", "--only", "emails")[0] == 2
    assert extract(server, tmp_path / "new", "--rows-per-file", "0")[0] == 2
    code, said = extract(server, tmp_path / "new", "--full", "--since", "x")
    assert (code, said) == (1, "taskapi: --full begins with everything, --since does not: use one of them\n")
    nowhere = tmp_path / "no" / "such"
    assert extract(server, nowhere) == (1, f"taskapi: {nowhere} cannot be written: No such file or directory\n")
    (tmp_path / "file").write_text("")
    assert extract(server, tmp_path / "file") == (1, f"taskapi: {tmp_path / 'file'} cannot be written: File exists\n")


def test_missing_pyarrow_is_one_sentence(server: Server, tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError")
    settings = environment(server.folder, DATA_DIR=str(server.folder)) | {"PYTHONPATH": str(tmp_path)}
    for format_, code in (("parquet", 1), ("jsonl", 0)):
        command = [TASKAPI, "extract", "--to", str(tmp_path / "extract"), "--format", format_]
        done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
        assert done.returncode == code, done.stderr
        if code:
            assert done.stderr == f"taskapi: {MISSING}\n"
            assert MISSING.removeprefix("parquet needs pyarrow: ").partition(";")[0] in PAGE.read_text()


@pytest.mark.parametrize("format_", ["parquet", "csv"])
def test_full_disk_changes_nothing(server: Server, tmp_path: Path, format_: str) -> None:
    to = tmp_path / "extract"
    assert extract(server, to, "--format", format_)[0] == 0
    before = {path: path.read_bytes() for path in to.rglob("*") if path.is_file()}
    with server.client(headers=server.account()) as client:
        for _ in range(60):
            answer = client.post("/tasks", json={"title": "Large", "description": os.urandom(1000).hex()})
            assert answer.status_code == 201, answer.text

    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    process = popen(server, to, preexec_fn=small_disk)
    _, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, said) == (1, f"taskapi: {to} cannot be written: File too large\n")
    assert {path: path.read_bytes() for path in to.rglob("*") if path.is_file()} == before
    assert extract(server, to)[0] == 0
    assert json.loads((to / "manifest.json").read_text())["runs"] == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_with_one_line(server: Server, tmp_path: Path, number: signal.Signals) -> None:
    """It is reading a file that gives nothing."""
    to = tmp_path / "extract"
    to.mkdir()
    os.mkfifo(to / "manifest.json")
    (to / ".lock").touch()  # as in the folder of an extract
    process = popen(server, to)
    while (writer := _open_to_write(to / "manifest.json")) is None:
        assert process.poll() is None
        time.sleep(0.02)
    with (to / ".lock").open("rb+") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    process.send_signal(number)
    _, said = process.communicate(timeout=PATIENCE_SECONDS)
    os.close(writer)
    assert (process.returncode, said) == (1, "taskapi: interrupted; the next run continues where this one stopped\n")


def _open_to_write(pipe: Path) -> int | None:
    """The descriptor of a named pipe; None until somebody reads it."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None
