"""Measures the API beside a hand-written Starlette + Motor + orjson handler (bench_floor.py) in the same run.

One server process each, measured in turn on the same MongoDB and the same tasks; callers and tasks rotate. With two
cores or more the server has the first to itself, and MongoDB and the load share the second. Ratios are medians over
the rounds, each taken within its round: single numbers of a busy machine mean little.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
from pathlib import Path

from bench_load import REQUESTS, SECRET, Bench, Measure, pin_mongod, prepare
from bench_scale import scale
from pydantic import SecretStr

from taskapi.core.settings import Settings
from taskapi.db import embedded


def compare(bench: Bench, connections: list[int], rounds: int, seconds: int) -> list[dict[str, object]]:
    """Measures both servers in turn, and prints one row for each operation and number of connections."""
    seen: dict[tuple[str, int, str], list[Measure]] = {}
    for _ in range(rounds):
        for name in ("floor", "taskapi"):
            with bench.server(name) as (url, _):
                for operation, request in REQUESTS.items():
                    bench.load(url, request, 8, 1)  # warms up
                    for count in connections:
                        measure = bench.load(url, request, count, seconds)
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
        for request in REQUESTS.values():
            bench.load(url, request, 128, 5)
        sizes = [resident_mib(pid)]
        for _ in range(4):
            bench.load(url, REQUESTS["list"], 128, max(seconds // 4, 1))
            sizes.append(resident_mib(pid))
    print(f"Resident memory over {seconds} s at 128 connections, MiB: " + ", ".join(f"{size:.0f}" for size in sizes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", default="1,32,128", help="numbers of connections (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default %(default)s)")
    parser.add_argument("--seconds", type=int, default=4, help="length of one measurement (default %(default)s)")
    parser.add_argument("--soak", type=int, default=0, metavar="SECONDS", help="watch the memory under load instead")
    parser.add_argument("--scale", action="store_true", help="compare 10,000 tasks with 1,000,000, and near pages with far ones")
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
            if options.scale:
                scale(bench, 32, options.rounds, options.seconds)
                return
            connections = [int(count) for count in options.connections.split(",")]
            rows = compare(bench, connections, options.rounds, options.seconds)
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1))
    print(f"{os.cpu_count()} cores; the server had one of them.")


if __name__ == "__main__":
    main()
