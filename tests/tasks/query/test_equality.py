"""Equality in filters: objects in any order of their members, texts in either form of Unicode."""

import json
import random
from typing import Any, Literal
from unicodedata import normalize

import httpx
import pytest
from bson import ObjectId

from taskapi.core.errors import InvalidInput
from taskapi.db.connection import BSON
from taskapi.tasks.query.filter import compile_where
from taskapi.tasks.storage.documents import TaskDocument
from tests.client import Account, make_account
from tests.stored import collection

pytestmark = pytest.mark.real

NAMES = ["a", "b", "0", "1"]
SCALARS: list[Any] = [0, 1, 1.0, True, False, None, "x", ""]


def some_value(chance: random.Random, depth: int) -> Any:
    kind = chance.randrange(4) if depth else 0
    if kind == 0:
        return chance.choice(SCALARS)
    if kind == 1:
        return [some_value(chance, depth - 1) for _ in range(chance.randrange(3))]
    return {name: some_value(chance, depth - 1) for name in chance.sample(NAMES, chance.randrange(1, 4))}


def reordered(value: Any, chance: random.Random | None) -> Any:
    """The value with the members of all objects shuffled by ``chance``, or sorted without it."""
    if isinstance(value, list):
        return [reordered(member, chance) for member in value]
    if not isinstance(value, dict):
        return value
    names = chance.sample(sorted(value), len(value)) if chance else sorted(value)
    return {name: reordered(value[name], chance) for name in names}


@pytest.fixture(scope="module")
async def owners(shared: httpx.AsyncClient) -> list[ObjectId]:
    """Two owners of equal tasks: the members of objects are shuffled for one, and sorted for the other."""
    task = await (await make_account(shared, "ada")).make_task()
    template = await collection(TaskDocument).find_one_and_delete({"_id": ObjectId(task["id"])})
    chance = random.Random(2)
    both = [ObjectId(), ObjectId()]
    for number in range(150):
        metadata = {"v": some_value(chance, 3), "w": some_value(chance, 2)}
        for owner, order in zip(both, (chance, None), strict=True):
            document = {
                **template,
                "_id": ObjectId(),
                "title": f"{number:04}",
                "owner_id": owner,
                "metadata": reordered(metadata, order),
            }
            await collection(TaskDocument).insert_one(document)
    return both


async def titles(owner: ObjectId, condition: BSON) -> list[str]:
    found = collection(TaskDocument).find({"owner_id": owner, "$and": [condition]}, {"title": 1})
    return sorted(task["title"] for task in await found.to_list(None))


async def values(owner: ObjectId, chance: random.Random) -> list[Any]:
    """Values that occur in the tasks, with sorted members."""
    found: list[Any] = []

    def collect(value: Any) -> None:
        found.append(value)
        for member in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            collect(member)

    async for task in collection(TaskDocument).find({"owner_id": owner}):
        collect(task["metadata"]["v"])
    objects = [value for value in found if isinstance(value, dict) and len(value) > 1]
    return [*chance.sample(objects, 12), *chance.sample(found, 4)]


@pytest.mark.parametrize("seed", range(2))
async def test_equality_matches_mongodb_on_sorted_members(owners: list[ObjectId], seed: int) -> None:
    """The compiled filter matches the same shuffled objects as MongoDB's own equality does among sorted ones."""
    shuffled, ordered = owners
    chance = random.Random(seed)
    candidates = await values(ordered, chance)
    met = 0
    for value in candidates:
        second, third = chance.sample(candidates, 2)
        asked: list[BSON] = [
            {"$eq": value},
            {"$ne": value},
            {"$in": [value, second, third]},
            {"$nin": [value, second]},
            {"$all": [value]},
            {"$all": [value, second]},
            {"$not": {"$eq": value}},
            {"$not": {"$in": [value, second]}},
            {"$elemMatch": {"$eq": value}},
            {"$elemMatch": {"$in": [value, second]}},
            {"$elemMatch": {"$nin": [value, second], "$ne": third}},
            {"$elemMatch": {"$in": [], "$ne": value}},
            {"$elemMatch": {"$nin": [], "$eq": value}},
            {"$not": {"$elemMatch": {"$ne": value}}},
        ]
        path = chance.choice(["v", "v", "v.a", "v.b", "v.0", "v.a.b", "v.1.0", "v.0.a.1", "w", "w.a"])
        for operators in asked:
            expected = await titles(ordered, {f"metadata.{path}": operators})
            where = {f"metadata.{path}": reordered(operators, chance)}
            assert await titles(shuffled, compile_where(where)) == expected, where
            met += 0 < len(expected) < 150
        inside = {"$elemMatch": {"a": reordered(value, chance), "b": {"$exists": True}}}
        native = {"metadata.v": {"$elemMatch": {"a": {"$eq": value}, "b": {"$exists": True}}}}
        assert await titles(shuffled, compile_where({"metadata.v": inside})) == await titles(ordered, native)
    assert met > 30


async def test_deep_paths_and_large_values_are_refused_early() -> None:
    large = {f"name {number}": "x" * 100 for number in range(100)}
    small = {"x": 1, "y": 2}
    for where in (
        {"metadata.0.0.0.0.0.0": large},
        {"$or": [{"metadata.0.0.0.0.0.0": small}] * 40},
        {"metadata.0.0.0.0.0.0": {"$in": [small] * 100}},
        {"metadata.a.8000.8000.8000.8000": small},
    ):
        with pytest.raises(InvalidInput) as refused:
            compile_where(where)
        assert refused.value.faults[0].type == "filter_size"
    assert compile_where({"metadata.a": large})
    assert compile_where({"metadata.a.99999999999999999999": small})


COMPOSED, DECOMPOSED = normalize("NFC", "Café à la carte"), normalize("NFD", "Café à la carte")


@pytest.fixture
async def with_both_forms(ada: Account) -> Account:
    """Ada with a task in each Unicode form, stored as earlier versions did, and one in neither form."""
    for form in (COMPOSED, DECOMPOSED, "plain text"):
        task = await ada.make_task(key_of(form))
        stored = {
            "title": form, "description": form, "tags": [form.lower()], "key": form,
            "checklist": [{"id": ObjectId(), "text": form, "done": False}],
            "metadata": {"text": form, "list": [form], "object": {"b": form, "a": 1}},
        }  # fmt: skip
        await collection(TaskDocument).update_one({"_id": ObjectId(task["id"])}, {"$set": stored})
    return ada


def key_of(form: str) -> str:
    return {COMPOSED: "composed", DECOMPOSED: "decomposed"}.get(form, "neither")


async def found(account: Account, **parameters: str) -> list[str]:
    answer = await account.get("/tasks", params={**parameters, "fields": "description", "sort": "created_at"})
    assert answer.status_code == 200, answer.text
    return [key_of(task["description"]) for task in answer.json()]


@pytest.mark.parametrize("asked", [COMPOSED, DECOMPOSED], ids=["composed", "decomposed"])
@pytest.mark.parametrize(
    ("where", "others"),
    [
        ({"title": "?"}, False),
        ({"title": {"$in": ["x", "?"]}}, False),
        ({"title": {"$ne": "?"}}, True),
        ({"title": {"$nin": ["?"]}}, True),
        ({"title": {"$not": {"$eq": "?"}}}, True),
        ({"title": {"$eq": "?", "$exists": True}}, False),
        ({"description": "?"}, False),
        ({"key": "?"}, False),
        ({"tags": "?"}, False),
        ({"tags": ["?"]}, False),
        ({"tags": {"$all": ["?"]}}, False),
        ({"tags": {"$elemMatch": {"$eq": "?", "$in": ["?", "x"]}}}, False),
        ({"tags": {"$elemMatch": {"$not": {"$eq": "?"}, "$nin": ["x"]}}}, True),
        ({"checklist.text": "?"}, False),
        ({"checklist": {"$elemMatch": {"text": "?", "done": False}}}, False),
        ({"metadata.text": "?"}, False),
        ({"metadata.list": ["?"]}, False),
        ({"metadata.list": {"$all": ["?", "?"]}}, False),
        ({"metadata.list": {"$elemMatch": {"$nin": ["?"], "$ne": "ü"}}}, True),
        ({"metadata.list": {"$elemMatch": {"$ne": "ü", "$nin": ["?"]}}}, True),
        ({"metadata.object": {"a": 1, "b": "?"}}, False),
        ({"$or": [{"metadata.object.b": "?"}, {"title": "x"}]}, False),
        ({"$nor": [{"metadata.list": "?"}]}, True),
    ],
    ids=str,
)  # fmt: skip
async def test_a_text_is_found_in_either_form(with_both_forms: Account, where: dict[str, Any], others: bool, asked: str) -> None:
    filter_ = json.dumps(where).replace("?", json.dumps(asked)[1:-1])
    expected = ["neither"] if others else ["composed", "decomposed"]
    assert await found(with_both_forms, where=filter_) == expected
    assert sorted(await found(with_both_forms, where=filter_, sort="title")) == expected


@pytest.mark.parametrize("asked", [COMPOSED, DECOMPOSED.upper()], ids=["composed", "decomposed"])
async def test_a_tag_is_found_in_either_form(with_both_forms: Account, asked: str) -> None:
    assert await found(with_both_forms, tag=asked) == ["composed", "decomposed"]
    answer = await with_both_forms.patch("/tasks", params={"tag": asked, "dry_run": "true"}, json={})
    assert answer.json()["matched"] == 2


async def test_tag_length_is_measured_in_composed_form(ada: Account) -> None:
    await ada.make_task(tags=["é" * 40])
    assert len((await ada.get("/tasks", params={"tag": normalize("NFD", "é" * 40)})).json()) == 1


@pytest.mark.parametrize("text", ["보고서", "Äpfel", "がぎぐ", "Việt"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
async def test_words_are_found_in_either_form(ada: Account, form: Literal["NFC", "NFD"], text: str) -> None:
    await ada.make_task(f"xx {text} yy")
    await ada.make_task("another one")
    answer = await ada.get("/tasks", params={"q": normalize(form, text)})
    assert [task["title"] for task in answer.json()] == [f"xx {text} yy"]
