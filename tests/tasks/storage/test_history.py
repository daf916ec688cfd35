"""The examples in the docstrings of the pipeline builders are true: these stages make that document of this one."""

import ast
import re
import textwrap
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from bson import ObjectId

from taskapi.accounts.users.schemas import UserRead
from taskapi.db.connection import BSON
from taskapi.tasks.storage import history
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.history import Action, entry, keep_newest, record_history
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


@pytest.mark.parametrize("builder", [record_history, keep_newest])
async def test_docstring_example_is_true(ada: Account, builder: Callable[..., Any]) -> None:
    by = UserRead.model_validate(await stored_user(ada.id))
    example = example_of(builder, by)
    if builder is record_history:
        built = record_history({"title": "New", "tags": ["x"]}, touched=["title", "tags"], added=entry(Action.update, by, AT))
    else:
        built = [{"$set": {"history": keep_newest("$history")}}]
    assert example["Stages"] == built
    assert [await apply(built, example["Document in"][0])] == example["Document out"]
