"""MongoDB refuses what scripts write by accident, and accepts all that the service writes."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from beanie import Document
from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from fastapi import FastAPI
from pymongo.errors import BulkWriteError

from taskapi.accounts.users.documents import UserDocument
from taskapi.db import shapes
from taskapi.db.connection import Database
from taskapi.db.migrations.documents import MigrationDocument
from taskapi.db.validators import BSON, Growing, json_schema
from taskapi.main import DOCUMENTS, MIGRATIONS
from taskapi.tasks.storage.documents import TaskDocument, Tombstone
from taskapi.tasks.storage.history import MAX_STORED
from tests.client import Account
from tests.damage import BROKEN, ODD, as_bson, set_at
from tests.sound import ID, NOW, SOUND
from tests.stored import service

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("made_anew")]

DUPLICATE_KEY, FAILED_VALIDATION = 11000, 121
BY_MONGODB = {2, 52, 53, 28755}  # some types of ids, and text that is no UTF-8 in a text index
TRASH = {"owner": {"id": ID, "username": "ada"}, "deleted_at": NOW, "expires_at": NOW}
WRONG_TASKS: list[BSON] = [
    {"completed": False},
    {"completed_at": None},
    {"status": "todo"},
    {"status": "done", "completed": False, "completed_at": None},
    {"trash": TRASH},
    {"state": "trash"},
    {"state": "purged"},
    {"due_date": NOW},
    {"start_date": NOW.replace(year=2027, hour=0, minute=0, second=0, microsecond=0)},
    {"title": "No"},
    {"title": "x" * 201},
    {"title": " Trimmed"},
    {"title": "Trimmed\n"},
    {"title": "A\0task"},
    {"priority": 0},
    {"priority": 6},
    {"progress": 1.5},
    {"version": 0},
    {"estimate_minutes": -1},
    {"tags": ["work", "work"]},
    {"tags": ["Work"]},
    {"tags": [f"t{n}" for n in range(21)]},
    {"links": ["https://example.com/"] * 2},
    *(
        {"links": [link]}
        for link in ("javascript:alert(1)", "ftp://a/", "HTTP://a/", "http:/a", "http:///a", " http://a/", "example.com")
    ),
    {"links": ["https://ada:secret@example.com/"]},
    {"metadata": {"$a": 1}},
    {"metadata": {"a": {"$b": 1}}},
    {"metadata": {"a": float("nan")}},
    {"metadata": {"a": [[[[[[1]]]]]]}},
    {"metadata": {"a": ObjectId()}},
    {"metadata": {"a": NOW}},
    {"metadata": {f"k{n}": 1 for n in range(201)}},
    {"metadata": {"a": [{f"k{n}": {"b": 1} for n in range(100)}]}},
    {"metadata": {"a": {"b": {"c": {"d": {"e": {f"k{n}": 1 for n in range(196)}}}}}}},
    {"metadata": {"a": "x" * 90_000}},
    {"history": SOUND[TaskDocument]["history"] * (MAX_STORED + 1)},
]
RIGHT_TASKS: list[BSON] = [
    {"links": ["http://a", "https://[::1]:8080/?q=a@b#c", "https://xn--bcher-kva.example/@ada"]},
    {"metadata": {f"k{n}": 1 for n in range(200)}},
    {"metadata": {"a": [{f"k{n}": {"b": 1} for n in range(99)}, [], [1, {}], None]}},
    {"metadata": {"a": {"b": {"c": {"d": {"e": {f"k{n}": 1 for n in range(195)}}}}}}},
]


@pytest.fixture(autouse=True)
async def forget_migrations(app: FastAPI) -> AsyncIterator[None]:
    """Removes what a test has stored about migrations that do not exist."""
    yield
    await service(Database).collection(MigrationDocument).delete_many({"_id": {"$nin": [each.number for each in MIGRATIONS]}})


def paths(value: Any, prefix: str = "") -> Iterator[str]:
    """The paths of all members, through the first member of each list."""
    inner = value[0] if isinstance(value, list) and value else value
    if isinstance(inner, dict):
        for name, member in inner.items():
            yield prefix + name
            yield from paths(member, f"{prefix}{name}.")


def wrong(sound: BSON) -> Iterator[BSON]:
    """Copies of ``sound``, each with one odd value, or one field too many."""
    inner = [path for path, value in [("", sound), *((path, at(sound, path)) for path in paths(sound))] if is_object(value)]
    for path in [*paths(sound), *(f"{path}.colour".lstrip(".") for path in inner)]:
        for kind in ODD:
            if path != "_id" or kind != "missing":  # then the driver adds one
                yield set_at({**sound, "_id": fresh_id(sound["_id"])}, path, ODD[kind])


def at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = (value[0] if isinstance(value, list) else value)[name]
    return value[0] if isinstance(value, list) and value else value


def is_object(value: Any) -> bool:
    return isinstance(value, dict)


def fresh_id(sound: Any) -> Any:
    """Another id of the same type."""
    new = ObjectId()
    if isinstance(sound, dict):
        return {**sound, **({"key": str(new)} if "key" in sound else {"owner_id": new})}
    return {ObjectId: new, bytes: new.binary, str: str(new), int: int.from_bytes(new.binary[-4:], "big")}[type(sound)]


def growing(document: type[Document]) -> list[str]:
    return [name for name, info in document.model_fields.items() if any(isinstance(rule, Growing) for rule in info.metadata)]


async def write(document: type[Document], documents: list[BSON]) -> dict[int, int]:
    """Stores documents as a script does. Returns the codes of those that were refused, by their places."""
    encoded = [RawBSONDocument(as_bson(each)) for each in documents]
    try:
        await service(Database).collection(document).insert_many(encoded, ordered=False)
    except BulkWriteError as error:
        return {fault["index"]: fault["code"] for fault in error.details["writeErrors"]}
    return {}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.Settings.name)
async def test_wrong_documents_are_refused(ada: Account, document: type[Document]) -> None:
    sound = SOUND[document]
    assert await write(document, [{**sound, "_id": fresh_id(sound["_id"])}]) == {}
    documents = list(wrong(sound))
    codes = await write(document, documents)
    assert set(codes.values()) <= {FAILED_VALIDATION, DUPLICATE_KEY, *BY_MONGODB}
    assert sum(code == FAILED_VALIDATION for code in codes.values()) >= 200
    for place, each in enumerate(documents):
        is_odd = BROKEN in repr(each) or "DBRef" in repr(each)  # which Python does not see as MongoDB does
        if codes.get(place, DUPLICATE_KEY) == DUPLICATE_KEY and not is_odd:
            # of a growing list, MongoDB does not see everything
            shapes.validate(document, {**each, **{name: sound[name] for name in growing(document)}})
    assert (await ada.get("/tasks")).status_code == 200
    assert (await ada.get("/users/me")).status_code == 200


@pytest.mark.parametrize(
    "path",
    [*(f"history{name}" for name in ("", ".version", ".at", ".by", ".by.id", ".action")), "status_changes", "status_changes.at"],
)
async def test_entries_of_growing_lists_are_checked(anonymous: object, path: str) -> None:
    sound = SOUND[TaskDocument]
    name, *entry = path.split(".")
    kinds = [kind for kind in ODD if kind not in ("integer", "negative", "long", "mixed list", "object", "deep", "list")]
    refused = [set_at({**sound, "_id": ObjectId()}, path, ODD[kind]) for kind in kinds]
    second = [{**each, name: [*sound[name], *each[name]]} for each in refused if entry]
    codes = await write(TaskDocument, refused + second)
    sound_kinds = {"history.at": {"time"}, "history.by.id": {"object id"}, "status_changes.at": {"time"}}.get(path, set())
    accepted = [kinds[place % len(kinds)] for place in range(len(refused + second)) if codes.get(place) != FAILED_VALIDATION]
    assert set(accepted) <= sound_kinds


async def test_fields_of_a_task_agree(ada: Account) -> None:
    refused = [{**SOUND[TaskDocument], "_id": ObjectId(), **changes} for changes in WRONG_TASKS]
    codes = await write(TaskDocument, refused)
    assert [changes for place, changes in enumerate(WRONG_TASKS) if codes.get(place) != FAILED_VALIDATION] == []
    sound = [{**SOUND[TaskDocument], "_id": ObjectId(), "key": str(place), **each} for place, each in enumerate(RIGHT_TASKS)]
    assert await write(TaskDocument, sound) == {}


async def test_a_full_history_is_stored(anonymous: object) -> None:
    sound = SOUND[TaskDocument]
    assert await write(TaskDocument, [{**sound, "_id": ObjectId(), "history": sound["history"] * MAX_STORED}]) == {}


async def test_tombstones_are_of_purged_tasks_alone(anonymous: object) -> None:
    sound: BSON = dict.fromkeys(Tombstone.model_fields.keys() - {"id"}, NOW)
    sound |= {"owner_id": ID, "state": "purged", "version": 3}
    wrong: list[BSON] = [
        {"state": "active"},
        {"state": "trash"},
        {"state": None},
        {"version": 0},
        {"version": -5},
        {"title": "Left"},
    ]
    codes = await write(TaskDocument, [{**sound, **changes, "_id": ObjectId()} for changes in ({}, *wrong)])
    assert codes == dict.fromkeys(range(1, 1 + len(wrong)), FAILED_VALIDATION)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.Settings.name)
async def test_only_required_fields_are_needed(anonymous: object, document: type[Document]) -> None:
    schema = json_schema(document)
    least = {name: value for name, value in SOUND[document].items() if name in {*schema["required"], "owner"}}
    if document is UserDocument:
        del least["username_key"]
    elif document is TaskDocument:
        assert least.keys() == SOUND[document].keys() - {"start_date", "estimate_minutes", "key"}
    least["_id"] = fresh_id(least["_id"])
    assert await write(document, [least]) == ({0: FAILED_VALIDATION} if document is UserDocument else {})


async def test_earlier_versions_may_go_on() -> None:
    lenient = json_schema(TaskDocument, lenient=True)
    assert set(json_schema(TaskDocument)["required"]) - set(lenient["required"]) == {
        "owner_id",
        "state",
        "changed_at",
        "status_changes",
    }
