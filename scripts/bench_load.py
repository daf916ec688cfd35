"""What the benchmarks share: the servers, the load, and the callers with their tasks."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import bench_peers
import httpx
from bson import ObjectId
from pydantic import SecretStr
from pymongo import MongoClient

from taskapi.core.settings import Settings
from taskapi.db import embedded

SECRET = "a-secret-for-the-bench-0123456789abcdef"  # noqa: S105
SMALL = "taskapi_bench"
READERS, WRITERS, OWNERS, TASKS_EACH = 20, 20, 200, 50
UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
READS = {
    "get": 'local headers, id = choose(readers) return wrk.format("GET", "/tasks/" .. id, headers)',
    "list": 'return wrk.format("GET", "/tasks?limit=20", (choose(readers)))',
}
WRITES = {
    "create": 'return wrk.format("POST", "/tasks", (choose(writers)), body)',
    "patch": 'local headers, id = choose(writers) return wrk.format("PATCH", "/tasks/" .. id, headers, priority())',
}
SEARCH = {"search": 'return wrk.format("GET", "/tasks?q=number" .. n % 50, (choose(readers)))'}
SCRIPT = """
local readers, writers, n = %(readers)s, %(writers)s, 0
local body = '{"title":"A task of the bench","description":"' .. string.rep("lorem ipsum ", 15) .. '"}'
local function priority() return '{"priority":' .. n %% 5 + 1 .. '}' end
local function choose(callers)
  n = n + 1
  local caller = callers[n %% #callers + 1]
  local headers = {["Authorization"] = "Bearer " .. caller.token, ["Content-Type"] = "application/json"}
  return headers, caller.tasks[math.floor(n / #callers) %% #caller.tasks + 1]
end
request = function() %(request)s end
"""


@dataclass(frozen=True)
class Measure:
    """Result of one run of the load. Latencies are in milliseconds."""

    rate: float
    requests: int
    p50: float
    p99: float
    errors: int


@dataclass(frozen=True)
class Caller:
    """An account with tasks."""

    token: str
    id: ObjectId
    tasks: list[ObjectId]


@dataclass
class Bench:
    """Where everything runs, and who calls: readers and writers are different accounts, so reads always find the same tasks."""

    uri: str
    folder: Path
    database: str = SMALL
    readers: list[Caller] = field(default_factory=list)
    writers: list[Caller] = field(default_factory=list)

    @property
    def peers_database(self) -> str:
        return f"{self.database}_peers"

    @contextlib.contextmanager
    def server(self, name: str, patience: int = 30, workers: int = 1, **settings: str) -> Iterator[tuple[str, int]]:
        """Starts "taskapi" or another server on the first core, within ``patience`` seconds; its URL and process id."""
        port = free_port()
        environment = {**os.environ, "TASKAPI_MONGODB_URI": self.uri, "TASKAPI_MONGODB_DATABASE": self.database}
        environment |= {"TASKAPI_SECRET_KEY": SECRET, "PEER_SECRET": SECRET, "PEER_URI": self.uri}
        environment |= {"PEER_DATABASE": self.peers_database, "PEER_PORT": str(port), "GOMAXPROCS": "1"}
        environment |= {"TASKAPI_LOG_LEVEL": "error", "TASKAPI_ACCESS_TOKEN_MINUTES": "1440", **settings}
        if name == "taskapi":
            command = [str(Path(sys.executable).with_name("taskapi")), "serve", "--port", str(port), "--workers", str(workers)]
        else:
            command = bench_peers.make_command(name, port, self.folder)
        process = subprocess.Popen([*pinned(0), *command], env=environment, stdout=subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{port}"
            if not answers(url, process, patience):
                sys.exit(f"{name} did not start")
            yield url, process.pid
        finally:
            process.terminate()
            process.wait()

    def load(self, url: str, request: str, connections: int, seconds: int) -> Measure:
        """Runs wrk once; ``request`` is the Lua code that builds a request."""
        script = self.folder / f"{url.rpartition(':')[2]}.lua"
        script.write_text(SCRIPT % {"readers": lua(self.readers), "writers": lua(self.writers), "request": request})
        command = [*pinned(1), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        latencies = {m[1]: float(m[2]) * UNITS[m[3]] for m in re.finditer(r"(50|99)%\s+([\d.]+)(us|ms|s)\b", said)}
        failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", said)))
        failed += sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", said)))
        rate, requests = re.search(r"Requests/sec:\s+([\d.]+)", said), re.search(r"(\d+) requests in", said)
        assert rate, said
        assert requests, said
        return Measure(float(rate[1]), int(requests[1]), latencies["50"], latencies["99"], failed)


@contextlib.contextmanager
def own_bench(name: str, data: Path | None = None, **settings: Any) -> Iterator[Bench]:
    """A bench with a MongoDB of its own. All of it is in a temporary folder, except ``data`` if that is given."""
    with tempfile.TemporaryDirectory(prefix=f"taskapi-{name}-") as folder:
        own = Settings(mongodb_uri=None, secret_key=SecretStr(SECRET), data_dir=data or Path(folder) / "data", **settings)
        with embedded.provide(own) as complete:
            assert complete.mongodb_uri
            yield Bench(complete.mongodb_uri.get_secret_value(), Path(folder))


def lua(callers: Sequence[Caller]) -> str:
    rows = []
    for caller in callers:
        tasks = ",".join(f'"{task}"' for task in caller.tasks)
        rows.append(f'{{token="{caller.token}",tasks={{{tasks}}}}}')
    return f"{{{','.join(rows)}}}"


def answers(url: str, process: "subprocess.Popen[bytes]", patience: int) -> bool:
    """Waits until the server of ``process`` answers at ``url``, at most ``patience`` seconds. Returns whether it does."""
    deadline = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(url)
            return True
        time.sleep(0.05)
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pinned(core: int) -> list[str]:
    return ["taskset", "-c", str(core)] if shutil.which("taskset") and (os.cpu_count() or 1) > 1 else []


def pin_mongod(folder: Path) -> None:
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().decode().split("\0")
            if "--dbpath" in command and str(folder / "data" / "mongodb") in command and pinned(1):
                subprocess.run(["taskset", "-apc", "1", entry.name], stdout=subprocess.DEVNULL, check=True)


def prepare(bench: Bench) -> list[dict[str, Any]]:
    """Creates the callers, and 10,000 tasks: the first caller's through the API, copies of them for the other owners.

    Returns the tasks that were copied.
    """
    with bench.server("taskapi", TASKAPI_REGISTRATIONS_PER_ADDRESS="1000") as (url, _), httpx.Client(base_url=url) as client:
        accounts = []
        for number in range(READERS + WRITERS):
            account = {"username": f"caller{number}", "password": "correct horse battery"}
            created = client.post("/register", json=account).raise_for_status().json()
            token = client.post("/token", data=account).raise_for_status().json()["access_token"]
            accounts.append((token, {"id": ObjectId(created["id"]), "username": created["username"]}))
        for number in range(TASKS_EACH):
            body = {
                "title": f"Errand number{number}",
                "description": "lorem ipsum " * 15,
                "priority": 2,
                "due_date": "2027-01-31",
            }
            client.post("/tasks", json=body, headers={"Authorization": f"Bearer {accounts[0][0]}"}).raise_for_status()
    with MongoClient[dict[str, Any]](bench.uri) as mongo:
        tasks = mongo[bench.database]["tasks"]
        templates = list(tasks.find())
        copies = [list(copy(templates, owner, TASKS_EACH)) for _, owner in accounts]
        tasks.delete_many({})  # the templates; all callers have copies
        others = [{"id": ObjectId(), "username": f"other{number}"} for number in range(OWNERS - len(accounts))]
        for owned in (*copies, *(list(copy(templates, owner, TASKS_EACH)) for owner in others)):
            tasks.insert_many(owned, ordered=False)
    callers = [
        Caller(token, owner["id"], [task["_id"] for task in owned])
        for (token, owner), owned in zip(accounts, copies, strict=True)
    ]
    bench.readers, bench.writers = callers[:READERS], callers[READERS:]
    return templates


def copy(templates: Sequence[dict[str, Any]], owner: dict[str, Any], count: int) -> Iterator[dict[str, Any]]:
    """Copies of the templates in turn for ``owner``, each a millisecond older than the one before."""
    for number in range(count):
        template = templates[number % len(templates)]
        created = template["created_at"] - timedelta(milliseconds=number)
        yield {**template, "_id": ObjectId(), "owner_id": owner["id"], "owner": owner, "created_at": created}
