"""The examples in the docstrings of the pipeline builders are true: these stages make that document of this one."""

import ast
import re
import textwrap
from collections.abc import Callable
from datetime import datetime
from typing import Any

import bson
import pytest
from bson import ObjectId

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.logs import request_id
from taskapi.db.connection import BSON
from taskapi.db.expressions import literals
from taskapi.tasks.storage import history
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.history import (
    MAX_ADDED_BYTES,
    MAX_BYTES,
    MAX_STORED,
    Action,
    begin_history,
    drop_oldest,
    entry,
    keep_newest,
    record_history,
)
from taskapi.tasks.storage.pipelines import update
from tests.client import Account, stored_user
from tests.stored import collection

AT = datetime(2026, 1, 1)
SECTION = re.compile(r"^(Document in|Stages|Document out):\n((?: {4}.*\n?)+)", re.M)


def example_of(builder: Callable[..., Any], by: UserRead) -> dict[str, list[Any]]:
    """The values in each section of a docstring's example."""
    text = textwrap.dedent(" " * 4 + (builder.__doc__ or ""))
    names = {**vars(history), "by": by, "at": AT}
    return {name: [evaluate(value, names) for value in values(source)] for name, source in SECTION.findall(text)}


def values(source: str) -> list[ast.expr]:
    module = ast.parse(textwrap.dedent(source))
    return [statement.value for statement in module.body if isinstance(statement, ast.Expr)]


def evaluate(value: ast.expr, names: dict[str, Any]) -> Any:
    return eval(compile(ast.Expression(value), "docstring", "eval"), names)


async def apply(stages: list[BSON], document: BSON) -> BSON:
    tasks, task_id = collection(TaskDocument), ObjectId()
    await tasks.insert_one({**document, "_id": task_id})
    await tasks.update_one({"_id": task_id}, stages)
    found = await tasks.find_one_and_delete({"_id": task_id}, {"_id": 0, "changed_at": 0})  # the time of MongoDB
    assert found is not None
    return found


@pytest.mark.parametrize("builder", [record_history, drop_oldest, keep_newest])
async def test_docstring_example_is_true(ada: Account, builder: Callable[..., Any]) -> None:
    by = UserRead.model_validate(await stored_user(ada.id))
    example = example_of(builder, by)
    if builder is record_history:
        built = record_history({"title": "New", "tags": ["x"]}, touched=["title", "tags"], added=entry(Action.update, by, AT))
    elif builder is drop_oldest:
        built = [{"$set": {"history": drop_oldest("$history", {"$bsonSize": "$$ROOT"})}}]
    else:
        built = [{"$set": {"history": keep_newest("$history")}}]
    assert example["Stages"] == built
    assert [await apply(built, example["Document in"][0])] == example["Document out"]


def large_task(by: UserRead, size: int, entries: int) -> BSON:
    """A task of so many bytes in BSON, nearly all of which are the values before its writes."""
    first, *_ = begin_history(by, AT)
    history = [{**first, "version": version, "before": {"title": ""}} for version in range(1, entries + 1)]
    task = {"_id": ObjectId(), "title": "x", "version": entries, "updated_at": AT, "changed_at": AT, "history": history}
    lacking = size - len(bson.encode(task))
    for number, each in enumerate(history):
        each["before"]["title"] = "x" * ((lacking + number) // entries)
    assert len(bson.encode(task)) == size
    return task


@pytest.mark.real
@pytest.mark.parametrize("entries", [2, 99, MAX_STORED - 1])
@pytest.mark.parametrize(
    "size", [MAX_BYTES - MAX_ADDED_BYTES, MAX_BYTES - MAX_ADDED_BYTES + 1, MAX_BYTES - 150, MAX_BYTES, MAX_BYTES + 200]
)
async def test_large_histories_stay_within_bytes(ada: Account, size: int, entries: int) -> None:
    """Whether its entries are measured or not, and with the largest entry that a write of a small field adds."""
    by = UserRead.model_validate(await stored_user(ada.id)).model_copy(update={"username": "x" * 50})
    task = large_task(by, size, entries)
    token = request_id.set("x" * 128)
    found = await apply(update(literals({"title": "Another"}), by).pipeline, task)
    request_id.reset(token)
    assert found["history"][-1]["version"] == entries + 1
    assert len(bson.encode({"entries": found["history"]})) <= MAX_BYTES
    assert len(found["history"]) in (entries + 1, 100, 50, (entries + 2) // 2)
    if size <= MAX_BYTES - MAX_ADDED_BYTES:
        assert len(found["history"]) == entries + 1


async def test_stored_before_leaves_no_trace(ada: Account) -> None:
    by = UserRead.model_validate(await stored_user(ada.id))
    for odd in ({"bytes": 2**40, "title": "Forged"}, [{"bytes": 1}], "text", None):
        found = await apply(update(literals({"title": "New"}), by).pipeline, {"title": "Old", "version": 1, "before": odd})
        assert "before" not in found
        assert [each["before"]["title"] for each in found["history"]] == ["Old"]
