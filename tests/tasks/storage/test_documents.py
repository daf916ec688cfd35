"""Each documented filter and sort is served by an index, explained by MongoDB itself."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI

from taskapi.core.clock import utc_now
from taskapi.db.connection import BSON, Database
from taskapi.db.queries import aggregate
from taskapi.main import DOCUMENTS
from taskapi.tasks.fields import SORTABLE
from taskapi.tasks.query.index_hints import is_served
from taskapi.tasks.query.pages import LISTED
from taskapi.tasks.query.search import TaskQuery
from taskapi.tasks.query.sort import parse_sort
from taskapi.tasks.query.stages import adapt_filter, collation_for, ordered_stages, total_stages
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.scope import Scope
from tests.client import is_problem, make_account
from tests.plans import explain, found_in, stages, total_of
from tests.stored import collection

pytestmark = pytest.mark.real

SORTS = [f"{sign}{name}" for name in SORTABLE for sign in ("", "-") if is_served(parse_sort(f"{sign}{name}"))]
FILTERS = [
    {"status": "todo"},
    {"completed": "true"},
    {"completed": "false"},
    {"priority": "3"},
    {"tag": "tag3"},
    {"due_before": "2026-03-01"},
    {"due_after": "2026-03-01"},
    {"due_after": "2026-02-01", "due_before": "2026-03-01"},
    {"overdue": "true"},
    {"overdue": "false"},
    {"where": '{"metadata.project": "project3"}'},
    {"where": '{"metadata.hours": {"$gte": 28}}'},
    {"where": '{"$or": [{"status": "done"}, {"priority": {"$gte": 4}}]}'},
    {"where": '{"title": {"$gte": "m"}, "checklist": {"$size": 0}}'},
    {"where": '{"completed_at": {"$gte": "2026-02-01T00:00:00Z", "$lt": "2026-02-08T00:00:00Z"}}'},
    {"q": "report"},
    {"q": "report -garden", "status": "todo"},
]
IN_ORDER = [  # filters whose tasks come from one index in the default order
    {},
    {"status": "todo"},
    {"completed": "true"},
    {"completed": "false"},
    {"priority": "3"},
    {"tag": "tag3"},
]


async def plan_of(owner: ObjectId, after: list[Any] | None, /, **parameters: str) -> BSON:
    """The plan for a page of 20 tasks and one more, with these parameters."""
    query = TaskQuery.model_validate({"count": "none", **parameters})
    plan = query.plan(Scope(owner), LISTED, after)
    return await explain(TaskDocument, plan.page, collation_for(query.order), plan.hint)


async def middle(owner: ObjectId, **parameters: str) -> list[Any]:
    """The sort values of a task half-way through the list."""
    query = TaskQuery.model_validate({"count": "none", "limit": "1", **parameters})
    total = await collection(TaskDocument).count_documents(query.filter(Scope(owner)))
    stages = ordered_stages(query.filter(Scope(owner)), query.order, dict(LISTED), start=total // 2, most=1)
    task = (await aggregate(collection(TaskDocument), stages, 5000, collation=collation_for(query.order)))[0]
    return [task[name] for name in query.order]


def examined(explained: BSON) -> int:
    return sum(statistics["totalDocsExamined"] for statistics in found_in(explained, "executionStats"))


def keys_examined(explained: BSON) -> int:
    return sum(statistics["totalKeysExamined"] for statistics in found_in(explained, "executionStats"))


@pytest.fixture(scope="module")
async def owner(shared: httpx.AsyncClient) -> ObjectId:
    """Ada among other owners, with enough tasks for the planner to have a choice; many were created in the same instant."""
    task = await (await make_account(shared, "ada")).make_task()
    template = await collection(TaskDocument).find_one({})
    assert template is not None
    owners = [template["owner"]["id"], ObjectId(), ObjectId()]
    now = utc_now()
    days = [None, *(now.replace(year=2026, month=1, day=1) + timedelta(days=n) for n in range(90))]
    copies = [
        {
            **template,
            "_id": ObjectId(),
            "owner_id": owners[n % 3],
            "owner": {"id": owners[n % 3], "username": "x"},
            "title": f"{'garden' if n % 4 else 'quarterly'} {'report' if n % 13 == 0 else 'plan'} {n % 50}",
            "status": ["todo", "in_progress", "done"][n % 7 % 3],
            "priority": 1 + n % 5,
            "tags": [f"tag{n % 11}"],
            "due_date": days[n % 91],
            "completed_at": days[n % 91] if n % 7 % 3 == 2 else None,
            "metadata": {"project": f"project{n % 10}", "hours": n % 31},
            "created_at": now + timedelta(milliseconds=n // 300),
            "updated_at": now + timedelta(milliseconds=n // 300),
        }
        for n in range(1800)
    ]
    await collection(TaskDocument).insert_many(copies)
    return ObjectId(task["owner"]["id"])


@pytest.mark.parametrize("parameters", [*IN_ORDER, *({"sort": sort} for sort in SORTS)], ids=str)
async def test_default_filters_and_each_sort_use_one_index(owner: ObjectId, parameters: dict[str, str]) -> None:
    explained = await plan_of(owner, None, **parameters)
    used = stages(explained)
    assert "IXSCAN" in used
    assert not used & {"COLLSCAN", "SORT"}
    assert examined(explained) <= 2 * 21


@pytest.mark.parametrize("parameters", [*IN_ORDER, *({"sort": sort} for sort in SORTS)], ids=str)
async def test_a_cursor_goes_on_in_the_same_index(owner: ObjectId, parameters: dict[str, str]) -> None:
    explained = await plan_of(owner, await middle(owner, **parameters), **parameters)
    used = stages(explained)
    assert "IXSCAN" in used
    assert not used & {"COLLSCAN", "SORT"}
    assert examined(explained) <= 2 * 21
    assert keys_examined(explained) <= 3 * 21


@pytest.mark.parametrize(
    "parameters",
    [
        {"sort": "-priority,due_date"},
        {"sort": "priority,-due_date"},
        {"due_before": "2026-03-01", "sort": "due_date"},
        {"due_after": "2026-01-15", "sort": "-due_date"},
        {"priority": "3", "sort": "due_date"},
        {"overdue": "true", "sort": "due_date"},
    ],
    ids=str,
)
async def test_these_pairs_need_no_sort_either(owner: ObjectId, parameters: dict[str, str]) -> None:
    for after in (None, await middle(owner, **parameters)):
        used = stages(await plan_of(owner, after, **parameters))
        assert "IXSCAN" in used
        assert not used & {"COLLSCAN", "SORT"}


@pytest.mark.parametrize("parameters", FILTERS, ids=str)
async def test_no_filter_scans_the_whole_collection(owner: ObjectId, parameters: dict[str, str]) -> None:
    """A page may sort the tasks that match, and read tasks that do not; both within the owner's tasks."""
    theirs = await collection(TaskDocument).count_documents({"owner_id": owner})
    for sort in ({}, *({"sort": sort} for sort in [*SORTS, "-priority,due_date"])):
        ranked = "q" in parameters and not sort
        after = [1.1, ObjectId()] if ranked else await middle(owner, **parameters, **sort)
        for place in (None, after):
            explained = await plan_of(owner, place, **parameters, **sort)
            assert stages(explained) & {"IXSCAN", "TEXT_MATCH"}, sort
            assert "COLLSCAN" not in stages(explained), sort
            assert examined(explained) <= 2 * theirs, sort


@pytest.mark.parametrize("parameters", [{}, *FILTERS], ids=str)
async def test_no_total_reads_the_whole_collection(owner: ObjectId, parameters: dict[str, str]) -> None:
    used = stages(await explain(TaskDocument, total_of(TaskQuery.model_validate(parameters).plan(Scope(owner), LISTED))))
    assert used & {"IXSCAN", "COUNT_SCAN", "TEXT_MATCH"}
    assert "COLLSCAN" not in used


@pytest.mark.parametrize("count", ["exact", "estimate"])
async def test_the_total_is_counted_in_the_index_alone(owner: ObjectId, count: str) -> None:
    used = stages(await explain(TaskDocument, total_of(TaskQuery.model_validate({"count": count}).plan(Scope(owner), LISTED))))
    assert used & {"IXSCAN", "COUNT_SCAN"}
    assert "FETCH" not in used


async def test_every_index_is_documented(app: FastAPI) -> None:
    """The collection has the indexes of the document class and no others."""
    present = set(await collection(TaskDocument).index_information())
    declared = {index.document["name"] for index in TaskDocument.Settings.indexes}
    assert present == declared | {"_id_"}


@pytest.mark.parametrize(
    ("parameters", "index"),
    [
        ({"overdue": "true", "tz": "Pacific/Auckland"}, "owner_id_status_due"),
        ({"overdue": "true", "sort": "due_date"}, "owner_id_status_due"),
        ({"completed": "true", "due_before": "2026-01-05"}, "owner_id_status_due"),
        ({"where": '{"completed_at": {"$gte": "2026-02-01T00:00:00Z", "$lt": "2026-02-08T00:00:00Z"}}'}, "owner_id_completed"),
        ({"where": '{"completed_at": {"$gte": "2026-03-25T00:00:00Z"}}', "sort": "priority,title"}, "owner_id_completed"),
    ],
    ids=str,
)
async def test_selective_filters_read_only_tasks_that_match(owner: ObjectId, parameters: dict[str, str], index: str) -> None:
    """The page, and the total, which is counted in the index alone."""
    query = TaskQuery.model_validate(parameters)
    matching = await collection(TaskDocument).count_documents(query.filter(Scope(owner)))
    assert matching > 0
    page = await plan_of(owner, None, **parameters)
    assert examined(page) <= max(matching, 2 * 21)
    counted = total_stages(adapt_filter(query.filter(Scope(owner)), query.order), query.order)
    total = await explain(TaskDocument, counted, collation_for(query.order))
    assert index in found_in(total, "indexName")
    assert examined(total) == 0
    assert keys_examined(total) <= matching + 4


PLANNED = "the planner"


@pytest.mark.parametrize(
    ("parameters", "index"),
    [
        ({}, "owner_id_newest"),
        ({"sort": "created_at"}, "owner_id_newest"),
        ({"sort": "-title"}, "owner_id_title_collated"),
        ({"sort": "due_date"}, "owner_id_due"),
        ({"sort": "priority,-due_date"}, "owner_id_priority_due"),
        ({"sort": "priority,title"}, "owner_id_newest"),
        ({"sort": "updated_at", "where": '{"completed_at": {"$ne": null}}'}, "owner_id_updated"),
        ({"where": '{"$or": [{"progress": {"$gt": 0.5}}, {"$nor": [{"links": {"$size": 0}}]}]}'}, "owner_id_newest"),
        ({"sort": "due_date", "where": '{"title": "as its code points are"}'}, "owner_id_due"),
        ({"sort": "title", "where": '{"title": "as its code points are"}'}, PLANNED),
        ({"tag": "tag3", "sort": "priority,title"}, "owner_id_tag_newest"),
        ({"tag": "tag3", "priority": "3", "sort": "created_at,priority"}, "owner_id_tag_newest"),
        ({"overdue": "true", "sort": "priority,title"}, "owner_id_status_due"),
        ({"overdue": "false", "sort": "priority,title"}, "owner_id_newest"),
        (
            {"where": '{"$and": [{"completed_at": {"$gt": "2026-02-01T00:00:00Z"}}]}', "sort": "priority,title"},
            "owner_id_completed",
        ),
        ({"where": '{"status": {"$ne": "done"}}', "sort": "priority,created_at"}, "owner_id_newest"),
        ({"where": '{"tags": {"$size": 1}}', "sort": "priority,created_at"}, "owner_id_newest"),
        ({"where": '{"title": {"$gte": "g"}}', "sort": "priority,title"}, "owner_id_title_collated"),
        ({"where": '{"$or": [{"key": "k"}, {"id": "65f1a2b3c4d5e6f708192a3b"}]}', "sort": "priority,title"}, PLANNED),
        ({"where": '{"metadata.project": "project3"}', "tag": "tag3", "sort": "priority,title"}, PLANNED),
        ({"due_before": "2026-03-01"}, PLANNED),
        ({"where": '{"$or": [{"completed_at": null}, {"metadata.project": "project3"}]}'}, PLANNED),
        ({"where": '{"completed_at": {"$lt": "2026-02-01T00:00:00Z"}}'}, PLANNED),
        ({"where": '{"$nor": [{"completed_at": null}]}'}, "owner_id_newest"),
        ({"where": '{"metadata.project": {"$exists": true}}'}, PLANNED),
        ({"where": '{"status": {"$ne": "done"}}'}, PLANNED),
        ({"where": '{"$nor": [{"metadata.project": "project3"}], "metadata.hours": {"$exists": false}}'}, "owner_id_newest"),
        ({"where": '{"metadata.project": {"$nin": ["project3"]}, "metadata.hours": {"$not": {"$gt": 3}}}'}, "owner_id_newest"),
        ({"where": '{"metadata": {"project": "é"}}'}, "owner_id_newest"),
        ({"q": "report"}, PLANNED),
    ],
    ids=str,
)
async def test_query_hints_the_index_that_is_best(owner: ObjectId, parameters: dict[str, str], index: str) -> None:
    plan = TaskQuery.model_validate(parameters).plan(Scope(owner), LISTED)
    assert (plan.hint or PLANNED) == index
    if plan.hint:
        assert index in found_in(await plan_of(owner, None, **parameters), "indexName")


async def test_page_by_two_keys_uses_first_keys_index(owner: ObjectId) -> None:
    parameters = {"sort": "title,priority", "where": '{"progress": 0}', "limit": "1"}
    explained = await plan_of(owner, await middle(owner, **parameters), **parameters)
    assert found_in(explained, "indexName")[0] == "owner_id_title_collated"


async def test_lists_go_on_while_an_index_is_missing(shared: httpx.AsyncClient, app: FastAPI) -> None:
    """An index is missing while it is being rebuilt."""
    bob = await make_account(shared, "bob")
    made = [(await bob.make_task(f"Task {number}"))["id"] for number in range(3)]
    await collection(TaskDocument).drop_index("owner_id_newest")
    try:
        for query in ("", "?sort=priority,title", '?where={"completed_at": null}'):
            answer = await bob.get(f"/tasks{query}")
            assert (answer.status_code, answer.headers["x-total-count"]) == (200, "3"), answer.text
            assert {task["id"] for task in answer.json()} == set(made)
        changed = await bob.patch('/tasks?where={"completed_at": null}', json={"priority": 5})
        assert changed.json() == {"matched": 3, "changed": 3}
        await collection(TaskDocument).drop_index("owner_text")
        is_problem(await bob.get("/tasks?q=task"), 503, "database_unavailable")
    finally:
        await app.state.services[Database].create_collections(DOCUMENTS)
