"""The OpenAPI document by itself: its references lead somewhere, its schemas are JSON Schema, its examples keep to them."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from jsonschema_rs import Draft202012Validator, meta
from pydantic import TypeAdapter, ValidationError

from taskapi.tasks.services.batch import KINDS, OperationSent
from taskapi.tasks.services.json_patch import MEDIA_TYPE, MEMBERS, Operation
from tests.web.test_openapi import operations

PARTS = {"TaskPart", "OwnerPart", "ChecklistItemPart"}  # what ``fields`` asks for, and no more


@pytest.fixture(scope="module")
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def nodes(node: Any, place: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the document with its place, but for what stands in examples."""
    if isinstance(node, dict):
        yield place, node
    for name, inner in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if name not in ("example", "examples", "default", "enum", "mapping"):
            yield from nodes(inner, f"{place}/{name}")


def resolved(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """What a reference leads to; ``node`` itself when it is none."""
    found: Any = document
    for name in node["$ref"].removeprefix("#/").split("/") if "$ref" in node else ():
        found = found[name]
    return found if "$ref" in node else node


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": document["components"]}, validate_formats=True)


def answers(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for method, path, operation in operations(document):
        for status, answer in operation["responses"].items():
            yield f"{method} {path} {status}", answer


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = {node["$ref"] for _, node in nodes(document) if "$ref" in node}
    references |= {ref for _, node in nodes(document) for ref in node.get("discriminator", {}).get("mapping", {}).values()}
    examples = {
        example["$ref"]
        for _, node in nodes(document)
        if isinstance(node.get("examples"), dict)
        for example in node["examples"].values()
        if "$ref" in example
    }
    assert len(references) > 40
    assert len(examples) > 40
    for reference in references | examples:
        assert resolved(document, {"$ref": reference}), reference


def test_document_is_openapi_3_1_only(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert [place for place, node in nodes(document) if {"itemSchema", "itemEncoding", "$defs"} & node.keys()] == []


def test_every_schema_is_json_schema(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
        assert validator(document, schema), name


def test_examples_in_schemas_keep_to_them(document: dict[str, Any]) -> None:
    checked = 0
    for place, node in nodes(document):
        if isinstance(node.get("examples"), list):
            for example in node["examples"]:
                validator(document, {name: rule for name, rule in node.items() if name != "examples"}).validate(example)
                checked += 1
        if "default" in node and node["default"] is not None:
            assert validator(document, node).is_valid(node["default"]), place
    assert checked > 60


def test_examples_match_their_schemas(document: dict[str, Any]) -> None:
    checked = 0
    for place, node in nodes(document):
        if "schema" not in node:
            continue
        given = [node["example"]] if "example" in node else []
        if isinstance(node.get("examples"), dict):
            given += [resolved(document, example)["value"] for example in node["examples"].values()]
        for example in given:
            assert validator(document, node["schema"]).is_valid(example), place
        checked += len(given)
    assert checked > 200


def test_examples_keep_the_member_order_and_show_nulls(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        for example in schema.get("examples", ()):
            declared = [member for member in schema["properties"] if member in example]
            assert list(example) == declared, name
            assert set(schema.get("required", ())) <= set(example), name
    assert schemas["TaskRead"]["examples"][0]["key"] is None
    assert schemas["SecurityEventRead"]["examples"][0]["by"] is None


def test_each_error_response_has_examples_of_its_codes(document: dict[str, Any]) -> None:
    codes: set[str] = set()
    for place, answer in answers(document):
        status = int(place.rpartition(" ")[2])
        if status < 400:
            continue
        examples = answer["content"]["application/problem+json"]["examples"]
        assert examples, place
        for code, example in examples.items():
            shown = resolved(document, example)["value"]
            assert (shown["status"], shown["type"].rpartition(":")[2]) == (status, code), place
            codes.add(code)
            if code == "validation_error":
                assert {detail["type"] for detail in shown["details"]} == {"string_too_short", "extra_forbidden"}
    assert codes >= document["components"]["examples"].keys()
    assert len(codes) > 40


def test_sign_in_documents_the_second_factor_errors(document: dict[str, Any]) -> None:
    answers = document["paths"]["/token"]["post"]["responses"]
    codes = {
        code for answer in answers.values() for code in answer["content"].get("application/problem+json", {}).get("examples", ())
    }
    assert {"second_factor_required", "bad_second_factor", "second_factor_unreadable"} <= codes


def test_what_an_answer_always_holds_is_required(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    read: set[str] = set()

    def collect(node: Any) -> None:
        for _, inner in nodes(node):
            name = inner.get("$ref", "").rpartition("/")[2]
            if name and name not in read:
                read.add(name)
                collect(schemas[name])

    for place, answer in answers(document):
        if place.rpartition(" ")[2].startswith("2"):
            collect({"content": answer.get("content", {})})
    assert {"TaskRead", "UserRead", "ImportReport", "OperationResult"} <= read
    for name in read - PARTS - {"TaskEvent"}:  # some events have no task
        assert set(schemas[name].get("required", ())) == set(schemas[name].get("properties", ())), name
    for name in PARTS:
        assert "required" not in schemas[name]
    assert "null" in str(schemas["TaskRead"]["properties"]["due_date"])
    assert "null" not in str(schemas["TaskPart"]["properties"]["title"])
    assert "details" not in schemas["Problem"]["required"]
    assert "null" not in str(schemas["Problem"]["properties"]["details"])  # it is left out where there are none


def test_forms_and_queries_have_no_null(document: dict[str, Any]) -> None:
    """What is text cannot be null: a client that sends one would send the word."""
    for name in ("TokenRequest", "Revocation"):
        assert "null" not in str(document["components"]["schemas"][name]), name
    for _, path, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            assert "null" not in str(parameter["schema"]), (path, parameter["name"])


@pytest.fixture(scope="module")
def operation(document: dict[str, Any]) -> Draft202012Validator:
    """One operation of a bulk request."""
    return validator(document, document["components"]["schemas"]["Bulk"]["properties"]["operations"]["items"])


BULK: list[tuple[bool, dict[str, Any]]] = [
    (True, {"op": "create", "task": {"title": "abc"}}),
    (True, {"op": "update", "id": "65f1a2b3c4d5e6f708192a3b", "changes": {}}),
    (True, {"op": "update", "id": "65F1A2B3C4D5E6F708192A3B", "version": None, "changes": {"title": "abc"}}),
    (True, {"op": "delete", "id": "65f1a2b3c4d5e6f708192a3b", "version": 7}),
    (False, {"op": "create"}),
    (False, {"op": "create", "task": {"title": "ab"}}),
    (False, {"op": "create", "task": {"title": "abc"}, "id": "65f1a2b3c4d5e6f708192a3b"}),
    (False, {"op": "update", "id": "7", "changes": {}}),
    (False, {"op": "delete", "id": "65f1a2b3c4d5e6f708192a3b", "version": 0}),
    (False, {"op": "delete", "id": "65f1a2b3c4d5e6f708192a3b", "version": "7"}),
    (False, {"op": "upsert"}),
    (False, {}),
]


@pytest.mark.parametrize(("good", "sent"), BULK, ids=str)
def test_bulk_operation_schema_admits_what_the_service_accepts(
    operation: Draft202012Validator, good: bool, sent: dict[str, Any]
) -> None:
    assert operation.is_valid(sent) is good
    kind = KINDS.get(sent.get("op"))
    try:
        taken = kind is not None and kind.model_validate(TypeAdapter(OperationSent).validate_python(sent)) is not None
    except ValidationError:
        taken = False
    assert taken is good


def test_bulk_operations_are_told_apart_by_op(document: dict[str, Any]) -> None:
    kind = document["components"]["schemas"]["Bulk"]["properties"]["operations"]["items"]
    assert kind["discriminator"]["propertyName"] == "op"
    assert kind["discriminator"]["mapping"].keys() == KINDS.keys()
    assert {"$ref": "#/components/schemas/CreateTask"} in kind["oneOf"]


def test_json_patch_is_typed_by_op(document: dict[str, Any]) -> None:
    schema = document["paths"]["/tasks/{task_id}"]["patch"]["requestBody"]["content"][MEDIA_TYPE]["schema"]
    mapping = schema["items"]["discriminator"]["mapping"]
    assert mapping.keys() == MEMBERS.keys()
    assert len(schema["items"]["oneOf"]) == len(mapping)
    one = validator(document, schema)
    for op, member in MEMBERS.items():
        full = {"op": op, "path": "/title", **({member: "/a~1b"} if member else {})}
        assert one.is_valid([full]), op
        assert Operation.model_validate(full).model_dump(exclude_unset=True) == full
        for left_out in full:
            assert not one.is_valid([{name: value for name, value in full.items() if name != left_out}]), (op, left_out)
        assert not one.is_valid([{**full, "path": "title"}])
    assert not one.is_valid([{"op": "merge", "path": "/title"}])
    assert one.is_valid([])
