"""Kills runs of an extract before each thing that they do to a file, and checks that the next run makes everything right.

It is a program of its own: ``python -m tests.analytics.extracts.killed_runs URI DATABASE FOLDER STEP``. Each run is a child
process. With the step 1, it kills a run at each of the points.
"""

import itertools
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo import MongoClient

from taskapi.analytics.extracts import repository
from taskapi.analytics.extracts.service import Request, extract
from tests.analytics.extracts.copies import CHILDREN, current, current_children, rows
from tests.conftest import make_settings

TOUCHES = {"os.rename", "os.remove", "os.mkdir"}
TASKS, PART = 6, 4
BEGUN = datetime.now(UTC) - timedelta(days=2)
OWNER = ObjectId()
BSON = dict[str, Any]


def task(number: int, title: str, at: datetime) -> BSON:
    return {
        "_id": ObjectId(f"{number:024x}"),
        "owner_id": OWNER,
        "state": "active",
        "title": title,
        "status": "todo",
        "version": 1,
        "changed_at": at,
        "status_changes": [{"status": "todo", "at": at}],
        "checklist": [{"id": ObjectId(f"{number:024x}"), "text": title, "done": False}],
        "history": [{"version": 1, "at": at, "by": {"id": OWNER, "username": "ada"}, "action": "create", "before": {}}],
    }


def in_child(work: Callable[[], object]) -> int:
    """What became of ``work`` in a child process: 0, or the signal that ended it."""
    if (pid := os.fork()) == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]


def killed_at(number: int, request: Request, settings: Any) -> int:
    """A run that is killed before it touches the folder for the ``number``-th time."""

    def work() -> None:
        left = itertools.count(number, -1)

        def audit(event: str, arguments: tuple[Any, ...]) -> None:
            if event in TOUCHES and str(request.to) in str(arguments[0]) and next(left) == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(audit)
        extract(settings, request, ignore)

    return in_child(work)


def require_equal(stored: Any, folder: Path) -> None:
    expected = {str(each["_id"]): each["title"] for each in stored.find({"state": "active"})}
    found = current(folder)
    assert {task_id: row["title"] for task_id, row in found.items()} == expected
    for table in CHILDREN:
        children = current_children(folder, table)
        assert sorted(row["task_id"] for row in children) == sorted(expected)
    written = [(row["_id"], row["changed_at"]) for row in rows(folder, "tasks")]
    assert len(written) == len(set(written))
    named = {"manifest.json", ".lock", ".incoming", "tasks", "users", *CHILDREN}
    assert {path.name for path in folder.iterdir() if not path.name.startswith("recent-")} == named
    assert len(list(folder.glob("recent-*"))) == 1
    assert not list(folder.glob(".incoming/*"))


def fill(client: MongoClient[BSON], name: str) -> None:
    """A database that is the same for each kill: if it grew, so would the number of points."""
    client.drop_database(name)
    client[name]["users"].insert_one({"_id": OWNER, "username": "ada"})
    many = [task(number, f"task {number}", BEGUN + timedelta(minutes=number)) for number in range(TASKS)]
    client[name]["tasks"].insert_many(many)


def change(stored: Any, number: int) -> None:
    at = datetime.now(UTC)
    fresh = task(number % TASKS, f"changed {number}", at)
    stored.replace_one({"_id": fresh["_id"]}, {**fresh, "status_changes": fresh["status_changes"]})
    stored.insert_one(task(1000 + number, f"new {number}", at))
    gone = {"state": "purged", "version": 2, "owner_id": OWNER, "changed_at": at}
    stored.replace_one({"_id": ObjectId(f"{1000 + number - 1:024x}")}, gone)


def main(uri: str, name: str, base: Path, step: int) -> None:
    settings = make_settings(mongodb_uri=uri, mongodb_database=name)
    repository.BATCH = 2  # type: ignore[misc]
    kills = 0
    for kind in ("first", "next", "full"):
        for number in itertools.count(0, step):
            request = Request(base / f"{kind}-{number}", format="jsonl", rows_per_file=PART)
            whole = partial(extract, settings, request, ignore)
            with MongoClient[BSON](uri) as client:
                fill(client, name)
                change(client[name]["tasks"], 1)
            assert kind == "first" or in_child(whole) == 0
            with MongoClient[BSON](uri) as client:
                change(client[name]["tasks"], 2)
            status = killed_at(number, replace(request, full=kind == "full"), settings)
            assert status in (0, signal.SIGKILL)
            assert in_child(whole) == 0
            with MongoClient[BSON](uri) as client:
                require_equal(client[name]["tasks"], request.to)
            kills += status != 0
            if status == 0:
                break
    sys.stdout.write(f"{kills} runs were killed; nothing was lost.\n")


def ignore(*_: int) -> None:
    pass


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
