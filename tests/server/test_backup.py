"""The commands ``taskapi backup`` and ``taskapi restore`` as an operator runs them."""

import os
import resource
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from pymongo import MongoClient

from taskapi.core.settings import Settings
from taskapi.db import embedded
from taskapi.db.backup.dump import HISTORY, HISTORY_SECONDS, long_history
from taskapi.db.mongod_program import find_mongod
from tests.client import PASSWORD
from tests.db.backup.conftest import Said, back_up, restore
from tests.leaks import keep_secret
from tests.server.process import SERVE, Server, completed, environment, serving
from tests.tools import free_port, running

pytestmark = pytest.mark.real

TASKAPI = SERVE[0]
SECRET = keep_secret("the-key-of-another-server-0123456789abcdef", "secret key")


def taskapi(folder: Path, *arguments: str, **settings: str) -> tuple[int, list[str]]:
    """Runs a command: its exit status, and the lines that it said, of which none is a traceback or holds a secret."""
    code, said = completed(folder, [TASKAPI, *arguments], **settings)
    assert "Traceback" not in said
    assert SECRET not in said
    if (own := folder / "secret_key").exists():
        assert own.read_text().strip() not in said
    return code, said.splitlines()


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A MongoDB that nobody else uses, embedded, with a secret that is not in its folder."""
    folder = tmp_path_factory.mktemp("mongod") / "data"
    settings = Settings(_env_file=None, data_dir=folder, mongod_cache_gb=0.25, secret_key=SecretStr(SECRET))
    with embedded.provide(settings) as complete:
        yield complete


@pytest.fixture(scope="module")
def mongod(embedding: Settings) -> str:
    """Its address."""
    assert embedding.mongodb_uri
    return embedding.mongodb_uri.get_secret_value()


def fill(uri: str, documents: int = 3000) -> Any:
    client = MongoClient[dict[str, Any]](uri)
    client.drop_database("taskapi")
    client["taskapi"]["tasks"].insert_many({"noise": os.urandom(200)} for _ in range(documents))
    return client


def test_running_server_is_backed_up_and_restored_elsewhere(server: Server, tmp_path: Path) -> None:
    file, elsewhere = tmp_path / "taskapi.backup", tmp_path / "elsewhere"
    headers = server.account("backed-up")
    with server.client(headers=headers) as client:
        task = client.post("/tasks", json={"title": "Kept"}).json()
    code, said = taskapi(server.folder, "backup", str(file), "--with-keys")
    assert code == 0, said
    assert "keep it safe" in said[-1]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert taskapi(server.folder, "backup", str(file)) == (1, [f"taskapi: {file} already exists; specify a new file"])
    assert server.status() == 200

    code, said = taskapi(elsewhere, "restore", str(file))
    assert code == 0, said
    assert f"The secret key of the backup is now in {elsewhere / 'secret_key'}" in said
    assert stat.S_IMODE((elsewhere / "secret_key").stat().st_mode) == 0o600
    code, said = taskapi(elsewhere, "restore", str(file))
    assert code == 1
    assert "is not empty: " in said[-1]
    with serving(elsewhere) as other, other.client(headers=headers) as client:
        assert client.get("/tasks").json() == [task]
        assert other.warnings == []
        # the server runs; only what "--drop" names is replaced
        assert taskapi(elsewhere, "restore", str(file), "--drop", "another")[1] == [
            "taskapi: --drop must name the target database: taskapi"
        ]
        code, said = taskapi(elsewhere, "restore", str(file), "--drop", "taskapi")
        assert (code, said[-1]) == (0, "If the API is running, restart it")
        assert client.get("/tasks").json() == [task]


def test_restored_keys_are_added_to_those_present(mongod: str, tmp_path: Path) -> None:
    fill(mongod, 10).close()
    folder, file, keys = tmp_path / "data", tmp_path / "backup", tmp_path / "keys"
    own = {"MONGODB_URI": mongod, "SECRET_KEY": SECRET}
    assert taskapi(folder, "backup", str(file), "--with-keys", **own)[0] == 0
    assert completed(folder, [TASKAPI, "users", "create", "ada"], f"{PASSWORD}\n")[0] == 0
    made = keep_secret((folder / "secret_key").read_text(), "secret key")
    assert taskapi(folder, "restore", str(file), "--drop", "taskapi")[0] == 0
    assert (folder / "secret_key").read_text().split() == [made, SECRET]
    assert taskapi(folder, "restore", str(file), "--keys-to", str(keys)) == (0, [])
    assert keys.read_text() == f"{SECRET}\n"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600


def test_unknown_secret_is_left_out_of_the_backup(embedding: Settings, mongod: str, tmp_path: Path) -> None:
    fill(mongod, 10).close()
    code, said = taskapi(embedding.data_dir, "backup", str(tmp_path / "backup"))
    assert code == 0
    assert said[0] == "The API signs with a secret key that is not set here; its fingerprint is not known"
    assert "keep that key as well" in said[-1]
    code, said = taskapi(embedding.data_dir, "backup", str(tmp_path / "with"), "--with-keys")
    assert (code, len(said)) == (1, 1)
    code, said = taskapi(embedding.data_dir, "restore", str(tmp_path / "backup"), "--drop", "taskapi")
    assert code == 0, said
    assert not [line for line in said if "another secret key" in line]


def test_it_goes_through_a_pipe(mongod: str, tmp_path: Path) -> None:
    client = fill(mongod, 50)
    settings = environment(tmp_path / "data", MONGODB_URI=mongod, SECRET_KEY=SECRET)
    made = subprocess.run([TASKAPI, "backup", "-"], env=settings, capture_output=True, timeout=60, check=True)
    before = list(client["taskapi"]["tasks"].find(sort=[("_id", 1)]))
    read = [TASKAPI, "restore", "-", "--drop", "taskapi"]
    subprocess.run(read, env=settings, input=made.stdout, capture_output=True, timeout=60, check=True)
    assert list(client["taskapi"]["tasks"].find(sort=[("_id", 1)])) == before
    client.close()
    with Path("/dev/full").open("wb") as full:
        failed = subprocess.run(
            [TASKAPI, "backup", "-"], env=settings, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert (failed.returncode, failed.stderr) == (1, b"taskapi: - cannot be written: No space left on device\n")


def test_timeout_and_read_options_of_uri_are_harmless(mongod: str) -> None:
    with fill(mongod) as client:
        uri = SecretStr(f"{mongod}&timeoutMS=1&readConcernLevel=majority&readPreference=secondary&w=1&tz_aware=true")
        file = back_up(client["taskapi"], mongodb_uri=uri)
        restore(client["taskapi"], file, drop=True, mongodb_uri=uri)
        assert client["taskapi"]["tasks"].count_documents({}) == 3000


def test_a_full_disk_leaves_nothing(mongod: str, tmp_path: Path) -> None:
    fill(mongod).close()
    file = tmp_path / "backup"

    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(
        [TASKAPI, "backup", str(file)],
        env=environment(tmp_path / "data", MONGODB_URI=mongod, SECRET_KEY=SECRET),
        preexec_fn=small_disk,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, f"taskapi: {file} cannot be written: File too large\n")
    assert list(tmp_path.iterdir()) == []


def obey_hangup() -> None:
    """As in a terminal, whatever the tests run in."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_with_one_line(mongod: str, tmp_path: Path, number: signal.Signals) -> None:
    fill(mongod).close()
    settings = environment(tmp_path / "data", MONGODB_URI=mongod, SECRET_KEY=SECRET)
    command, pipe = [TASKAPI, "backup", "-"], subprocess.PIPE
    with subprocess.Popen(command, env=settings, stdout=pipe, stderr=pipe, preexec_fn=obey_hangup) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(1)  # the rest does not fit into the pipe
        process.send_signal(number)
        said = process.stderr.read()
    assert (process.returncode, said) == (1, b"taskapi: interrupted\n")


def test_a_snapshot_that_is_lost_is_said(mongod: str, tmp_path: Path) -> None:
    with fill(mongod) as client:
        before = client.admin.command({"setParameter": 1, HISTORY: 0})["was"]

        class Writing(Said):
            def at(self, collection: str) -> None:
                for _ in range(2):
                    client["taskapi"]["others"].insert_one({})

        try:
            with pytest.raises(Exception, match=f"discarded the snapshot: .*{HISTORY}"):
                back_up(client["taskapi"], Writing(), mongodb_uri=SecretStr(mongod))
        finally:
            client.admin.command({"setParameter": 1, HISTORY: before})


def history_of(client: "MongoClient[dict[str, Any]]") -> Any:
    """How long the server keeps snapshots, in seconds."""
    return client.admin.command({"getParameter": 1, HISTORY: 1})[HISTORY]


def test_killed_backup_does_not_keep_the_long_history(embedding: Settings, mongod: str) -> None:
    with MongoClient[dict[str, Any]](mongod) as client:
        for before, after in ((300, 300), (600, 600), (HISTORY_SECONDS, 300)):
            client.admin.command({"setParameter": 1, HISTORY: before})
            with long_history(client, embedding.data_dir):
                assert history_of(client) == HISTORY_SECONDS
            assert history_of(client) == after


@pytest.mark.parametrize("ending_first", [0, 1])
def test_the_last_backup_ends_the_long_history(embedding: Settings, mongod: str, ending_first: int) -> None:
    with MongoClient[dict[str, Any]](mongod) as client:
        client.admin.command({"setParameter": 1, HISTORY: 300})
        backups = [ExitStack(), ExitStack()]
        for backup in backups:
            backup.enter_context(long_history(client, embedding.data_dir))
        backups.pop(ending_first).close()
        assert history_of(client) == HISTORY_SECONDS
        backups.pop().close()
        assert history_of(client) == 300


def test_a_standalone_that_dies_is_said(tmp_path: Path) -> None:
    port, data = free_port(), tmp_path / "standalone"
    data.mkdir()
    command = [str(find_mongod(Settings(_env_file=None))), "--dbpath", str(data), "--port", str(port)]
    uri = f"mongodb://127.0.0.1:{port}/?serverSelectionTimeoutMS=500"
    with running([*command, "--bind_ip", "127.0.0.1", "--nounixsocket"], tmp_path / "mongod.log", port):
        client = fill(uri)
        said = Said()
        file = back_up(client["taskapi"], said, mongodb_uri=SecretStr(uri))
        assert "without snapshots" in said[0]
        restore(client["taskapi"], file, drop=True, mongodb_uri=SecretStr(uri))
        assert client["taskapi"]["tasks"].count_documents({}) == 3000

        class Killing(Said):
            def at(self, collection: str) -> None:
                client.admin.command("shutdown", force=True)

        with pytest.raises(Exception, match=r"^MongoDB: \w+$"):
            back_up(client["taskapi"], Killing(), mongodb_uri=SecretStr(uri))
        client.close()


def test_wrong_files_are_one_line(tmp_path: Path) -> None:
    folder, text = tmp_path / "data", tmp_path / "text"
    text.write_text("no backup")
    assert taskapi(folder, "restore", str(text)) == (
        1,
        [f"taskapi: {text} is not a backup of taskapi, or is damaged at its start"],
    )
    assert taskapi(folder, "restore", str(tmp_path / "none")) == (
        1,
        [f"taskapi: {tmp_path / 'none'}: No such file or directory"],
    )
    nowhere = tmp_path / "nowhere" / "new"
    assert taskapi(folder, "backup", str(nowhere)) == (1, [f"taskapi: {nowhere}.part: No such file or directory"])
    code, said = taskapi(folder, "backup", str(tmp_path / "new"))
    assert (code, len(said)) == (1, 1)
    assert "there is no data in" in said[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (f"{TASKAPI} backup - >&-", "standard output is closed; specify a file"),
        (f"{TASKAPI} restore - <&-", "standard input is closed; specify a file"),
        (f"{TASKAPI} backup ''", "'' is not a file name"),
        (f"{TASKAPI} backup /", "'/' is not a file name"),
    ],
)
def test_no_stream_and_no_name_are_one_line(tmp_path: Path, command: str, said: str) -> None:
    assert completed(tmp_path / "data", ["sh", "-c", command]) == (1, f"taskapi: {said}\n")
