"""What the seed script writes is what the API stores when it gets the requests that the script imagines."""

import importlib
import re
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import ObjectId, json_util

from taskapi.accounts.users.documents import UserDocument
from taskapi.db.shapes import validate
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.history import Action
from tests.accounts.users.renamer import follow_due
from tests.client import Account, make_account, make_admin, stored_user
from tests.stored import collection

pytestmark = pytest.mark.real

SCRIPTS = Path(__file__).parents[2] / "scripts"
LAST_DAY = date(2026, 11, 1)
MONTH = timedelta(days=30)


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("seed_documents").Generator(5, 200, "a hash", LAST_DAY)


def stored_form(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document as the driver reads it from MongoDB."""
    return bson.decode(bson.encode(document))


def masked(task: dict[str, Any], names: Mapping[Any, str]) -> str:
    """A task as JSON with the types of BSON and the order of the fields; times stand for the writes at which they were."""
    times: dict[Any, str] = {task["created_at"]: "created"}
    times |= {entry["at"]: f"version {entry['version']}" for entry in task.get("history", [])}
    changed_at = task.pop("changed_at")
    for each in (task, task.get("trash", {})):
        if "expires_at" in each:
            assert each.pop("expires_at") - each.get("deleted_at", changed_at) == MONTH
    if "updated_at" in task:
        assert changed_at >= max(task["updated_at"], task["history"][-1]["at"])

    def mask(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: mask(each) if name != "request_id" else len(each) for name, each in value.items()}
        if isinstance(value, list):
            return [mask(each) for each in value]
        return names.get(value, times.get(value, value)) if isinstance(value, str | ObjectId | datetime) else value

    return json_util.dumps(mask(task), json_options=json_util.CANONICAL_JSON_OPTIONS, indent=1)


def as_sent(values: Mapping[str, Any]) -> dict[str, Any]:
    """The body that sets what is stored as ``values``."""
    text = json_util.dumps(
        {name: each.date().isoformat() if isinstance(each, datetime) else each for name, each in values.items()}
    )
    return dict(json_util.loads(re.sub(r'\{"\$oid": ("\w+")\}', r"\1", text)))


async def replay(ada: Account, life: Any, *, purged: bool) -> dict[str, Any]:
    """Sends the requests of a life. Returns the task as it is stored then."""
    task = await ada.make_task(**life.data.model_dump(mode="json", exclude_unset=True))
    path = f"/tasks/{task['id']}"
    for step in life.steps:
        if step.action is Action.delete:
            answer = await ada.delete(path)
        elif step.action is Action.restore:
            answer = await ada.post(f"{path}/restore")
        else:
            answer = await ada.patch(path, json=as_sent(step.values))
        assert answer.is_success, answer.text
    if purged:
        assert (await ada.delete(f"/trash/{task['id']}")).is_success
    found = await collection(TaskDocument).find_one({"_id": ObjectId(task["id"])})
    assert found is not None
    return found


async def test_seeded_tasks_equal_those_of_the_api(ada: Account, generator: Any) -> None:
    shown = Counter[str]()
    for number in range(400):
        task, life = stored_form(generator.task(number)), generator.life(number)
        steps = life.steps
        shown.update({task["state"], *(step.action for step in steps), *(name for step in steps for name in step.values)})
        if number > 60 and task["state"] == "active" and not any(step.action is Action.restore for step in steps):
            continue
        stored = await replay(ada, life, purged=task["state"] == "purged")
        owner = task.get("owner") or task.get("trash", {}).get("owner") or {"username": ""}
        seeded = masked(task, {task["_id"]: "task", task["owner_id"]: "owner", owner["username"]: "name"})
        assert seeded == masked(stored, {stored["_id"]: "task", ObjectId(ada.id): "owner", ada.username: "name"})
    assert shown >= Counter({"purged": 2, "trash": 2, "restore": 2, "checklist": 9, "metadata": 1, "due_date": 1, "tags": 1})


def test_seeded_times_only_go_forward(generator: Any) -> None:
    end = datetime(2026, 11, 1)
    for number in range(2000):
        task = stored_form(generator.task(number))
        if task["state"] == "purged":
            assert task["created_at"] < task["changed_at"] < end < task["expires_at"]
            continue
        validate(TaskDocument, task)
        ats = [entry["at"] for entry in task["history"]]
        assert ats == sorted(set(ats))
        assert task["created_at"] == ats[0] <= ats[-1] <= task["changed_at"] < end
        assert [entry["version"] for entry in task["history"]] == list(range(1, task["version"] + 1))
        statuses = [each["status"] for each in task["status_changes"]]
        assert statuses[-1] == task["status"]
        assert all(one != other for one, other in pairwise(statuses))


def test_seeded_tasks_follow_their_accounts(generator: Any) -> None:
    users = {generator.id("users", number): generator.user(number) for number in range(200)}
    assert Counter(user.get("renames") for user in users.values())[1] > 5
    for number in range(1000):
        task = generator.task(number)
        user = users[task["owner_id"]]
        assert user["created_at"] < task["created_at"]
        if task["state"] != "purged":
            assert {entry["by"]["username"] for entry in task["history"]} == {user["username"]}
            assert task["changed_at"] >= (user["updated_at"] if "renames" in user else task["created_at"])


async def test_seeded_users_equal_those_of_the_api(ada: Account, generator: Any) -> None:
    admin = await make_admin(ada.client, "admin")
    users = [stored_form(generator.user(number)) for number in range(200)]
    kinds = [("renames" in user, user["disabled"], user["email"] is None) for user in users]
    for kind in sorted(set(kinds)):
        seeded = users[kinds.index(kind)]
        validate(UserDocument, seeded)
        renamed, disabled, _ = kind
        name = seeded["username"].rpartition("-")[0] if renamed else seeded["username"]
        account = await make_account(ada.client, name, email=seeded["email"], full_name=seeded["full_name"])
        if renamed:
            assert (await account.patch("/users/me", json={"username": seeded["username"]})).is_success
            await follow_due()
            await collection(UserDocument).update_one({"_id": ObjectId(account.id)}, {"$unset": {"renaming": ""}})
        if disabled:
            assert (await admin.patch(f"/users/{account.id}", json={"disabled": True})).is_success
        stored = await stored_user(account.id)
        varying = dict.fromkeys(("_id", "created_at", "updated_at", "password_hash", "sessions"))
        assert {**seeded, **varying} == {**stored, **varying}
        assert {key: type(value) for key, value in seeded.items()} == {key: type(value) for key, value in stored.items()}
