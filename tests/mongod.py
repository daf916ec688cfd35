"""A mongod that no taskapi has started."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from taskapi.core.settings import Settings
from taskapi.db.mongod_program import find_mongod
from tests.conftest import FOLDER_VARIABLE
from tests.server.process import wait_until
from tests.tools import free_port, running

REPLICA_SET = "taskapi"


@contextmanager
def running_mongod(folder: Path, *options: str, data: Path | None = None) -> Iterator[str]:
    """A member of a replica set that has not been initiated: its address. Without ``data``, it starts empty."""
    port = free_port()
    temporary = None if data else tempfile.mkdtemp(dir=os.environ[FOLDER_VARIABLE])  # where writes wait for no disk
    command = [str(find_mongod(Settings(_env_file=None))), "--dbpath", str(data or temporary), "--port", str(port)]
    command += ["--bind_ip", "127.0.0.1", "--nounixsocket", "--replSet", REPLICA_SET, "--wiredTigerCacheSizeGB", "0.25", *options]
    with running(command, folder / "started-mongod.log", port):
        yield f"127.0.0.1:{port}"
    if temporary:
        shutil.rmtree(temporary)


def direct_uri(address: str) -> str:
    return f"mongodb://{address}/?directConnection=true"


def initiate(address: str) -> None:
    """Makes it the only member, and waits until it is the primary."""
    with MongoClient[dict[str, Any]](direct_uri(address)) as client:
        members = [{"_id": 0, "host": address}]
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
        wait_until(lambda: bool(client.admin.command("hello")["isWritablePrimary"]), "the primary")
