#!/usr/bin/env python3
"""Migrates many tasks of version 1.0 while runs are killed, two run at once, and a worker of version 1.4 goes on.

Prints what happened, and exits with 1 if anything is lost, done twice or left. It uses a MongoDB of its own, in a new folder.
"""

import argparse
import asyncio
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bson import ObjectId
from pydantic import SecretStr
from pymongo import MongoClient
from pymongo.database import Database

from taskapi.core.settings import Settings
from taskapi.db import connection, embedded
from taskapi.db.migrations.migrator import Migrator
from taskapi.main import SCHEMA

BSON = dict[str, Any]
NAME, BATCH, TASKS_EACH = "migration", 5000, 500
PATIENCE_SECONDS = 3600
MADE = datetime(2026, 1, 1, tzinfo=UTC)
UP = ("migrate", "up")


def task_of_1_0(number: int) -> BSON:
    """A task as version 1.0 stored it."""
    is_done = number % 3 == 0
    made = MADE + timedelta(seconds=number)
    return {
        "title": f"Task {number}",
        "description": "",
        "status": "done" if is_done else "todo",
        "completed": is_done,
        "completed_at": made + timedelta(hours=1) if is_done else None,
        "priority": 1 + number % 5,
        "due_date": None,
        "tags": ["work"],
        "links": [],
        "owner": {"id": ObjectId(f"{number // TASKS_EACH:024x}"), "username": f"user-{number // TASKS_EACH}"},
        "created_at": made,
        "updated_at": made,
        "version": 1,
    }


def task_of_1_4(number: int) -> BSON:
    """A task as version 1.4 stores it."""
    return {**task_of_1_0(number), "checklist": [], "progress": 0.0, "metadata": {}, "history": []}


class OldWorker(threading.Thread):
    """Creates and changes tasks as a worker of version 1.4 does, and knows what was acknowledged."""

    def __init__(self, database: Database[BSON], tasks: int) -> None:
        super().__init__()
        self._tasks, self._count = database["tasks"], tasks
        self._stopping = threading.Event()
        self.created: list[ObjectId] = []
        self.versions: dict[str, int] = {}

    def run(self) -> None:
        choose = random.Random(1)  # noqa: S311 - not for secrets  # nosec B311
        number = self._count
        while not self._stopping.wait(0.005):
            self.created.append(self._tasks.insert_one(task_of_1_4(number)).inserted_id)
            number += 1
            chosen = task_of_1_0(choose.randrange(self._count))
            found = {"owner.id": chosen["owner"]["id"], "title": chosen["title"]}
            change: list[BSON] = [{"$set": {"version": {"$add": ["$version", 1]}, "priority": 5, "updated_at": "$$NOW"}}]
            if self._tasks.update_one(found, change).modified_count:
                self.versions[chosen["title"]] = self.versions.get(chosen["title"], 1) + 1

    def stop(self) -> None:
        self._stopping.set()
        self.join()


class Runs:
    """Starts ``taskapi`` on the database."""

    def __init__(self, folder: Path, uri: str) -> None:
        self._folder = folder
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TASKAPI_")},
            "TASKAPI_MONGODB_URI": uri,
            "TASKAPI_MONGODB_DATABASE": NAME,
            "TASKAPI_SECRET_KEY": secrets.token_hex(32),
            "TASKAPI_DATA_DIR": str(folder / "unused"),
        }

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        command = [str(Path(sys.executable).with_name("taskapi")), *arguments]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(command, env=self._environment, cwd=self._folder, stdout=log, stderr=log)

    def complete(self, *arguments: str) -> None:
        """Runs a command to its end, which must be a success."""
        if (status := self.start(*arguments).wait(PATIENCE_SECONDS)) != 0:
            sys.exit(f"taskapi {' '.join(arguments)} ended with {status}:\n{(self._folder / 'log').read_text()}")


def insert(database: Database[BSON], count: int) -> None:
    for start in range(0, count, BATCH):
        database["tasks"].insert_many([task_of_1_0(number) for number in range(start, min(start + BATCH, count))])


async def count_to_change(settings: Settings) -> int:
    """How many changes the steps of the expand phase will make."""

    async def leave(_: connection.Database) -> None:
        """Prepares nothing."""

    async with connection.open_database(settings, leave) as database:
        migrator = Migrator(database, SCHEMA)
        return sum((await migrator.count_left(await migrator.pending())).values())


def changed(database: Database[BSON]) -> int:
    """How many changes the steps have made so far."""
    return sum(each["changed"] for each in database["migrations"].find())


def kill_runs(database: Database[BSON], runs: Runs, kills: int, total: int) -> None:
    """Starts ``kills`` runs, one after the other, and kills each when it has done its share."""
    for number in range(1, kills + 1):
        run, wanted = runs.start(*UP), total * number // (kills + 1)
        while run.poll() is None and changed(database) < wanted:
            time.sleep(0.005)
        if run.poll() is not None:
            sys.exit(f"run {number} ended with {run.returncode} before it could be killed")
        run.send_signal(signal.SIGKILL)
        run.wait()
        print(f"SIGKILL {number}: {changed(database):,} of {total:,} changes made", flush=True)


def faults(database: Database[BSON], count: int, worker: OldWorker) -> list[str]:
    """What is wrong with the tasks."""
    tasks, found = database["tasks"], []
    if (stored := tasks.count_documents({})) != count + len(worker.created):
        found.append(f"{stored:,} tasks are stored in place of {count + len(worker.created):,}")
    versions = {each["title"]: each["version"] for each in tasks.find({"version": {"$ne": 1}}, {"title": 1, "version": 1})}
    if versions != worker.versions:
        found.append(f"{len(versions.items() ^ worker.versions.items()):,} tasks have another version than was acknowledged")
    names = ("checklist", "progress", "metadata", "history", "changed_at", "status_changes")
    lacking = {"$or": [{name: {"$exists": False}} for name in names]}
    if lacks := tasks.count_documents(lacking):
        found.append(f"{lacks:,} tasks lack a field")
    if repeated := tasks.count_documents({"status": "done", "status_changes": {"$not": {"$size": 2}}}):
        found.append(f"{repeated:,} completed tasks have another number of status changes than 2")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tasks", type=int, default=1_000_000, help="number of tasks of version 1.0 (default %(default)s)")
    parser.add_argument("--kills", type=int, default=10, help="number of runs that are killed (default %(default)s)")
    parser.add_argument("--runs", type=int, default=2, help="number of runs at once afterwards (default %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="taskapi-migration-") as name:
        folder = Path(name)
        with embedded.provide(Settings(_env_file=None, data_dir=folder / "data")) as settings:
            assert settings.mongodb_uri
            uri = settings.mongodb_uri.get_secret_value()
            with MongoClient[BSON](uri) as client:
                settings = settings.model_copy(update={"mongodb_database": NAME, "mongodb_uri": SecretStr(uri)})
                check(client[NAME], settings, Runs(folder, uri), options)


def check(database: Database[BSON], settings: Settings, runs: Runs, options: argparse.Namespace) -> None:
    """Fills the database, migrates it, and exits with 1 if anything is wrong then."""
    began = time.monotonic()
    insert(database, options.tasks)
    database["tasks"].create_index([("owner.id", 1), ("created_at", -1), ("_id", -1)], name="owner_newest")
    total = asyncio.run(count_to_change(settings))
    print(f"{options.tasks:,} tasks of version 1.0 stored in {time.monotonic() - began:.0f} s", flush=True)
    began = time.monotonic()
    worker = OldWorker(database, options.tasks)
    worker.start()
    try:
        kill_runs(database, runs, options.kills, total)
        together = [runs.start(*UP) for _ in range(options.runs)]
        statuses = [run.wait(PATIENCE_SECONDS) for run in together]
        if any(statuses):
            sys.exit("a run failed")
    finally:
        worker.stop()
    made = changed(database)
    print(f"{options.runs} runs at once: {made:,} changes made after {time.monotonic() - began:.0f} s", flush=True)
    print(f"Meanwhile version 1.4: {len(worker.created):,} tasks created, {sum(worker.versions.values()):,} changed", flush=True)
    runs.complete(*UP, "--contract")
    runs.complete("migrate", "verify")
    print(f"Contract phase and verification after {time.monotonic() - began:.0f} s", flush=True)
    if wrong := faults(database, options.tasks, worker):
        sys.exit("\n".join(wrong))
    print("Nothing lost, nothing done twice, nothing left.")


if __name__ == "__main__":
    main()
