"""Measures whether the API stays fast as the collection grows, and on late pages as on the first.

A database of 10,000 tasks and one of 1,000,000 on the same MongoDB, measured in turn; in the large one an owner has
100,000 tasks, who pages through them by cursor.
"""

import statistics
from collections.abc import Iterator
from datetime import timedelta

import httpx
from bench_load import LARGE, REQUESTS, Bench, prepare
from bson import ObjectId
from pymongo import MongoClient

SMALL_COUNT, LARGE_COUNT, DEEP_COUNT = 10_000, 1_000_000, 100_100
EACH = 50
BATCH = 5000
PAGE = 20
DEPTHS = (1, 5000)  # pages
PER_WALK = 100  # tasks that one request passes over on the way


def scale(bench: Bench, connections: int, rounds: int, seconds: int) -> None:
    """Prints the rates of each operation on both databases, then of the list by cursor at both depths."""
    large = Bench(bench.uri, bench.folder, [], database=LARGE)
    prepare(large)
    deep = large.callers.pop()
    grow(large, deep)
    seen: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for name, each in (("small", bench), ("large", large)):
            with each.server("taskapi", patience=1800) as (url, _):
                for operation, request in REQUESTS.items():
                    each.load(url, request, 8, 1)  # warms up
                    seen.setdefault((operation, name), []).append(each.load(url, request, connections, seconds).rate)
    print(f"| operation | req/s at {SMALL_COUNT:,} tasks | at {LARGE_COUNT:,} | cost ratio |")
    print("| --- | ---: | ---: | ---: |")
    for operation in REQUESTS:
        row(operation, seen[operation, "small"], seen[operation, "large"])
    print(f"\n| list by cursor | req/s at page {DEPTHS[0]:,} | at page {DEPTHS[1]:,} | cost ratio |")
    print("| --- | ---: | ---: | ---: |")
    row(f"{PAGE} of {DEEP_COUNT:,} tasks", *at_depths(large, deep[0], connections, rounds, seconds))


def row(name: str, first: list[float], second: list[float]) -> None:
    ratio = statistics.median(one / other for one, other in zip(first, second, strict=True))
    print(f"| {name} | {statistics.median(first):.0f} | {statistics.median(second):.0f} | {ratio:.2f} |")


def at_depths(bench: Bench, token: str, connections: int, rounds: int, seconds: int) -> tuple[list[float], list[float]]:
    """The rates of a page after the first, and of one far down, for the owner of that token."""
    rates: tuple[list[float], list[float]] = ([], [])
    with bench.server("taskapi", patience=1800) as (url, _), httpx.Client(base_url=url) as client:
        client.headers["Authorization"] = f"Bearer {token}"
        cursors = list(walk(client))
        for _ in range(rounds):
            for found, cursor in zip(rates, cursors, strict=True):
                headers = f'{{["Authorization"] = "Bearer {token}"}}'
                request = f'return wrk.format("GET", "/tasks?limit={PAGE}&cursor={cursor}", {headers})'
                bench.load(url, request, 8, 1)
                found.append(bench.load(url, request, connections, seconds).rate)
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


def grow(bench: Bench, deep: tuple[str, list[str]]) -> None:
    """Adds copies of a task until there are a million: many for the owner ``deep``, else a few for each."""
    with MongoClient[dict[str, object]](bench.uri) as mongo:
        tasks = mongo[bench.database]["tasks"]
        template = tasks.find_one({"_id": ObjectId(deep[1][0])})
        assert template
        tasks.drop_indexes()  # building the indexes once, at the start of the server, is faster than maintaining them
        wanted = LARGE_COUNT - tasks.estimated_document_count()
        for start in range(0, wanted, BATCH):
            tasks.insert_many(list(copies(template, start, min(BATCH, wanted - start))), ordered=False)


def copies(template: dict[str, object], start: int, count: int) -> Iterator[dict[str, object]]:
    owner = template["owner"]
    for number in range(start, start + count):
        if number >= DEEP_COUNT and (number % EACH == 0 or number == start):
            owner = {"id": ObjectId(), "username": f"other{number}"}
        created = template["created_at"] - timedelta(milliseconds=number)  # type: ignore[operator]
        yield {**template, "_id": ObjectId(), "owner": owner, "created_at": created}
