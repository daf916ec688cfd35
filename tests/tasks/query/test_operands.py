"""The values in a filter: what each type of field accepts and refuses."""

import json
from typing import Any

import pytest

from taskapi.core.errors import FieldError, InvalidInput
from taskapi.tasks.definitions import Kind
from taskapi.tasks.fields import FIELDS
from taskapi.tasks.query.filter import compile_where

HUGE = 10**400
DEEP: Any = json.loads("[" * 900 + "]" * 900)
TEXTS = ["", " ", "x", "$x", "1", "true", "null", "2027-01-31", "2027-01-31T00:00:00Z", "65f1a2b3c4d5e6f708192a3b", "done",
         "https://example.com"]  # fmt: skip
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**63, -(2**63) - 1, HUGE, -HUGE, 1.5, float("inf"), float("nan"), *TEXTS, "\x00", "\ud800"),
    *([], [None], ["x"], [[]], DEEP, {}, {"a": 1}, {"$gt": 1}, {"": ""}, {"\x00": 1}, {"\ud800": 1}, {"a": DEEP}),
    *({"$oid": "65f1a2b3c4d5e6f708192a3b"}, {"$date": 0}, {"$numberLong": "1"}),
]
TAKEN: dict[Kind, list[Any]] = {
    Kind.text: TEXTS,
    Kind.tag: TEXTS,
    Kind.link: ["https://example.com"],
    Kind.status: ["done"],
    Kind.flag: [True, False],
    Kind.integer: [0, 1, -1],
    Kind.number: [0, 1, -1, 2**63, -(2**63) - 1, 1.5],
    Kind.day: ["2027-01-31"],
    Kind.moment: ["2027-01-31T00:00:00Z"],
    Kind.object_id: ["65f1a2b3c4d5e6f708192a3b"],
}


def fault(where: Any) -> tuple[str, str] | None:
    """The path and type of the only fault of a filter."""
    try:
        compile_where(where)
    except InvalidInput as error:
        (only,) = error.faults
        assert json.dumps([only.field, only.message])
        return only.field, only.type
    return None


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and (one == other or repr(one) == repr(other))


@pytest.mark.parametrize("name", [name for name, known in FIELDS.items() if known.kind in TAKEN])
@pytest.mark.parametrize("operator", ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"])
def test_field_takes_values_of_its_type_only(name: str, operator: str) -> None:
    known = FIELDS[name]
    taken = [*TAKEN[known.kind], *([None] if known.nullable and operator in ("$eq", "$ne") else [])]
    for value in VALUES:
        if known.listed and isinstance(value, list) and operator in ("$eq", "$ne"):
            continue  # the whole list; see test_filter.py
        refused = fault({name: {operator: value}})
        if any(same(value, known_good) for known_good in taken):
            assert refused is None, value
        else:
            assert refused is not None, value
            assert refused[0] == f"where.{name}.{operator}"


@pytest.mark.parametrize("name", [name for name, known in FIELDS.items() if known.kind in TAKEN])
@pytest.mark.parametrize("operator", ["$in", "$nin", "$all"])
def test_so_do_the_members_of_a_list(name: str, operator: str) -> None:
    known = FIELDS[name]
    (good, *_), null = TAKEN[known.kind], [None] if known.nullable else []
    assert fault({name: {operator: [good, *null]}}) is None
    for value in VALUES:
        if not any(same(value, one) for one in [*TAKEN[known.kind], *null]):
            refused = fault({name: {operator: [good, value]}})
            assert refused is not None, value
            assert refused[0] == f"where.{name}.{operator}.1"


@pytest.mark.parametrize(
    ("value", "place", "kind"),
    [
        (2**63, "", "less_than_equal"),
        (-(2**63) - 1, "", "greater_than_equal"),
        (HUGE, "", "less_than_equal"),
        (float("inf"), "", "finite_number"),
        (float("nan"), "", "finite_number"),
        ("\ud800", "", "string_unicode"),
        ({"a": {"b": ["\udfff"]}}, ".a.b.0", "string_unicode"),
        ({"\ud800": 1}, ".\ud800", "metadata_key"),
        ({"a\x00": 1}, ".a\x00", "metadata_key"),
        ({"a": {"$b": 1}}, ".a.$b", "metadata_key"),
        ([[{"$gt": 1}]], ".0.0.$gt", "metadata_key"),
        ([0, {"a": HUGE}], ".1.a", "less_than_equal"),
        (DEEP, ".0.0.0.0.0.0", "too_deep"),
        ({"a": DEEP}, ".a.0.0.0.0.0", "too_deep"),
        ([0] * 101, "", "too_long"),
    ],
    ids=lambda value: str(value)[:40].encode("ascii", "replace").decode(),
)
def test_metadata_takes_what_it_could_hold(value: Any, place: str, kind: str) -> None:
    for operator in ("$eq", "$ne"):
        assert fault({"metadata.a": {operator: value}}) == (f"where.metadata.a.{operator}{place}", kind)
    for operator in ("$in", "$nin", "$all"):
        assert fault({"metadata.a": {operator: [value]}}) == (f"where.metadata.a.{operator}.0{place}", kind)
    assert fault({"metadata": {"$eq": {"a": value}}}) == (
        f"where.metadata.$eq.a{place.removesuffix('.0') if kind == 'too_deep' else place}",
        kind,
    )


@pytest.mark.parametrize(
    "value", [None, True, 0, -1, 1.5, 2**63 - 1, "", "\x00", "$gt", [], [[[[[[]]]]]], {}, {"": {"a.b": 1}}], ids=str
)
def test_metadata_takes_any_other_json(value: Any) -> None:
    assert compile_where({"metadata.a": {"$eq": value}}) == {"metadata.a": {"$eq": value}}
    assert compile_where({"metadata.a": value}) == {"metadata.a": {"$eq": value}}


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-00:01", "2027-02-29T00:00:00Z", "2027-01-31T24:00:00Z", "1800000000",
     "2027-01-31T23:59:60Z", "2027-01-31T09:15:00", "2027-01-31T09:15Z", "20270131T091500Z", "2027-01-31T09:15:00+25:00",
     "2027-W05-1T00:00:00Z", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "2027-01-31T09:15:00Z\n", "2027-01-31T09:15:00.Z",
     "\uff12027-01-31T09:15:00Z"],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    assert fault({"created_at": {"$lt": text}}) == ("where.created_at.$lt", "datetime_format")


@pytest.mark.parametrize(
    "text", ["2027-02-29", "0000-01-01", "10000-01-01", "2027-1-31", "20270131", "2027-01-31 ", "\uff12027-01-31", "today"]
)
def test_what_is_no_day_is_refused(text: str) -> None:
    refused = fault({"due_date": text})
    assert refused is not None
    assert refused[0] == "where.due_date"


def test_missing_day_is_refused_as_in_a_body() -> None:
    with pytest.raises(InvalidInput) as refused:
        compile_where({"due_date": {"$lt": "2027-02-30"}})
    message = "There is no such day"
    assert refused.value.faults == (FieldError("where.due_date.$lt", message, "date_from_datetime_parsing"),)
