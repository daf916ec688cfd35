"""Texts in filters of lists that are sorted by title: they match the same tasks as in any other order, and as fast."""

import json
from typing import Any

import httpx
import pytest
from bson import ObjectId, Regex

from taskapi.tasks.query.exact_text import MAX_TEXTS, exact
from taskapi.tasks.query.search import TaskQuery
from taskapi.tasks.query.stages import collation_for
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.scope import Scope
from tests.client import Account, make_account
from tests.damage import BROKEN, store
from tests.plans import explain, found_in, total_of
from tests.stored import collection

pytestmark = pytest.mark.real

TEXTS = [
    "", "a", "A", "a\n", "a\r\n", "\na", "ab", "a.", "a.b", "a\\z", "^a", "a$", "a|b", "(a", "[a]", "\\Qa\\E", "a\x00b", "a\x00",
    "a" * 500, "a" * 501, "a" * 9000, "é", "e\u0301", "É", "日本語", "\U0001f600", " a", "1", "01", "in_progress", "a-b #c",
    "\u2028", "a\u200b", BROKEN,
]  # fmt: skip


@pytest.fixture(scope="module")
async def ada(shared: httpx.AsyncClient) -> Account:
    """Ada with a task for each text in its metadata, and many more with a common tag."""
    account = await make_account(shared, "ada")
    await account.make_task(tags=["common"])
    template = await collection(TaskDocument).find_one_and_delete({})
    assert template is not None
    kept = [{**template, "_id": ObjectId(), "tags": [f"{n}-rare"], "metadata": {"a": text}} for n, text in enumerate(TEXTS)]
    many = [{**template, "_id": ObjectId(), "title": f"Task {n}", "metadata": {"n": str(n)}} for n in range(600)]
    await store(TaskDocument, [*kept, *many])
    return account


async def found(ada: Account, where: dict[str, Any], sort: str) -> set[str]:
    answer = await ada.get("/tasks", params={"where": json.dumps(where), "sort": sort, "fields": "id", "limit": "100"})
    assert answer.status_code == 200, answer.text
    ids = {task["id"] for task in answer.json()}
    assert answer.headers["x-total-count"] == str(len(ids))
    return ids


@pytest.mark.parametrize("text", [text for text in TEXTS if len(text) < 2000], ids=repr)
async def test_the_same_texts_are_equal_in_each_order(ada: Account, text: str) -> None:
    for condition in (text, {"$eq": text, "$ne": "x"}, {"$in": [text, "x", None, 7]}, {"$all": [text]}, {"$not": {"$eq": text}}):
        where: dict[str, Any] = {"$and": [{"$or": [{"metadata.a": condition}, {"title": "none"}]}, {"tags": {"$ne": "common"}}]}
        expected = await found(ada, where, "created_at")
        assert expected or text == BROKEN
        assert await found(ada, where, "title") == expected, condition


@pytest.mark.parametrize(
    "parameters",
    [{"tag": "3-rare"}, {"tag": "no such"}, {"where": '{"metadata.a": "A"}'}, {"where": '{"metadata.n": {"$in": ["3", "4"]}}'}],
    ids=str,
)
@pytest.mark.parametrize("sort", ["title", "-title", "-priority,title"])
async def test_rare_values_examine_few_tasks(ada: Account, parameters: dict[str, str], sort: str) -> None:
    query = TaskQuery.model_validate({**parameters, "sort": sort})
    plan = query.plan(Scope(ObjectId(ada.id)), {"title": 1})
    for pipeline in (plan.page, total_of(plan)):
        explained = await explain(TaskDocument, pipeline, collation_for(query.order))
        assert sum(each["totalDocsExamined"] for each in found_in(explained, "executionStats")) <= 2 * 3


def test_title_equality_is_left_to_the_collated_index() -> None:
    assert exact({"title": {"$eq": "a"}, "$text": {"$search": "a"}}) == {"title": {"$eq": "a"}, "$text": {"$search": "a"}}


def test_long_lists_stay_as_they_are() -> None:
    """A pattern costs more than a text: each pattern is tried on each task."""
    many = [str(number) for number in range(MAX_TEXTS + 1)]
    assert exact({"tags": {"$in": many}}) == {"tags": {"$in": many}}
    assert exact({"tags": {"$in": many[1:]}})["tags"]["$in"][0] == Regex(r"^1\z")
