"""A real ``taskapi serve`` in a process of its own, as a user starts it."""

import contextlib
import itertools
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import httpx

from tests.client import PASSWORD
from tests.leaks import keep_output, keep_secret
from tests.tools import PATIENCE_SECONDS, free_port

SERVE = [str(Path(sys.executable).with_name("taskapi")), "serve"]
UVICORN = [sys.executable, "-m", "uvicorn", "taskapi.main:app"]


def wait_until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def environment(folder: Path, **settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TASKAPI_")}
    cheap = {"ARGON2_MEMORY_KIB": "8", "ARGON2_ROUNDS": "1", "DATA_DIR": str(folder), "MONGOD_CACHE_GB": "0.25"}
    return kept | {f"TASKAPI_{name}": value for name, value in (cheap | settings).items()}


@dataclass
class Server:
    """A running server, and how tests treat it."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def warnings(self) -> list[str]:
        """The warnings in its log, but for the one of an old MongoDB, which depends on the machine."""
        return [line for line in self.output.splitlines() if "WARNING" in line and "no longer gets security fixes" not in line]

    @property
    def mongodb_uri(self) -> str:
        """The URI of its embedded MongoDB."""
        return (self.folder / "mongodb_uri").read_text()

    def members(self, name: str = "") -> list[int]:
        """The processes that work on this data folder or in this session and whose command line holds ``name``."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")  # others' too
                ours = int(fields[3]) == self.process.pid or str(self.folder) in command
                if ours and fields[0] != "Z" and name in command:
                    found.append(int(entry.name))
        return found

    def mongod(self) -> int:
        (pid,) = self.members("--dbpath")
        return pid

    def client(self, **options: Any) -> httpx.Client:
        # verify=False: reading the certificates would be most of the time of a short test
        return httpx.Client(base_url=self.url, timeout=PATIENCE_SECONDS, verify=False, **options)

    def account(self, name: str | None = None) -> dict[str, str]:
        """Registers somebody, by default of a name that nobody has yet; the headers of their requests."""
        username = name or f"user-{secrets.token_hex(8)}"
        with self.client() as client:
            assert client.post("/register", json={"username": username, "password": PASSWORD}).status_code == 201
        return self.sign_in(username)

    def sign_in(self, username: str) -> dict[str, str]:
        """The headers of the requests of a new session."""
        with self.client() as client:
            answer = client.post("/token", data={"username": username, "password": PASSWORD})
        return {"Authorization": f"Bearer {keep_secret(answer.json()['access_token'], 'access_token')}"}

    def status(self, path: str = "/ready") -> int:
        """The status of a GET; 0 when nothing answers. It is asked so often that it must cost little."""
        with contextlib.closing(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)) as connection:
            try:
                connection.request("GET", path)
                return connection.getresponse().status
            except (OSError, HTTPException):
                return 0

    def kill_everything(self) -> None:
        """What a power cut does to them."""
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def launched(
    folder: Path, *arguments: str, command: list[str] | None = None, port: int | None = None, **settings: str
) -> Iterator[Server]:
    """A server that begins to start; it and its processes are killed at the end."""
    port = port or free_port()
    log = folder.with_suffix(f".{port}.log")
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [*(command or SERVE), "--port", str(port), *arguments],
            env=environment(folder, **settings),
            cwd=folder.parent,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    server = Server(process, port, log, folder)
    try:
        yield server
    finally:
        server.kill_everything()
        keep_output(server.output)
        for part in folder.glob("mongod.log*"):
            keep_output(part.read_text(), "mongod")
        for name in ("secret_key", "mongodb_key"):
            if (generated := folder / name).exists():
                keep_secret(generated.read_text(), name.replace("_", " "))


@contextmanager
def serving(
    folder: Path, *arguments: str, command: list[str] | None = None, port: int | None = None, **settings: str
) -> Iterator[Server]:
    """A server that is ready; stopped, and checked to be gone, at the end."""
    with launched(folder, *arguments, command=command, port=port, **settings) as server:
        process = server.process
        wait_until(lambda: server.status() == 200 or process.poll() is not None, "the server to be ready")
        assert process.poll() is None, server.output
        yield server
        if process.poll() is None:
            process.terminate()
            assert process.wait(PATIENCE_SECONDS) in (0, -signal.SIGTERM), server.output
        wait_until(lambda: not server.members(), "every process to end")


@contextmanager
def calling(server: Server, headers: dict[str, str], call: Callable[[httpx.Client, str], None]) -> Iterator[None]:
    """Sixteen threads that ``call`` again and again, each time with another name, until the server is gone."""

    def run(caller: int) -> None:
        with server.client(headers=headers) as client, contextlib.suppress(httpx.TransportError):
            for number in itertools.count():
                call(client, f"{caller}-{number}")

    threads = [threading.Thread(target=run, args=(caller,)) for caller in range(16)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()


def run_to_end(folder: Path, *arguments: str, command: list[str] | None = None, **settings: str) -> tuple[int, str]:
    """A server that is expected to refuse to start: its exit status and what it said."""
    return completed(folder, [*(command or SERVE), "--port", str(free_port()), *arguments], **settings)


def completed(folder: Path, command: list[str], given: str = "", **settings: str) -> tuple[int, str]:
    """A command that comes to its end, with ``given`` on its standard input: its exit status and what it said."""
    done = subprocess.run(
        command,
        input=given,
        env=environment(folder, **settings),
        cwd=folder.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE_SECONDS,
        text=True,
        check=False,
    )
    keep_output(done.stdout)
    return done.returncode, done.stdout
