"""Each statistic equals what plain Python counts, for generated tasks around the changes of the clocks."""

from typing import Any

import httpx
import pytest
from bson import ObjectId
from hypothesis import HealthCheck, given, settings

from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, make_account, take_task
from tests.stats import brute_force
from tests.stats.brute_force import Case, cases
from tests.stored import collection

pytestmark = pytest.mark.real

HYPOTHESIS = settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
async def ada(shared: httpx.AsyncClient) -> Account:
    """Ada, with a task in the trash, and beside Bob with tasks."""
    ada, bob = await make_account(shared, "ada"), await make_account(shared, "bob")
    gone = await ada.make_task(tags=["a"], priority=2, status="done")
    assert (await ada.delete(f"/tasks/{gone['id']}")).status_code == 204
    await bob.make_task(tags=["a"], priority=2, status="done", estimate_minutes=50)
    return ada


@pytest.fixture(scope="module")
async def template(ada: Account) -> dict[str, Any]:
    stored = await take_task(ada)
    del stored["status_changes"]
    return stored


@given(case=cases())
@HYPOTHESIS
async def test_each_number_equals_brute_force(ada: Account, template: dict[str, Any], case: Case) -> None:
    stored = [{**template, **task.stored(), "_id": ObjectId()} for task in case.tasks]
    if stored:
        await collection(TaskDocument).insert_many(stored)
    try:
        by = {**case.range, "by": case.unit}
        assert await read(ada, "summary", case.parameters) == brute_force.summary(case)
        assert await read(ada, "throughput", by) == brute_force.throughput(case)
        for measure in ("tasks", "estimate_minutes"):
            assert await read(ada, "burndown", {**by, "measure": measure}) == brute_force.burndown(case, measure)
        assert await read(ada, "flow", by) == brute_force.flow(case)
        assert await read(ada, "lead-time", case.range) == brute_force.lead_times(case)
        assert await read(ada, "tags", case.parameters) == brute_force.tags(case)
    finally:
        await collection(TaskDocument).delete_many({"_id": {"$in": [task["_id"] for task in stored]}})


async def read(account: Account, name: str, parameters: dict[str, str]) -> Any:
    answer = await account.get(f"/stats/{name}", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()
