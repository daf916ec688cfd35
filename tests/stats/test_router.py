"""The routes of the statistics: formats, entity tags, ranges, and what they refuse."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId

from taskapi.core.clock import day_of
from taskapi.stats.query import MAX_PERIODS
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, is_problem, wrong_fields
from tests.damage import ODD, damaged, store
from tests.stored import collection
from tests.tasks.spoiled import as_stored, sound_task

pytestmark = pytest.mark.real

ALL = ("summary", "throughput", "burndown", "flow", "lead-time", "tags")
BY_PERIOD = ("throughput", "burndown", "flow")
IN_RANGE = (*BY_PERIOD, "lead-time")


async def read(account: Account, name: str, **parameters: str) -> Any:
    answer = await account.get(f"/stats/{name}", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("name", ALL)
async def test_csv_has_the_same_rows(ada: Account, name: str) -> None:
    await ada.make_task(tags=["work", "home"], status="done", estimate_minutes=5)
    answer = await ada.get(f"/stats/{name}", headers={"accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}.csv"'
    assert set(answer.headers["vary"].split(", ")) >= {"Accept", "Authorization"}
    assert (await ada.get(f"/stats/{name}?format=csv")).content == answer.content
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    found = await read(ada, name)
    if name == "lead-time":
        found = [{"statistic": row["statistic"], **row} for row in rows]
        assert {row["statistic"] for row in rows} == {"tasks", "min", "mean", "p50", "p75", "p85", "p95", "max", "from"}
        assert sum(int(row["tasks"]) for row in rows if row["statistic"] == "from") == 1
    expected = found if isinstance(found, list) else [found]
    assert rows == [
        {key: value if isinstance(value, str) else str(value).lower() for key, value in row.items()} for row in expected
    ]


async def test_no_spreadsheet_runs_a_tag(ada: Account) -> None:
    await ada.make_task(tags=["=1+1"])
    assert (await ada.get("/stats/tags?format=csv")).text.splitlines()[1] == "'=1+1,1,1,0,0"


@pytest.mark.parametrize("name", ALL)
async def test_a_format_must_be_accepted(ada: Account, name: str) -> None:
    is_problem(await ada.get(f"/stats/{name}?format=csv", headers={"accept": "application/json"}), 406, "not_acceptable")
    is_problem(await ada.get(f"/stats/{name}", headers={"accept": "application/jsonl"}), 406, "not_acceptable")
    assert wrong_fields(await ada.get(f"/stats/{name}?format=xml")) == {"format": "enum"}


@pytest.mark.parametrize("name", ALL)
async def test_an_entity_tag_lasts_until_numbers_change(ada: Account, name: str) -> None:
    task = await ada.make_task(tags=["work"])
    first = await ada.get(f"/stats/{name}")
    assert first.headers["cache-control"] == "private, no-cache"
    again = await ada.get(f"/stats/{name}", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert (await ada.get(f"/stats/{name}?format=csv")).headers["etag"] != first.headers["etag"]
    await ada.patch(f"/tasks/{task['id']}", json={"status": "done"})
    changed = await ada.get(f"/stats/{name}", headers={"if-none-match": first.headers["etag"]})
    assert changed.status_code == 200
    head = await ada.call("HEAD", f"/stats/{name}")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", changed.headers["etag"])


@pytest.mark.parametrize("name", ALL)
async def test_trash_and_other_owners_are_not_counted(ada: Account, bob: Account, name: str) -> None:
    empty = await read(ada, name)
    await bob.make_task(tags=["work"], status="done")
    gone = await ada.make_task(tags=["work"], status="done")
    await ada.delete(f"/tasks/{gone['id']}")
    assert await read(ada, name) == empty
    where = {"where": f'{{"owner.id": "{bob.id}"}}'}
    assert await read(ada, name, **where) == await read(ada, name, where='{"title": "none"}')


async def test_an_account_without_tasks_has_zeros(ada: Account) -> None:
    assert set((await read(ada, "summary")).values()) == {0}
    assert await read(ada, "tags") == []
    for name, number in (("throughput", "completed"), ("burndown", "open")):
        assert [row[number] for row in await read(ada, name)] == [0] * 30
    lead = (await read(ada, "lead-time"))["lead_time"]
    assert lead["tasks"] == 0
    assert {lead[name] for name in lead if name.endswith("_seconds")} == {None}
    assert [each["tasks"] for each in lead["histogram"]] == [0] * 14


async def test_tags_are_limited_to_the_most_frequent(ada: Account) -> None:
    for number in range(3):
        await ada.make_task(tags=["b", "a", "c"][number:])
    assert [(row["tag"], row["tasks"]) for row in await read(ada, "tags", limit="2")] == [("c", 3), ("a", 2)]
    assert wrong_fields(await ada.get("/stats/tags?limit=1001")) == {"limit": "less_than_equal"}


@pytest.mark.parametrize("name", BY_PERIOD)
@pytest.mark.parametrize(("unit", "count"), [("day", 30), ("week", 12), ("month", 12)])
async def test_the_last_period_is_the_unfinished_one(ada: Account, name: str, unit: str, count: int) -> None:
    zone = "Pacific/Kiritimati"
    rows = await read(ada, name, by=unit, tz=zone)
    assert [row["unfinished"] for row in rows] == [False] * (count - 1) + [True]
    assert rows[-1]["first_day"] <= day_of(datetime.now(UTC), zone).isoformat() <= rows[-1]["last_day"]


async def test_later_periods_have_no_open_tasks_yet(ada: Account) -> None:
    await ada.make_task()
    today = datetime.now(UTC).date()
    rows = await read(ada, "burndown", **{"from": today.isoformat(), "to": (today + timedelta(days=2)).isoformat()})
    assert [(row["open"], row["unfinished"]) for row in rows] == [(1, True), (None, True), (None, True)]
    lines = (await ada.get("/stats/burndown", params={"to": (today + timedelta(days=1)).isoformat(), "format": "csv"})).text
    assert lines.splitlines()[-1].endswith(",true,")


@pytest.mark.parametrize("name", BY_PERIOD)
async def test_a_range_has_at_most_400_periods(ada: Account, name: str) -> None:
    first = datetime(2020, 1, 1, tzinfo=UTC)
    last = (first + timedelta(days=MAX_PERIODS - 1)).date().isoformat()
    assert len(await read(ada, name, **{"from": "2020-01-01", "to": last})) == MAX_PERIODS == 400
    assert wrong_fields(await ada.get(f"/stats/{name}?from=2019-12-31&to={last}")) == {"from": "too_many_periods"}
    assert wrong_fields(await ada.get(f"/stats/{name}?from=1900-01-01&to=2199-12-31")) == {"from": "too_many_periods"}
    assert len(await read(ada, name, **{"from": "1990-01-01", "to": "2023-04-01", "by": "month"})) == 400


@pytest.mark.parametrize("name", IN_RANGE)
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Niue"])
async def test_the_outermost_days_are_served(ada: Account, name: str, zone: str) -> None:
    for day in ("1900-01-01", "2199-12-31"):
        await read(ada, name, tz=zone, **{"from": day, "to": day})
    for parameter, day, kind, message in (
        ("from", "1899-12-31", "greater_than_equal", "must be 1900-01-01 or later"),
        ("to", "2200-01-01", "less_than_equal", "must be 2199-12-31 or earlier"),
    ):
        answer = await ada.get(f"/stats/{name}?{parameter}={day}")
        assert wrong_fields(answer) == {parameter: kind}
        assert answer.json()["details"][0]["message"] == message


@pytest.mark.parametrize("name", IN_RANGE)
async def test_wrong_ranges_are_refused(ada: Account, name: str) -> None:
    tomorrow = (datetime.now(UTC).date() + timedelta(days=1)).isoformat()
    assert wrong_fields(await ada.get(f"/stats/{name}?from=2026-01-02&to=2026-01-01")) == {"from": "wrong_order"}
    assert wrong_fields(await ada.get(f"/stats/{name}?from={tomorrow}")) == {"from": "wrong_order"}
    assert wrong_fields(await ada.get(f"/stats/{name}?from=today&to=2026-1-1")) == {"from": "date_format", "to": "date_format"}


@pytest.mark.parametrize("name", ALL)
async def test_what_is_not_known_is_refused(ada: Account, name: str) -> None:
    asked = {"first": "2026-01-01", "sort": "title", "tz": "Mars/Olympus"}
    found = wrong_fields(await ada.get(f"/stats/{name}", params=asked))
    assert found == {"first": "extra_forbidden", "sort": "extra_forbidden", "tz": "unknown_time_zone"}
    where = {"where": '{"colour": 1}'}
    assert wrong_fields(await ada.get(f"/stats/{name}", params=where)) == {"where.colour": "unknown_field"}
    assert wrong_fields(await ada.get(f"/stats/{name}?tz=UTC&tz=UTC")) == {"tz": "repeated_parameter"}
    is_problem(await ada.client.get(f"/stats/{name}"), 401, "not_authenticated")


async def test_a_reopened_task_burns_down_once(ada: Account) -> None:
    task = await ada.make_task(status="done")
    await ada.patch(f"/tasks/{task['id']}", json={"status": "todo"})
    assert (await read(ada, "burndown"))[-1]["open"] == 1
    assert (await read(ada, "throughput"))[-1]["completed"] == 0


async def test_flow_and_cycle_time_follow_the_routes(ada: Account) -> None:
    tasks = [await ada.make_task(f"Task {number}") for number in range(4)]
    for task, statuses in zip(tasks, (("in_progress", "done"), ("done",), ("in_progress", "done", "todo"), ()), strict=True):
        for status in statuses:
            assert (await ada.patch(f"/tasks/{task['id']}", json={"status": status})).status_code == 200
    last = (await read(ada, "flow"))[-1]
    assert (last["todo"], last["in_progress"], last["done"]) == (2, 0, 2)
    times = await read(ada, "lead-time")
    assert (times["lead_time"]["tasks"], times["cycle_time"]["tasks"]) == (2, 1)


async def test_flow_begins_when_the_task_was_created(ada: Account) -> None:
    """Also if an import has moved that, or the oldest changes were dropped."""
    task, now = await ada.make_task(), datetime.now(UTC)
    changes = [{"status": "in_progress", "at": now - timedelta(days=2)}, {"status": "done", "at": now}]
    for days, in_progress in ((4, [0, 1, 1, 1, 1, 0]), (1, [0, 0, 0, 0, 1, 0])):
        await collection(TaskDocument).update_one(
            {"_id": ObjectId(task["id"])}, {"$set": {"status_changes": changes, "created_at": now - timedelta(days=days)}}
        )
        assert [row["in_progress"] for row in (await read(ada, "flow"))[-6:]] == in_progress


async def test_a_search_narrows_the_numbers(ada: Account) -> None:
    for title in ("The quarterly report", "The report", "Something else"):
        await ada.make_task(title, tags=["work"], status="done")
    for words, count in (("report", 2), ("-quarterly report", 1), ("nothing", 0)):
        assert (await read(ada, "summary", q=words))["done"] == count
        assert (await read(ada, "throughput", q=words))[-1]["completed"] == count
        assert (await read(ada, "burndown", q=words))[-1]["open"] == 0
        assert (await read(ada, "lead-time", q=words))["lead_time"]["tasks"] == count
        assert sum(row["tasks"] for row in await read(ada, "tags", q=words)) == count


@pytest.mark.usefixtures("made_anew")
async def test_damaged_tasks_break_no_number(ada: Account) -> None:
    fields = [
        "status_changes",
        "status_changes.status",
        "status_changes.at",
        "status",
        "completed",
        "completed_at",
        "priority",
        "due_date",
        "estimate_minutes",
        "tags",
        "created_at",
        "updated_at",
    ]
    sound = {**await sound_task(ada), "status": "done", "completed_at": datetime.now(UTC)}
    kept = await store(TaskDocument, as_stored([*damaged(sound, fields, list(ODD))]))
    await collection(TaskDocument).insert_one({**sound, "_id": ObjectId(), "key": "other", "estimate_minutes": 7})
    await collection(TaskDocument).insert_one({**sound, "_id": ObjectId(), "key": "nested", "tags": [["work"]]})
    assert len(kept) > 100
    for filters in ({}, {"tag": "work"}, {"where": '{"created_at": {"$lt": "2200-01-01T00:00:00Z"}}'}, {"completed": "true"}):
        found = {name: await read(ada, name, **filters) for name in ALL}
        assert found["summary"]["done"] > 0
        assert found["throughput"][-1]["completed"] > 0
        assert found["lead-time"]["lead_time"]["tasks"] > 0
        assert found["tags"][0]["tag"] == "work"
        assert found["flow"][-1]["done"] > 0
        assert (await read(ada, "burndown", measure="estimate_minutes", **filters))[-1]["open"] >= 0
