"""The filter language: what each filter compiles to, and the paths of faults."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId
from pydantic import TypeAdapter

from taskapi.core.errors import InvalidInput
from taskapi.tasks.definitions import Kind
from taskapi.tasks.fields import FIELDS
from taskapi.tasks.query.filter import LOGICAL, OPERATORS, WhereDocument, compile_where, parse_where

ID = "65f1a2b3c4d5e6f708192a3b"
PROGRAMS = ["$where", "$expr", "$function", "$regex", "$text", "$jsonSchema", "$comment", "$mod", "$type", "$bitsAllSet", "$rand",
            "$geoWithin", "$near", "$options", "$accumulator", "$lookup", "$merge", "$out", "$literal", "$ref", "$id", "$EQ", "$",
            "$$ROOT", "$ne ", "$eq\x00", "$\ud800"]  # fmt: skip


def faults(where: Any) -> dict[str, str]:
    """The paths of the faults in a filter, each with its type."""
    with pytest.raises(InvalidInput) as refused:
        compile_where(where)
    for fault in refused.value.faults:
        assert fault.message
        assert len(fault.field) <= 100
    return {fault.field: fault.type for fault in refused.value.faults}


def nested(operator: str, levels: int) -> dict[str, Any]:
    where: dict[str, Any] = {"priority": 1}
    for _ in range(levels - 1):
        where = {operator: [where]}
    return where


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, {}),
        ({"id": ID.upper()}, {"_id": {"$eq": ObjectId(ID)}}),
        ({"title": "$where"}, {"title": {"$eq": "$where"}}),
        ({"description": ""}, {"description": {"$eq": ""}}),
        ({"status": "done"}, {"status": {"$eq": "done"}}),
        ({"status": {"$in": ["todo", "in_progress"]}}, {"status": {"$in": ["todo", "in_progress"]}}),
        ({"completed": False}, {"completed": {"$eq": False}}),
        ({"completed_at": None}, {"completed_at": {"$eq": None}}),
        ({"priority": {"$gte": 2, "$lt": 4}}, {"priority": {"$gte": 2, "$lt": 4}}),
        ({"priority": {"$lt": 2**63 - 1}}, {"priority": {"$lt": 2**63 - 1}}),
        ({"due_date": "2027-01-31"}, {"due_date": {"$eq": datetime(2027, 1, 31, tzinfo=UTC)}}),
        ({"due_date": {"$in": [None, "0001-01-01"]}}, {"due_date": {"$in": [None, datetime(1, 1, 1, tzinfo=UTC)]}}),
        ({"due_date": {"$nin": ["9999-12-31"]}}, {"due_date": {"$nin": [datetime(9999, 12, 31, tzinfo=UTC)]}}),
        (
            {"created_at": {"$gt": "2027-01-31T01:15:00.123987+02:00"}},
            {"created_at": {"$gt": datetime(2027, 1, 30, 23, 15, 0, 123000, tzinfo=UTC)}},
        ),
        ({"tags": "  WORK "}, {"tags": {"$eq": "work"}}),
        ({"tags": ["A", "b"]}, {"tags": {"$eq": ["a", "b"]}}),
        ({"tags": []}, {"tags": {"$eq": []}}),
        ({"tags": {"$all": ["A", "B"], "$size": 2}}, {"tags": {"$all": ["a", "b"], "$size": 2}}),
        ({"tags": {"$elemMatch": {"$gte": "A", "$lt": "C"}}}, {"tags": {"$elemMatch": {"$gte": "a", "$lt": "c"}}}),
        ({"links": "HTTPS://Example.com"}, {"links": {"$eq": "https://example.com/"}}),
        ({"checklist": {"$size": 0}}, {"checklist": {"$size": 0}}),
        ({"checklist.id": ID}, {"checklist.id": {"$eq": ObjectId(ID)}}),
        ({"checklist.done": {"$ne": True}}, {"checklist.done": {"$ne": True}}),
        (
            {"checklist": {"$elemMatch": {"id": ID, "$or": [{"done": True}, {"text": {"$not": {"$gt": "m"}}}]}}},
            {
                "checklist": {
                    "$elemMatch": {
                        "id": {"$eq": ObjectId(ID)},
                        "$or": [{"done": {"$eq": True}}, {"text": {"$not": {"$gt": "m"}}}],
                    }
                }
            },
        ),
        ({"progress": {"$gt": 0}}, {"progress": {"$gt": 0.0}}),
        ({"key": {"$exists": True, "$ne": None}}, {"key": {"$exists": True, "$ne": None}}),
        ({"owner": {"$exists": True}}, {"owner": {"$exists": True}}),
        ({"owner.id": {"$ne": ID}}, {"owner.id": {"$ne": ObjectId(ID)}}),
        ({"owner.username": "ada"}, {"owner.username": {"$eq": "ada"}}),
        ({"version": {"$in": []}}, {"version": {"$in": []}}),
        ({"metadata": {}}, {"metadata": {"$eq": {}}}),
        ({"metadata": {"a": {"b": 1}}}, {"metadata": {"$eq": {"a": {"b": 1}}}}),
        ({"metadata": {"$ne": {}}}, {"metadata": {"$ne": {}}}),
        ({"metadata.a": None}, {"metadata.a": {"$eq": None}}),
        ({"metadata.a.0": {"b": [1, 2.5, None, True, "\x00"]}}, {"metadata.a.0": {"$eq": {"b": [1, 2.5, None, True, "\x00"]}}}),
        ({"metadata.a": {"$in": [{"b": 1}, [], "x"]}}, {"metadata.a": {"$in": [{"b": 1}, [], "x"]}}),
        ({"metadata.a": {"$gt": -(2**63)}}, {"metadata.a": {"$gt": -(2**63)}}),
        ({"metadata.a": {"$elemMatch": {"$gt": 1, "$lt": 2}}}, {"metadata.a": {"$elemMatch": {"$gt": 1, "$lt": 2}}}),
        (
            {"metadata.a": {"$elemMatch": {"b": 1, "c.d": {"$gt": 2}, "$nor": [{"e": None}]}}},
            {"metadata.a": {"$elemMatch": {"b": {"$eq": 1}, "c.d": {"$gt": 2}, "$nor": [{"e": {"$eq": None}}]}}},
        ),
        (
            {"$and": [{"$or": [{"priority": 1}]}, {"$nor": [{"title": {"$not": {"$not": {"$eq": "x"}}}}]}]},
            {"$and": [{"$or": [{"priority": {"$eq": 1}}]}, {"$nor": [{"title": {"$not": {"$not": {"$eq": "x"}}}}]}]},
        ),
        (nested("$or", 6), {"$or": [{"$or": [{"$or": [{"$or": [{"$or": [{"priority": {"$eq": 1}}]}]}]}]}]}),
    ],
    ids=str,
)
def test_a_filter_compiles_to_operators(where: Any, expected: dict[str, Any]) -> None:
    assert compile_where(where) == expected
    assert compile_where(parse_where(json.dumps(where))) == expected


def test_the_values_have_the_types_of_their_fields() -> None:
    """``True == 1`` and ``1 == 1.0`` in Python, but not in BSON."""
    where = compile_where({"metadata.a": {"$in": [True, 1, 1.0]}, "progress": 1, "priority": 1})
    assert [type(value) for value in where["metadata.a"]["$in"]] == [bool, int, float]
    assert type(where["progress"]["$eq"]) is float


@pytest.mark.parametrize("where", [None, [], "x", 1, True, [{}], 1.5], ids=str)
def test_only_an_object_is_a_filter(where: Any) -> None:
    assert faults(where) == {"where": "dict_type"}


@pytest.mark.parametrize("operator", PROGRAMS)
def test_unlisted_operators_are_refused_at_any_depth(operator: str) -> None:
    unknown = "unknown_operator"
    assert faults({operator: "this.a"}) == {f"where.{operator}": unknown}
    assert faults({"$or": [{"priority": 1}, {operator: 1}]}) == {f"where.$or.1.{operator}": unknown}
    assert faults({"title": {operator: "x"}}) == {f"where.title.{operator}": unknown}
    assert faults({"title": {"$not": {operator: "x"}}}) == {f"where.title.$not.{operator}": unknown}
    assert faults({"tags": {"$elemMatch": {operator: "x"}}}) == {f"where.tags.$elemMatch.{operator}": unknown}
    assert faults({"checklist": {"$elemMatch": {operator: "x"}}}) == {f"where.checklist.$elemMatch.{operator}": unknown}
    assert faults({"metadata.a": {"$elemMatch": {operator: "x"}}}) == {f"where.metadata.a.$elemMatch.{operator}": unknown}
    assert faults({"metadata.a": {operator: 1}}) == {f"where.metadata.a.{operator}": unknown}
    assert faults({"metadata": {operator: 1}}) == {f"where.metadata.{operator}": unknown}
    deep = {"metadata.a": {"$in": [{"b": [{operator: 1}]}]}}
    assert faults(deep) == {f"where.metadata.a.$in.0.b.0.{operator}": "metadata_key"}
    assert faults({"metadata": {"b": {operator: 1}}}) == {f"where.metadata.b.{operator}": "metadata_key"}
    assert faults({f"metadata.{operator}": 1}) == {f"where.metadata.{operator}": "unknown_field"}


@pytest.mark.parametrize("name", ["$eq", "$not", "$elemMatch", "$in", "$exists"])
def test_an_operator_of_fields_is_none_of_documents(name: str) -> None:
    assert faults({name: []}) == {f"where.{name}": "misplaced_operator"}
    assert faults({"$and": [{name: {}}]}) == {f"where.$and.0.{name}": "misplaced_operator"}


@pytest.mark.parametrize("name", sorted(LOGICAL))
def test_logic_stands_between_documents(name: str) -> None:
    assert faults({"title": {name: [{"$eq": "x"}]}}) == {f"where.title.{name}": "misplaced_operator"}
    assert faults({name: []}) == {f"where.{name}": "empty"}
    assert faults({name: [{}]}) == {f"where.{name}.0": "empty"}
    for wrong in ({}, "x", None, 1, {"priority": 1}):
        assert faults({name: wrong}) == {f"where.{name}": "list_type"}
    assert faults({name: [{"priority": 1}, None, [], "x"]}) == {f"where.{name}.{n}": "dict_type" for n in (1, 2, 3)}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_takes_the_operators_of_its_type(name: str) -> None:
    known = FIELDS[name]
    taken = {"$exists", "$not"}
    if known.listed:
        taken |= {"$size", "$elemMatch"}
    if known.kind is Kind.metadata:
        taken |= {"$eq", "$ne"}
    elif known.kind is not Kind.members:
        taken |= {"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$all"}
    for operator in sorted(OPERATORS):
        refused = faults({name: {operator: object()}})
        assert (refused == {f"where.{name}.{operator}": "misplaced_operator"}) == (operator not in taken)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"tags": {"$size": True}}, {"where.tags.$size": "int_type"}),
        ({"tags": {"$size": -1}}, {"where.tags.$size": "greater_than_equal"}),
        ({"tags": {"$size": 2**31}}, {"where.tags.$size": "less_than_equal"}),
        ({"tags": {"$size": 1.0}}, {"where.tags.$size": "int_type"}),
        ({"title": {"$exists": 1}}, {"where.title.$exists": "bool_type"}),
        ({"title": {"$exists": None}}, {"where.title.$exists": "bool_type"}),
        ({"title": {}}, {"where.title": "empty"}),
        ({"title": {"$not": {}}}, {"where.title.$not": "empty"}),
        ({"title": {"$not": "x"}}, {"where.title.$not": "dict_type"}),
        ({"title": {"$not": {"x": 1}}}, {"where.title.$not.x": "unknown_operator"}),
        ({"title": {"$in": "x"}}, {"where.title.$in": "list_type"}),
        ({"title": {"$in": {"$eq": 1}}}, {"where.title.$in": "list_type"}),
        ({"title": {"$in": ["x", {"$ne": 1}, 2]}}, {"where.title.$in.1": "string_type", "where.title.$in.2": "string_type"}),
        ({"title": {"$eq": {"$ne": "x"}}}, {"where.title.$eq": "string_type"}),
        ({"title": ["x"]}, {"where.title": "string_type"}),
        ({"tags": {"$in": [["a"]]}}, {"where.tags.$in.0": "string_type"}),
        ({"tags": ["a", {"$ne": 1}]}, {"where.tags.1": "string_type"}),
        ({"tags": {"$gt": ["a"]}}, {"where.tags.$gt": "string_type"}),
        ({"tags": {"$elemMatch": {}}}, {"where.tags.$elemMatch": "empty"}),
        ({"tags": {"$elemMatch": "a"}}, {"where.tags.$elemMatch": "dict_type"}),
        ({"tags": {"$elemMatch": {"text": "a"}}}, {"where.tags.$elemMatch.text": "unknown_operator"}),
        ({"tags": {"$elemMatch": {"$size": 1}}}, {"where.tags.$elemMatch.$size": "misplaced_operator"}),
        ({"tags": {"$elemMatch": {"$or": []}}}, {"where.tags.$elemMatch.$or": "misplaced_operator"}),
        ({"checklist": []}, {"where.checklist": "misplaced_operator"}),
        ({"checklist": None}, {"where.checklist": "misplaced_operator"}),
        ({"checklist": {"text": "x"}}, {"where.checklist.text": "unknown_operator"}),
        ({"checklist": {"$elemMatch": {}}}, {"where.checklist.$elemMatch": "empty"}),
        ({"checklist": {"$elemMatch": {"title": 1}}}, {"where.checklist.$elemMatch.title": "unknown_field"}),
        ({"checklist": {"$elemMatch": {"$gt": 1}}}, {"where.checklist.$elemMatch.$gt": "misplaced_operator"}),
        ({"checklist": {"$elemMatch": {"id": 1}}}, {"where.checklist.$elemMatch.id": "string_type"}),
        ({"owner": {"id": ID}}, {"where.owner.id": "unknown_operator"}),
        ({"metadata.a": {"$elemMatch": {}}}, {"where.metadata.a.$elemMatch": "empty"}),
        ({"metadata.a": {"$elemMatch": {"$gt": 1, "b": 2}}}, {"where.metadata.a.$elemMatch.b": "unknown_operator"}),
        ({"metadata.a": {"$elemMatch": {"b..c": 1}}}, {"where.metadata.a.$elemMatch.b..c": "unknown_field"}),
        ({"metadata.a": {"b": 1, "$gt": 2}}, {"where.metadata.a.b": "unknown_operator"}),
        ({"metadata.a": {"$gt": None}}, {"where.metadata.a.$gt": "not_ordered"}),
        ({"metadata.a": {"$lte": {"b": 1}}}, {"where.metadata.a.$lte": "not_ordered"}),
        ({"metadata": None}, {"where.metadata": "dict_type"}),
        ({"metadata": {"$eq": []}}, {"where.metadata.$eq": "dict_type"}),
        ({"metadata": {"$exists": "x"}}, {"where.metadata.$exists": "bool_type"}),
        ({"history": {"$exists": True}}, {"where.history": "unknown_field"}),
        ({"trash.owner.id": ID}, {"where.trash.owner.id": "unknown_field"}),
        ({"_id": ID}, {"where._id": "unknown_field"}),
        ({"": 1, "a": 1}, {"where.": "unknown_field", "where.a": "unknown_field"}),
        (
            {"$or": [{"nothing": 1}, {"priority": {"$gt": "x"}}], "status": "open"},
            {"where.$or.0.nothing": "unknown_field", "where.$or.1.priority.$gt": "int_type", "where.status": "enum"},
        ),
    ],
    ids=str,
)
def test_a_wrong_filter_is_refused_by_its_path(where: Any, expected: dict[str, str]) -> None:
    assert faults(where) == expected


def test_limits() -> None:
    deep = "where" + ".$or.0" * 6
    assert faults(nested("$or", 7)) == {deep: "too_deep"}
    assert faults({"title": {"$not": {"$not": {"$not": {"$not": {"$not": {"$not": {"$eq": "x"}}}}}}}}) == {
        "where.title" + ".$not" * 6: "too_deep"
    }
    assert compile_where({"$or": [{"priority": n} for n in range(50)]})
    assert faults({"$or": [{"priority": n} for n in range(51)]}) == {"where": "too_many_conditions"}
    assert faults({f"metadata.a{n}": n for n in range(51)}) == {"where": "too_many_conditions"}
    assert faults({"$nor": [{"priority": {"$gt": 1, "$lt": 5}}] * 26}) == {"where": "too_many_conditions"}
    assert faults({"title": {"$not": {"$not": {"$eq": "x"}}}, "$and": [{"priority": 1}] * 48}) == {"where": "too_many_conditions"}
    assert compile_where({"priority": {"$in": [1] * 100}})
    assert faults({"priority": {"$in": [1] * 101}}) == {"where.priority.$in": "too_long"}
    assert faults({"$and": [{"priority": 1}] * 101}) == {"where.$and": "too_long"}
    assert faults({"tags": ["a"] * 101}) == {"where.tags": "too_long"}
    assert faults({"metadata.a": [[1] * 101]}) == {"where.metadata.a.0": "too_long"}
    assert faults({"title": "x" * 65_536}) == {"where": "filter_size"}


def test_many_faults_are_cut_short() -> None:
    with pytest.raises(InvalidInput) as refused:
        compile_where({f"field{n}": n for n in range(10_000)})
    assert len(refused.value.faults) == 50


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *((text, "json_invalid") for text in ["", " ", "{", "{'a': 1}", '{"priority": NaN}', '{"priority": -Infinity}', "{}x"]),
        ("[" * 2000, "json_invalid"),
        *((text, "dict_type") for text in ["null", "[]", "0", '"x"', "true"]),
        ('{"priority": ' + "9" * 1900 + "}", None),
        ('{"priority": 1, "priority": 2}', "repeated_name"),
        ('{"$or": [{"metadata.a": {"b": 1, "b": 1}}]}', "repeated_name"),
        ("{}" + " " * 1999, "string_too_long"),
    ],
)
def test_text_that_is_no_json_is_refused(text: str, kind: str | None) -> None:
    if kind is None:
        assert faults(parse_where(text)) == {"where.priority": "less_than_equal"}
        return
    with pytest.raises(InvalidInput) as refused:
        parse_where(text)
    assert [(fault.field, fault.type) for fault in refused.value.faults] == [("where", kind)]


def test_a_model_takes_only_a_filter_that_compiles() -> None:
    adapter = TypeAdapter(WhereDocument)
    assert adapter.validate_python({"tags": "A"}) == {"tags": "A"}
    for where in ({"title": "\ud800"}, {"\ud800": 1}, json.loads('{"$and":[' * 200 + "]}" * 200)):
        with pytest.raises(InvalidInput):
            adapter.validate_python(where)


def test_too_many_conditions_are_refused_before_reading_operands() -> None:
    assert faults({"$or": [{"priority": "unread"}] * 51}) == {"where": "too_many_conditions"}
