"""A replica set of three members on this machine, and the faults that can be injected."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench_load import free_port
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from taskapi.core.settings import Settings
from taskapi.db import child_process
from taskapi.db.connection import BSON
from taskapi.db.mongod_program import find_mongod

NAME = "taskapi"
MEMBERS = 3
PROBE_MS = 1000  # to ask one member; a frozen one does not answer
START_SECONDS = 120
OPTIONS = ("--bind_ip", "127.0.0.1", "--nounixsocket", "--quiet", "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "128")
# What an operator sets for a quick fail-over (docs/deployment.md): a member that follows a frozen one gives it up after two
# seconds, not after thirteen; a new primary does not wait for what a frozen one may have, which no majority has acknowledged;
# and it hears how far the others are in their heartbeats, as they go on reporting it to the frozen one.
QUICK_PARAMETERS = {"oplogNetworkTimeoutBufferSeconds": 1, "oplogFetcherSteadyStateMaxFetcherRestarts": 0}
QUICK_SETTINGS = {"catchUpTimeoutMillis": 0, "heartbeatIntervalMillis": 500}


@dataclass
class Member:
    """One mongod."""

    program: Path
    folder: Path
    parameters: dict[str, int]
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        command = [str(self.program), "--dbpath", str(self.folder / "data"), "--port", str(self.port), "--replSet", NAME]
        command += [*OPTIONS, "--logpath", str(self.folder / "mongod.log"), "--logappend"]
        for name, value in {"diagnosticDataCollectionEnabled": "false", **self.parameters}.items():
            command += ["--setParameter", f"{name}={value}"]
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", child_process.__file__, str(os.getpid()), *command], stdout=subprocess.DEVNULL
        )

    def send(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.send(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def ask(self, command: str, **arguments: Any) -> BSON | None:
        """The reply to an admin command; None when it does not come in time."""
        options: dict[str, Any] = {
            "directConnection": True,
            "serverSelectionTimeoutMS": PROBE_MS,
            "connectTimeoutMS": PROBE_MS,
            "socketTimeoutMS": PROBE_MS,
        }
        with suppress(PyMongoError), MongoClient[BSON](f"mongodb://{self.address}/", **options) as client:
            return dict(client.admin.command(command, **arguments))
        return None


@dataclass
class ReplicaSet:
    """Three members with one election time-out."""

    members: list[Member]

    @property
    def uri(self) -> str:
        return f"mongodb://{','.join(member.address for member in self.members)}/?replicaSet={NAME}"

    def primary(self) -> Member | None:
        """The member that takes writes."""
        for member in self.members:
            hello = member.ask("hello")
            if hello and hello.get("isWritablePrimary"):
                return member
        return None

    def is_whole(self) -> bool:
        """Whether there is one primary, and the other two follow it."""
        found = [member.ask("hello") or {} for member in self.members]
        primaries = [hello["me"] for hello in found if hello.get("isWritablePrimary")]
        followers = [hello for hello in found if hello.get("secondary") and [hello.get("primary")] == primaries]
        return len(primaries) == 1 and len(followers) == MEMBERS - 1

    def initiate(self, settings: dict[str, int]) -> None:
        wait_until(lambda: all(member.ask("hello") for member in self.members), "the members to answer")
        members = [{"_id": number, "host": member.address} for number, member in enumerate(self.members)]
        configuration = {"_id": NAME, "members": members, "settings": settings}
        uri = f"mongodb://{self.members[0].address}/?directConnection=true"
        with MongoClient[BSON](uri) as client:
            client.admin.command("replSetInitiate", configuration)
        wait_until(self.is_whole, "the replica set")


@contextmanager
def replica_set(folder: Path, election_ms: int, *, quick: bool) -> Iterator[ReplicaSet]:
    """Runs a replica set during the block, with quick fail-over or MongoDB's defaults but for the election time-out."""
    parameters, settings = (QUICK_PARAMETERS, QUICK_SETTINGS) if quick else ({}, {})
    program = find_mongod(Settings(_env_file=None))
    with ExitStack() as running:
        found = ReplicaSet([Member(program, folder / f"member{number}", parameters) for number in range(MEMBERS)])
        for member in found.members:
            running.callback(member.kill)
            member.start()
        found.initiate({"electionTimeoutMillis": election_ms, **settings})
        yield found


def step_down(found: ReplicaSet, primary: Member, seconds: float) -> Callable[[], None]:
    """The primary hands over to another member."""
    primary.ask("replSetStepDown", value=max(2, int(seconds)), secondaryCatchUpPeriodSecs=1)
    return lambda: None


def kill(found: ReplicaSet, primary: Member, seconds: float) -> Callable[[], None]:
    """The primary dies; it is started again later."""
    primary.kill()
    return primary.start


def freeze(found: ReplicaSet, primary: Member, seconds: float) -> Callable[[], None]:
    """The primary stops and answers nothing, as behind a network that drops everything."""
    primary.send(signal.SIGSTOP)
    return lambda: primary.send(signal.SIGCONT)


def isolate(found: ReplicaSet, primary: Member, seconds: float) -> Callable[[], None]:
    """Both other members stop, so that the primary is without a majority."""
    others = [member for member in found.members if member is not primary]
    for member in others:
        member.send(signal.SIGSTOP)

    def heal() -> None:
        for member in others:
            member.send(signal.SIGCONT)

    return heal


FAULTS: dict[str, Callable[[ReplicaSet, Member, float], Callable[[], None]]] = {
    "step down": step_down,
    "kill": kill,
    "freeze": freeze,
    "no majority": isolate,
}


def wait_until(condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Waits until ``condition`` holds, and exits the script when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"replica_faults: waited {seconds:g} s for {what}")
        with contextlib.suppress(InterruptedError):
            time.sleep(0.1)
