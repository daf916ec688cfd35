"""An extract is refused, with one line that says why, where something would be missing or overwritten."""

import fcntl
import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from taskapi.core.clock import rfc3339, utc_now
from taskapi.core.errors import StartupError
from tests.analytics.extracts.copies import files, run
from tests.client import Account
from tests.conftest import make_settings

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("ada")]

Change = Callable[[dict[str, Any]], object]


def edit(folder: Path, change: Change) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def names_in(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


async def refuse(folder: Path, reason: str, **asked: Any) -> None:
    before = {path: path.read_bytes() for path in files(folder)}
    with pytest.raises(StartupError) as refused:
        await run(folder, **asked)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)
    assert {path: path.read_bytes() for path in files(folder)} == before


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"format": "csv"}, "holds an extract in the format jsonl, not csv"),
        ({"only": ("checklist_items",)}, "not those of --only"),
        ({"since": "2027-01-01T00:00:00.000Z@ab"}, "continues from its own watermark"),
    ],
)
async def test_other_wishes_are_refused(tmp_path: Path, asked: dict[str, Any], reason: str) -> None:
    await run(tmp_path, format="jsonl")
    await refuse(tmp_path, reason, **asked)


def age(manifest: dict[str, Any]) -> None:
    at = rfc3339(utc_now() - timedelta(days=make_settings().trash_days + 1))
    manifest["watermark"] = f"{at}@{manifest['database_id']}"


def interrupt_long_ago(manifest: dict[str, Any]) -> None:
    age(manifest)
    at, _, _ = manifest["watermark"].partition("@")
    manifest |= {"complete": False, "begun_at": at, "watermark": f"2020-01-01T00:00:00.000Z@{manifest['database_id']}"}


def postpone(manifest: dict[str, Any]) -> None:
    manifest["watermark"] = f"2999-01-01T00:00:00.000Z@{manifest['database_id']}"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (age, "is more than 30 days old (TASKAPI_TRASH_DAYS)"),
        (interrupt_long_ago, "is more than 30 days old (TASKAPI_TRASH_DAYS)"),
        (postpone, "later than the database"),
        (lambda manifest: manifest.update(database_id="ab" * 16), "of another database, or of this one before a restore"),
        (lambda manifest: manifest.update(schema_version="0.9"), "tables of schema 0.9, not"),
        (lambda manifest: manifest["tables"]["tasks"][0].update(bytes=1), "is missing or has changed; begin anew with --full"),
        (lambda manifest: manifest["tables"]["tasks"][0].update(path="tasks/part-9.jsonl"), "is missing or has changed"),
        (lambda manifest: manifest.update(recent="recent-000099.bin"), "is missing; begin anew with --full"),
    ],
)
async def test_gaps_are_refused_until_begun_anew(tmp_path: Path, change: Change, reason: str) -> None:
    await run(tmp_path, format="jsonl")
    edit(tmp_path, change)
    await refuse(tmp_path, reason)
    await run(tmp_path, full=True)
    await run(tmp_path)


@pytest.mark.parametrize("content", ["{}", "", "[1]", "{" * 2000])
async def test_damaged_manifest_is_refused(tmp_path: Path, content: str) -> None:
    await run(tmp_path, format="jsonl")
    (tmp_path / "manifest.json").write_text(content)
    for full in (False, True):
        await refuse(tmp_path, "manifest.json cannot be read", full=full)


@pytest.mark.parametrize(
    ("since", "reason"),
    [
        ("yesterday", "--since: 'yesterday' is not a watermark"),
        ("", "--since: '' is not a watermark"),
        ("2027-01-01T00:00:00.000Z", "is not a watermark"),
        ("2027-01-01T00:00:00.000Z@" + "ab" * 16, "of another database"),
    ],
)
async def test_wrong_watermark_is_refused(tmp_path: Path, since: str, reason: str) -> None:
    await refuse(tmp_path, reason, since=since)
    await run(tmp_path)  # the refused run has left nothing that matters


async def test_old_watermark_is_refused(tmp_path: Path) -> None:
    manifest, _ = await run(tmp_path / "one")
    at = rfc3339(utc_now() - timedelta(days=make_settings().trash_days + 1))
    await refuse(tmp_path / "two", "begin anew without --since", since=f"{at}@{manifest.database_id}")


async def test_folder_of_something_else_is_refused(tmp_path: Path, ada: Account) -> None:
    await ada.make_task()
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "part-000001.parquet").write_text("mine")
    await refuse(tmp_path, "is not empty and holds no extract")
    await refuse(tmp_path, "is not empty and holds no extract", full=True)
    assert names_in(tmp_path) == {"tasks"}


async def test_second_run_at_once_is_refused(tmp_path: Path) -> None:
    await run(tmp_path, format="jsonl")
    number = os.open(tmp_path / ".lock", os.O_RDWR)
    fcntl.flock(number, fcntl.LOCK_EX)
    await refuse(tmp_path, f"another extract is writing to {tmp_path}")
    os.close(number)
    await run(tmp_path)


async def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    await run(tmp_path, format="jsonl")
    kept = [tmp_path / "notes.txt", tmp_path / "tasks" / "notes.txt", tmp_path / "mine"]
    for path in kept[:2]:
        path.write_text("mine")
    kept[2].mkdir()
    left = [tmp_path / "tasks" / "part-000099.jsonl", tmp_path / ".incoming" / "tasks-000099", tmp_path / "recent-000099.bin"]
    for path in left:
        path.write_text("of a killed run")
    await run(tmp_path)
    assert [path.exists() for path in (*kept, *left)] == [True] * 3 + [False] * 3


async def test_database_without_tasks_is_refused(tmp_path: Path) -> None:
    await refuse(tmp_path, "has no tasks yet", settings=make_settings(mongodb_database="no_such"))
