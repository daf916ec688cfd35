"""Measures what each index of the tasks costs when tasks are written, and prints it with the queries that the index serves.

Each index is measured alone: the same tasks are inserted, then changed, in a collection with this index and in one without any.
The difference is the CPU time of MongoDB for the index, which a busy machine disturbs less than rates. Rounds are interleaved.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from bench_load import SECRET
from bson import ObjectId
from pydantic import SecretStr
from pymongo import IndexModel, MongoClient, UpdateOne
from pymongo.collection import Collection
from seed_documents import Generator
from tqdm import tqdm

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.settings import Settings
from taskapi.db import embedded
from taskapi.tasks.schemas import TaskUpdate
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.indexes import INDEXES
from taskapi.tasks.storage.pipelines import fields_of, update

BSON = dict[str, Any]
BATCH = 1000
MIB = 2**20
CHANGES = ({"status": "done"}, {"priority": 4}, {"due_date": "2027-01-31"}, {"description": "Nobody has looked at it."})
NONE, ALL = "none", "all"
HEADING = ("index", "insert µs", "change µs", "inserts/s with it alone", "changes/s", "MiB per million", "serves")


@dataclass
class Cost:
    """The measurements of one set of indexes, by round."""

    indexes: Sequence[IndexModel]
    inserted: list[float] = field(default_factory=list)  # CPU seconds of MongoDB per task
    changed: list[float] = field(default_factory=list)
    inserts: list[float] = field(default_factory=list)  # per second
    changes: list[float] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)  # bytes of each index


@contextmanager
def measured(server: Any, count: int, cpu: list[float], rates: list[float]) -> Iterator[None]:
    """Appends the CPU seconds of MongoDB per task, and the tasks per second."""
    pid = server.admin.command("serverStatus")["pid"]
    ticks, began = cpu_ticks(pid), time.monotonic()
    yield
    rates.append(count / (time.monotonic() - began))
    cpu.append((cpu_ticks(pid) - ticks) / os.sysconf("SC_CLK_TCK") / count)


def cpu_ticks(pid: int) -> int:
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(values[11]) + int(values[12])


def measure(server: Any, cost: Cost, documents: list[BSON], changes: list[UpdateOne]) -> None:
    tasks: Collection[BSON] = server["index_costs"][TaskDocument.Settings.name]
    tasks.drop()
    tasks.insert_one({"_id": ObjectId()})  # the collection exists before the first measurement
    if cost.indexes:
        tasks.create_indexes(list(cost.indexes))
    with measured(server, len(documents), cost.inserted, cost.inserts):
        in_batches(documents, lambda batch: tasks.insert_many(batch, ordered=False))
    cost.sizes = {name: size for name, size in sizes_of(tasks).items() if name != "_id_"}
    with measured(server, len(changes), cost.changed, cost.changes):
        in_batches(changes, lambda batch: tasks.bulk_write(batch, ordered=False))


def sizes_of(tasks: Collection[BSON]) -> dict[str, int]:
    tasks.database.client.admin.command("fsync")  # sizes are those of the last checkpoint
    sizes: dict[str, int] = tasks.database.command("collStats", tasks.name)["indexSizes"]
    return sizes


def in_batches(all_of_them: list[Any], write: Callable[[list[Any]], object]) -> None:
    for start in range(0, len(all_of_them), BATCH):
        write(all_of_them[start : start + BATCH])


def print_table(costs: dict[str, Cost], count: int) -> None:
    print(f"| {' | '.join(HEADING)} |\n| --- | {'---: | ' * 5}--- |")
    described = {index.name: index.serves for index in INDEXES}
    for name, cost in costs.items():
        inserted, changed = (
            1e6 * statistics.median(own - bare for own, bare in zip(each, none, strict=True))
            for each, none in ((cost.inserted, costs[NONE].inserted), (cost.changed, costs[NONE].changed))
        )
        if name == NONE:  # what the others are compared with
            inserted, changed = (1e6 * statistics.median(each) for each in (cost.inserted, cost.changed))
        size = sum(cost.sizes.values()) / MIB * 1e6 / count
        rates = f"{statistics.median(cost.inserts):,.0f} | {statistics.median(cost.changes):,.0f}"
        print(f"| {name} | {inserted:.1f} | {changed:.1f} | {rates} | {size:.0f} | {described.get(name, '')} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=20_000, help="how many tasks (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each index is measured (default %(default)s)")
    options = parser.parse_args()
    owners = Generator(1, 100, "", date(2026, 11, 1), deletes=False)
    documents = [owners.task(number) for number in range(options.tasks)]
    user = owners.user(0)
    owner = UserRead.model_validate(user)
    pipelines = [update(fields_of(TaskUpdate.model_validate(each)), owner).pipeline for each in CHANGES]
    changes = [UpdateOne({"_id": task["_id"]}, pipelines[n % len(CHANGES)]) for n, task in enumerate(documents)]
    every = TaskDocument.Settings.indexes
    costs = {NONE: Cost([])} | {index.document["name"]: Cost([index]) for index in every} | {ALL: Cost(every)}
    for heavy in (["owner_text"], ["owner_text", "metadata_paths"]):
        costs[f"all but {', '.join(heavy)}"] = Cost([index for index in every if index.document["name"] not in heavy])
    with tempfile.TemporaryDirectory(prefix="taskapi-index-costs-") as folder:
        settings = Settings(mongodb_uri=None, secret_key=SecretStr(SECRET), data_dir=Path(folder))
        with embedded.provide(settings) as complete:
            assert complete.mongodb_uri
            with MongoClient[BSON](complete.mongodb_uri.get_secret_value()) as server:
                for cost in tqdm([*costs.values()] * options.rounds, unit=" runs", disable=None):
                    measure(server, cost, documents, changes)
    print_table(costs, options.tasks)


if __name__ == "__main__":
    main()
