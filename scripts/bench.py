"""Measures the API beside a hand-written Starlette + Motor + orjson handler (bench_floor.py) in the same run.

One server process each, measured in turn on the same MongoDB and the same tasks; callers and tasks rotate. With two
cores or more the server has the first to itself, and MongoDB and the load share the second. Ratios are medians over
the rounds, each taken within its round: single numbers of a busy machine mean little.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from bson import ObjectId
from pydantic import SecretStr
from pymongo import MongoClient

from taskapi import embedded
from taskapi.settings import Settings

HERE = Path(__file__).parent
SECRET = "a-secret-for-the-bench-0123456789abcdef"  # noqa: S105
DATABASE = "taskapi_bench"
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
    """What one run of the load saw. Latencies are in milliseconds."""

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

    @contextlib.contextmanager
    def server(self, name: str) -> Iterator[tuple[str, int]]:
        """Starts "taskapi" or "floor" with one worker; its URL and process id."""
        port = free_port()
        environment = {**os.environ, "BENCH_URI": self.uri, "BENCH_DATABASE": DATABASE, "BENCH_SECRET": SECRET}
        environment |= {"TASKAPI_MONGODB_URI": self.uri, "TASKAPI_MONGODB_DATABASE": DATABASE, "TASKAPI_SECRET_KEY": SECRET}
        environment |= {"TASKAPI_LOG_LEVEL": "warning", "TASKAPI_ACCESS_TOKEN_MINUTES": "1440"}
        command = [str(Path(sys.executable).with_name("taskapi")), "serve", "--port", str(port)]
        if name == "floor":
            command = [sys.executable, "-m", "uvicorn", "bench_floor:app", "--port", str(port), "--no-access-log"]
            command += ["--log-level", "warning"]
        process = subprocess.Popen([*pinned(0), *command], env=environment, cwd=HERE, stdout=subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 30
            while True:
                try:
                    httpx.get(url)
                    break
                except httpx.TransportError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        sys.exit(f"{name} did not start")
                    time.sleep(0.05)
            yield url, process.pid
        finally:
            process.terminate()
            process.wait()

    def load(self, url: str, operation: str, connections: int, seconds: int) -> Measure:
        """Runs wrk once."""

        def table(values: Iterator[str]) -> str:
            return "{" + ",".join(values) + "}"

        tokens = table(f'"{token}"' for token, _ in self.callers)
        ids = table(table(f'"{task}"' for task in tasks) for _, tasks in self.callers)
        script = self.folder / f"{operation}.lua"
        script.write_text(SCRIPT % {"tokens": tokens, "ids": ids, "request": REQUESTS[operation]})
        command = [*pinned(1), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        latencies = {m[1]: float(m[2]) * UNITS[m[3]] for m in re.finditer(r"(50|99)%\s+([\d.]+)(us|ms|s)\b", said)}
        failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", said)))
        failed += sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", said)))
        rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
        assert rate, said
        return Measure(float(rate[1]), latencies["50"], latencies["99"], failed)


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
    """Makes the callers and their tasks through the API, then copies of a task for many other owners."""
    with bench.server("taskapi") as (url, _), httpx.Client(base_url=url) as client:
        for number in range(CALLERS):
            account = {"username": f"caller{number}", "password": "correct horse battery"}
            client.post("/register", json=account).raise_for_status()
            token = client.post("/token", data=account).raise_for_status().json()["access_token"]
            body = {"title": "A task of the bench", "description": "lorem ipsum " * 15, "priority": 2, "due_date": "2027-01-31"}
            headers = {"Authorization": f"Bearer {token}"}
            made = [client.post("/tasks", json=body, headers=headers).raise_for_status() for _ in range(TASKS_EACH)]
            bench.callers.append((token, [answer.json()["id"] for answer in made]))
    with MongoClient[dict[str, object]](bench.uri) as mongo:
        tasks = mongo[DATABASE]["tasks"]
        template = tasks.find_one()
        assert template
        owners = [{"id": ObjectId(), "username": f"other{n}"} for n in range(OTHER_OWNERS)]
        tasks.insert_many(
            [{**template, "_id": ObjectId(), "owner": owner} for owner in owners for _ in range(TASKS_EACH)], ordered=False
        )


def compare(bench: Bench, connections: list[int], rounds: int, seconds: int) -> list[dict[str, object]]:
    """Measures both servers in turn, and prints one row for each operation and number of connections."""
    seen: dict[tuple[str, int, str], list[Measure]] = {}
    for _ in range(rounds):
        for name in ("floor", "taskapi"):
            with bench.server(name) as (url, _):
                for operation in REQUESTS:
                    bench.load(url, operation, 8, 1)  # warms up
                    for count in connections:
                        measure = bench.load(url, operation, count, seconds)
                        seen.setdefault((operation, count, name), []).append(measure)
    print("| operation | connections | floor req/s | taskapi req/s | ratio | p50 ms | p99 ms | errors |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    rows: list[dict[str, object]] = []
    for operation in REQUESTS:
        for count in connections:
            floor, ours = seen[operation, count, "floor"], seen[operation, count, "taskapi"]
            rates = [round(statistics.median(measure.rate for measure in measures)) for measures in (floor, ours)]
            ratio = round(statistics.median(mine.rate / theirs.rate for mine, theirs in zip(ours, floor, strict=True)), 2)
            p50, p99 = (round(statistics.median(getattr(m, name) for m in ours), 1) for name in ("p50", "p99"))
            errors = sum(measure.errors for measure in ours)
            print(f"| {operation} | {count} | {rates[0]} | {rates[1]} | {ratio:.2f} | {p50} | {p99} | {errors} |")
            rows.append({"operation": operation, "connections": count, "ratio": ratio, "errors": errors})
    return rows


def resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def soak(bench: Bench, seconds: int) -> None:
    """Prints the memory of the server before, during and after a long load of 128 connections."""
    with bench.server("taskapi") as (url, pid):
        for operation in REQUESTS:
            bench.load(url, operation, 128, 5)
        sizes = [resident_mib(pid)]
        for _ in range(4):
            bench.load(url, "list", 128, max(seconds // 4, 1))
            sizes.append(resident_mib(pid))
    print(f"Resident memory over {seconds} s at 128 connections, MiB: " + ", ".join(f"{size:.0f}" for size in sizes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", default="1,32,128", help="numbers of connections (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default %(default)s)")
    parser.add_argument("--seconds", type=int, default=4, help="length of one measurement (default %(default)s)")
    parser.add_argument("--soak", type=int, default=0, metavar="SECONDS", help="watch the memory under load instead")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is missing; install it (Debian, Ubuntu: apt-get install wrk)")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="taskapi-bench-") as name:
        folder = Path(name)
        settings = Settings(mongodb_uri=None, secret_key=SecretStr(SECRET), data_dir=folder / "data")
        with embedded.provide(settings) as complete:
            assert complete.mongodb_uri
            bench = Bench(complete.mongodb_uri.get_secret_value(), folder, [])
            pin_mongod(folder)
            prepare(bench)
            if options.soak:
                soak(bench, options.soak)
                return
            connections = [int(count) for count in options.connections.split(",")]
            rows = compare(bench, connections, options.rounds, options.seconds)
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1))
    print(f"{os.cpu_count()} cores; the server had one of them.")


if __name__ == "__main__":
    main()
