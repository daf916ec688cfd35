"""One change of all tasks that a filter finds."""

from typing import NamedTuple, Self

from bson import ObjectId
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from taskapi.database import BSON, Session, collection, transaction
from taskapi.errors import CountDiffers, NotFound, TooManyMatches
from taskapi.tasks import service
from taskapi.tasks.changes import fields_of, update
from taskapi.tasks.documents import TaskDocument
from taskapi.tasks.schemas import TaskUpdate
from taskapi.tasks.selection import Flag, TaskFilters
from taskapi.tasks.trash import moving
from taskapi.users.schemas import UserRead

MOST_MATCHES = 100_000
MOST_EXPECTED = 10_000  # what one transaction changes within its time
MOST_MERGED = 1000  # metadata is merged task by task
BATCH = 1000


class ManyQuery(TaskFilters):
    """Which tasks, and with what caution."""

    dry_run: Flag = Field(False, description="Only count them.")
    expect: int | None = Field(None, ge=0, le=MOST_EXPECTED, description="Refuse unless the filter finds this many.")

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if not self.model_fields_set - {"dry_run", "expect"}:
            raise PydanticCustomError("filter_missing", "say which tasks; where={} means all of them")
        return self


class ManyResult(BaseModel):
    """How many tasks a change of many concerned."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"matched": 12, "changed": 12}]})

    matched: int = Field(description="Tasks that the filter found.")
    changed: int = Field(description="Tasks that were changed; 0 for a dry run.")


class _Change(NamedTuple):
    """What happens to every task; at most ``most`` of them."""

    pipeline: list[BSON] | None
    one_by_one: TaskUpdate | None = None
    most: int = MOST_MATCHES


async def change(owner: UserRead, query: ManyQuery, data: TaskUpdate) -> ManyResult:
    """Makes the same change to all tasks that ``query`` finds. Raises CountDiffers, TooManyMatches, InvalidInput."""
    if "metadata" in data.model_fields_set:
        return await _apply(owner, query, _Change(None, data, MOST_MERGED))
    return await _apply(owner, query, _Change(update(fields_of(data), owner) if data.model_fields_set else None))


async def put_in_trash(owner: UserRead, query: ManyQuery, days: int) -> ManyResult:
    """Moves all tasks that ``query`` finds to the trash. Raises CountDiffers, TooManyMatches."""
    return await _apply(owner, query, _Change(moving(owner, days)))


async def _apply(owner: UserRead, query: ManyQuery, change: _Change) -> ManyResult:
    filter_ = query.filter(owner.object_id)

    async def work(session: Session | None = None) -> ManyResult:
        ids = await _ids(filter_, change.most, session)
        if query.expect is not None and query.expect != len(ids):
            raise CountDiffers(len(ids))
        changed = 0 if query.dry_run else await _write(owner, filter_, ids, change, session)
        return ManyResult(matched=len(ids), changed=changed)

    # What was counted has to be what is changed; without an expectation each batch may stand for itself.
    return await (work() if query.expect is None or query.dry_run else transaction(TaskDocument, work))


async def _ids(filter_: BSON, most: int, session: Session | None) -> list[ObjectId]:
    cursor = collection(TaskDocument).find(filter_, {"_id": 1}, limit=most + 1, session=session)
    ids = [found["_id"] for found in await cursor.to_list(None)]
    if len(ids) > most:
        raise TooManyMatches(most)
    return ids


async def _write(owner: UserRead, filter_: BSON, ids: list[ObjectId], change: _Change, session: Session | None) -> int:
    """Applies the change to those of ``ids`` that the filter still finds; how many that were."""
    changed = 0
    if change.one_by_one:
        for identity in ids:
            try:
                await service.change(owner, str(identity), change.one_by_one, None, session)
            except NotFound:  # deleted meanwhile
                continue
            changed += 1
    elif change.pipeline:
        for start in range(0, len(ids), BATCH):
            batch = {**filter_, "_id": {"$in": ids[start : start + BATCH]}}
            changed += (await collection(TaskDocument).update_many(batch, change.pipeline, session=session)).modified_count
    return changed
