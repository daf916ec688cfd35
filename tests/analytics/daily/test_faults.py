"""Refreshes that are killed, stopped or run at once, and accounts that are erased meanwhile: the next refresh is exact."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from bson import ObjectId

from taskapi.analytics.daily import lease
from taskapi.analytics.daily.account_repository import TaskDayRepository
from taskapi.analytics.daily.repository import Refresh
from taskapi.core.errors import StartupError
from taskapi.db.connection import Database
from tests.analytics.daily.agreeing import assert_agrees
from tests.analytics.daily.refreshing import Stored, killed, run
from tests.client import Account
from tests.stored import service
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real


@pytest.mark.parametrize("full", [False, True], ids=["changed", "all"])
async def test_refresh_killed_before_any_write_is_repeated(
    ada: Account, bob: Account, database: Stored, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    """What counts as refreshed is what was summed up."""
    tasks = [(account, await account.make_task("First")) for account in (ada, bob)]
    first = run(database)
    for number in count():
        for account, task in tasks:  # days appear, change and vanish
            changes = {"due_date": f"20{31 + number}-01-01", "status": "in_progress" if number % 2 else "todo"}
            assert (await account.patch(f"/tasks/{task['id']}", json=changes)).status_code == 200
        if not killed(database, monkeypatch, number, full=full):
            break
        if min(database["v_days"].distinct("refreshed_at")) != first.at:  # nothing was left to sum up
            assert_agrees(database)
        first = run(database)
        assert_agrees(database)
    assert number >= 5
    assert_agrees(database)


async def test_killed_first_refresh_is_repeated(ada: Account, database: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    await ada.make_task(due_date="2030-01-01")
    for number in count():
        database["task_days"].delete_many({})
        if not killed(database, monkeypatch, number):
            break
        run(database)
        assert_agrees(database)
    assert_agrees(database)


async def test_only_one_refresh_runs_at_once(ada: Account, database: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    await ada.make_task()
    inner = Refresh.sum_up

    def meanwhile(refresh: Refresh) -> None:
        with pytest.raises(StartupError, match="another refresh is running"):
            run(database)
        database["service_state"].update_one({"_id": "refresh"}, {"$set": {"holder": ObjectId()}})  # as if it had been silent
        with pytest.raises(StartupError, match="another refresh has taken over"):
            inner(refresh)

    with monkeypatch.context() as patch:
        patch.setattr(Refresh, "sum_up", meanwhile)
        run(database)
    with pytest.raises(StartupError, match="another refresh is running"):
        run(database)
    state = database["service_state"].find_one({"_id": "refresh"}) or {}
    assert (state["leased_until"] - datetime.now(UTC)).total_seconds() < 30
    database["service_state"].update_one({"_id": "refresh"}, {"$set": {"leased_until": datetime.now(UTC)}})
    run(database)
    assert_agrees(database)


async def test_lease_is_renewed_during_a_long_query(ada: Account, database: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    await ada.make_task()
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    inner = Refresh.all_owners

    def until() -> datetime:
        found: Mapping[str, Any] = database["service_state"].find_one({"_id": "refresh"}) or {}
        at: datetime = found["leased_until"]
        return at

    def meanwhile(refresh: Refresh) -> list[ObjectId]:
        before, deadline = until(), time.monotonic() + PATIENCE_SECONDS
        while until() == before:
            assert time.monotonic() < deadline
        return inner(refresh)

    monkeypatch.setattr(Refresh, "all_owners", meanwhile)
    run(database, full=True)
    assert_agrees(database)


async def test_refresh_writes_what_has_changed_alone(ada: Account, bob: Account, database: Stored) -> None:
    days = database["task_days"]
    for account in (ada, bob):
        for day in range(1, 8):
            await account.make_task(due_date=f"2030-01-0{day}")
    run(database)
    task = await ada.make_task(due_date="2030-01-03")
    second = run(database)
    changed = days.distinct("day", {"owner_id": {"$ne": None}, "refreshed_at": second.at})
    assert {day.isoformat()[:10] for day in changed} == {task["created_at"][:10], "2030-01-03"}
    assert days.distinct("owner_id", {"owner_id": {"$ne": None}, "refreshed_at": second.at}) == [ObjectId(ada.id)]
    assert days.distinct("refreshed_at", {"owner_id": None}) == [second.at]
    third = run(database)
    assert not days.count_documents({"owner_id": {"$ne": None}, "refreshed_at": third.at})
    assert days.distinct("refreshed_at", {"owner_id": None}) == [third.at]


async def test_only_days_that_changed_are_summed_up(ada: Account, database: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(1, 8):
        await ada.make_task(due_date=f"2030-01-0{day}")
    run(database)
    summed = list[datetime]()
    inner = Refresh._sum

    def watch(refresh: Refresh, marks: Mapping[datetime, ObjectId | None]) -> None:
        summed.extend(marks)
        inner(refresh, marks)

    monkeypatch.setattr(Refresh, "_sum", watch)
    run(database)
    assert not summed
    task = await ada.make_task(due_date="2030-01-03")
    run(database)
    assert {day.isoformat()[:10] for day in summed} == {task["created_at"][:10], "2030-01-03"}
    run(database, full=True)
    assert len(summed) == 10


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("method", ["replace", "_sum", "sum_up"])
async def test_account_erased_meanwhile_is_in_no_sum(
    ada: Account, bob: Account, database: Stored, monkeypatch: pytest.MonkeyPatch, method: str, moment: str
) -> None:
    for account in (ada, bob):
        await account.make_task(due_date="2030-01-01")
    await bob.make_task(due_date="2030-01-02")
    run(database)
    await ada.make_task(due_date="2030-01-01")
    await bob.make_task(due_date="2030-01-02")
    loop, inner, erased = asyncio.get_running_loop(), getattr(Refresh, method), list[bool]()
    gone = ObjectId(bob.id)

    def erase() -> None:
        if not erased:
            erased.append(True)
            database["tasks"].delete_many({"owner_id": gone})
            erasing = TaskDayRepository(service(Database)).delete_for_user(gone)
            asyncio.run_coroutine_threadsafe(erasing, loop).result(60)
            database["users"].delete_one({"_id": gone})

    def meanwhile(refresh: Refresh, *given: Any) -> None:
        if moment == "before":
            erase()
        inner(refresh, *given)
        if moment == "after":
            erase()

    with monkeypatch.context() as patch:
        patch.setattr(Refresh, method, meanwhile)
        await asyncio.to_thread(run, database)
    assert erased
    run(database)
    assert_agrees(database)


async def test_sum_read_before_an_erasure_is_not_written(
    ada: Account, bob: Account, database: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    for account in (ada, bob):
        await account.make_task(due_date="2030-01-01")
    loop, inner, gone = asyncio.get_running_loop(), Refresh._write, ObjectId(bob.id)

    def meanwhile(refresh: Refresh, writes: Any) -> None:
        writes = list(writes)  # the rows have been read by now
        if writes and "stale" in str(writes[0]) and database["task_days"].count_documents({"owner_id": gone}):
            database["tasks"].delete_many({"owner_id": gone})
            erasing = TaskDayRepository(service(Database)).delete_for_user(gone)
            asyncio.run_coroutine_threadsafe(erasing, loop).result(60)
        inner(refresh, writes)

    run(database)
    await ada.make_task(due_date="2030-01-01")
    monkeypatch.setattr(Refresh, "_write", meanwhile)
    await asyncio.to_thread(run, database)
    assert not database["task_days"].count_documents({"owner_id": gone})
    assert_agrees(database)
