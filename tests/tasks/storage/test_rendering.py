"""A stored task is rendered from its BSON with the bytes that its model would give."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import Int64, ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from taskapi.accounts.users.schemas import UserRead
from taskapi.db.raw import decode, object_id_of, split_number
from taskapi.tasks.fields import LEGACY_DEFAULTS
from taskapi.tasks.schemas import Status
from taskapi.tasks.storage import rendering
from taskapi.tasks.storage.reading import read
from taskapi.tasks.storage.rendering import OVERHEAD, TaskRenderer
from tests.damage import BSON, ODD, as_bson, damaged
from tests.tasks.spoiled import FIELDS

EPOCH = datetime(1970, 1, 1)
NOW = datetime(2026, 11, 25, 12, 1, 2, 345000)
ADA = UserRead.model_validate(
    {"_id": ObjectId("65f1a2b3c4d5e6f708192a00"), "username": "ada", "disabled": False, "created_at": NOW, "updated_at": NOW}
)
SOUND: BSON = {
    "_id": ObjectId("65f1a2b3c4d5e6f708192a3b"),
    "title": "Sound",
    "description": "",
    "status": "todo",
    "completed": False,
    "completed_at": None,
    "priority": 1,
    "due_date": datetime(2027, 1, 31),
    "start_date": datetime(2027, 1, 11),
    "estimate_minutes": 90,
    "tags": ["work"],
    "links": ["https://example.com/"],
    "checklist": [{"id": ObjectId("65f1a2b3c4d5e6f708192a3c"), "text": "one", "done": True}],
    "progress": 1.0,
    "metadata": {"a": 1},
    "key": "k",
    "owner": {"id": ObjectId(ADA.id), "username": "ada"},
    "created_at": NOW,
    "updated_at": NOW,
    "version": 1,
}


def milliseconds(low: int, high: int) -> st.SearchStrategy[datetime]:
    return st.integers(low, high).map(lambda number: EPOCH + timedelta(milliseconds=number))


FIRST, LAST = -62_135_596_800_000, 253_402_300_799_999  # of the years 1 and 9999
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
INTEGERS = st.integers(-(2**31), 2**31 - 1)
LONG = st.sampled_from([2**31, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]).map(Int64)
FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [1e16, 1e-7, -0.0, 1e22, 5e-324, 123456789012345680.0]
)
MOMENTS = milliseconds(FIRST, LAST)
DAYS = st.integers(0, (LAST - FIRST) // 86_400_000).map(lambda days: datetime(1, 1, 1) + timedelta(days=days))
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | LONG | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
ITEMS = st.fixed_dictionaries({"id": st.builds(ObjectId), "text": TEXTS, "done": st.booleans()})
TASKS = st.fixed_dictionaries(
    {
        "_id": st.builds(ObjectId),
        "title": TEXTS,
        "description": TEXTS,
        "status": st.sampled_from([str(status) for status in Status]),
        "completed": st.booleans(),
        "completed_at": st.none() | MOMENTS,
        "priority": INTEGERS,
        "due_date": st.none() | DAYS,
        "tags": st.lists(TEXTS, max_size=4),
        "links": st.lists(TEXTS, max_size=2),
        "owner": st.just(SOUND["owner"]),
        "created_at": MOMENTS,
        "updated_at": MOMENTS,
        "version": INTEGERS,
    },
    optional={
        "start_date": st.none() | DAYS,
        "estimate_minutes": st.none() | INTEGERS,
        "checklist": st.lists(ITEMS, max_size=3),
        "progress": st.floats(0, 1) | st.just(-0.0),
        "metadata": st.dictionaries(KEYS, JSON, max_size=4),
        "key": st.none() | TEXTS,
        "colour": JSON,
    },
)


def by_model(stored: bytes, owner: UserRead = ADA) -> tuple[bytes, str, int]:
    task = read(decode(stored), owner)
    return task.model_dump_json().encode(), task.id, task.version


@given(TASKS)
@settings(max_examples=200, deadline=None)
def test_sound_task_is_rendered_as_its_model(task: BSON) -> None:
    stored = as_bson(task)
    renderer, expected = TaskRenderer(), by_model(stored)
    assert renderer.render(stored, ADA) == expected
    assert renderer._remembered[stored].rendering == expected
    assert renderer.render_all([stored, stored], ADA) == [expected, expected]


@given(TASKS, st.sampled_from(FIELDS), st.sampled_from(list(ODD)))
@settings(max_examples=100, deadline=None)
def test_generated_task_may_be_damaged_anywhere(task: BSON, path: str, kind: str) -> None:
    whole = {**SOUND, **task, "metadata": {"a": 1}, "checklist": SOUND["checklist"]}
    (odd,) = damaged(whole, [path], [kind])
    stored = as_bson(odd)
    assert TaskRenderer().render(stored, ADA) == by_model(stored)


def every_damage() -> Iterator[BSON]:
    yield from damaged(SOUND, [*FIELDS, "owner", "owner.id", "_id", "checklist.extra", "metadata.b"])
    for name in LEGACY_DEFAULTS:
        yield {field: value for field, value in SOUND.items() if field != name}
    for name in ("due_date", "start_date"):
        yield {**SOUND, name: datetime(2027, 1, 31, 0, 0, 0, 1000)}
    yield {**SOUND, "progress": 1.0000001}
    yield {**SOUND, "metadata": {"a": [{"b": float("nan")}]}}
    yield {**SOUND, "checklist": [{**SOUND["checklist"][0], "more": 1}, 7]}
    yield {**SOUND, "tags": ["a", 1, None]}


def test_damaged_task_is_rendered_as_its_model() -> None:
    renderer, count = TaskRenderer(), 0
    for task in every_damage():
        stored = as_bson(task)
        for _ in range(2):
            assert renderer.render(stored, ADA) == by_model(stored), task.get("note")
        count += 1
    assert count > 900


def test_task_shows_the_owners_current_name() -> None:
    renderer, stored = TaskRenderer(), as_bson(SOUND)
    renamed = ADA.model_copy(update={"username": "countess"})
    for owner in (ADA, renamed, ADA):
        assert renderer.render(stored, owner) == by_model(stored, owner)


def test_damaged_task_fails_no_task_beside_it() -> None:
    renderer = TaskRenderer()
    tasks = [{**SOUND, "_id": ObjectId(), "title": title} for title in ("one", "two", 3, "four")]
    long = {**SOUND, "_id": ObjectId(), "description": "x" * rendering.MAX_REMEMBERED_TASK}
    page = list(map(as_bson, [*tasks, long, SOUND]))
    for _ in range(2):
        assert renderer.render_all(page, ADA) == list(map(by_model, page))
    assert renderer._remembered.keys() == {*page[:2], page[3], page[5]}


def test_memory_is_bounded_and_long_tasks_not_kept() -> None:
    renderer, kept = TaskRenderer(max_bytes=20 * (OVERHEAD + 2000)), as_bson(SOUND)
    known = renderer.render(kept, ADA)
    long = as_bson({**SOUND, "description": "x" * rendering.MAX_REMEMBERED_TASK})
    assert renderer.render(long, ADA) == by_model(long)
    for number in range(200):
        renderer.render(as_bson({**SOUND, "_id": ObjectId(), "version": number}), ADA)
        assert renderer.render(kept, ADA) is known  # what is shown often stays
        assert renderer._bytes <= renderer._max_bytes
    assert 20 < len(renderer._remembered) < 60
    assert renderer._bytes == sum(len(raw) + len(each.rendering.json) + OVERHEAD for raw, each in renderer._remembered.items())


def test_raw_documents_are_read_at_their_places() -> None:
    for rest in ({}, {"title": "é" * 5000, "list": "x"}):
        whole: dict[str, Any] = {"_id": SOUND["_id"], **rest}
        number, document = split_number(as_bson({**whole, "number": 7}), "number")
        assert (number, document, object_id_of(document)) == (7, as_bson(whole), SOUND["_id"].binary)
    assert decode(as_bson({"at": datetime(2027, 1, 1, tzinfo=UTC)})) == {"at": datetime(2027, 1, 1)}
