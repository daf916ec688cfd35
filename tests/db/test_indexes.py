"""The indexes at start: an index whose definition changed takes the place of the one before."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from pymongo import ASCENDING
from pymongo.errors import OperationFailure

from taskapi.db.connection import Database
from taskapi.main import DOCUMENTS
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account
from tests.stored import collection

pytestmark = pytest.mark.real

BY_TITLE = [("owner.id", ASCENDING), ("title", ASCENDING), ("_id", ASCENDING)]


async def present() -> dict[str, Any]:
    return dict(await collection(TaskDocument).index_information())


@pytest.mark.parametrize("workers", [1, 4])
async def test_old_database_gets_the_collated_title_index(app: FastAPI, ada: Account, workers: int) -> None:
    expected = await present()
    tasks = collection(TaskDocument)
    await tasks.drop_index("owner_title_collated")
    await tasks.create_index(BY_TITLE, name="owner_title")
    await tasks.create_index([("owner.id", ASCENDING), ("links", ASCENDING)], name="their_own")
    for title in ("banana", "Apple", "apple"):
        await ada.make_task(title)
    await asyncio.gather(*(app.state.services[Database].create_indexes(DOCUMENTS) for _ in range(workers)))
    assert (await present()).keys() == {*expected, "their_own"}
    assert (await present())["owner_title_collated"] == expected["owner_title_collated"]
    await tasks.drop_index("their_own")
    listed = await ada.get("/tasks?sort=title&fields=title")
    assert [task["title"] for task in listed.json()] == ["apple", "Apple", "banana"]


async def test_undroppable_index_does_not_stop_the_start(
    app: FastAPI, ada: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As for an account that may make indexes, which was enough for version 1.2, but not drop them."""

    async def refused(*_: Any) -> None:
        raise OperationFailure("not authorized to execute command", 13)

    tasks = collection(TaskDocument)
    await tasks.create_index(BY_TITLE, name="owner_title")
    monkeypatch.setattr(type(tasks), "drop_index", refused)
    await app.state.services[Database].create_indexes(DOCUMENTS)
    (record,) = [each for each in caplog.records if each.message == "former index not dropped"]
    expected = {"collection": "tasks", "index": "owner_title", "reason": "not authorized to execute command"}
    assert record.__dict__["fields"] == expected
    monkeypatch.undo()
    await app.state.services[Database].create_indexes(DOCUMENTS)
    assert "owner_title" not in await present()
