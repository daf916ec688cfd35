"""How tests read views, as a script does."""

from datetime import UTC, datetime
from typing import Any

from taskapi.core.clock import rfc3339
from taskapi.db.connection import BSON
from taskapi.tasks.storage.documents import TaskDocument
from tests.stored import collection


async def rows(view: str, matching: BSON | None = None) -> list[BSON]:
    """The rows of a view, of which the times have no zone."""
    return list(await collection(TaskDocument).database[view].find(matching or {}).to_list(None))


async def rows_of(view: str, stages: list[BSON]) -> list[BSON]:
    """What an aggregation of a view returns."""
    return list(await collection(TaskDocument).database[view].aggregate(stages).to_list(None))


def as_json(value: Any) -> Any:
    """A stored value as the API shows it, but for days, which are times here."""
    if isinstance(value, datetime):
        return rfc3339(value.replace(tzinfo=UTC))
    if isinstance(value, list):
        return [as_json(each) for each in value]
    if isinstance(value, dict):
        return {name: as_json(each) for name, each in value.items()}
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def as_day(value: datetime | None) -> str | None:
    """A stored day as the API shows it."""
    return value.date().isoformat() if value else None
