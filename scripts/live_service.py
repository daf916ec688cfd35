"""The whole service on this machine: three members of MongoDB, two workers, nginx; and what can happen to each of them."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench_load import SECRET, answers, free_port
from live_nginx import nginx
from replica_set import ReplicaSet, freeze, kill, replica_set, step_down, wait_until

DATABASE = "taskapi_live"
ELECTION_MS = 2000
BROKEN_SECONDS = 4.0  # that a fault of MongoDB lasts
START_SECONDS = 90
STOP_SECONDS = 30
NGINX_CHANGES = {  # all clients come from one address
    "worker_connections 1024": "worker_connections 8192",
    "limit_conn taskapi_streams 100": "limit_conn taskapi_streams 10000",
}


@dataclass
class Service:
    """The running processes."""

    members: ReplicaSet
    serve: "subprocess.Popen[bytes]"
    proxy: "subprocess.Popen[bytes]"
    direct: str  # the URL of the API itself
    url: str  # that of nginx
    log: Path

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        listed = subprocess.run(["pgrep", "-P", str(self.serve.pid), "-f", "spawn_main"], stdout=subprocess.PIPE, check=False)
        return [int(pid) for pid in listed.stdout.split()]

    def kill_worker(self) -> None:
        """A worker of the API dies; the supervisor starts another."""
        os.kill(random.choice(self.workers()), signal.SIGKILL)  # noqa: S311  # nosec B311

    def reload_proxy(self) -> None:
        """nginx takes up its configuration again: new processes replace the old ones."""
        self.proxy.send_signal(signal.SIGHUP)

    def kill_primary(self) -> None:
        """The primary dies, and is started again."""
        self._break(kill)

    def step_down(self) -> None:
        """The primary hands over to another member."""
        self._break(step_down)

    def freeze_primary(self) -> None:
        """The primary answers nothing for some seconds, and learns afterwards that it is none."""
        self._break(freeze)

    def kill_secondary(self) -> None:
        """Another member dies, and is started again."""
        primary = self.members.primary()
        others = [member for member in self.members.members if member is not primary]
        self._break_member(kill, random.choice(others))  # noqa: S311  # nosec B311

    def _break(self, fault: Callable[..., Callable[[], None]]) -> None:
        found = [member for member in [self.members.primary()] if member is not None]
        if found:
            self._break_member(fault, found[0])

    def _break_member(self, fault: Callable[..., Callable[[], None]], member: object) -> None:
        heal = fault(self.members, member, BROKEN_SECONDS)
        time.sleep(BROKEN_SECONDS)
        heal()

    def is_whole(self) -> bool:
        """Whether all members of MongoDB are there, and both workers."""
        return self.members.is_whole() and len(self.workers()) > 1


FAULTS: dict[str, Callable[[Service], None]] = {
    "worker killed": Service.kill_worker,
    "mongod killed": Service.kill_primary,
    "primary stepped down": Service.step_down,
    "primary frozen": Service.freeze_primary,
    "nginx reloaded": Service.reload_proxy,
    "secondary killed": Service.kill_secondary,
}


@contextmanager
def running(folder: Path, workers: int, **settings: str) -> Iterator[Service]:
    """Everything, started and stopped again."""
    port = free_port()
    log = folder / "service.log"
    with replica_set(folder, ELECTION_MS, quick=True) as members:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKAPI_")}
        own = {"MONGODB_URI": members.uri, "MONGODB_DATABASE": DATABASE, "SECRET_KEY": SECRET, "LOG_LEVEL": "warning"}
        own |= {"DATA_DIR": str(folder / "service"), "ARGON2_MEMORY_KIB": "8", "ARGON2_ROUNDS": "1"} | settings
        environment |= {f"TASKAPI_{name}": value for name, value in own.items()}
        command = [str(Path(sys.executable).with_name("taskapi")), "serve", "--port", str(port), "--workers", str(workers)]
        with log.open("wb") as sink:
            serve = subprocess.Popen(command, env=environment, cwd=folder, stdout=sink, stderr=sink)
        try:
            direct = f"http://127.0.0.1:{port}"
            if not answers(direct, serve, START_SECONDS):
                sys.exit(f"the service did not start:\n{log.read_text()}")
            with nginx(folder / "nginx", port, NGINX_CHANGES) as (url, proxy):
                service = Service(members, serve, proxy, direct, url, log)
                wait_until(service.is_whole, "the service")
                yield service
        finally:
            serve.terminate()
            try:
                serve.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                serve.kill()
