"""Watches the latencies and the memory of the server under a long load of many connections."""

import os
import statistics
from pathlib import Path

from bench_load import READS, WRITES, Bench, Measure
from bench_page import Result, Table

OPERATIONS = {**READS, **WRITES}
CONNECTIONS = 128
CYCLES = 3
WARM_UP_SECONDS = 5  # for each operation
MAX_SPREAD = 2.0  # of p99 over p50
MAX_GROWTH = 1.03  # of the memory, from the end of the first cycle to that of the last
MEANING = (
    "One worker served {connections} connections for {seconds} s, with each operation {cycles} times in turn; each value is the "
    f"median. p99 must be below {MAX_SPREAD:.0f} times p50, and the memory stay within {MAX_GROWTH - 1:.0%}: it was {{sizes}} "
    "MiB after the warm-up and after each cycle."
)


def resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def soak(bench: Bench, seconds: int) -> Result:
    """Fails if the latencies of an operation spread, if the memory grows, or if there are errors."""
    length = max(seconds // CYCLES // len(OPERATIONS), 1)
    seen: dict[str, list[Measure]] = {operation: [] for operation in OPERATIONS}
    with bench.server("taskapi") as (url, pid):
        for request in OPERATIONS.values():
            bench.load(url, request, CONNECTIONS, min(length, WARM_UP_SECONDS))
        sizes = [resident_mib(pid)]
        for _ in range(CYCLES):
            for operation, request in OPERATIONS.items():
                seen[operation].append(bench.load(url, request, CONNECTIONS, length))
            sizes.append(resident_mib(pid))
    result = Result([Table(("operation", "req/s", "p50 ms", "p99 ms", "p99 / p50", "errors"))])
    for operation, measures in seen.items():
        rate, p50, p99 = (statistics.median(getattr(each, kind) for each in measures) for kind in ("rate", "p50", "p99"))
        spread = statistics.median(each.p99 / each.p50 for each in measures)
        errors = sum(each.errors for each in measures)
        result.tables[0].rows.append((operation, f"{rate:.0f}", f"{p50:.1f}", f"{p99:.1f}", f"{spread:.2f}", errors))
        if spread >= MAX_SPREAD:
            result.failures.append(f"the p99 of {operation} is {spread:.2f} times p50")
        if errors:
            result.failures.append(f"{operation} was answered {errors} times with an error")
    if sizes[-1] > sizes[1] * MAX_GROWTH:
        result.failures.append(f"the memory grew from {sizes[1]:.0f} to {sizes[-1]:.0f} MiB")
    said = ", ".join(f"{size:.0f}" for size in sizes)
    result.sentences.append(
        MEANING.format(connections=CONNECTIONS, seconds=length * CYCLES * len(OPERATIONS), cycles=CYCLES, sizes=said)
    )
    return result
