"""Times of an import at both ends of the calendar."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskapi.core.clock import in_utc, rfc3339, utc_now
from taskapi.db.expressions import MAX_TIME
from taskapi.tasks.import_export import schemas
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, stored_task
from tests.stored import collection
from tests.tasks.import_export.test_importer import JSONL, count, faults, jsonl, take, tasks_of
from tests.web.idempotency.records import KEYED, forget_answer

pytestmark = pytest.mark.real

FIRST = "0001-01-01T00:00:00.000Z"
LAST = "9999-12-31T23:59:59.999Z"


@pytest.mark.parametrize("names", [["updated_at"], ["completed_at"], ["updated_at", "completed_at"]])
async def test_task_of_year_1_is_imported(ada: Account, names: list[str]) -> None:
    later = dict.fromkeys(names, "2020-01-01T00:00:00.000Z")
    line = {"title": "old", "status": "done", "created_at": FIRST, **later}
    assert await take(ada, [line], "?dry_run=true") == {"lines": 1, "created": 1}
    assert await take(ada, [line, {"title": "other"}]) == {"lines": 2, "created": 2}
    old, _ = await tasks_of(ada)
    assert {name: old[name] for name in ("created_at", *names)} == {"created_at": FIRST, **later}
    stored = await stored_task(old["id"])
    assert in_utc(stored["created_at"]) == datetime.min.replace(tzinfo=UTC)
    assert {in_utc(stored[name]) for name in names} == {datetime(2020, 1, 1, tzinfo=UTC)}


async def test_completion_may_precede_creation_by_a_skew(ada: Account) -> None:
    line = {"title": "old", "completed": True, "completed_at": FIRST}
    assert await faults(ada, {**line, "created_at": "0001-01-01T00:05:00.001Z"}) == {("completed_at", "contradiction")}
    assert await count() == 0
    assert await take(ada, [{**line, "created_at": "0001-01-01T00:05:00Z"}]) == {"lines": 1, "created": 1}


@pytest.mark.parametrize("name", ["created_at", "updated_at", "completed_at"])
async def test_last_time_is_in_the_future(ada: Account, name: str) -> None:
    assert await faults(ada, {"title": "new", "completed": True, name: LAST}) == {(name, "datetime_future")}
    assert await count() == 0


@pytest.mark.parametrize("updated_at", [datetime.min.replace(tzinfo=UTC), MAX_TIME])
async def test_dry_run_changes_task_of_any_time(ada: Account, updated_at: datetime) -> None:
    await take(ada, [{"title": "old", "key": "k"}])
    await collection(TaskDocument).update_one({}, {"$set": {"updated_at": updated_at}})
    lines: list[Any] = [{"title": "new", "key": "k"}, {"title": "newer", "key": "k"}]
    assert await take(ada, lines, "?dry_run=true") == {"lines": 2, "updated": 2}
    assert [task["title"] for task in await tasks_of(ada)] == ["old"]
    assert await take(ada, lines) == {"lines": 2, "updated": 2}
    assert [task["title"] for task in await tasks_of(ada)] == ["newer"]


async def test_line_valid_when_repeated_moves_no_ids(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    soon = {"created_at": rfc3339(utc_now() + timedelta(minutes=10)), "checklist": [{"text": "one"}, {"text": "two"}]}
    body = jsonl({"title": "a later line", **soon}, {"title": "b second", "checklist": [{"text": "x"}]}, {"title": "c third"})
    first = await ada.post("/tasks/import", content=body, headers={**JSONL, **KEYED})
    assert (first.json()["created"], first.json()["failed"]) == (2, 1)
    before = await tasks_of(ada)
    assert [task["title"] for task in before] == ["b second", "c third"]
    await forget_answer()
    monkeypatch.setattr(schemas, "utc_now", lambda: utc_now() + timedelta(minutes=10))
    again = await ada.post("/tasks/import", content=body, headers={**JSONL, **KEYED})
    assert (again.json()["created"], again.json()["failed"]) == (3, 0)
    later, *others = await tasks_of(ada)
    assert (later["title"], later["created_at"], others) == ("a later line", soon["created_at"], before)
    assert await count() == 3
