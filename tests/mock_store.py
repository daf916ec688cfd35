"""What mongomock lacks for the quick run: stages and operators of pipelines, partial indexes, bulk writes of this driver."""

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from mongomock import aggregate, codec_options, collection, database, filtering
from mongomock_motor import AsyncMongoMockClient, AsyncMongoMockCollection

from taskapi.core.settings import Settings
from taskapi.db.connection import UNDECODED

_STANDALONE = SimpleNamespace(server_type_name="Standalone")
_process: Any = aggregate.process_pipeline
_Expressions: Any = aggregate._Parser
_add_fields: Any = aggregate._PIPELINE_HANDLERS["$set"]


def _union_with(found: list[Any], database: Any, options: dict[str, Any]) -> list[Any]:
    other = database[options["coll"]].find()
    return [*found, *_process(list(other), database, options["pipeline"], None)]


def _unset(found: list[Any], _: Any, field: str) -> list[Any]:
    return [{name: value for name, value in document.items() if name != field} for document in found]


def _set(found: list[Any], database: Any, fields: dict[str, Any]) -> list[Any]:
    changed: list[Any] = _add_fields(found, database, fields)
    for name, value in fields.items():
        if value == "$$REMOVE":
            changed = _unset(changed, database, name)
    return changed


def _replace_with(found: list[Any], database: Any, root: dict[str, Any]) -> Any:
    return _process(found, database, [{"$replaceRoot": {"newRoot": root}}], None)


class _Parser(_Expressions):  # type: ignore[misc]
    def parse(self, expression: Any) -> Any:
        if isinstance(expression, dict) and list(expression) == ["$bsonSize"]:
            return len(bson.encode(self.parse(expression["$bsonSize"])))
        if isinstance(expression, dict) and list(expression) == ["$mergeObjects"]:
            return {name: value for member in expression["$mergeObjects"] for name, value in self.parse(member).items()}
        if isinstance(expression, dict) and list(expression) == ["$type"]:
            return self._type_of(expression["$type"])
        if isinstance(expression, dict) and list(expression) == ["$add"]:
            return self._sum(expression)
        if isinstance(expression, list):
            return [self.parse(member) for member in expression]
        return super().parse(expression)

    def _sum(self, expression: Any) -> Any:
        first, *others = expression["$add"]
        start = self.parse(first)
        if isinstance(start, datetime):
            return start + timedelta(milliseconds=sum(map(self.parse, others)))
        return super().parse(expression)

    def _type_of(self, expression: Any) -> str:
        try:
            value = self.parse(expression)
        except KeyError:
            return "missing"
        return next((name for name, is_of in filtering.TYPE_MAP.items() if isinstance(name, str) and is_of and is_of(value)), "")


setattr(aggregate, "_Parser", _Parser)  # noqa: B010
aggregate._PIPELINE_HANDLERS |= {"$unionWith": _union_with, "$set": _set, "$unset": _unset, "$replaceWith": _replace_with}


_type_op: Any = filtering._type_op


def _type_op_of_several(value: Any, types: Any, in_array: bool = False) -> bool:
    several = types if isinstance(types, list) else [types]
    return any(_type_op(value, each, in_array) for each in several if filtering.TYPE_MAP.get(each))


filtering._filterer_inst._operator_map["$type"] = _type_op_of_several


_create_indexes: Any = collection.Collection.create_indexes


def _create_whole_indexes(self: Any, indexes: list[Any], session: Any = None) -> Any:
    return _create_indexes(self, [index for index in indexes if "partialFilterExpression" not in index.document], session)


setattr(collection.Collection, "create_indexes", _create_whole_indexes)  # noqa: B010


_add_update: Any = collection.BulkOperationBuilder.add_update


def _add_update_unsorted(self: Any, *arguments: Any, sort: Any = None, **options: Any) -> None:
    assert sort is None  # which the driver always says
    _add_update(self, *arguments, **options)


setattr(collection.BulkOperationBuilder, "add_update", _add_update_unsorted)  # noqa: B010


setattr(codec_options, "is_supported", lambda options: None)  # noqa: B010 - what is damaged in BSON it cannot hold


_command: Any = database.Database.command


def _command_about_collections(self: Any, name: Any, *arguments: Any, **options: Any) -> Any:
    """It has neither views nor validators: none is found, and none is created."""
    if name == "listCollections":
        return {"cursor": {"firstBatch": []}}
    return {"ok": 1.0} if name in ("create", "collMod") else _command(self, name, *arguments, **options)


setattr(database.Database, "command", _command_about_collections)  # noqa: B010


class _Undecoded:
    """A collection whose documents are in BSON."""

    def __init__(self, decoded: Any) -> None:
        self._decoded = decoded

    async def find_one(self, *arguments: Any) -> Any:
        found = await self._decoded.find_one(*arguments)
        return found and _raw(found)

    def find(self, *arguments: Any, hint: object = None, **options: Any) -> Any:
        return _RawCursor(self._decoded.find(*arguments, **options))

    def aggregate(self, *arguments: Any, **options: Any) -> Any:
        return _RawCursor(self._decoded.aggregate(*arguments, **options))


class _RawCursor:
    def __init__(self, decoded: Any) -> None:
        self._decoded = decoded

    async def to_list(self, length: int | None) -> list[RawBSONDocument]:
        return [_raw(each) for each in await self._decoded.to_list(length)]


def _raw(document: Any) -> RawBSONDocument:
    first = {"_id": document["_id"]} if "_id" in document else {}
    return RawBSONDocument(bson.encode({**first, **document}))


def _with_options(self: Any, codec_options: Any = None, **_: Any) -> Any:
    return _Undecoded(self) if codec_options is UNDECODED else self


setattr(AsyncMongoMockCollection, "with_options", _with_options)  # noqa: B010 - its own is not asynchronous


def connect(_: Settings) -> Any:
    """A client of a store in memory, in place of ``taskapi.db.connection.connect``."""
    client: Any = AsyncMongoMockClient(tz_aware=True)
    client.topology_description = SimpleNamespace(server_descriptions=lambda: {"mock": _STANDALONE})
    return client
