"""What the benchmarks share: the servers, the load, and the callers with their tasks."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from bson import ObjectId
from pymongo import MongoClient

HERE = Path(__file__).parent
SECRET = "a-secret-for-the-bench-0123456789abcdef"  # noqa: S105
SMALL, LARGE = "taskapi_bench", "taskapi_bench_large"
CALLERS, TASKS_EACH, OTHER_OWNERS = 20, 50, 180
UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
REQUESTS = {
    "get": 'return wrk.format("GET", "/tasks/" .. mine[math.floor(n / #tokens) % #mine + 1], headers)',
    "list": 'return wrk.format("GET", "/tasks?limit=20", headers)',
    "create": 'return wrk.format("POST", "/tasks", headers, body)',
}
SCRIPT = """
local tokens, ids, n = %(tokens)s, %(ids)s, 0
local body = '{"title":"A task of the bench","description":"' .. string.rep("lorem ipsum ", 15) .. '"}'
request = function()
  n = n + 1
  local mine = ids[n %% #tokens + 1]
  local headers = {["Authorization"] = "Bearer " .. tokens[n %% #tokens + 1], ["Content-Type"] = "application/json"}
  %(request)s
end
"""


@dataclass(frozen=True)
class Measure:
    """Result of one run of the load. Latencies are in milliseconds."""

    rate: float
    p50: float
    p99: float
    errors: int


@dataclass
class Bench:
    """Where everything runs."""

    uri: str
    folder: Path
    callers: list[tuple[str, list[str]]]
    database: str = SMALL

    @contextlib.contextmanager
    def server(self, name: str, patience: int = 30) -> Iterator[tuple[str, int]]:
        """Starts "taskapi" or "floor" with one worker, within ``patience`` seconds; its URL and process id."""
        port = free_port()
        environment = {**os.environ, "BENCH_URI": self.uri, "BENCH_DATABASE": self.database, "BENCH_SECRET": SECRET}
        environment |= {"TASKAPI_MONGODB_URI": self.uri, "TASKAPI_MONGODB_DATABASE": self.database}
        environment |= {"TASKAPI_SECRET_KEY": SECRET}
        environment |= {"TASKAPI_LOG_LEVEL": "error", "TASKAPI_ACCESS_TOKEN_MINUTES": "1440"}
        command = [str(Path(sys.executable).with_name("taskapi")), "serve", "--port", str(port)]
        if name == "floor":
            command = [sys.executable, "-m", "uvicorn", "bench_floor:app", "--port", str(port), "--no-access-log"]
            command += ["--log-level", "warning"]
        process = subprocess.Popen([*pinned(0), *command], env=environment, cwd=HERE, stdout=subprocess.DEVNULL)
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

        def table(values: Iterator[str]) -> str:
            return "{" + ",".join(values) + "}"

        tokens = table(f'"{token}"' for token, _ in self.callers)
        ids = table(table(f'"{task}"' for task in tasks) for _, tasks in self.callers)
        script = self.folder / "load.lua"
        script.write_text(SCRIPT % {"tokens": tokens, "ids": ids, "request": request})
        command = [*pinned(1), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        latencies = {m[1]: float(m[2]) * UNITS[m[3]] for m in re.finditer(r"(50|99)%\s+([\d.]+)(us|ms|s)\b", said)}
        failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", said)))
        failed += sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", said)))
        rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
        assert rate, said
        return Measure(float(rate[1]), latencies["50"], latencies["99"], failed)


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


def prepare(bench: Bench) -> None:
    """Creates the callers and their tasks through the API, then copies of a task for many other owners."""
    with bench.server("taskapi") as (url, _), httpx.Client(base_url=url) as client:
        for number in range(CALLERS):
            account = {"username": f"caller{number}", "password": "correct horse battery"}
            client.post("/register", json=account).raise_for_status()
            token = client.post("/token", data=account).raise_for_status().json()["access_token"]
            body = {"title": "A task of the bench", "description": "lorem ipsum " * 15, "priority": 2, "due_date": "2027-01-31"}
            headers = {"Authorization": f"Bearer {token}"}
            created = [client.post("/tasks", json=body, headers=headers).raise_for_status() for _ in range(TASKS_EACH)]
            bench.callers.append((token, [answer.json()["id"] for answer in created]))
    with MongoClient[dict[str, object]](bench.uri) as mongo:
        tasks = mongo[bench.database]["tasks"]
        template = tasks.find_one()
        assert template
        owners = [{"id": ObjectId(), "username": f"other{n}"} for n in range(OTHER_OWNERS)]
        tasks.insert_many(
            [{**template, "_id": ObjectId(), "owner": owner} for owner in owners for _ in range(TASKS_EACH)], ordered=False
        )
