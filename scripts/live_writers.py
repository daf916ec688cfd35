"""Writers that change the tasks of many accounts without a break, and note what was acknowledged."""

import asyncio
import random
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import httpx
from live_copy import Written

PATIENCE_SECONDS = 30
PAUSE_AFTER_FAILURE = 0.2
MAX_TASKS = 60  # that a writer changes; beyond them, it erases some
IN_TRASH = "trash"


@dataclass
class Owner:
    """An account."""

    number: int
    id: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass
class Kept:
    """A task that one writer alone changes, as it left it."""

    owner: Owner
    task_id: str
    version: int
    state: str = "active"
    number: int = 0


@dataclass
class Writers:
    """Changes tasks until it is told to stop. A task with a write whose outcome is unknown is left alone from then on."""

    url: str
    owners: list[Owner]
    pause: float
    seed: int
    written: dict[str, list[Written]] = field(default_factory=lambda: defaultdict(list))  # by owner
    statuses: Counter[int] = field(default_factory=Counter)
    abandoned: int = 0
    stopping: bool = False

    @property
    def acknowledged(self) -> int:
        return sum(map(len, self.written.values()))

    async def write(self, number: int) -> None:
        """One writer."""
        chance = random.Random(self.seed * 1000 + number)  # noqa: S311  # nosec B311
        tasks: list[Kept] = []
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(base_url=self.url, timeout=PATIENCE_SECONDS, limits=limits) as client:
            while not self.stopping:
                await asyncio.sleep(chance.uniform(0, 2 * self.pause))
                if len(tasks) < 3 or (chance.random() < 0.2 and len(tasks) < MAX_TASKS):
                    await self._create(client, chance, tasks)
                    continue
                task = chance.choice(tasks)
                if not await self._change(client, chance, task):
                    self.abandoned += 1
                    tasks.remove(task)
                elif task.state == "purged":
                    tasks.remove(task)

    async def _create(self, client: httpx.AsyncClient, chance: random.Random, tasks: list[Kept]) -> None:
        owner = chance.choice(self.owners)
        body = {"title": f"Task {chance.randrange(10**9)}", "tags": ["live"], "metadata": {"n": chance.randrange(100)}}
        answer = await self._call(client, owner, "POST", "/tasks", json=body)
        if answer is not None and answer.status_code == 201:
            task = Kept(owner, answer.json()["id"], 1)
            tasks.append(task)
            self._note(task, "create")

    async def _change(self, client: httpx.AsyncClient, chance: random.Random, task: Kept) -> bool:
        """Changes a task. Returns whether that was acknowledged."""
        path, draw = f"/tasks/{task.task_id}", chance.random()
        task.number += 1
        if task.state == IN_TRASH:
            method, path = ("POST", f"{path}/restore") if draw < 0.6 else ("DELETE", f"/trash/{task.task_id}")
            what, state = ("restore", "active") if draw < 0.6 else ("purge", "purged")
            answer = await self._call(client, task.owner, method, path)
        elif draw < 0.1:
            what, state = "delete", IN_TRASH
            answer = await self._call(client, task.owner, "DELETE", path)
        elif draw < 0.2:
            what, state = "batch", "active"
            change = {"op": "update", "id": task.task_id, "changes": {"description": f"Change {task.number}"}}
            answer = await self._call(client, task.owner, "POST", "/tasks/bulk?atomic=true", json={"operations": [change]})
        else:
            what, state = "update", "active"
            body: dict[str, Any] = chance.choice(
                [
                    {"title": f"Change {task.number}"},
                    {"status": chance.choice(["todo", "in_progress", "done"]), "priority": task.number % 5 + 1},
                    {"metadata": {"n": task.number}},
                    {"checklist": [{"text": f"Item {n}", "done": n % 2 == 0} for n in range(chance.randrange(5))]},
                ]
            )
            answer = await self._call(client, task.owner, "PATCH", path, json=body)
        if answer is None or answer.status_code not in (200, 204):
            return False
        task.state, task.version = state, task.version + 1
        if what in ("update", "restore"):
            task.version = answer.json()["version"]
        self._note(task, what)
        return True

    async def _call(
        self, client: httpx.AsyncClient, owner: Owner, method: str, path: str, **options: Any
    ) -> httpx.Response | None:
        try:
            answer = await client.request(method, path, headers=owner.headers, **options)
        except httpx.TransportError:
            self.statuses[0] += 1
            await asyncio.sleep(PAUSE_AFTER_FAILURE)
            return None
        self.statuses[answer.status_code] += 1
        if answer.is_error:
            await asyncio.sleep(PAUSE_AFTER_FAILURE)
        return answer

    def _note(self, task: Kept, what: str) -> None:
        self.written[task.owner.id].append(Written(task.task_id, task.version, time.monotonic(), what))
