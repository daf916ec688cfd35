"""Whether the daily figures agree with the tasks."""

from tests.analytics.daily.brute_force import days, read
from tests.analytics.daily.refreshing import Stored


def assert_agrees(database: Stored) -> None:
    """Fails unless the figures are those of the tasks."""
    rows = list(database["task_days"].find())
    assert [row["_id"] for row in rows] == [{"owner_id": row["owner_id"], "day": row["day"]} for row in rows]
    assert {(row["owner_id"], row["day"]): read(row) for row in rows} == days(database["tasks"].find())
    assert not database["task_days"].count_documents({"stale": {"$exists": True}})
    assert database["task_days"].count_documents({}) == len(list(database["v_task_days"].find())) + len(
        list(database["v_days"].find())
    )
