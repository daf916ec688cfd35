"""The daily figures equal what plain Python counts, after a first refresh and after later ones."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from bson import ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskapi.core.errors import StartupError
from tests.analytics.daily.agreeing import assert_agrees
from tests.analytics.daily.refreshing import KEPT, OVERLAP, Stored, killed, run
from tests.client import Account, make_account, take_task
from tests.examples import histories

pytestmark = pytest.mark.real

HYPOTHESIS = settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
async def template(shared: httpx.AsyncClient) -> dict[str, Any]:
    ada = await make_account(shared, "ada")
    await make_account(shared, "bob")
    return await take_task(ada)


@given(data=st.data())
@HYPOTHESIS
def test_figures_equal_brute_force(
    template: dict[str, Any], database: Stored, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    """Also after changes, and refreshes that were killed."""
    owners = [{"id": user["_id"], "username": user["username"]} for user in database["users"].find()]
    drawn = histories.tasks(template, owners, "UTC")
    tasks = data.draw(drawn)
    database["tasks"].delete_many({})
    database["tasks"].insert_many(tasks)
    assert run(database, full=True).users in (1, 2)
    assert_agrees(database)

    for _ in range(data.draw(st.integers(1, 3))):
        for number in data.draw(st.sets(st.sampled_from(range(len(tasks))), max_size=3)):
            change(database, tasks[number], data.draw(st.sampled_from(["todo", "in_progress", "done", "deleted"])))
        added = [{**task, "changed_at": datetime.now(UTC)} for task in data.draw(drawn)]
        tasks += added
        database["tasks"].insert_many(added)
        if writes := data.draw(st.integers(0, 8)):
            killed(database, monkeypatch, writes)
    run(database)
    assert_agrees(database)


def change(database: Stored, task: dict[str, Any], status: str) -> None:
    """Changes a stored task: its status, or whether it is deleted."""
    if task["state"] == "active" and status == "deleted":
        histories.delete(task, datetime.now(UTC))
    elif task["state"] == "active":
        histories.apply(task, datetime.now(UTC), "update", status=status)
    database["tasks"].replace_one({"_id": task["_id"]}, task)


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
