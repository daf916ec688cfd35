"""What is valid in the API is valid in the database, and the reverse."""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from beanie import Document
from bson import Decimal128, Int64, ObjectId
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pymongo import MongoClient
from pymongo.errors import BulkWriteError

from taskapi.accounts.users.documents import UserDocument
from taskapi.accounts.users.schemas import UserCreate, UserRead
from taskapi.db import shapes
from taskapi.db.codes import FAILED_VALIDATION
from taskapi.db.validators import BSON, validator
from taskapi.tasks.schemas import TaskCreate
from taskapi.tasks.services.tasks import new_task
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.marks import mark_new
from tests.conftest import URI_VARIABLE
from tests.sound import NOW, SOUND

pytestmark = pytest.mark.real

BEYOND_PATTERNS = {"string_control", "string_invisible", "email"}
BATCH, BATCHES = 50, 26  # of each of four kinds: 5,200 documents in all
HYPOTHESIS = settings(
    max_examples=BATCHES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # what fails is a list of documents, and the message has the wrong one
)
ADA = UserRead.model_validate(SOUND[UserDocument])

words = st.text(st.sampled_from("aB9 \t\n\0éÅ\u0301\u200b😀$.-_@"), max_size=12)
numbers = st.one_of(st.integers(-2, 7), st.sampled_from([0.5, 3.0, 100_000, 100_001, 2**31, 2**62, True]))
days = st.one_of(st.sampled_from(["2026-11-25", "0001-01-01", "9999-12-31", "2026-11-25T00:00:00Z", "tomorrow"]), st.none())
json = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.floats(), words),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=12,
)
SENT: Mapping[str, st.SearchStrategy[Any]] = {
    "title": st.one_of(words, st.sampled_from(["x" * 200, "x" * 201, "Å" * 200])),
    "description": st.one_of(words, st.sampled_from(["x" * 2000, "😀" * 2001])),
    "status": st.sampled_from(["todo", "in_progress", "done", "DONE", "", 1]),
    "completed": st.sampled_from([True, False, "yes"]),
    "priority": numbers,
    "due_date": days,
    "start_date": days,
    "estimate_minutes": st.one_of(numbers, st.none()),
    "tags": st.lists(words, max_size=4),
    "links": st.lists(st.sampled_from(["https://example.com", "http://a.b/?q=ü", "ftp://a", "HTTPS://EXAMPLE.com"]), max_size=3),
    "checklist": st.lists(st.fixed_dictionaries({"text": words}, optional={"done": st.booleans()}), max_size=3),
    "metadata": st.dictionaries(words, json, max_size=4),
}
SENT_USERS = {
    "username": st.text(st.sampled_from("aZ0_.-@ é\n"), min_size=1, max_size=8),
    "email": st.one_of(st.none(), st.sampled_from(["Ada@Example.com", "a@b", "ada@exämple.com", "@", ""])),
    "full_name": st.one_of(st.none(), words),
}
odd = st.one_of(
    json.filter(lambda value: r"\x00" not in repr(value)),  # which no key of BSON can contain
    st.sampled_from([NOW, ObjectId(), b"x", Decimal128("1"), Int64(1), datetime(1, 1, 1, tzinfo=UTC), [], {}, [[1]], ["a", "a"]]),
)


def bodies(fields: Mapping[str, st.SearchStrategy[Any]], required: BSON) -> st.SearchStrategy[list[BSON]]:
    """Requests for a new document, most of them with few fields, so that many are valid."""
    some = st.lists(st.sampled_from(sorted(fields)), max_size=4, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: fields[name] for name in names})
    )
    return st.lists(some.map(lambda body: {**required, **body}), min_size=BATCH, max_size=BATCH)


def changed(document: type[Document]) -> st.SearchStrategy[list[BSON]]:
    """Sound documents, each with an odd value or a field that is missing."""
    names = sorted(SOUND[document].keys() - {"_id"})
    one = st.tuples(st.sampled_from(names), st.one_of(odd, st.just(...)))
    made = one.map(
        lambda change: {name: value for name, value in {**SOUND[document], change[0]: change[1]}.items() if value is not ...}
    )
    return st.lists(made, min_size=BATCH, max_size=BATCH)


@pytest.fixture(scope="module")
def refused(is_mock: bool) -> Any:
    """Has MongoDB check documents of a class, and returns the places of those that it refuses."""
    with MongoClient[BSON](os.environ[URI_VARIABLE]) as client:
        database = client.get_database("test_agreement_" + os.environ.get("PYTEST_XDIST_WORKER", "gw"))
        client.drop_database(database.name)
        for document in (TaskDocument, UserDocument):
            database.create_collection(document.Settings.name, validator=validator(document))

        def check(document: type[Document], documents: list[BSON]) -> set[int]:
            try:
                database[document.Settings.name].insert_many([{**each, "_id": ObjectId()} for each in documents], ordered=False)
            except BulkWriteError as error:
                faults = error.details["writeErrors"]
            else:
                faults = []
            assert {fault["code"] for fault in faults} <= {FAILED_VALIDATION}
            return {fault["index"] for fault in faults}

        yield check
        client.drop_database(database.name)


Check = Callable[[type[Document], list[BSON]], set[int]]


@HYPOTHESIS
@given(sent=bodies(SENT, {"title": "A task"}))
def test_tasks_that_the_api_accepts_are_stored(refused: Check, sent: list[BSON]) -> None:
    tasks = [new_task(ADA, data) for body in sent if (data := accepted(TaskCreate, body))]
    mark_new(tasks)
    assert [tasks[place] for place in refused(TaskDocument, tasks)] == []


@HYPOTHESIS
@given(sent=bodies(SENT_USERS, {"username": "ada", "password": "correct horse battery"}))
def test_users_that_the_api_accepts_are_stored(refused: Check, sent: list[BSON]) -> None:
    users = [stored_user(data) for body in sent if (data := accepted(UserCreate, body))]
    assert [users[place] for place in refused(UserDocument, users)] == []


@HYPOTHESIS
@given(documents=changed(TaskDocument))
def test_tasks_that_are_stored_are_valid(refused: Check, documents: list[BSON]) -> None:
    check_despite_patterns(TaskDocument, documents, refused(TaskDocument, documents))


@HYPOTHESIS
@given(documents=changed(UserDocument))
def test_users_that_are_stored_are_valid(refused: Check, documents: list[BSON]) -> None:
    check_despite_patterns(UserDocument, documents, refused(UserDocument, documents))


def accepted(model: type[Any], body: BSON) -> Any:
    try:
        return model.model_validate(body)
    except ValidationError:
        return None


def stored_user(data: UserCreate) -> BSON:
    plain = {**SOUND[UserDocument], "username": data.username, "username_key": data.username.lower(), "full_name": data.full_name}
    del plain["email"], plain["email_key"]
    return {**plain, "email": data.email, **({"email_key": data.email.lower()} if data.email else {})}


def check_despite_patterns(document: type[Document], documents: list[BSON], places: set[int]) -> None:
    """Checks that what MongoDB accepts is valid, except for what no pattern can tell: whether text can be seen, and the like."""
    wrong = [(found, each) for place, each in enumerate(documents) if place not in places and (found := faults(document, each))]
    beyond = [(found, each) for found, each in wrong if not found <= BEYOND_PATTERNS]
    said = [
        (found, {name: each.get(name) for name in SOUND[document] if each.get(name) != SOUND[document][name]})
        for found, each in beyond
    ]
    assert [repr(each)[:300] for each in said] == []


def faults(document: type[Document], stored: BSON) -> set[str]:
    try:
        shapes.validate(document, stored)
    except ValidationError as error:
        return {fault["type"] for fault in error.errors()}
    return set()
