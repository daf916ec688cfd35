#!/usr/bin/env python3
"""Sends thousands of hostile filters and patches to the API, in process, on a MongoDB of its own.

Fails on the first answer that is a server error or no JSON, that shows a task of another owner, or after which another
owner's task has changed; that case is then minimized and printed. A seed always sends the same
cases.
"""

import argparse
import asyncio
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import httpx
    import hypothesis
    from fuzz_cases import Case, Cases, Strategy
    from hypothesis import HealthCheck, Phase
    from pydantic import SecretStr

    from taskapi.core import logs
    from taskapi.core.settings import Settings
    from taskapi.db.connection import Collection, Database
    from taskapi.main import create_app
    from taskapi.tasks.schemas import TASK_EXAMPLE
    from taskapi.tasks.storage.documents import TaskDocument
except ModuleNotFoundError as error:
    sys.exit(f"fuzz: needs {error.name}: run ./scripts/setup dev, then .venv/bin/python scripts/fuzz.py")

PASSWORD = "correct horse battery"  # noqa: S105
SECRET_OF_BOB = f"only for Bob {secrets.token_hex(8)}"
TASKS_EACH = 5
MIN_ACCEPTED = 0.01  # of the cases of a target: requests that are all refused early test nothing


class World:
    """The application with Ada, who sends every case, and Bob, whose tasks she must neither see nor change."""

    def __init__(self, client: httpx.AsyncClient, tasks: Collection) -> None:
        self.client = client
        self.tasks = tasks
        self.headers: dict[str, str] = {}
        self.ids: dict[str, list[str]] = {}  # by name: the account's id, then the tasks'
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.of_bob: list[Any] = []

    async def fill(self) -> None:
        """Creates both accounts, with tasks that use every field."""
        for name, text in (("bob", SECRET_OF_BOB), ("ada", "for all")):
            account = {"username": name, "password": PASSWORD}
            created = (await self.client.post("/register", json=account)).raise_for_status().json()
            token = (await self.client.post("/token", data=account)).raise_for_status().json()["access_token"]
            self.headers = {"Authorization": f"Bearer {token}"}
            self.ids[name] = [created["id"]]
            for _ in range(TASKS_EACH):
                task = {**TASK_EXAMPLE, "description": text, "metadata": {"text": text, "a": {"b": [1, {"c": None}]}}}
                stored = await self.client.post("/tasks", json=task, headers=self.headers)
                self.ids[name].append(stored.raise_for_status().json()["id"])
        self.of_bob = await self.others()
        assert len(self.of_bob) == TASKS_EACH

    async def others(self) -> list[Any]:
        """The stored tasks of other owners than Ada."""
        mine = {"history.0.by.username": "ada"}
        return await self.tasks.find({"$nor": [mine]}).sort("_id", 1).to_list(None)

    async def send(self, target: str, case: Case) -> None:
        """Sends one case and checks what it did."""
        request = self.client.build_request(
            case.method, case.path, content=case.content, headers={**case.headers, **self.headers}
        )
        answer = await self.client.send(request)
        self.statuses[target, answer.status_code] += 1
        assert answer.status_code < 500, answer.text
        media_type = "application/json" if answer.status_code < 400 else "application/problem+json"
        assert answer.headers["content-type"] == media_type, answer.headers
        body = answer.json()
        assert SECRET_OF_BOB not in answer.text
        for task in body if isinstance(body, list) else [body]:
            assert task.get("owner", {}).get("id", self.ids["ada"][0]) == self.ids["ada"][0]
            assert task.get("id") not in self.ids["bob"]
        if case.method != "GET":
            assert await self.others() == self.of_bob


def fuzz(target: str, cases: Strategy, count: int, seed: int, send: Callable[[str, Case], None]) -> None:
    """Sends at least ``count`` cases. Raises the error of the first case that fails."""

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @hypothesis.given(cases)
    def one(case: Case) -> None:
        send(target, case)

    one()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20_000, help="how many at least (default %(default)s)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), help="which cases (default: any)")
    options = parser.parse_args()
    print(f"Seed {options.seed}", flush=True)
    logs.configure("warning", "text")
    with tempfile.TemporaryDirectory(prefix="taskapi-fuzz-") as folder, asyncio.Runner() as runner:
        settings = Settings(
            _env_file=None, mongodb_uri=None, secret_key=SecretStr(secrets.token_hex(32)), data_dir=Path(folder),
        )  # fmt: skip
        app = create_app(settings)
        lifespan = app.router.lifespan_context(app)
        runner.run(lifespan.__aenter__())
        try:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            tasks = app.state.services[Database].collection(TaskDocument)
            world = World(httpx.AsyncClient(transport=transport, base_url="http://taskapi"), tasks)
            runner.run(world.fill())
            start, targets = time.monotonic(), Cases(world.ids).targets()
            for seed, (target, cases) in enumerate(targets.items(), options.seed):
                each = -(-options.cases // len(targets))
                fuzz(target, cases, each, seed, lambda name, case: runner.run(world.send(name, case)))
            seconds = time.monotonic() - start
        finally:
            runner.run(lifespan.__aexit__(None, None, None))
    report(world.statuses, list(targets), options.cases, seconds)


def report(statuses: Counter[tuple[str, int]], targets: list[str], wanted: int, seconds: float) -> None:
    """Prints the cases by target and status. Exits when too few were sent, or too few were accepted."""
    print(f"{statuses.total()} cases in {seconds:.0f} s: no server error, nothing of another owner seen or changed.")
    for target in targets:
        row = {status: number for (name, status), number in sorted(statuses.items()) if name == target}
        print(f"  {target}: " + ", ".join(f"{number} x {status}" for status, number in row.items()))
        if sum(number for status, number in row.items() if status < 300) < MIN_ACCEPTED * sum(row.values()):
            sys.exit(f"fuzz: hardly any case of {target} was accepted")
    if statuses.total() < wanted:
        sys.exit(f"fuzz: only {statuses.total()} of {wanted} cases were sent")


if __name__ == "__main__":
    main()
