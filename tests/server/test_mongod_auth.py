"""Sign-in at the embedded MongoDB: on for new folders, turned on and off for others, and killed while that happens."""

import secrets
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from pymongo.uri_parser import parse_uri

from taskapi.core.errors import StartupError
from taskapi.core.settings import Settings
from taskapi.db import embedded, mongod_address
from tests.leaks import keep_secret
from tests.server.process import environment, serving
from tests.tools import PATIENCE_SECONDS, free_port

pytestmark = pytest.mark.real

UNAUTHORIZED = 13  # the server's error code
KILLED = """
import os, signal, sys
from importlib import import_module
from pathlib import Path
from taskapi.core.settings import Settings
from taskapi.db import embedded

place, name, when, folder, wanted = sys.argv[1:]
module, _, owner = place.partition(":")
owner = getattr(import_module(module), owner) if owner else import_module(module)
original = getattr(owner, name)

def deadly(*arguments, **named):
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    original(*arguments, **named)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(owner, name, deadly)
with embedded.provide(Settings(_env_file=None, data_dir=Path(folder), mongod_auth=wanted == "True", mongod_cache_gb=0.25)):
    pass
"""
STEPS = [
    ("taskapi.db.mongod_auth", "choose", "before"),
    ("taskapi.db.mongod_auth", "choose", "after"),
    ("taskapi.db.mongod_address", "withdraw_uri", "after"),
    ("taskapi.db.mongod_process:MongodProcess", "_spawn", "after"),
    ("taskapi.db.mongod_auth:Credentials", "provide_admin", "before"),
    ("taskapi.db.mongod_auth:Credentials", "provide_admin", "after"),
    ("taskapi.db.mongod_address", "write_uri", "after"),
]


@contextmanager
def running(folder: Path, wanted: bool | None = None, **more: Any) -> Iterator[MongoClient[dict[str, Any]]]:
    """A client of the embedded MongoDB of a folder, with the service's URI."""
    settings = Settings(_env_file=None, data_dir=folder, mongod_auth=wanted, mongod_cache_gb=0.25, **more)
    with embedded.provide(settings) as complete:
        assert complete.mongodb_uri
        uri = complete.mongodb_uri.get_secret_value()
        assert (folder / "mongodb_uri").read_text() == uri
        if password := parse_uri(uri)["password"]:
            keep_secret(password, "password of the embedded MongoDB")
            keep_secret((folder / "mongodb_key").read_text(), "key of the embedded MongoDB")
        with MongoClient[dict[str, Any]](uri) as client:
            yield client


def requires_sign_in(folder: Path) -> bool:
    """Whether a running MongoDB refuses whoever names no account."""
    with MongoClient[dict[str, Any]](mongod_address.uri_of(mongod_address.choose_socket(folder))) as anonymous:
        try:
            anonymous["taskapi"]["things"].find_one()
        except OperationFailure as error:
            return error.code == UNAUTHORIZED
    return False


def test_new_folder_admits_only_its_own_account(folder: Path) -> None:
    port = free_port()
    with serving(folder, MONGOD_PORT=str(port)) as server:
        headers = server.account()
        for uri in (f"mongodb://127.0.0.1:{port}/?directConnection=true", mongod_address.uri_of(folder / "mongod.sock")):
            with MongoClient[dict[str, Any]](uri) as anonymous:
                refused: list[tuple[str, dict[str, Any]]] = [
                    ("taskapi", {"find": "users"}),
                    ("local", {"find": "oplog.rs"}),
                    ("admin", {"createUser": "eve", "pwd": "eve", "roles": ["root"]}),  # the localhost exception
                    ("admin", {"replSetGetStatus": 1}),
                    ("admin", {"shutdown": 1}),
                ]
                for database, command in refused:
                    with pytest.raises(OperationFailure) as caught:
                        anonymous[database].command(command)
                    assert caught.value.code == UNAUTHORIZED
        with MongoClient[dict[str, Any]](server.mongodb_uri) as mongo:
            assert mongo["taskapi"]["users"].count_documents({}) == 1
            assert [user["user"] for user in mongo.admin.command("usersInfo", 1)["users"]] == ["taskapi"]
        with server.client(headers=headers) as client:
            assert client.post("/tasks", json={"title": "Works"}).status_code == 201
        for name in ("mongodb_key", "mongodb_uri"):
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
        password = parse_uri(server.mongodb_uri)["password"]
        assert password not in server.output
        assert f"MongoDB   {server.mongodb_uri.replace(password, '***')}\n" in server.output
        assert str(folder / "mongodb_uri") in server.output


def test_folder_stays_as_it_is_until_told(folder: Path) -> None:
    with running(folder, False) as mongo:
        mongo["taskapi"]["things"].insert_one({"_id": "kept"})
    uris = []
    for wanted, signs_in in [
        (None, False),
        (True, True),
        (None, True),
        (True, True),
        (False, False),
        (None, False),
        (True, True),
    ]:
        with running(folder, wanted) as mongo:
            assert mongo["taskapi"]["things"].find_one() == {"_id": "kept"}
            assert requires_sign_in(folder) is signs_in
            assert (folder / "mongodb_key").exists() is signs_in
            uris.append((folder / "mongodb_uri").read_text())
    assert uris[1] == uris[2] == uris[3] != uris[6]
    assert uris[0] == uris[4] == uris[5] == mongod_address.uri_of(folder / "mongod.sock")


@pytest.mark.parametrize(
    ("before", "wanted", "step"),
    [
        pytest.param(before, wanted, step, id="-".join((name, *step[1:])))
        for name, before, wanted in [("new", None, True), ("on", False, True), ("off", True, False)]
        for step in STEPS
        if wanted or step[1] != "provide_admin"
    ],
)
def test_killed_change_is_completed_next_time(
    folder: Path, before: bool | None, wanted: bool, step: tuple[str, str, str]
) -> None:
    if before is not None:
        with running(folder, before) as mongo:
            mongo["taskapi"]["things"].insert_one({"_id": "kept"})
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, *step, str(folder), str(wanted)],
        env=environment(folder),
        cwd=folder.parent,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    with running(folder, wanted) as mongo:
        assert mongo["taskapi"]["things"].count_documents({}) == (before is not None)
        assert requires_sign_in(folder) is wanted
        mongo["taskapi"]["things"].insert_one({"_id": "more"})


def test_another_key_replaces_the_password(folder: Path) -> None:
    with running(folder):
        former = (folder / "mongodb_uri").read_text()
    (folder / "mongodb_key").write_text(secrets.token_hex(32) + "\n")
    (folder / "mongodb_key").chmod(0o644)
    with running(folder) as mongo:
        mongo["taskapi"]["things"].insert_one({})
        assert stat.S_IMODE((folder / "mongodb_key").stat().st_mode) == 0o600
        with MongoClient[dict[str, Any]](former) as outdated, pytest.raises(OperationFailure):
            outdated["taskapi"]["things"].find_one()


@pytest.mark.parametrize("content", [b"", b"short", b"\xff\xfe", b"x" * 64])
def test_a_damaged_key_fails_with_one_line(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "mongodb_key").write_bytes(content)
    with pytest.raises(StartupError, match=r"^\S+/mongodb_key (is damaged; delete it|cannot be read: )[^\n]*$"), running(folder):
        pass


def test_no_account_can_run_javascript(folder: Path) -> None:
    with running(folder) as mongo, pytest.raises(OperationFailure, match=r"globalScriptEngine|[Jj]ava[Ss]cript"):
        mongo["taskapi"]["things"].find_one({"$where": "true"})
