"""The pages and schemas of the collections say what the code says."""

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from annotated_types import Ge
from beanie import Document
from bson import json_util
from fastapi import FastAPI
from pydantic import BaseModel
from pymongo import ASCENDING, DESCENDING
from pymongo.errors import WriteError

from taskapi.accounts.sessions.documents import SessionDocument
from taskapi.db.connection import Database
from taskapi.db.indexes import Index
from taskapi.db.validators import validator
from taskapi.main import DOCUMENTS, VIEWS
from taskapi.web.idempotency.documents import IdempotencyDocument
from tests.stored import service

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "scripts"))
docs = importlib.import_module("collection_docs")
fields = importlib.import_module("collection_fields")
pages = importlib.import_module("collection_pages")

FILES: dict[Path, str] = docs.generate()
NOT_SECRET = {
    "throttles._id",  # identifies a counter
    "throttles.account",
    "webhooks.previous_secret_until",  # a time
    "webhook_deliveries.body",  # an event, as its owner sees it
}
GROWING = {"history", "status_changes"}  # of which MongoDB only checks that nothing is missing, and the types
WRONG: dict[type, Any] = {dict: "text", list: "text"}  # in place of a value of this type; an object in place of others
PAGE = Path("docs/collections/sessions.md")


class Member(BaseModel):
    """An object in a document."""

    first: int
    """The first ``value``,
    in two lines."""
    second: int


class Undescribed(BaseModel):
    first: int


class Inner(BaseModel):
    """A document."""

    members: list[Member]
    """Some."""


def changed() -> set[Path]:
    """The files that the code as it is now would change."""
    return {path for path, text in docs.generate().items() if FILES[path] != text}


def test_files_say_what_the_code_says() -> None:
    assert list(docs.differences(FILES, ROOT)) == []


def test_writing_twice_gives_the_same() -> None:
    assert docs.generate() == FILES


@pytest.mark.parametrize(
    ("name", "falsify"),
    [
        ("a type", lambda info: setattr(info["generation"], "annotation", str)),
        ("a limit", lambda info: setattr(info["generation"], "metadata", [Ge(5)])),
        ("a required field", lambda info: setattr(info["user"], "default", None)),
        ("a secret", lambda info: setattr(info["chain"], "metadata", [])),
    ],
)
def test_a_falsified_field_is_found(monkeypatch: pytest.MonkeyPatch, name: str, falsify: Callable[[Any], None]) -> None:
    copies = {name: info._copy() for name, info in SessionDocument.model_fields.items()}
    monkeypatch.setattr(SessionDocument, "__pydantic_fields__", copies)
    falsify(copies)
    assert PAGE in changed()


@pytest.mark.parametrize(
    "falsified",
    [
        Index(
            [("expires_at", DESCENDING)], name="session_expiry", serves="the removal of expired sessions", expireAfterSeconds=0
        ),
        Index([("ends_at", ASCENDING)], name="session_expiry", serves="the removal of expired sessions", expireAfterSeconds=0),
        Index(
            [("expires_at", ASCENDING)], name="session_expiry", serves="the removal of expired sessions", expireAfterSeconds=60
        ),
        Index([("expires_at", ASCENDING)], name="session_expiry", serves="the removal of expired sessions"),
        Index([("expires_at", ASCENDING)], name="expiry", serves="the removal of expired sessions", expireAfterSeconds=0),
        Index([("expires_at", ASCENDING)], name="session_expiry", serves="something else", expireAfterSeconds=0),
    ],
    ids=["order", "key", "TTL", "no TTL", "name", "queries"],
)
def test_a_falsified_index_is_found(monkeypatch: pytest.MonkeyPatch, falsified: Index) -> None:
    first, expiry = SessionDocument.Settings.indexes
    monkeypatch.setattr(SessionDocument.Settings, "indexes", [first, expiry])
    assert changed() == set()
    monkeypatch.setattr(SessionDocument.Settings, "indexes", [first, falsified])
    assert changed() == {PAGE}


def test_a_falsified_rule_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    (rule,) = IdempotencyDocument.Settings.rules
    monkeypatch.setattr(IdempotencyDocument.Settings, "rules", [{**rule, "$comment": "Something else."}])
    assert changed() == {Path("docs/collections/idempotency_keys.md"), Path("schemas/idempotency_keys.validator.json")}
    monkeypatch.setattr(IdempotencyDocument.Settings, "rules", [{"$or": rule["$or"]}])
    with pytest.raises(docs.DocsError, match=r"a rule of IdempotencyDocument has no \$comment"):
        docs.generate()


def test_a_falsified_description_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = fields.descriptions

    def falsified(model: Any) -> Any:
        return {**real(model), "generation": "Something else."} if model is SessionDocument else real(model)

    monkeypatch.setattr(fields, "descriptions", falsified)
    assert changed() == {PAGE, Path("schemas/sessions.schema.json")}


def test_a_falsified_view_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *others = VIEWS
    monkeypatch.setattr(
        docs, "VIEWS", [replace(first, fields=[replace(first.fields[0], types="int"), *first.fields[1:]]), *others]
    )
    assert changed() == {docs.VIEWS_PAGE}
    for falsified in (replace(first, fields=[replace(first.fields[0], meaning="")]), replace(first, description="")):
        monkeypatch.setattr(docs, "VIEWS", [falsified])
        with pytest.raises(docs.DocsError, match="the view v_tasks has no description"):
            docs.generate()


def test_a_collection_without_description_is_named() -> None:
    with pytest.raises(fields.DocsError, match=r"test_collection_docs\.Undescribed has no docstring"):
        fields.described_class(Undescribed)


@pytest.mark.parametrize("path", sorted(FILES), ids=str)
def test_an_edited_file_is_found(tmp_path: Path, path: Path) -> None:
    docs.write(FILES, tmp_path)
    assert list(docs.differences(FILES, tmp_path)) == []
    (tmp_path / path).write_text(FILES[path].replace("e", "a", 1))
    assert list(docs.differences(FILES, tmp_path)) == [f"{path} differs from the code"]
    (tmp_path / path).unlink()
    assert list(docs.differences(FILES, tmp_path)) == [f"{path} is missing"]


def test_pages_of_former_collections_are_removed(tmp_path: Path) -> None:
    docs.write(FILES, tmp_path)
    (tmp_path / "schemas" / "former.schema.json").write_text("{}")
    (tmp_path / docs.CHANGELOG).write_text("# Changes")
    assert list(docs.differences(FILES, tmp_path)) == ["schemas/former.schema.json belongs to no collection"]
    docs.write(FILES, tmp_path)
    assert list(docs.differences(FILES, tmp_path)) == []
    assert (tmp_path / docs.CHANGELOG).exists()


def test_the_string_below_a_field_describes_it() -> None:
    assert fields.descriptions(Member) == {"first": "The first `value`, in two lines."}


def test_a_field_without_description_is_named() -> None:
    with pytest.raises(fields.DocsError, match=r"test_collection_docs\.Member\.second has no description"):
        list(fields.all_fields(Inner))


def test_whatever_looks_secret_is_marked() -> None:
    found = {
        f"{document.Settings.name}.{field.path}": field.confidential
        for document in DOCUMENTS
        for field in fields.all_fields(document)
        if "properties" not in json.dumps(field.schema)
        and ("binData" in json.dumps(field.schema) or re.search("hash|secret|password", field.path))
    }
    assert {path for path, confidential in found.items() if not confidential} == NOT_SECRET
    assert len(found) > len(NOT_SECRET) + 9


def wrong(example: Any) -> Iterator[tuple[str, Any]]:
    """Documents that differ from a right one in one place, each with what is wrong in it."""
    for name, value in example.items():
        yield f"{name} of another type", {**example, name: WRONG.get(type(value), {"wrong": True})}
        if isinstance(value, dict):
            yield from ((f"{name}.{what}", {**example, name: member}) for what, member in wrong(value) if name != "metadata")
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield from (
                (f"{name}.{what}", {**example, name: [member]})
                for what, member in wrong(value[0])
                if "before" not in what and not (name in GROWING and what.endswith("another field"))
            )
    yield "another field", {**example, "another": 1}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.Settings.name)
async def test_schema_and_mongodb_accept_alike(app: FastAPI, document: type[Document]) -> None:
    schema = jsonschema_rs.validator_for(json.loads(FILES[Path("schemas", f"{document.Settings.name}.schema.json")]))
    database = service(Database).collection(document).database
    checked = await database.create_collection("checked", validator=validator(document))
    try:
        for example in docs.EXAMPLES[document.Settings.name]:
            written = json.loads(json_util.dumps(example, json_options=json_util.RELAXED_JSON_OPTIONS))
            schema.validate(written)
            await checked.insert_one(example)
            await checked.delete_many({})
            for what, bad in wrong(example):
                written = json.loads(json_util.dumps(bad, json_options=json_util.RELAXED_JSON_OPTIONS))
                assert not schema.is_valid(written), what
                with pytest.raises(WriteError) as refused:
                    await checked.insert_one(bad)
                assert refused.value.code == 121, what
    finally:
        await checked.drop()
