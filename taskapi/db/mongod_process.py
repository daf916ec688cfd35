"""The process of the embedded MongoDB: its command line, its start, however long a recovery takes, and its restarts."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from taskapi.core import startup_files
from taskapi.core.errors import StartupError
from taskapi.core.settings import PREFIX, Settings
from taskapi.db import child_process, mongod_address
from taskapi.db.codes import INVALID_REPLICA_SET_CONFIG, NOT_YET_INITIALIZED
from taskapi.db.mongod_auth import Credentials
from taskapi.db.mongod_log import MongodLog
from taskapi.db.mongod_program import Release, is_past_end_of_life, release

log = logging.getLogger(__name__)

REPLICA_SET = "taskapi"
ELECTION_SECONDS = 60  # from its first answer until it accepts writes; the first answer itself may take any time
PROGRESS_SECONDS = 5
STOP_SECONDS = 30
RESTART_PAUSE_SECONDS = 0.5
CHECKPOINT_SECONDS = 10  # recovery replays writes since the last one: with MongoDB's own 60 s, those of imports take a minute
# A thread of MongoDB writes changed pages between the checkpoints, so that these are short. Callers have to help only late: with
# MongoDB's own triggers, or more threads, a small machine under load stores fewer tasks, some of them after a long wait.
EVICTION_THREADS = max(1, min(4, (os.cpu_count() or 1) // 2))
STORAGE = f"eviction=(threads_min=1,threads_max={EVICTION_THREADS}),eviction_dirty_trigger=60,eviction_updates_trigger=60"
# Trials of query plans end after 10,000 steps each, not 30 % of the collection: twelve indexes begin with the owner.
PLAN_TRIAL = "internalQueryPlanEvaluationCollFraction=0"
SLOW_MS = 500  # slower operations are logged
OLD_VERSION = (
    "MongoDB %s no longer gets security fixes; %s can connect to it. For production, put a newer mongod on PATH, "
    "or set TASKAPI_MONGODB_URI"
)


class MongodProcess:
    """One mongod, and the thread that starts, awaits and restarts it."""

    def __init__(
        self, program: Path, folder: Path, settings: Settings, lock: IO[bytes], credentials: Credentials | None = None
    ) -> None:
        self.program, self.folder, self.lock, self.credentials = program, folder, lock, credentials
        self.cache_gb, self.port = settings.mongod_cache_gb, settings.mongod_port
        self.socket = mongod_address.choose_socket(folder)
        self.uri = credentials.uri_of(self.socket) if credentials else mongod_address.uri_of(self.socket)
        self.log = MongodLog(folder / "mongod.log")
        self.process: subprocess.Popen[bytes] | None = None
        self.failure: str | None = None
        self.ready, self.stopping = threading.Event(), threading.Event()
        # The child dies with the thread that started it, so this thread lives as long as the server.
        self.keeper = threading.Thread(target=self._keep_running, name="mongod", daemon=True)
        self.reader = threading.Thread()

    def start(self, prepare: Callable[[], object]) -> None:
        """Starts the server and calls ``prepare`` meanwhile. Returns when the server accepts writes: not soon, after a crash.

        Raises:
            StartupError: the server ended, or does not accept writes; the message says why, and where the log is.
        """
        mongod_address.withdraw_uri(self.folder, self.uri)
        self.keeper.start()
        prepare()
        self.ready.wait()
        if self.failure:
            raise StartupError(f"mongod did not start: {self.failure}; see {self.log.path}")
        mongod_address.write_uri(self.folder, self.uri)

    def stop(self) -> None:
        """Shuts the server down cleanly, or kills it after 30 s."""
        self.stopping.set()
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        if self.keeper.ident is not None:  # it was started
            self.keeper.join()

    def _keep_running(self) -> None:
        while not self.stopping.is_set():
            try:
                self.process = self._spawn()
            except OSError as error:  # no process or file is available at the moment
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
            self.reader.join()
            if self.failure:
                return
            if not self.stopping.wait(RESTART_PAUSE_SECONDS):
                log.error("mongod ended unexpectedly (code %s%s); restarting it", code, self._last_error())

    def _spawn(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(  # noqa: S603 - our own program and arguments
            [sys.executable, "-I", "-S", child_process.__file__, str(os.getpid()), str(self.program), *self._arguments()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)},  # secrets among them
            start_new_session=True,  # Ctrl-C in the terminal stops the API, which stops mongod last
            umask=0o077,
            pass_fds=[self.lock.fileno()],
        )
        self.reader = threading.Thread(target=self.log.follow, args=(process.stdout,), name="mongod log", daemon=True)
        self.reader.start()
        return process

    def _arguments(self) -> list[str]:
        addresses = [str(self.socket), *(["127.0.0.1"] if self.port else [])]
        arguments = ["--dbpath", str(self.folder / "mongodb"), "--bind_ip", ",".join(addresses)]
        arguments += ["--port", str(self.port)] if self.port else []
        arguments += ["--nounixsocket"]  # no other socket in /tmp
        arguments += ["--networkMessageCompressors", "disabled"]
        arguments += ["--replSet", REPLICA_SET, "--oplogSize", "990"]
        arguments += self.credentials.arguments if self.credentials else []
        arguments += ["--quiet", "--slowms", str(SLOW_MS)]
        arguments += ["--wiredTigerCacheSizeGB", str(self.cache_gb), "--syncdelay", str(CHECKPOINT_SECONDS)]
        arguments += ["--wiredTigerEngineConfigString", STORAGE]
        arguments += ["--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"]
        arguments += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
        arguments += ["--setParameter", PLAN_TRIAL]
        return arguments

    def _wait_for_primary(self, process: subprocess.Popen[bytes]) -> str | None:
        """Waits until the server accepts writes. Returns None then, or why it never will."""
        began = said = time.monotonic()
        answered: float | None = None
        options: dict[str, Any] = {"serverSelectionTimeoutMS": 250, "connectTimeoutMS": 2000, "socketTimeoutMS": 10_000}
        uri = self.credentials.system_uri_of(self.socket) if self.credentials else self.uri
        with MongoClient[dict[str, Any]](uri, **options) as client:
            while process.poll() is None:
                with suppress(PyMongoError):
                    is_primary = client.admin.command("hello").get("isWritablePrimary")
                    answered = answered or time.monotonic()
                    if is_primary:
                        if self.credentials:
                            self.credentials.provide_admin(client, self.socket)
                        self._note_version(client)
                        return None
                    self._initiate(client)
                now = time.monotonic()
                if answered and now - answered > ELECTION_SECONDS:
                    return f"it answered, but accepted no writes within {ELECTION_SECONDS} s{self._last_error()}"
                if now - said > PROGRESS_SECONDS:
                    said = now
                    log.warning(
                        "still waiting for MongoDB to start, after %.0f s: %s", now - began, self.log.latest or "no message yet"
                    )
                time.sleep(0.02)
        self.reader.join()
        name = signal.Signals(-process.returncode).name if process.returncode < 0 else f"code {process.returncode}"
        return f"it ended with {name}{self._last_error()}"

    def _last_error(self) -> str:
        return f"; its last error: {self.log.latest_error}" if self.log.latest_error else ""

    def _initiate(self, client: "MongoClient[dict[str, Any]]") -> None:
        members = [{"_id": 0, "host": str(self.socket)}]
        try:
            client.admin.command("replSetGetStatus")
        except OperationFailure as error:
            if error.code == NOT_YET_INITIALIZED:
                client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
            elif error.code == INVALID_REPLICA_SET_CONFIG:  # it names another socket, or the port of an earlier release
                current = client.admin.command("replSetGetConfig")["config"]
                current |= {"members": members, "version": current["version"] + 1}
                client.admin.command("replSetReconfig", current, force=True)

    def _note_version(self, client: "MongoClient[dict[str, Any]]") -> None:
        """Stores the format of the data, for the choice of a program at the next start. Warns once of an old server."""
        answer = client.admin.command({"getParameter": 1, "featureCompatibilityVersion": 1})
        data = str(answer["featureCompatibilityVersion"]["version"])
        with suppress(StartupError):  # the service runs without it
            if startup_files.read_text(_format_file(self.folder)) != data:
                startup_files.write_text(_format_file(self.folder), data)
        version = str(client.server_info()["version"])
        known = release(version)
        if not self.ready.is_set() and known and is_past_end_of_life(known, datetime.now(UTC).date()):
            log.warning(
                OLD_VERSION, version, "every account of this machine" if self.port else "only the account that runs it, and root,"
            )


def read_data_format(folder: Path) -> Release | None:
    """The format of a folder's data, as a release of MongoDB; None if unknown. Raises StartupError."""
    return release(startup_files.read_text(_format_file(folder)) or "")


def _format_file(folder: Path) -> Path:
    return folder / "mongodb_format"
