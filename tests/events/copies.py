"""A client that keeps a copy of its tasks by ``GET /tasks/changes``."""

from typing import Any

from tests.client import Account

Event = dict[str, Any]


async def page(account: Account, since: str | None = None, limit: int = 100) -> dict[str, Any]:
    """One answer."""
    given = {"limit": str(limit)} | ({} if since is None else {"since": since})
    answer = await account.get("/tasks/changes", params=given)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found.keys() == {"changes", "next", "more"}
    assert len(found["changes"]) <= limit
    return found


async def changes(account: Account, since: str | None = None, limit: int = 100) -> tuple[list[Event], str]:
    """All that has changed, page by page, and the position behind it."""
    events = list[Event]()
    while True:
        found = await page(account, since, limit)
        events += found["changes"]
        since = str(found["next"])
        if not found["more"]:
            return events, since
        assert found["changes"]


class Copy:
    """A copy of an account's tasks."""

    def __init__(self, account: Account, limit: int = 100) -> None:
        self.account, self.limit = account, limit
        self.tasks: dict[str, Any] = {}
        self.versions: dict[str, int] = {}
        self.since: str | None = None

    async def follow(self) -> list[Event]:
        """Brings the copy up to date."""
        events, self.since = await changes(self.account, self.since, self.limit)
        for event in events:
            self.apply(event)
        return events

    def apply(self, event: Event) -> None:
        """Takes over an event, unless it is older than the copy."""
        task_id = event["task_id"]
        if event["version"] < self.versions.get(task_id, 0):
            return
        self.versions[task_id] = event["version"]
        if event["type"] in ("task.deleted", "task.purged"):
            assert "task" not in event
            self.tasks.pop(task_id, None)
        elif "task" in event:
            assert event["task"]["id"] == task_id
            self.tasks[task_id] = event["task"]


async def all_tasks(account: Account) -> dict[str, Any]:
    """The tasks as the list has them."""
    found: dict[str, Any] = {}
    given = {"limit": "100"}
    while True:
        answer = await account.get("/tasks", params=given)
        assert answer.status_code == 200, answer.text
        found |= {task["id"]: task for task in answer.json()}
        if "x-next-cursor" not in answer.headers:
            return found
        given["cursor"] = answer.headers["x-next-cursor"]
