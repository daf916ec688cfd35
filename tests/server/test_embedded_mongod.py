"""The embedded MongoDB of a running service: who can reach it, what it keeps in its log, and how long its start may take."""

import json
import socket
import stat
import struct
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from pymongo import MongoClient
from pymongo.errors import DuplicateKeyError, WriteError

from taskapi.core.errors import StartupError
from taskapi.core.settings import Settings
from taskapi.db import embedded, mongod_process
from tests.client import PASSWORD
from tests.mongod import direct_uri, initiate, running_mongod
from tests.server.process import Server, run_to_end, serving, wait_until
from tests.tools import PATIENCE_SECONDS, free_port

pytestmark = pytest.mark.real

EMAIL = "somebody.unusual@example.com"
TITLE = "A title that nobody else has"
OP_MSG, OP_COMPRESSED, ZLIB = 2013, 2012, 2


@pytest.fixture
def mongo(server: Server) -> Iterator[MongoClient[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](server.mongodb_uri) as client:
        yield client


def listening(pid: int) -> set[str]:
    """The addresses of TCP, in the kernel's writing, on which a process listens."""
    descriptors = [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink()]
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]]
    return {line[1] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in descriptors}


def test_it_listens_on_its_private_socket_only(server: Server, mongo: MongoClient[dict[str, Any]]) -> None:
    assert listening(server.mongod()) == set()
    path = server.folder / "mongod.sock"
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((server.folder / "mongodb_uri").stat().st_mode) == 0o600
    assert mongo.admin.command("replSetGetConfig")["config"]["members"][0]["host"] == str(path)
    version = mongo.server_info()["version"]
    assert (server.folder / "mongodb_format").read_text() == ".".join(version.split(".")[:2])
    if version.startswith("6."):
        assert server.output.count(f"MongoDB {version} no longer gets security fixes") == 1


def test_it_is_given_no_settings(server: Server) -> None:
    names = {pair.partition(b"=")[0] for pair in Path(f"/proc/{server.mongod()}/environ").read_bytes().split(b"\0")}
    assert b"PATH" in names
    assert [name for name in names if name.startswith(b"TASKAPI_")] == []


def test_it_takes_no_compressed_messages(server: Server, mongo: MongoClient[dict[str, Any]]) -> None:
    assert "compression" not in mongo.admin.command({"hello": 1, "compression": ["zlib", "snappy", "zstd"]})
    # A message that says it is longer than it is, as CVE-2025-14847 has it.
    body = struct.pack("<iiB", OP_MSG, 4096, ZLIB) + zlib.compress(b"\0" * 16)
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(PATIENCE_SECONDS)
        wire.connect(str(server.folder / "mongod.sock"))
        wire.sendall(struct.pack("<iiii", 16 + len(body), 1, 0, OP_COMPRESSED) + body)
        assert wire.recv(1) == b""


def test_its_log_holds_no_values_of_documents(server: Server, mongo: MongoClient[dict[str, Any]]) -> None:
    log = server.folder / "mongod.log"
    user = {"username": "somebody.unusual", "email": EMAIL, "password": PASSWORD}
    mongo.admin.command({"profile": 0, "slowms": -1})  # every operation is a slow one
    try:
        with server.client() as client:
            assert client.post("/register", json=user).status_code == 201
            assert client.post("/register", json=user).status_code == 400
            headers = {"Authorization": f"Bearer {client.post('/token', data=user).json()['access_token']}"}
            users = mongo["taskapi"]["users"]
            account = users.find_one({"email": EMAIL})
            assert account
            with ThreadPoolExecutor(8) as threads:  # write conflicts
                for _ in threads.map(
                    lambda n: users.update_one({"_id": account["_id"]}, {"$set": {"full_name": f"{EMAIL} {n}"}}), range(64)
                ):
                    pass
            assert client.post("/tasks", json={"title": TITLE}, headers=headers).status_code == 201
            assert client.get("/tasks", params={"q": TITLE}, headers=headers).status_code == 200
        with pytest.raises(WriteError):  # its validator refuses it
            users.update_one({"_id": account["_id"]}, {"$set": {"note": EMAIL}})
        with pytest.raises(DuplicateKeyError):
            users.insert_one({**account})
        with pytest.raises(DuplicateKeyError):
            users.find_one_and_update(
                {"_id": ObjectId()}, {"$set": {key: account[key] for key in account if key != "_id"}}, upsert=True
            )
    finally:
        mongo.admin.command({"profile": 0, "slowms": 100})
    wait_until(lambda: '"taskapi.tasks"' in log.read_text(), "the log to be written")
    text = log.read_text()
    slow = [entry for entry in map(json.loads, text.splitlines()) if entry["msg"] == "Slow query"]
    assert {"taskapi.users", "taskapi.tasks"} <= {entry["attr"]["ns"] for entry in slow}
    assert all(isinstance(entry["attr"]["durationMillis"], int) for entry in slow)
    for value in (EMAIL, "somebody.unusual", TITLE, "$argon2", str(account["_id"])):
        assert value not in text
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_older_folder_is_taken_over_with_configured_port(folder: Path) -> None:
    (folder / "mongodb").mkdir(mode=0o700, parents=True)
    with running_mongod(folder.parent, data=folder / "mongodb") as address:
        initiate(address)
        port = address.partition(":")[2]
        with MongoClient[dict[str, Any]](direct_uri(address)) as client:
            client["elsewhere"]["things"].insert_one({"_id": "kept"})
    for name, content in (
        ("port", port),
        ("mongod.log", "a password hash\n"),
        ("mongod.log.1", "another\n"),
    ):
        (folder / name).write_text(content)
    wanted = free_port()
    with serving(folder, MONGOD_PORT=str(wanted)) as server:
        assert listening(server.mongod()) == {f"0100007F:{wanted:04X}"}
        with MongoClient[dict[str, Any]]("127.0.0.1", wanted, directConnection=True) as client:
            assert client["elsewhere"]["things"].find_one() == {"_id": "kept"}
            server.account()
        assert not (folder / "port").exists()
        assert not (folder / "mongod.log.1").exists()
        assert "hash" not in (folder / "mongod.log").read_text()


def test_path_too_long_for_a_socket_still_works(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25) / "a:b" / "data"
    folder.parent.mkdir(parents=True)
    with serving(folder) as server:
        assert not (folder / "mongod.sock").exists()
        with MongoClient[dict[str, Any]](server.mongodb_uri) as client:
            server.account()
            assert client["taskapi"]["users"].count_documents({}) == 1


def mongod_that(folder: Path, *does: str) -> Path:
    """A program in place of mongod."""
    path = folder / "mongod"
    path.write_text(f"#!{sys.executable}\nimport os, pathlib, signal, sys, time\n" + "\n".join(does) + "\n")
    path.chmod(0o755)
    return path


def that_prints(severity: str, component: str, message: str, /, **attributes: object) -> str:
    line = json.dumps({"s": severity, "c": component, "ctx": "initandlisten", "msg": message, "attr": attributes})
    return f"print({line!r}, flush=True)"


RECOVERING = that_prints("I", "WTRECOV", "WiredTiger message", message={"msg": "Recovering log 5"})
FAILING = that_prints("E", "CONTROL", "Wrong mongod version", error="UPGRADE PROBLEM")


def test_start_waits_for_recovery_and_reports_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mongod_process, "PROGRESS_SECONDS", 0.01)
    monkeypatch.setattr(mongod_process, "ELECTION_SECONDS", 0)  # counts from its first answer, which never comes
    go = tmp_path / "go"
    waiting = f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)"
    script = mongod_that(tmp_path, RECOVERING, waiting, FAILING, "sys.exit(62)")
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", mongod=script)

    def go_on_once_it_is_said() -> None:
        wait_until(lambda: " s: WiredTiger message: Recovering log 5" in caplog.text, "the recovery to be reported")
        go.touch()

    says = (
        r"^mongod did not start: it ended with code 62; its last error: Wrong mongod version: UPGRADE PROBLEM; see .*mongod\.log$"
    )
    with pytest.raises(StartupError, match=says), embedded.provide(settings, go_on_once_it_is_said):
        pass


def test_a_stop_during_a_long_start_is_obeyed(folder: Path) -> None:
    script = mongod_that(folder.parent, "os.kill(os.getppid(), signal.SIGTERM)", "time.sleep(60)")
    status, said = run_to_end(folder, MONGOD=str(script))
    assert (status, said) == (0, "")
