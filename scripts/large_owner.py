"""Runs every documented query as an owner of 200,000 tasks, and prints how long each takes.

Each runs twice on a real server whose MongoDB has seen none before: first without a cached plan, then possibly with one.
Fails when one is answered 503, or takes longer than --most seconds; but for words that stand in nearly every task, which the
limit of a query may cut.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import permutations
from pathlib import Path
from typing import Any

import httpx
from bench_load import own_bench
from passlib.hash import argon2
from pymongo import MongoClient
from pymongo.collection import Collection
from seed_documents import Generator
from tqdm import tqdm

from taskapi.accounts.users.schemas import UserRead
from taskapi.tasks.definitions import Kind
from taskapi.tasks.fields import FIELDS, SORTABLE
from taskapi.tasks.storage.pipelines import trash_pipeline

BSON = dict[str, Any]
BATCH = 5000
PASSWORD = "correct horse battery"  # noqa: S105
LAST_DAY = date(2026, 11, 1)
OTHERS = 20_000  # tasks of a hundred others
TRASHED = 20_000  # of the owner, in addition to those that exist
LIMIT_SECONDS = 2.0  # of TASKAPI_QUERY_TIMEOUT_MS
VALUES: dict[Kind, Sequence[Any]] = {
    Kind.text: ({"$eq": "Send the final budget"}, {"$gte": "W"}, {"$ne": ""}),
    Kind.tag: ("car", {"$in": ["car", "kitchen"]}, {"$nin": ["work"]}, {"$size": 3}),
    Kind.link: ("https://example.com/report/1", {"$size": 0}),
    Kind.status: ("todo", {"$ne": "done"}, {"$in": ["todo", "in_progress"]}),
    Kind.flag: (True, False, {"$ne": True}),
    Kind.integer: (3, {"$gte": 4}, {"$ne": 1}),
    Kind.number: (0.5, {"$lt": 1}),
    Kind.day: ("2026-05-01", {"$gte": "2026-10-01"}, {"$lt": "2025-12-15"}, None),
    Kind.moment: ("2026-05-01T12:00:00Z", {"$gte": "2026-10-30T00:00:00Z"}, {"$lt": "2026-05-01T00:00:00Z"}),
    Kind.object_id: ("65f1a2b3c4d5e6f708192a3b", {"$gte": "65f1a2b3c4d5e6f708192a3b"}),
    Kind.members: ({"$exists": True},),
    Kind.metadata: ({"$ne": {}}, {}),
}
PATHS: Sequence[BSON] = (
    {"metadata.project": "Apollo"},
    {"metadata.project": {"$ne": "Apollo"}},
    {"metadata.estimate.hours": {"$gte": 40}},
    {"metadata.estimate.hours": {"$lt": 3}},
    {"metadata.none": 1},
    {"metadata.none": {"$exists": False}},
    {"checklist": {"$elemMatch": {"text": "Send it", "done": True}}},
    {"$or": [{"priority": 5}, {"metadata.project": "Vega"}]},
    {"$nor": [{"metadata.project": "Vega"}, {"status": "done"}]},
    {"$and": [{"priority": {"$gte": 4}}, {"due_date": {"$lt": "2026-01-01"}}, {"tags": "car"}]},
    {"completed_at": None},
    {"completed_at": {"$ne": None}},
    {"completed_at": {"$gte": "2026-05-01T00:00:00Z", "$lt": "2026-05-02T00:00:00Z"}},
    {"completed_at": {"$gte": "2026-05-01T00:00:00Z", "$lt": "2026-05-08T00:00:00Z"}},
    {"completed_at": {"$gte": "2026-05-01T00:00:00Z"}},
)
FILTERS: Sequence[dict[str, str]] = (
    {},
    {"status": "todo"},
    {"completed": "true"},
    {"completed": "false"},
    {"priority": "3"},
    {"tag": "work"},
    {"tag": "kitchen"},
    {"tag": "nowhere"},
    {"due_before": "2026-01-01"},
    {"due_after": "2026-10-01"},
    {"due_after": "2026-05-01", "due_before": "2026-05-04"},
    {"overdue": "true"},
    {"overdue": "false"},
    {"overdue": "true", "priority": "5", "tag": "car"},
    {"priority": "5", "tag": "work", "completed": "false"},
)
WORDS = ("kitchen", "apple", '"annual budget"', "budget -annual", "quarterly survey")
STATISTICS = ("summary", "throughput", "burndown", "flow", "lead-time", "tags")
RANGE = {"from": "2025-10-01", "to": "2026-10-31"}  # 396 days, with nearly all tasks
COMMON_WORDS = ("the", "write the final report again")  # the first stands in every title


def queries() -> Iterator[tuple[str, dict[str, str]]]:
    """The queries, each with the heading of its kind."""
    sorts = [f"{sign}{name}" for name in SORTABLE for sign in ("", "-")]
    pairs = [f"{first},{second}" for first, second in permutations(sorts, 2) if first.strip("-") != second.strip("-")]
    for filters in FILTERS:
        yield "filter", filters
        for sort in (*sorts, "-priority,due_date", "priority,title", "created_at,priority"):  # no index has the last two
            yield "filter in order", {**filters, "sort": sort}
    for pair in pairs:
        yield "two-key sort", {"sort": pair}
    for sort in ("", *sorts, "-priority,due_date", "priority,title"):
        yield "offset", {**({"sort": sort} if sort else {}), "offset": "100000"}
    wheres = [{name: value} for name, known in FIELDS.items() for value in VALUES[known.kind]]
    for where in (*wheres, *PATHS):
        text = json.dumps(where)
        yield "where", {"where": text}
        for sort in ("title", "-updated_at", "due_date", "priority,title"):
            yield "where in order", {"where": text, "sort": sort}
    for words in (*WORDS, *COMMON_WORDS):
        kind = "common words" if words in COMMON_WORDS else "words"
        for more in ({}, {"status": "todo"}, {"tag": "car"}, {"sort": "title"}, {"sort": "due_date"}):
            yield kind, {"q": words, **more}
    for parameters in statistics():
        yield "statistics", parameters
    for count in ("exact", "estimate", "none"):
        yield "count", {"count": count}
        yield "count", {"count": count, "where": '{"completed_at": null}', "sort": "priority,title"}


def statistics() -> Iterator[dict[str, str]]:
    """The parameters of statistics, with the name of each."""
    for name in STATISTICS:
        ranged = name not in ("summary", "tags")
        for filters in ({}, {"tag": "work"}, {"completed": "true"}, {"where": json.dumps({"estimate_minutes": None})}):
            yield {"name": name, **filters}
            if ranged:
                yield {"name": name, **filters, **RANGE}
    yield {"name": "burndown", "measure": "estimate_minutes", **RANGE}


def walk(client: httpx.Client, kind: str, parameters: dict[str, str]) -> Iterator[tuple[str, float, int]]:
    """Asks for a page or statistics, again, then for the next page by its cursor: each with its seconds and status."""
    cursor = None
    path = f"/stats/{parameters['name']}" if kind == "statistics" else "/tasks"
    asked = {key: value for key, value in parameters.items() if key != "name"}
    for step in ("first", "again"):
        began = time.monotonic()
        answer = client.get(path, params=asked)
        yield step, time.monotonic() - began, answer.status_code
        cursor = answer.headers.get("x-next-cursor", cursor)
    if cursor:
        rest = {name: value for name, value in parameters.items() if name != "offset"}
        began = time.monotonic()
        answer = client.get("/tasks", params={**rest, "cursor": cursor})
        yield "cursor", time.monotonic() - began, answer.status_code


def insert(tasks: Collection[BSON], generator: Generator, count: int) -> None:
    with tqdm(total=count, desc="seeding", unit=" tasks", unit_scale=True, disable=None) as bar:
        for start in range(0, count, BATCH):
            batch = [generator.task(number) for number in range(start, min(start + BATCH, count))]
            tasks.insert_many(batch, ordered=False)
            bar.update(len(batch))


def fill(uri: str, database: str, count: int) -> str:
    """Writes the owner with their tasks and trash, and others, unless they exist; the owner's name."""
    owner = Generator(1, 1, argon2.using(type="ID", memory_cost=64, rounds=1).hash(PASSWORD), LAST_DAY, deletes=False)  # type: ignore[no-untyped-call]
    user = owner.user(0)
    with MongoClient[BSON](uri) as client:
        tasks, users = client[database]["tasks"], client[database]["users"]
        if not users.find_one({"_id": user["_id"]}):
            tasks.drop_indexes()  # the server builds them all at once
            insert(tasks, owner, count + TRASHED)
            insert(tasks, Generator(2, 100, "", LAST_DAY, deletes=False), OTHERS)
            last = {"_id": {"$gte": owner.id("tasks", count), "$lt": owner.id("tasks", count + TRASHED)}}
            tasks.update_many(last, trash_pipeline(UserRead.model_validate(user), 30))
            users.insert_one(user)
    return str(user["username"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=200_000, help="how many tasks (default %(default)s)")
    parser.add_argument("--most", type=float, default=LIMIT_SECONDS, help="seconds that a query may take (default %(default)s)")
    parser.add_argument("--data", type=Path, help="a folder to keep the data in, and to find it again (default a temporary one)")
    parser.add_argument("--kind", help="only queries of this kind, such as 'offset'")
    parser.add_argument("--every", type=int, default=1, help="only each such query, for a shorter run (default %(default)s)")
    parser.add_argument("--slow", type=float, default=0.5, help="print the queries that take more seconds (default %(default)s)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with own_bench("large", options.data) as bench:
        username = fill(bench.uri, bench.database, options.tasks)
        with (
            bench.server("taskapi", patience=600, TASKAPI_MIGRATE="auto") as (url, _),
            httpx.Client(base_url=url, timeout=60) as client,
        ):
            form = {"username": username, "password": PASSWORD}
            token = client.post("/token", data=form).raise_for_status().json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            failed = measure(client, chosen(options.kind, options.every), options)
    if failed:
        sys.exit(f"large_owner: {failed} queries failed, or took more than {options.most:g} s")


def chosen(kind: str | None, every: int) -> list[tuple[str, dict[str, str]]]:
    return [query for query in queries() if kind in (None, query[0])][::every]


def measure(client: httpx.Client, asked: list[tuple[str, dict[str, str]]], options: argparse.Namespace) -> int:
    """Prints the slow queries, and a table by kind; how many were too slow."""
    taken: dict[str, list[float]] = {}
    failures: dict[str, int] = {}
    for kind, parameters in asked:
        for step, seconds, status in walk(client, kind, parameters):
            taken.setdefault(kind, []).append(seconds)
            failures.setdefault(kind, 0)
            if status != 200 or seconds > options.most:
                failures[kind] += 1
            if status != 200 or seconds > options.slow:
                print(f"{status} {seconds:6.2f} s {step:6} {parameters}", flush=True)
    print("\n| queries | requests | median s | p95 s | slowest s | 503 or too slow |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for kind, seconds_of in taken.items():
        found = sorted(seconds_of)
        cells = (found[len(found) // 2], found[int(len(found) * 0.95)], found[-1])
        print(f"| {kind} | {len(found)} | {' | '.join(f'{cell:.2f}' for cell in cells)} | {failures[kind]} |")
    return sum(count for kind, count in failures.items() if kind != "common words")


if __name__ == "__main__":
    main()
