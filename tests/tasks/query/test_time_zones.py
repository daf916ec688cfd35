"""The time zone ``tz``, which decides what is overdue and what ``today`` is."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from taskapi.core.clock import day_of
from tests.client import Account, is_problem, wrong_fields

FIRST, LAST = "Pacific/Kiritimati", "Etc/GMT+12"  # 14 hours before UTC and 12 hours behind: never the same day
ZONES = [None, "UTC", FIRST, LAST, "America/Los_Angeles", "Asia/Kathmandu"]


def today_in(zone: str | None) -> date:
    return datetime.now(ZoneInfo(zone or "UTC")).date()


@pytest.mark.parametrize(
    ("moment", "zone", "day"),
    [
        ("2026-01-01T09:59:59.999", FIRST, "2026-01-01"),
        ("2026-01-01T10:00:00", FIRST, "2026-01-02"),
        ("2026-01-01T07:59:59.999", "America/Los_Angeles", "2025-12-31"),
        ("2026-01-01T08:00:00", "America/Los_Angeles", "2026-01-01"),
        ("2026-07-01T06:59:59.999", "America/Los_Angeles", "2026-06-30"),  # an hour earlier in summer
        ("2026-07-01T07:00:00", "America/Los_Angeles", "2026-07-01"),
        ("2026-01-01T00:00:00", None, "2026-01-01"),
        ("2026-01-01T23:59:59.999", None, "2026-01-01"),
    ],
)
def test_the_day_around_midnight(moment: str, zone: str | None, day: str) -> None:
    assert day_of(datetime.fromisoformat(moment).replace(tzinfo=UTC), zone).isoformat() == day


@pytest.fixture
async def with_days(ada: Account) -> Account:
    """Ada with a task for each day around today, named after it, and one without a day."""
    for days in range(-3, 4):
        day = (today_in("UTC") + timedelta(days=days)).isoformat()
        await ada.make_task(day, due_date=day)
    await ada.make_task("never")
    return ada


@pytest.mark.parametrize("zone", ZONES)
async def test_overdue_and_due_today_depend_on_time_zone(with_days: Account, zone: str | None) -> None:
    titles = [task["title"] for task in (await with_days.get("/tasks?sort=due_date")).json()]

    async def found(**parameters: str) -> list[str]:
        given = {**parameters, "sort": "due_date", **({"tz": zone} if zone else {})}
        answer = await with_days.get("/tasks", params=given)
        export = await with_days.get("/tasks/export", params={**given, "format": "csv"})
        dry_run = await with_days.patch(
            "/tasks", params={**parameters, **({"tz": zone} if zone else {}), "dry_run": "true"}, json={}
        )
        assert dry_run.json()["matched"] == len(answer.json()) == len(export.text.splitlines()) - 1
        return [task["title"] for task in answer.json()]

    today = today_in(zone).isoformat()
    assert await found(overdue="true") == await found(due_before="today") == [title for title in titles if title < today]
    assert await found(overdue="false") == [title for title in titles if title >= today]
    assert await found(due_after="today") == [title for title in titles if today < title != "never"]
    assert await found(due_before=today) == [title for title in titles if title < today]  # a day that is named is that day
    for task in (await with_days.get("/tasks")).json():
        summary = await with_days.get(f"/tasks/{task['id']}/summary", params={"tz": zone} if zone else {})
        assert summary.json()["overdue"] == (task["title"] < today)


async def test_the_first_and_the_last_place_never_agree(with_days: Account) -> None:
    counts = [len((await with_days.get("/tasks", params={"overdue": "true", "tz": zone})).json()) for zone in (FIRST, LAST)]
    assert counts[0] > counts[1]


@pytest.mark.parametrize(
    "zone",
    ["", "Mars/Olympus", "Europe", "europe/berlin!", "../../etc/passwd", "/etc/localtime", "zone.tab", "A" * 65, "\x00", "ä"],
)
async def test_an_unknown_zone_is_named(ada: Account, zone: str) -> None:
    task = await ada.make_task()
    calls = [
        await ada.get("/tasks", params={"overdue": "true", "tz": zone}),
        await ada.get("/tasks", params={"due_before": "today", "tz": zone}),
        await ada.get("/tasks/export", params={"tz": zone}),
        await ada.delete("/tasks", params={"overdue": "true", "tz": zone}),
        await ada.get(f"/tasks/{task['id']}/summary", params={"tz": zone}),
    ]
    for answer in calls:
        assert list(wrong_fields(answer)) == ["tz"]
    if len(zone) < 65:
        message = "must be a time zone of the IANA database, such as Europe/Berlin"
        assert is_problem(calls[0], 422, "validation_error")["details"][0]["message"] == message


async def test_a_zone_alone_is_harmless_and_no_filter(ada: Account) -> None:
    task = await ada.make_task()
    assert (await ada.get("/tasks?tz=Asia/Tokyo")).json() == [task]
    for answer in (await ada.delete("/tasks?tz=Asia/Tokyo"), await ada.patch("/tasks?tz=Asia/Tokyo", json={"priority": 2})):
        assert "filter_missing" in wrong_fields(answer).values()
    assert (await ada.get("/tasks")).json() == [task]


async def test_a_cursor_is_of_one_zone(ada: Account) -> None:
    for number in range(2):
        await ada.make_task(f"Task {number}")
    cursor = (await ada.get("/tasks?limit=1&tz=Asia/Tokyo")).headers["x-next-cursor"]
    assert (await ada.get(f"/tasks?limit=1&tz=Asia/Tokyo&cursor={cursor}")).status_code == 200
    assert wrong_fields(await ada.get(f"/tasks?limit=1&tz=UTC&cursor={cursor}")) == {"cursor": "wrong_cursor"}
