"""What mongomock lacks for the quick run: the pipeline stage that the list of tasks ends with."""

from typing import Any

from mongomock import aggregate
from mongomock_motor import AsyncMongoMockClient

from taskapi.settings import Settings

_process: Any = aggregate.process_pipeline


def _union_with(collection: list[Any], database: Any, options: dict[str, Any]) -> list[Any]:
    other = database[options["coll"]].find()
    return [*collection, *_process(list(other), database, options["pipeline"], None)]


aggregate._PIPELINE_HANDLERS["$unionWith"] = _union_with


def connect(_: Settings) -> Any:
    """A client of a store in memory, in place of ``taskapi.database.connect``."""
    return AsyncMongoMockClient(tz_aware=True)
