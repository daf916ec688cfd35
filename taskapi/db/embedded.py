"""A real ``mongod`` as a child process, used when no MongoDB is configured.

It is a journaled replica set of one member, so transactions and change streams work, and it keeps its data in
``Settings.data_dir``. It listens on a Unix socket that only the account that runs it can open, and requires a sign-in
unless that is turned off (``mongod_auth``). It dies with this process, and is restarted if it dies alone.
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
from taskapi.db import mongod_auth
from taskapi.db.mongod_address import read_uri
from taskapi.db.mongod_process import STOP_SECONDS, MongodProcess, read_data_format
from taskapi.db.mongod_program import find_mongod

log = logging.getLogger(__name__)

BOTH_VERIFY = "the configured secret signs, and %s still verifies, so all sessions continue; delete that file after %d days"
BEFORE_1_4 = ("mongod.log", "mongod.log.1", "port")  # the log contained filters and values of documents; the port is deleted last


class _FolderInUse(StartupError):
    """Another server is using the data folder."""


@contextmanager
def provide(settings: Settings, prepare: Callable[[], object] = lambda: None, *, join: bool = False) -> Iterator[Settings]:
    """Yields settings that name a MongoDB and its secrets: ``settings``, or those of an embedded server that runs for the block.

    ``prepare`` is called while that server starts. With ``join``, a server that already runs on the data folder is used.
    The secrets in the data folder verify as well as the configured ones.

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
                    f"{folder} is in use, by a server that is starting or is older than 1.4; try again, or stop it"
                )
            yield secret_file.complete(settings, folder).model_copy(update={"mongodb_uri": SecretStr(uri)})
            return
        _remove_leftovers(folder)
        complete = secret_file.complete(settings, folder, make=True)
        if settings.secrets and complete is not settings:
            log.warning(BOTH_VERIFY, secret_file.path_in(folder), settings.refresh_token_days)
        program = find_mongod(settings, read_data_format(folder))
        server = MongodProcess(program, folder, settings, lock, mongod_auth.choose(folder, settings.mongod_auth))
        try:
            server.start(prepare)
            give_to_owner(folder)
            yield complete.model_copy(update={"mongodb_uri": SecretStr(server.uri)})
        finally:
            server.stop()
            give_to_owner(folder)


def require_data(settings: Settings) -> None:
    """Raises StartupError if the embedded MongoDB would be used and has no data yet."""
    if is_new(settings):
        folder = settings.data_dir.absolute()
        raise StartupError(f"there is no data in {folder}; start the API there once, or set TASKAPI_DATA_DIR")


def is_new(settings: Settings) -> bool:
    """Whether an embedded MongoDB would be used that does not exist yet."""
    with explained(f"TASKAPI_DATA_DIR: {settings.data_dir} cannot be used"):
        return settings.mongodb_uri is None and not (settings.data_dir / "mongodb").is_dir()


def make_folder(path: Path) -> Path:
    """Creates the data folder if it does not exist. Returns its absolute path. Raises StartupError."""
    with explained(f"TASKAPI_DATA_DIR: {path} cannot be used"):
        path = path.absolute()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (path / "mongodb").mkdir(mode=0o700, exist_ok=True)
    return path


def _remove_leftovers(folder: Path) -> None:
    """Deletes files of releases before 1.4: a log that contains password hashes and e-mail addresses, and a port number."""
    with suppress(OSError):
        if (folder / "port").is_file():
            for name in BEFORE_1_4:
                (folder / name).unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[IO[bytes]]:
    """Locks the folder for one server. The mongod inherits the lock, which is released when both have ended."""
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
            time.sleep(0.05)  # its owner was killed, and its mongod is still shutting down
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


def is_used(settings: Settings) -> bool:
    """Whether the database is the embedded one of the data folder."""
    return settings.mongodb_uri is None or _is_handed_down(settings)


def _is_handed_down(settings: Settings) -> bool:
    """Whether the configured MongoDB is the embedded one of the data folder, as it is for the workers of ``taskapi serve``."""
    with suppress(StartupError):
        uri = read_uri(settings.data_dir)
        return uri is not None and settings.mongodb_uri == SecretStr(uri)
    return False
