"""Measures the API in turn with the floor, and with other servers, that get the same requests for the same tasks."""

import statistics
import sys
from collections.abc import Sequence

import bench_peers
from bench_load import READS, WRITES, Bench, Measure
from bench_page import Result, Table
from pymongo import MongoClient

OPERATIONS = {**READS, **WRITES}
WARM_UP_SECONDS = 3  # before each operation: just-in-time compilers need as long
FIELDS = ("title", "description", "status", "priority", "tags", "completed", "due_date", "owner", "created_at", "updated_at")
MEANING = (
    "Every server is one process on a core of its own; MongoDB and the load generator share the other. Each value is the "
    "median of {rounds} rounds of {seconds} s; the ratio to the floor is taken within each round, so it says more than "
    "the rates. What the API does beyond the others: live sessions, validation of all values, entity tags, totals and "
    "cursors of lists, the history of every task, and one error format."
)


def compare(bench: Bench, names: Sequence[str], connections: Sequence[int], rounds: int, seconds: int) -> Result:
    """Measures each server with each operation and number of connections. Fails if one of them answers with an error."""
    copy_for_peers(bench)
    seen: dict[tuple[str, int, str], list[Measure]] = {}
    for number in range(rounds):
        for name in names:
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
            with bench.server(name) as (url, _):
                for operation, request in OPERATIONS.items():
                    bench.load(url, request, 32, min(seconds, WARM_UP_SECONDS))
                    for count in connections:
                        seen.setdefault((operation, count, name), []).append(bench.load(url, request, count, seconds))
    headings = ("operation", "connections", "server", "req/s", "p50 ms", "p99 ms", "ratio to floor", "errors")
    result = Result([Table(headings, texts=3)], [MEANING.format(rounds=rounds, seconds=seconds)])
    for (operation, count, name), measures in sorted(seen.items(), key=lambda item: order(item[0], names)):
        floor = seen[operation, count, "floor"]
        ratio = statistics.median(mine.rate / theirs.rate for mine, theirs in zip(measures, floor, strict=True))
        rate, p50, p99 = (statistics.median(getattr(each, kind) for each in measures) for kind in ("rate", "p50", "p99"))
        errors = sum(measure.errors for measure in measures)
        row = (f"{rate:.0f}", f"{p50:.1f}", f"{p99:.1f}", f"{ratio:.2f}", errors)
        result.tables[0].rows.append((operation, count, bench_peers.TITLES[name], *row))
        if errors:
            result.failures.append(f"{name} answered {errors} of {operation} with errors at {count} connections")
    return result


def order(row: tuple[str, int, str], names: Sequence[str]) -> tuple[int, int, int]:
    return list(OPERATIONS).index(row[0]), row[1], names.index(row[2])


def copy_for_peers(bench: Bench) -> None:
    """Copies accounts and tasks into the database of the peers: with the fields and indexes that their answers need."""
    target = bench.peers_database
    with MongoClient[dict[str, object]](bench.uri) as mongo:
        source, copy = mongo[bench.database], mongo[target]
        source["users"].aggregate([{"$project": {"username": 1}}, {"$out": {"db": target, "coll": "users"}}])
        source["tasks"].aggregate([{"$project": dict.fromkeys(FIELDS, 1)}, {"$out": {"db": target, "coll": "tasks"}}])
        copy["tasks"].create_index([("owner.id", 1), ("created_at", -1)])
