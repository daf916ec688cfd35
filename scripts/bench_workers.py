"""Measures what a request costs with several workers, and looks for anything that they share besides MongoDB."""

import contextlib
import os
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench_load import READS, WRITES, Bench
from bench_page import Result, Table

OPERATIONS = {**READS, **WRITES}
CONNECTIONS_EACH = 32  # per worker
MAX_COST = 1.1  # of a request, compared with separate services
TICKS = os.sysconf("SC_CLK_TCK")
LISTENING = "0A"  # in /proc/net/tcp
IDLE = 0.1  # seconds of CPU time per second
MEANING = (
    f"The CPU time of all workers, user and system, with {CONNECTIONS_EACH} connections per worker; each value is the median of "
    "{rounds} rounds of {seconds} s, the ratio that within each round. All workers share one core here. Each then gets fewer "
    "requests per round trip to MongoDB than one worker alone, and groups fewer into one query, which costs more. So the ratio "
    f"compares them with as many separate services on that core; it may be at most {MAX_COST}. The command also fails if the "
    "workers share memory, or have anything open in common but the listening socket and a pipe of Python's multiprocessing."
)


def compare_workers(bench: Bench, count: int, rounds: int, seconds: int) -> Result:
    """Compares a service of ``count`` workers with as many services. Fails if a request costs more, or workers share anything."""
    variants = {"1 worker": (1, 1), f"{count} services of 1 worker": (count, 1), f"{count} workers": (1, count)}
    seen: dict[tuple[str, str], list[float]] = {}
    shared: set[str] = set()
    for number in range(rounds):
        for variant, (services, workers) in variants.items():
            print(f"round {number + 1} of {rounds}: {variant}", file=sys.stderr)
            with contextlib.ExitStack() as running:
                started = [running.enter_context(bench.server("taskapi", workers=workers)) for _ in range(services)]
                pids = [worker for _, pid in started for worker in wait_for_workers(pid, workers)]
                urls = [url for url, _ in started]
                for operation, request in OPERATIONS.items():
                    load(bench, urls, request, CONNECTIONS_EACH * workers, 1)  # warms up
                    before = cpu_seconds(pids)
                    requests = load(bench, urls, request, CONNECTIONS_EACH * workers, seconds)
                    spent = cpu_seconds(pids) - before
                    seen.setdefault((operation, variant), []).append(spent / requests * 1000)
                shared |= find_shared(started[0][1], pids) if workers > 1 else set()
    table = Table(["CPU s / 1,000 requests", *variants, "workers / services"])
    result = Result([table], [MEANING.format(rounds=rounds, seconds=seconds)])
    for operation in OPERATIONS:
        costs = [seen[operation, variant] for variant in variants]
        ratio = statistics.median(b / a for a, b in zip(*costs[1:], strict=True))
        table.rows.append((operation, *(f"{statistics.median(each):.3f}" for each in costs), f"{ratio:.2f}"))
        if ratio > MAX_COST:
            result.failures.append(f"{operation} costs {ratio:.2f} times as much with {count} workers")
    result.failures += [f"the workers share {each}" for each in sorted(shared)]
    return result


def load(bench: Bench, urls: Sequence[str], request: str, connections: int, seconds: int) -> int:
    """Loads all services at the same time. Returns the number of requests."""
    with ThreadPoolExecutor() as threads:
        measures = list(threads.map(lambda url: bench.load(url, request, connections, seconds), urls))
    return sum(each.requests for each in measures)


def find_children(pid: int, module: str) -> list[int]:
    """The process ids of the children that Python started for ``module``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and module in (entry / "cmdline").read_text():
                found.append(int(entry.name))
    return found


def wait_for_workers(pid: int, count: int) -> list[int]:
    """Waits until ``count`` workers of the service have started and are idle; their process ids. One is the service itself."""
    for _ in range(60):
        workers = [pid] if count == 1 else find_children(pid, "multiprocessing.spawn")
        before = cpu_seconds(workers)
        time.sleep(1)
        if len(workers) == count and cpu_seconds(workers) - before < IDLE:
            return workers
    sys.exit(f"{count} workers did not start")


def cpu_seconds(pids: Sequence[int]) -> float:
    """The time that the processes have used, of user and system."""
    stats = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / TICKS


def open_files(pid: int) -> set[str]:
    """What a process has open, but for its standard streams and what the kernel made for it alone."""
    links = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            links.add(str(entry.readlink()) if int(entry.name) > 2 else "")
    return {link for link in links if link not in {"", "/dev/null"} and not link.startswith("anon_inode:")}


def shared_memory(pid: int) -> set[str]:
    """The device and inode of what a process has mapped so that others see its writes."""
    lines = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    return {f"{device} {inode}" for _, mode, _, device, inode, *_ in lines if "w" in mode and "s" in mode}


def find_shared(pid: int, workers: Sequence[int]) -> set[str]:
    """What all workers have open or mapped in common, besides the listening socket and the pipe of Python's resource tracker."""
    files = set.intersection(*map(open_files, workers))
    table = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    listening = {f"socket:[{row[9]}]" for row in table if row[3] == LISTENING}
    tracked = {link for child in find_children(pid, "multiprocessing.resource_tracker") for link in open_files(child)}
    return (files - listening - tracked) | set.intersection(*map(shared_memory, workers))
