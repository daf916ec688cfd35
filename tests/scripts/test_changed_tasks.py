"""The script that loads what has changed misses nothing, whatever is written while it reads."""

import asyncio
import json
import os
import runpy
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from bson import ObjectId
from pymongo import MongoClient
from pymongo.collection import Collection

from taskapi.core.clock import utc_now
from taskapi.tasks.services.trash import TrashService
from taskapi.tasks.storage import marks
from taskapi.tasks.storage.documents import TaskDocument
from tests.accounts.users.renamer import follow_due
from tests.client import Account, make_account, stored_task
from tests.conftest import URI_VARIABLE, another, make_settings
from tests.scripts.test_scripts import SCRIPTS, run
from tests.stored import collection, service
from tests.writers import LATE_WRITES, Write, write_much, written_late

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("copies_wait")]

WRITERS = 8
MINUTE = timedelta(minutes=1)
script = runpy.run_path(str(SCRIPTS / "changed_tasks.py"))


class Copy:
    """A copy of the tasks that follows them as the script's page says."""

    def __init__(self, tasks: Collection[Any], overlap: timedelta = script["OVERLAP"]) -> None:
        self.tasks: dict[ObjectId, Any] = {}
        self.since: datetime = script["BEGINNING"]
        self._stored, self._overlap = tasks, overlap

    def follow(self) -> None:
        with script["changes"](self._stored, self.since, self._overlap) as (found, since):
            for task in found:
                known = self.tasks.get(task["_id"])
                if known is None or known["changed_at"] < task["changed_at"]:
                    self.tasks[task["_id"]] = task
        self.since = since

    def newest(self) -> datetime:
        """What a reader that takes the last time it has seen would go on from."""
        newest: datetime = max(task["changed_at"] for task in self.tasks.values())
        return newest


@pytest.fixture
def stored() -> Iterator[Collection[Any]]:
    """The tasks of the application, as a script of its own sees them."""
    with MongoClient[Any](os.environ[URI_VARIABLE]) as client:
        yield client[make_settings().mongodb_database]["tasks"]


async def all_tasks() -> dict[ObjectId, Any]:
    return {task["_id"]: task for task in await collection(TaskDocument).find({}, {"history": 0}).to_list(None)}


async def test_copy_is_complete_beside_concurrent_writers(anonymous: httpx.AsyncClient, stored: Collection[Any]) -> None:
    """The overlap is short, so that most changes leave it while others are written; no write took as long as that."""
    async with another() as second:
        accounts = [await make_account((anonymous, second)[n % 2], f"writer{n}") for n in range(WRITERS)]
        for seconds in (2, 10, 50):
            copy, until = Copy(stored, timedelta(seconds=seconds)), asyncio.Event()
            writing = [asyncio.create_task(write_much(account, until)) for account in accounts]
            begun = utc_now()
            while copy.since.replace(tzinfo=begun.tzinfo) < begun + timedelta(seconds=2):
                await asyncio.to_thread(copy.follow)
            until.set()
            longest = max(await asyncio.gather(*writing))
            await asyncio.to_thread(copy.follow)
            if longest < seconds - 1:  # cluster times are in whole seconds
                break
    assert longest < seconds - 1
    assert len(copy.tasks) > WRITERS
    assert copy.tasks == await all_tasks()


@pytest.mark.parametrize("write", LATE_WRITES)
async def test_transaction_that_commits_later_is_not_missed(ada: Account, stored: Collection[Any], write: Write) -> None:
    copy = Copy(stored)
    async with written_late(ada, write):
        await ada.make_task("Meanwhile")
        copy.follow()
        newest = copy.newest()
    after = await all_tasks()
    assert copy.tasks != after
    assert not list(stored.find({"changed_at": {"$gt": newest}}))  # where others would go on from
    copy.follow()
    assert copy.tasks == after


async def test_worker_with_slow_clock_is_not_missed(
    ada: Account, stored: Collection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await ada.make_task("By a clock that is right")
    copy = Copy(stored)
    copy.follow()
    monkeypatch.setattr(marks, "utc_now", lambda: utc_now() - MINUTE)
    slow = await ada.make_task("By a clock that is slow")
    assert (await stored_task(slow["id"]))["changed_at"] < copy.newest()
    copy.follow()
    assert copy.tasks == await all_tasks()


async def test_rename_deletion_and_restore_arrive(ada: Account, stored: Collection[Any]) -> None:
    copy, task = Copy(stored), await ada.make_task()
    await ada.make_task("Another")
    for path in ("", "/restore"):
        await (ada.post if path else ada.delete)(f"/tasks/{task['id']}{path}")
        copy.follow()
        assert copy.tasks == await all_tasks()
    await ada.patch("/users/me", json={"username": "countess"})
    await follow_due()
    copy.follow()
    assert copy.tasks == await all_tasks()
    assert {task["owner"]["username"] for task in copy.tasks.values()} == {"countess"}


async def test_purged_tasks_arrive_as_tombstones(ada: Account, stored: Collection[Any]) -> None:
    copy, tasks = Copy(stored), [await ada.make_task(f"Task {number}") for number in range(3)]
    for task in tasks:
        await ada.delete(f"/tasks/{task['id']}")
    copy.follow()
    await ada.delete(f"/trash/{tasks[0]['id']}")
    await collection(TaskDocument).update_one({"_id": ObjectId(tasks[1]["id"])}, {"$set": {"trash.expires_at": utc_now()}})
    await service(TrashService).purge_expired()
    copy.follow()
    assert copy.tasks == await all_tasks()
    assert [copy.tasks[ObjectId(task["id"])]["state"] for task in tasks] == ["purged", "purged", "trash"]


async def test_script_prints_changes_and_keeps_time(ada: Account, tmp_path: Path) -> None:
    task = await ada.make_task()
    where = ("--uri", os.environ[URI_VARIABLE], "--database", make_settings().mongodb_database, "--state", "since")
    for _ in range(2):  # the second run reads what is within the overlap once more
        status, said = await asyncio.to_thread(run, "changed_tasks", *where, folder=tmp_path)
        assert status == 0
        (line,) = map(json.loads, said.splitlines())
        assert (line["_id"], line["version"]) == ({"$oid": task["id"]}, 1)
        since = datetime.fromisoformat((tmp_path / "since").read_text())
        assert MINUTE < utc_now() - since < 60 * MINUTE
