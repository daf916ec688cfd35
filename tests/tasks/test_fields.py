"""The catalog of public fields agrees with the task that callers see."""

from collections.abc import Iterator
from typing import Any

import pytest

from taskapi.db.validators import json_schema
from taskapi.tasks.definitions import Kind
from taskapi.tasks.fields import FIELDS, field
from taskapi.tasks.schemas import READ_EXAMPLE, TASK_EXAMPLE, TaskCreate, TaskRead, TaskUpdate
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.reading import PUBLIC

BY_TYPE = {
    "boolean": {Kind.flag},
    "integer": {Kind.integer},
    "number": {Kind.number},
    "string": {Kind.text, Kind.tag, Kind.link},
    "string date": {Kind.day},
    "string date-time": {Kind.moment},
    "string enum": {Kind.status},
    "string pattern": {Kind.object_id},
    "object": {Kind.members, Kind.metadata},
}
WHOLE = TaskRead.model_json_schema(mode="serialization")


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    return WHOLE["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def shown(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, list[str], str]]:
    """Each field of the answer: its name, the types that it can have, and what kind of value it or its members are."""
    for name, listed in schema.get("properties", {}).items():
        arms = [resolved(arm) for arm in listed.get("anyOf", [listed])]
        types = [arm["type"] for arm in arms]
        value = resolved(arms[0].get("items", arms[0]))
        marks = [value.get("format", ""), *(mark for mark in ("enum", "pattern") if mark in value)]
        yield prefix + name, types, " ".join([value["type"], *filter(None, marks)])
        yield from shown(value, f"{prefix}{name}.")


SHOWN = list(shown(WHOLE))


def test_every_public_field_is_known_and_no_other() -> None:
    assert {name for name, _, _ in SHOWN} == set(FIELDS)


@pytest.mark.parametrize(("name", "types", "value"), SHOWN)
def test_a_field_is_what_the_answer_says(name: str, types: list[str], value: str) -> None:
    known = FIELDS[name]
    assert known.kind in BY_TYPE[value]
    assert known.nullable == ("null" in types)
    assert known.listed == ("array" in types)


def test_fields_are_read_from_where_they_are_stored() -> None:
    top = {known.stored for name, known in FIELDS.items() if "." not in name}
    assert top == set(PUBLIC)
    assert [name for name, known in FIELDS.items() if known.stored != name] == ["id"]
    assert top - {"_id"} <= set(TaskDocument.model_fields)


@pytest.mark.parametrize(
    "name",
    ["_id", "history", "history.by", "trash", "trash.owner.id", "before", "owner.password_hash", "owner.id.x", "checklist.0",
     "checklist.0.text", "title.x", "tags.0", "", ".", "metadata.", "metadata..a", "metadata.a.", "metadata.$a", "metadata.a.$b",
     "metadata.a\x00", "metadata.\ud800", "metadata.a.b.c.d.e.f.g", "Title", "title ", "metadata ", "$title"],
)  # fmt: skip
def test_what_is_not_public_does_not_exist(name: str) -> None:
    assert field(name) is None


@pytest.mark.parametrize(
    "name", ["metadata.a", "metadata.a.b.c.d.e.f", "metadata.0", "metadata.a$", "metadata.metadata.x", "metadata. "]
)
def test_paths_below_metadata_are_free(name: str) -> None:
    known = field(name)
    assert known is not None
    assert (known.stored, known.kind, known.nullable, known.listed) == (name, Kind.json, True, False)


STORED = {
    Kind.text: ["string"],
    Kind.integer: ["int", "long"],
    Kind.flag: ["bool"],
    Kind.number: ["double"],
    Kind.day: ["date"],
    Kind.moment: ["date"],
}


@pytest.mark.parametrize("name", TaskUpdate.model_fields)
def test_what_callers_write_is_known_everywhere(name: str) -> None:
    assert name in TaskCreate.model_fields
    assert name in TaskRead.model_fields
    assert name in TASK_EXAMPLE or name in ("status", "completed")
    assert READ_EXAMPLE.keys() == TaskRead.model_fields.keys()


@pytest.mark.parametrize("name", sorted(FIELDS.keys() & TaskDocument.model_fields.keys()))
def test_a_field_is_stored_as_its_kind_says(name: str) -> None:
    known = FIELDS[name]
    if known.kind in STORED and not known.listed:
        kept = json_schema(TaskDocument)["properties"][name]["bsonType"]
        kinds = {kept} if isinstance(kept, str) else set(kept)
        assert kinds - {"null"} <= set(STORED[known.kind])
        assert ("null" in kinds) == (known.nullable and name != "key")  # which is absent
