"""The queries on the page of the views find something in a database that has something of everything."""

import asyncio
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from pymongo import MongoClient

from taskapi.main import VIEWS
from taskapi.tasks.storage.documents import TaskDocument
from tests.analytics.daily.refreshing import refreshed
from tests.client import Account, make_account, sign_in
from tests.conftest import URI_VARIABLE
from tests.stored import collection
from tests.views.test_tasks import live, patch

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("copies_wait")]

PAGE = (Path(__file__).parents[2] / "docs" / "view_queries.md").read_text()
EXAMPLES = {
    match[1]: re.findall(r"```python\n(.*?)```", match[2], re.DOTALL)
    for match in re.finditer(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
}


def test_each_view_has_three_examples() -> None:
    assert {name: len(found) for name, found in EXAMPLES.items()} == {view.name: 3 for view in VIEWS}


async def test_examples_find_something(ada: Account, bob: Account) -> None:
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    eve = await make_account(ada.client, "eve", email="eve@example.com")
    fields = {"due_date": yesterday, "tags": ["work"], "checklist": [{"text": "One"}]}
    ids = [(await eve.make_task("A task", **fields))["id"] for _ in range(4)]
    await live(ada, bob)
    await eve.delete(f"/tasks/{ids[0]}")
    for status in ("in_progress", "done", "todo"):
        await patch(eve, ids[1], status=status)
    await patch(eve, ids[1], due_date="2030-01-01")
    await patch(eve, ids[2], status="done")
    await sign_in(ada.client, "eve", "a wrong password")
    await refreshed()
    assert await asyncio.to_thread(empty_examples, ObjectId(eve.id)) == []


def empty_examples(owner_id: ObjectId) -> list[str]:
    """The examples that find nothing."""
    now = datetime.now(UTC)
    with MongoClient[dict[str, Any]](os.environ[URI_VARIABLE]) as client:
        names: dict[str, Any] = {"db": client[collection(TaskDocument).database.name], "owner_id": owner_id}
        names |= {"overdue_ids": [owner_id], "since": now - timedelta(days=7), "end_of_day": now}
        queries = [query for found in EXAMPLES.values() for query in found]
        return [query for query in queries if not list(eval(query, names))]
