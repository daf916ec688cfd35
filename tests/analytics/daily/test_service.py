"""The daily figures equal what plain Python counts, after a first refresh and after later ones."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from bson import ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskapi.analytics.daily.repository import Refresh
from taskapi.core.errors import StartupError
from tests.analytics.daily.brute_force import days, read
from tests.analytics.daily.refreshing import KEPT, OVERLAP, Stored, run
from tests.client import Account, make_account, take_task
from tests.examples import histories

pytestmark = pytest.mark.real

HYPOTHESIS = settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
async def template(shared: httpx.AsyncClient) -> dict[str, Any]:
    ada = await make_account(shared, "ada")
    await make_account(shared, "bob")
    return await take_task(ada)


def assert_agrees(database: Stored) -> None:
    """Fails unless the figures are those of the tasks."""
    rows = list(database["task_days"].find())
    assert [row["_id"] for row in rows] == [{"owner_id": row["owner_id"], "day": row["day"]} for row in rows]
    assert {(row["owner_id"], row["day"]): read(row) for row in rows} == days(database["tasks"].find())
    assert database["task_days"].count_documents({}) == len(list(database["v_task_days"].find())) + len(
        list(database["v_days"].find())
    )


@given(data=st.data())
@HYPOTHESIS
def test_figures_equal_brute_force(template: dict[str, Any], database: Stored, data: st.DataObject) -> None:
    owners = [{"id": user["_id"], "username": user["username"]} for user in database["users"].find()]
    drawn = histories.tasks(template, owners, "UTC")
    tasks = data.draw(drawn)
    database["tasks"].delete_many({})
    database["tasks"].insert_many(tasks)
    assert run(database, full=True).users in (1, 2)
    assert_agrees(database)

    for task in data.draw(
        st.lists(st.sampled_from(range(len(tasks))), max_size=3, unique=True).map(lambda ns: [tasks[n] for n in ns])
    ):
        status = data.draw(st.sampled_from(["todo", "in_progress", "done"]))
        if task["state"] == "active":
            histories.apply(task, datetime.now(UTC), "update", status=status)
            database["tasks"].replace_one({"_id": task["_id"]}, task)
    database["tasks"].insert_many([{**task, "changed_at": datetime.now(UTC)} for task in data.draw(drawn)])
    run(database)
    assert_agrees(database)


async def test_only_users_with_changes_are_counted(ada: Account, bob: Account, database: Stored) -> None:
    for account in (ada, bob):
        await account.make_task()
    long_ago = datetime.now(UTC) - timedelta(days=1)
    database["tasks"].update_many({}, {"$set": {"changed_at": long_ago}})
    first = run(database)
    assert first.users == 2
    second = run(database)
    assert (second.users, second.at >= first.at) == (0, True)
    assert database["v_days"].distinct("refreshed_at") == [second.at]

    task = await ada.make_task("Another")
    assert run(database).users == 1
    assert_agrees(database)
    for path in (f"/tasks/{task['id']}", f"/trash/{task['id']}"):
        assert (await ada.delete(path)).status_code == 204
    assert run(database).users == 1
    assert_agrees(database)
    database["tasks"].delete_many({"owner_id": ObjectId(bob.id)})  # which leaves no tombstone
    assert run(database, full=True).users == 2
    assert_agrees(database)
    assert not list(database["task_days"].find({"owner_id": ObjectId(bob.id)}))


async def test_after_a_long_time_all_is_counted(ada: Account, database: Stored) -> None:
    await ada.make_task()
    database["tasks"].update_many({}, {"$set": {"changed_at": datetime.now(UTC) - timedelta(days=365)}})
    run(database)
    database["task_days"].update_many({}, {"$set": {"refreshed_at": datetime.now(UTC) - KEPT - OVERLAP}})
    assert run(database).users == 1
    assert_agrees(database)


@pytest.mark.parametrize("step", ["replace", "remove_erased", "sum_up"])
async def test_interrupted_refresh_is_repeated(
    ada: Account, database: Stored, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whatever step the process was killed in: what counts as refreshed is what was summed up."""
    await ada.make_task("First")
    first = run(database)
    await ada.make_task("Second", status="done")

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Refresh, step, fail)
        with pytest.raises(KeyboardInterrupt):
            run(database)
    assert database["v_days"].distinct("refreshed_at") == [first.at]
    run(database)
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
    past = datetime.now(UTC) - timedelta(seconds=1)
    database["service_state"].update_one({"_id": "refresh"}, {"$set": {"leased_until": past}})
    run(database)
    assert_agrees(database)


async def test_figures_of_erased_accounts_go(ada: Account, bob: Account, database: Stored) -> None:
    """Also if the account was erased while its tasks were counted."""
    await ada.make_task()
    await bob.make_task()
    run(database)
    database["tasks"].delete_many({"owner_id": ObjectId(bob.id)})
    database["users"].delete_one({"_id": ObjectId(bob.id)})
    run(database)
    assert_agrees(database)


def test_without_views_nothing_is_refreshed(database: Stored) -> None:
    with pytest.raises(StartupError, match="no view v_days"):
        run(database.client["empty_database"])
