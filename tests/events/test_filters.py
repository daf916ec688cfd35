"""Streams with filters: what matches is told, and what leaves."""

from typing import Any

import pytest
from fastapi import FastAPI

from taskapi.events.filters import EventFilter
from tests.client import Account
from tests.events.listening import Listening, listening

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({}, set()),
        ({"status": "todo"}, {"status"}),
        ({"tag": "home"}, {"tags"}),
        ({"where": {"metadata.project": "Apollo"}}, {"metadata"}),
        (
            {"where": {"$or": [{"priority": 1}, {"$and": [{"checklist": {"$elemMatch": {"done": True}}}]}]}},
            {"priority", "checklist"},
        ),
        ({"where": {"title": {"$not": {"$eq": "One"}}}, "status": "done", "tag": "x"}, {"title", "status", "tags"}),
    ],
)
def test_the_fields_that_decide(given: dict[str, Any], fields: set[str]) -> None:
    assert EventFilter(**given).fields() == fields


async def told(stream: Listening, ada: Account) -> list[tuple[str, str | None]]:
    """What was told, by type and title, up to a task that every filter here lets through."""
    await ada.make_task("Last", status="done", tags=["work"], priority=5)
    found: list[tuple[str, str | None]] = []
    while True:
        event = await stream.next()
        title = event.data.get("task", {}).get("title")
        if title == "Last":
            return found
        found.append((event.name, title))


@pytest.mark.parametrize(
    ("query", "fitting"),
    [
        ({"status": "done"}, {"status": "done"}),
        ({"tag": "Work"}, {"tags": ["work"]}),
        ({"where": '{"priority": {"$gte": 4}}'}, {"priority": 4}),
    ],
)
async def test_only_what_matches_is_told(app: FastAPI, ada: Account, query: dict[str, str], fitting: dict[str, Any]) -> None:
    async with listening(app, ada.headers, **query) as stream:
        await stream.next()
        await ada.make_task("Not this")
        await ada.make_task("This", **fitting)
        assert await told(stream, ada) == [("task.created", "This")]


async def test_a_task_that_leaves_is_told_as_left(app: FastAPI, ada: Account) -> None:
    async with listening(app, ada.headers, status="todo") as stream:
        hello = await stream.next()
        task = await ada.make_task("Mine", status="todo")
        assert (await stream.next()).name == "task.created"
        await ada.patch(f"/tasks/{task['id']}", json={"status": "done"})
        left = await stream.next()
        await ada.patch(f"/tasks/{task['id']}", json={"title": "Mine, outside"})
        other = await ada.make_task("Other", status="todo")
        assert (await stream.next()).data["task_id"] == other["id"]
        await ada.patch(f"/tasks/{task['id']}", json={"status": "todo"})
        back = await stream.next()
    assert (left.name, left.data["type"], left.data["version"]) == ("task.left", "task.left", 2)
    assert "status" in left.data["changed"]
    assert "task" not in left.data
    assert (back.name, back.data["version"], back.data["task"]["title"]) == ("task.updated", 4, "Mine, outside")
    async with listening(app, ada.headers, status="done", since=hello.id or "") as late:
        await late.next()
        assert await told(late, ada) == [("task.left", None), ("task.left", None)]  # it is not done now, whatever it was


async def test_deletions_are_told_whatever_the_filter(app: FastAPI, ada: Account) -> None:
    task = await ada.make_task("Never matched")
    async with listening(app, ada.headers, status="done") as stream:
        await stream.next()
        await ada.delete(f"/tasks/{task['id']}")
        await ada.post(f"/tasks/{task['id']}/restore")
        await ada.delete(f"/tasks/{task['id']}")
        await ada.delete(f"/trash/{task['id']}")
        assert await told(stream, ada) == [("task.deleted", None), ("task.deleted", None), ("task.purged", None)]


async def test_a_filter_by_version_hears_of_every_change(app: FastAPI, ada: Account) -> None:
    async with listening(app, ada.headers, where='{"version": 1}') as stream:
        await stream.next()
        task = await ada.make_task("First")
        await ada.patch(f"/tasks/{task['id']}", json={"title": "Second"})
        left = await stream.next()
        while left.name == "task.created":
            left = await stream.next()
        assert left.name == "task.left"
