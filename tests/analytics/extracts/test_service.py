"""Extracts hold what the database holds, whatever is written meanwhile, and further runs write only what has changed."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from bson import ObjectId

from taskapi.accounts.users.documents import UserDocument
from taskapi.analytics.extracts import repository
from taskapi.core.clock import utc_now
from taskapi.tasks.services.account_data import TaskAccountData
from taskapi.tasks.services.trash import TrashService
from taskapi.tasks.storage.documents import TaskDocument
from tests.analytics.extracts.copies import current, current_children, files, require_equal, rows, run
from tests.client import Account, make_account
from tests.conftest import URI_VARIABLE, another
from tests.stored import collection, service
from tests.writers import write_much

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("copies_wait")]

FORMATS = ["parquet", "jsonl", "csv"]


@pytest.fixture(params=FORMATS)
def format_(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_second_run_writes_only_what_changed(ada: Account, tmp_path: Path, format_: str) -> None:
    changed, trashed, purged, left = [await ada.make_task(title) for title in ("changed", "trashed", "purged", "left")]
    _, written = await run(tmp_path, format=format_)
    assert (written["tasks"], written["users"]) == (4, 1)
    before = files(tmp_path)
    manifest, written = await run(tmp_path)
    assert not any(written.values())
    assert files(tmp_path) == before
    await ada.patch(f"/tasks/{changed['id']}", json={"status": "done"})
    for task in (trashed, purged):
        await ada.delete(f"/tasks/{task['id']}")
    await ada.delete(f"/trash/{purged['id']}")
    new = await ada.make_task("new")
    manifest, written = await run(tmp_path)
    found = {row["_id"]: row["state"] for row in rows(tmp_path, "tasks", manifest.runs)}
    assert found == {changed["id"]: "active", trashed["id"]: "trash", purged["id"]: "purged", new["id"]: "active"}
    assert {row["task_id"] for row in rows(tmp_path, "status_periods", manifest.runs)} == {*found} - {purged["id"]}
    assert written["users"] == 0
    if format_ != "csv":
        assert current(tmp_path).keys() == {changed["id"], left["id"], new["id"]}


async def test_extract_is_complete_beside_concurrent_writers(anonymous: httpx.AsyncClient, tmp_path: Path) -> None:
    async with another() as second:
        accounts = [await make_account((anonymous, second)[n % 2], f"writer{n}") for n in range(6)]
        until = asyncio.Event()
        writing = [asyncio.create_task(write_much(account, until)) for account in accounts]
        for _ in range(8):
            await run(tmp_path, format="jsonl")
        until.set()
        await asyncio.gather(*writing)
        await run(tmp_path)
    await require_equal(tmp_path)
    assert len({(row["_id"], row["changed_at"]) for row in rows(tmp_path, "tasks")}) == len(rows(tmp_path, "tasks"))


async def test_tables_hold_what_belongs_to_tasks(ada: Account, tmp_path: Path) -> None:
    task = await ada.make_task(checklist=[{"text": "one"}, {"text": "two", "done": True}], due_date="2027-01-31")
    await ada.patch(f"/tasks/{task['id']}", json={"status": "in_progress", "priority": 5})
    await ada.patch(f"/tasks/{task['id']}", json={"status": "done", "due_date": None})
    await run(tmp_path, format="jsonl")
    periods = sorted(current_children(tmp_path, "status_periods"), key=lambda row: str(row["from"]))
    assert [row["status"] for row in periods] == ["todo", "in_progress", "done"]
    assert [row["until"] for row in periods] == [periods[1]["from"], periods[2]["from"], None]
    items = current_children(tmp_path, "checklist_items")
    assert {(row["position"], row["text"], row["done"], row["task_status"]) for row in items} == {
        (0, "one", False, "done"),
        (1, "two", True, "done"),
    }
    changes = {(row["version"], row["field"]): row for row in current_children(tmp_path, "task_changes")}
    assert (changes[1, None]["action"], changes[1, None]["by"]) == ("create", "ada")
    assert (changes[2, "status"]["before"], changes[2, "status"]["after"]) == ('"todo"', '"in_progress"')
    assert (changes[3, "status"]["before"], changes[3, "status"]["after"]) == ('"in_progress"', '"done"')
    assert (changes[2, "priority"]["before"], changes[2, "priority"]["after"]) == ("1", "5")
    assert (changes[3, "due_date"]["before"], changes[3, "due_date"]["after"]) == ('"2027-01-31T00:00:00.000Z"', None)
    (user,) = rows(tmp_path, "users")
    assert (user["username"], user["role"], user["two_factor"]) == ("ada", "user", False)
    text = "".join(path.read_text() for path in files(tmp_path))
    assert "hash" not in text


async def test_new_names_and_users_arrive(ada: Account, tmp_path: Path, anonymous: httpx.AsyncClient) -> None:
    from tests.accounts.users.renamer import follow_due

    await ada.make_task()
    await run(tmp_path, format="jsonl")
    await ada.patch("/users/me", json={"username": "countess"})
    await follow_due()
    await make_account(anonymous, "eve")
    await run(tmp_path)
    assert {row["owner"] for row in current(tmp_path).values()} == {"countess"}
    assert {row["username"] for row in rows(tmp_path, "users")} == {"countess", "eve"}


async def test_expired_tasks_arrive_as_purged(ada: Account, tmp_path: Path) -> None:
    task = await ada.make_task()
    await ada.delete(f"/tasks/{task['id']}")
    await run(tmp_path, format="jsonl")
    await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$set": {"trash.expires_at": utc_now()}})
    await service(TrashService).purge_expired()
    manifest, _ = await run(tmp_path)
    (row,) = rows(tmp_path, "tasks", manifest.runs)
    assert (row["_id"], row["state"], row["deleted"], row["title"]) == (task["id"], "purged", True, None)


async def test_tasks_of_erased_accounts_are_erased(ada: Account, bob: Account, tmp_path: Path, format_: str) -> None:
    kept = await bob.make_task("kept")
    tasks = [await ada.make_task(f"Task {number}") for number in range(3)]
    await ada.delete(f"/tasks/{tasks[0]['id']}")
    await ada.delete(f"/trash/{tasks[0]['id']}")
    await run(tmp_path, format=format_)
    await ada.make_task("never extracted")
    await ada.patch(f"/tasks/{tasks[1]['id']}", json={"title": "Changed since"})
    await service(TaskAccountData).delete_for_user(ObjectId(ada.id))
    await collection(UserDocument).delete_one({"_id": ObjectId(ada.id)})
    manifest, _ = await run(tmp_path)
    found = {row["_id"]: row["state"] for row in rows(tmp_path, "tasks", manifest.runs)}
    assert found == {task["id"]: "erased" for task in tasks[1:]}
    if format_ != "csv":
        assert current(tmp_path).keys() == {kept["id"]}
    _, written = await run(tmp_path)
    assert not any(written.values())


async def test_full_run_replaces_what_is_there(ada: Account, tmp_path: Path) -> None:
    task = await ada.make_task("kept")
    gone = await ada.make_task("gone")
    await run(tmp_path, format="csv", only=())
    await ada.delete(f"/tasks/{gone['id']}")
    await ada.delete(f"/trash/{gone['id']}")
    await run(tmp_path)
    before = files(tmp_path)
    await run(tmp_path, full=True, format="jsonl", only=("checklist_items",))
    await run(tmp_path, format="jsonl", only=("checklist_items",))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    named = {tmp_path / entry["path"] for entries in manifest["tables"].values() for entry in entries}
    assert files(tmp_path) == named
    assert not before & named
    assert manifest["tables"].keys() == {"tasks", "checklist_items", "users"}
    assert {row["title"] for row in rows(tmp_path, "tasks")} == {"kept", None}
    assert current(tmp_path).keys() == {task["id"]}


async def test_another_folder_continues_from_a_watermark(ada: Account, tmp_path: Path) -> None:
    await ada.make_task("old")
    long_ago: dict[str, Any] = {"$set": {"changed_at": utc_now().replace(year=2020)}}
    await collection(TaskDocument).update_many({}, long_ago)
    manifest, _ = await run(tmp_path / "one")
    await ada.make_task("new")
    for _ in range(2):
        await run(tmp_path / "two", format="jsonl", since=manifest.watermark)
    assert {row["title"] for row in rows(tmp_path / "two", "tasks")} == {"new"}
    await ada.make_task("newer")
    await run(tmp_path / "two")
    assert {row["title"] for row in rows(tmp_path / "two", "tasks")} == {"new", "newer"}


async def test_folder_may_be_a_relative_path(ada: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    task = await ada.make_task()
    await run(Path("extract"))
    assert current(tmp_path / "extract").keys() == {task["id"]}


async def test_files_of_others_stay(ada: Account, tmp_path: Path) -> None:
    await ada.make_task()
    await run(tmp_path, format="csv")
    others, left_over = tmp_path / "results" / "part-000000.csv", tmp_path / "tasks" / "part-000099.csv"
    others.parent.mkdir()
    for path in (others, left_over):
        path.write_text("")
    await run(tmp_path)
    assert (others.exists(), left_over.exists()) == (True, False)


async def test_run_that_ended_among_old_tasks_is_continued(ada: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [await ada.make_task(f"Task {number}") for number in range(4)]
    for number, task in enumerate(tasks):
        long_ago = {"$set": {"changed_at": datetime(2020 + number, 1, 1, tzinfo=UTC)}}
        await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, long_ago)
    monkeypatch.setattr(repository, "BATCH", 1)

    def end_at_the_third(done: int, _: int) -> None:
        if done == 3:
            raise RuntimeError("no power")

    with pytest.raises(RuntimeError, match="no power"):
        await run(tmp_path, progress=end_at_the_third, format="jsonl", rows_per_file=1)
    await ada.delete(f"/tasks/{tasks[0]['id']}")
    await ada.delete(f"/trash/{tasks[0]['id']}")
    manifest, written = await run(tmp_path)
    assert (manifest.complete, manifest.begun_at, written["tasks"]) == (True, None, 3)  # two that were left, and a tombstone
    assert current(tmp_path).keys() == {task["id"] for task in tasks[1:]}


def test_killed_runs_lose_nothing(tmp_path: Path) -> None:
    """At several points of a first run, of one that adds changes, and of one that replaces all."""
    name = f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}_extract"
    command = [sys.executable, "-m", "tests.analytics.extracts.killed_runs", os.environ[URI_VARIABLE], name, str(tmp_path), "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > 8
