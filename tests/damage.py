"""What scripts write straight into MongoDB by accident: a value of each wrong kind for each field of a document."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import bson
import jsonschema_rs
from beanie import Document
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from fastapi import FastAPI
from pymongo.errors import BulkWriteError

from tests.stored import collection

BSON = dict[str, Any]
MISSING: Any = object()
BROKEN = "BROKEN-UTF8"  # a text that is stored with bytes that are no UTF-8


def nested(levels: int) -> BSON:
    value: BSON = {}
    for _ in range(levels):
        value = {"a": value}
    return value


ODD: dict[str, Any] = {
    "missing": MISSING,
    "null": None,
    "integer": 7,
    "negative": -3,
    "long": Int64(2**62),
    "double": 3.0,
    "fraction": 3.7,
    "nan": float("nan"),
    "infinity": float("inf"),
    "decimal": Decimal128("2.5"),
    "decimal nan": Decimal128("NaN"),
    "decimal snan": Decimal128("sNaN"),
    "decimal huge": Decimal128("1E+6000"),
    "true": True,
    "text": "high",
    "upper": "DONE",
    "digits": "4",
    "iso time": "2026-11-25T19:00:00+05:00",
    "empty": "",
    "long text": "x" * 10_000,
    "broken text": BROKEN,
    "list": [],
    "mixed list": [1, "a", None, {"id": "x"}, [1], float("nan"), ObjectId("65f1a2b3c4d5e6f708192a3b")],
    "object": {"x": {"y": float("-inf")}},
    "odd keys": {"$x": 1, "a.b": [Decimal128("1")], "": 2},
    "deep": nested(40),
    "reference": DBRef("users", 1),
    "bytes": b"\xff\x00",
    "uuid": Binary.from_uuid(UUID(int=5)),
    "object id": ObjectId("65f1a2b3c4d5e6f708192a3c"),
    "regex": Regex("a+", "i"),
    "code": Code("x"),
    "code in scope": Code("x", {"a": 1}),
    "timestamp": Timestamp(1, 1),
    "time": datetime(2026, 11, 25, 19, 0, 0, 123000, UTC),
    "late time": DatetimeMS(2**60),
    "early time": DatetimeMS(-(2**60)),
    "lowest": MinKey(),
    "highest": MaxKey(),
}


def set_at(document: Any, path: str, value: Any) -> Any:
    """A copy of ``document`` with another value at a dotted path, which may go into the first member of a list."""
    name, _, rest = path.partition(".")
    if isinstance(document, list):
        return [set_at(document[0], path, value), *document[1:]]
    if rest:
        return {**document, name: set_at(document[name], rest, value)}
    result: BSON = {**document, name: value}
    if value is MISSING:
        del result[name]
    return result


def damaged(sound: BSON, paths: Sequence[str], kinds: Sequence[str] = tuple(ODD)) -> Iterator[BSON]:
    """Copies of ``sound``, each with one odd value at one of ``paths``; ``note`` says which."""
    for path in paths:
        for kind in kinds:
            yield {**set_at(sound, path, ODD[kind]), "_id": ObjectId(), "note": f"{path}: {kind}"}


def as_bson(document: BSON) -> bytes:
    """A document as it is stored, past all checks."""
    return bson.encode(document).replace(BROKEN.encode(), b"BROKEN\xff\xfe\xc0\xaf8")


async def store(document: type[Document], documents: list[BSON]) -> list[BSON]:
    """Stores them past all checks. Those that MongoDB's own indexes refuse are left out of what is returned."""
    raw = [RawBSONDocument(as_bson(each)) for each in documents]
    refused: set[int] = set()
    try:
        await collection(document).insert_many(raw, ordered=False)
    except BulkWriteError as error:
        refused = {fault["index"] for fault in error.details["writeErrors"]}
    return [each for number, each in enumerate(documents) if number not in refused]


def schema(app: FastAPI, name: str) -> jsonschema_rs.Draft202012Validator:
    """The schema of that name that callers are told."""
    return jsonschema_rs.Draft202012Validator({**app.openapi(), "$ref": f"#/components/schemas/{name}"})
