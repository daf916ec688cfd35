"""Measures whether the API stays fast as the collection grows, and on late pages as on the first.

Each number of tasks has a database of its own on the same MongoDB; they are measured in turn. In the largest, if it has a
million tasks, one owner has 100,000, who pages through them by cursor.
"""

import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence

import httpx
from bench_load import READS, SEARCH, TASKS_EACH, WRITES, Bench, Caller, copy, prepare
from bench_page import Result, Table
from bson import ObjectId
from pymongo import MongoClient

OPERATIONS = {**READS, **WRITES, **SEARCH}
CONNECTIONS = 32
MAX_COST = 1.2  # of a request, compared with the smallest collection
LARGE, DEEP_COUNT = 1_000_000, 100_100
BATCH = 5000
PAGE = 20
DEPTHS = (1, 5000)  # pages
PER_WALK = 100  # tasks that one request passes over on the way
PATIENCE = 3 * 3600  # seconds: the first start builds the indexes
BYTES_EACH, PER_MINUTE = 400, 250_000  # tasks with their indexes, seeded on the machine of docs/performance.md
MEANING = (
    f"Each value is the median of {{rounds}} rounds of {{seconds}} s at {CONNECTIONS} connections, the cost ratio that of the "
    f"rates within each round; it may be at most {MAX_COST}. Every owner but those that create has {TASKS_EACH} tasks{{deep}}."
)


def require_space(sizes: Sequence[int]) -> None:
    """Prints how long the tasks take and how large they are. Exits if the disk is too small."""
    needed, free = sum(sizes) * BYTES_EACH / 2**30 + 1.5, shutil.disk_usage(tempfile.gettempdir()).free / 2**30
    say = f"{sum(sizes):,} tasks take about {sum(sizes) / PER_MINUTE:.0f} minutes and {needed:.1f} GiB"
    print(f"{say}; {tempfile.gettempdir()} (TMPDIR chooses another folder) has {free:.1f} GiB", file=sys.stderr)
    if free < needed:
        sys.exit("that is not enough")


def scale(bench: Bench, sizes: Sequence[int], rounds: int, seconds: int) -> Result:
    """Compares each operation in collections of those sizes, then the list by cursor at both depths. Fails above ``MAX_COST``."""
    benches = [Bench(bench.uri, bench.folder, f"{bench.database}_{size}") for size in sizes]
    deep = None
    for each, size in zip(benches, sizes, strict=True):
        templates = prepare(each)
        if size == sizes[-1] >= LARGE:
            deep = each.readers.pop()
        grow(each, templates, size, deep)
    seen: dict[tuple[str, int], list[float]] = {}
    for number in range(rounds):
        for each, size in zip(benches, sizes, strict=True):
            print(f"round {number + 1} of {rounds}: {size:,} tasks", file=sys.stderr)
            with each.server("taskapi", PATIENCE) as (url, _):
                for operation, request in OPERATIONS.items():
                    each.load(url, request, 8, 1)  # warms up
                    seen.setdefault((operation, size), []).append(each.load(url, request, CONNECTIONS, seconds).rate)
            remove_created(each)
    ratios = [f"cost at {size:,}" for size in sizes[1:]]
    table = Table(["operation", *(f"req/s at {size:,}" for size in sizes), *ratios])
    result = Result([table])
    for operation in OPERATIONS:
        add_row(result, 0, operation, [seen[operation, size] for size in sizes])
    said = f"; one has {DEEP_COUNT:,}, and pages through them" if deep else ""
    result.sentences.append(MEANING.format(rounds=rounds, seconds=seconds, deep=said))
    if deep:
        names = [f"req/s at page {depth:,}" for depth in DEPTHS]
        result.tables.append(Table(["list by cursor", *names, "cost ratio"]))
        rates = at_depths(benches[-1], deep.token, rounds, seconds)
        add_row(result, 1, f"{PAGE} of {DEEP_COUNT:,} tasks", rates)
    return result


def add_row(result: Result, table: int, name: str, rates: Sequence[Sequence[float]]) -> None:
    """Adds the medians of the rates, and what each costs compared with the first."""
    costs = [statistics.median(one / other for one, other in zip(rates[0], each, strict=True)) for each in rates[1:]]
    medians = (f"{statistics.median(each):.0f}" for each in rates)
    result.tables[table].rows.append((name, *medians, *(f"{cost:.2f}" for cost in costs)))
    result.failures += [f"{name} costs {cost:.2f} times as much" for cost in costs if cost > MAX_COST]


def at_depths(bench: Bench, token: str, rounds: int, seconds: int) -> tuple[list[float], list[float]]:
    """The rates of a page after the first, and of one far down, for the owner of that token."""
    rates: tuple[list[float], list[float]] = ([], [])
    with bench.server("taskapi", PATIENCE) as (url, _), httpx.Client(base_url=url) as client:
        client.headers["Authorization"] = f"Bearer {token}"
        cursors = list(walk(client))
        for _ in range(rounds):
            for found, cursor in zip(rates, cursors, strict=True):
                headers = f'{{["Authorization"] = "Bearer {token}"}}'
                request = f'return wrk.format("GET", "/tasks?limit={PAGE}&cursor={cursor}", {headers})'
                bench.load(url, request, 8, 1)
                found.append(bench.load(url, request, CONNECTIONS, seconds).rate)
    return rates


def walk(client: httpx.Client) -> Iterator[str]:
    """The cursors of the pages at each of the depths."""
    first = client.get(f"/tasks?limit={PAGE}&count=none").raise_for_status()
    yield first.headers["x-next-cursor"]
    cursor, passed = first.headers["x-next-cursor"], PAGE
    while passed < DEPTHS[-1] * PAGE:
        answer = client.get(f"/tasks?limit={PER_WALK}&cursor={cursor}").raise_for_status()
        cursor, passed = answer.headers["x-next-cursor"], passed + PER_WALK
    yield cursor


def grow(bench: Bench, templates: list[dict[str, object]], size: int, deep: Caller | None) -> None:
    """Adds tasks until there are ``size``: many for the owner ``deep``, else a few for each of many owners."""
    with MongoClient[dict[str, object]](bench.uri) as mongo:
        tasks = mongo[bench.database]["tasks"]
        missing = size - tasks.estimated_document_count()
        if missing <= 0:
            return
        tasks.drop_indexes()  # building the indexes once, at the start of the server, is faster than maintaining them
        if deep:
            owned = list(copy(templates, {"id": deep.id, "username": "deep"}, min(DEEP_COUNT, missing)))
            tasks.insert_many(owned, ordered=False)
            missing -= len(owned)
        for start in range(0, missing, BATCH):
            owners = [{"id": ObjectId(), "username": f"other{start + n}"} for n in range(0, BATCH, TASKS_EACH)]
            batch = [task for owner in owners for task in copy(templates, owner, TASKS_EACH)]
            tasks.insert_many(batch[: missing - start], ordered=False)


def remove_created(bench: Bench) -> None:
    """Removes what the writers have created, so that the collection keeps its size."""
    with MongoClient[dict[str, object]](bench.uri) as mongo:
        for caller in bench.writers:
            mongo[bench.database]["tasks"].delete_many({"owner_id": caller.id, "_id": {"$nin": caller.tasks}})
