"""A real ``mongod`` as a child process, for when nobody configured a MongoDB.

It is journaled, a one-member replica set (transactions and change streams work), and keeps its data below
``Settings.data_dir``. It listens on a Unix socket there, which only the account that runs it can open. It dies with this
process, and is started again when it dies alone.
"""

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from pydantic import SecretStr

from taskapi.core import secret_file
from taskapi.core.errors import StartupError
from taskapi.core.settings import Settings
from taskapi.core.startup_files import explained, give_to_owner
from taskapi.db.mongod_address import read_uri
from taskapi.db.mongod_process import STOP_SECONDS, MongodProcess, read_data_format
from taskapi.db.mongod_program import find_mongod

log = logging.getLogger(__name__)

BOTH_VERIFY = "the secret that is set signs, and %s still verifies: nobody is signed out; delete that file in %d days to end it"
BEFORE_1_4 = ("mongod.log", "mongod.log.1", "port")  # the log held filters and values of documents; the port comes last


class _FolderInUse(StartupError):
    """Another server works on the data folder."""


@contextmanager
def provide(settings: Settings, prepare: Callable[[], object] = lambda: None, *, join: bool = False) -> Iterator[Settings]:
    """Yields settings that name a MongoDB and its secrets: these, or those of an embedded server that runs meanwhile.

    ``prepare`` is called while that server starts. With ``join``, a server that works on the data folder already is used.
    The secrets of the data folder verify beside those that are given.

    Raises:
        StartupError: no ``mongod`` is found, it does not start, or its data folder is in use.
    """
    if settings.mongodb_uri:
        yield secret_file.complete(settings, settings.data_dir.absolute()) if _is_handed_down(settings) else settings
        return
    folder = make_folder(settings.data_dir)
    with ExitStack() as held:
        try:
            lock = held.enter_context(_locked(folder))
        except _FolderInUse:
            if not join:
                raise
            lock = None
        if lock is None:
            uri = read_uri(folder)
            if uri is None:
                raise StartupError(
                    f"{folder} is in use, by a server that starts or of a release before 1.4; try again, or stop it"
                )
            yield secret_file.complete(settings, folder).model_copy(update={"mongodb_uri": SecretStr(uri)})
            return
        _remove_leftovers(folder)
        complete = secret_file.complete(settings, folder, make=True)
        if settings.secrets and complete is not settings:
            log.warning(BOTH_VERIFY, secret_file.path_in(folder), settings.refresh_token_days)
        server = MongodProcess(find_mongod(settings, read_data_format(folder)), folder, settings, lock)
        try:
            server.start(prepare)
            give_to_owner(folder)
            yield complete.model_copy(update={"mongodb_uri": SecretStr(server.uri)})
        finally:
            server.stop()
            give_to_owner(folder)


def require_data(settings: Settings) -> None:
    """Raises StartupError when the MongoDB would be the embedded one, and the data folder has none."""
    if is_new(settings):
        folder = settings.data_dir.absolute()
        raise StartupError(f"there is no data in {folder}; start the API there once, or set TASKAPI_DATA_DIR")


def is_new(settings: Settings) -> bool:
    """Whether the MongoDB would be an embedded one that is to be made."""
    with explained(f"TASKAPI_DATA_DIR: {settings.data_dir} cannot be used"):
        return settings.mongodb_uri is None and not (settings.data_dir / "mongodb").is_dir()


def make_folder(path: Path) -> Path:
    """Makes the data folder unless it is there; its absolute path. Raises StartupError."""
    with explained(f"TASKAPI_DATA_DIR: {path} cannot be used"):
        path = path.absolute()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (path / "mongodb").mkdir(mode=0o700, exist_ok=True)
    return path


def _remove_leftovers(folder: Path) -> None:
    """Deletes what releases before 1.4 left: a log with password hashes and addresses in it, and the number of a port."""
    with suppress(OSError):
        if (folder / "port").is_file():
            for name in BEFORE_1_4:
                (folder / name).unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[IO[bytes]]:
    """Holds the folder for one server at a time. The mongod inherits the lock, so it ends only when both have."""
    path = folder / "lock"
    with ExitStack() as held:
        with explained(f"{path} cannot be opened"):
            lock = held.enter_context(os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0))
        deadline = time.monotonic() + STOP_SECONDS
        while not _lock(lock, path):
            owner = os.pread(lock.fileno(), 32, 0).decode(errors="replace").strip()
            if _runs(owner) or time.monotonic() > deadline:
                raise _FolderInUse(
                    f"{folder} is in use by another taskapi server (process {owner or 'unknown'}); "
                    "stop it or set TASKAPI_DATA_DIR"
                )
            time.sleep(0.05)  # its owner was killed and its mongod is still ending
        with explained(f"{path} cannot be written"):
            lock.truncate(0)
            os.pwrite(lock.fileno(), str(os.getpid()).encode(), 0)
        yield lock


def _lock(file: IO[bytes], path: Path) -> bool:
    with explained(f"{path} cannot be locked"):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _runs(pid: str) -> bool:
    return pid.isdigit() and Path(f"/proc/{pid}").exists()


def _is_handed_down(settings: Settings) -> bool:
    """Whether the MongoDB that is named is the embedded one of the data folder, as for the workers of ``taskapi serve``."""
    with suppress(StartupError):
        uri = read_uri(settings.data_dir)
        return uri is not None and settings.mongodb_uri == SecretStr(uri)
    return False
