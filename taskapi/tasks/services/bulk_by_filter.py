"""One change of all tasks that a filter finds."""

from typing import NamedTuple, Self

from bson import ObjectId
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.errors import NotFound
from taskapi.core.fields import QueryBool
from taskapi.db.connection import BSON, Session, collection
from taskapi.db.queries import aggregate
from taskapi.db.transactions import transaction
from taskapi.tasks.errors import CountDiffers, TooManyMatches
from taskapi.tasks.query import index_hints
from taskapi.tasks.query.selection import TaskFilters
from taskapi.tasks.schemas import TaskUpdate
from taskapi.tasks.services import tasks as service
from taskapi.tasks.services.trash import moving
from taskapi.tasks.storage import rules
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.pipelines import fields_of, update

MAX_MATCHES = 100_000
MAX_EXPECTED = 10_000  # what one transaction changes within its time
MAX_MERGED = 1000  # metadata is merged task by task
BATCH = 1000


class ManyQuery(TaskFilters):
    """Which tasks, and with what caution."""

    dry_run: QueryBool = Field(False, description="Only count the tasks.")
    expect: int | None = Field(None, ge=0, le=MAX_EXPECTED, description="Change nothing unless exactly this many tasks match.")

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if not self.model_fields_set - {"dry_run", "expect", "tz"}:
            raise PydanticCustomError("filter_missing", "send a filter; where={} matches all tasks")
        return self


class ManyResult(BaseModel):
    """How many tasks matched and were changed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"matched": 12, "changed": 12}]})

    matched: int = Field(description="Tasks that matched the filter.")
    changed: int = Field(description="Tasks that were changed; 0 for a dry run.")


class _Change(NamedTuple):
    """What happens to every task; at most ``most`` of them."""

    pipeline: list[BSON] | None
    one_by_one: TaskUpdate | None = None
    most: int = MAX_MATCHES
    data: TaskUpdate = TaskUpdate()  # whose rules every task has to keep


async def change(owner: UserRead, query: ManyQuery, data: TaskUpdate, milliseconds: int) -> ManyResult:
    """Makes the same change to all tasks that ``query`` finds within ``milliseconds``.

    Raises:
        CountDiffers, TooManyMatches: nothing was changed.
        InvalidInput: the metadata of one would be over its limits, or one would break a rule between two fields;
            nothing was changed.
    """
    if "metadata" in data.model_fields_set:
        return await _apply(owner, query, _Change(None, data, MAX_MERGED), milliseconds)
    pipeline = update(fields_of(data), owner) if data.model_fields_set else None
    return await _apply(owner, query, _Change(pipeline, data=data), milliseconds)


async def put_in_trash(owner: UserRead, query: ManyQuery, days: int, milliseconds: int) -> ManyResult:
    """Moves all tasks that ``query`` finds within ``milliseconds`` to the trash. Raises CountDiffers, TooManyMatches."""
    return await _apply(owner, query, _Change(moving(owner, days)), milliseconds)


async def _apply(owner: UserRead, query: ManyQuery, change: _Change, milliseconds: int) -> ManyResult:
    filter_ = query.filter(owner.object_id)

    async def work(session: Session | None = None) -> ManyResult:
        ids = await _ids(filter_, change.most, milliseconds, session)
        if query.expect is not None and query.expect != len(ids):
            raise CountDiffers(len(ids), query.expect)
        changed = 0 if query.dry_run else await _write(owner, filter_, ids, change, session)
        return ManyResult(matched=len(ids), changed=changed)

    # What was counted has to be what is changed, and no merge may fail half-way; else each batch may stand for itself.
    together = query.expect is not None or change.one_by_one is not None
    return await (transaction(collection(TaskDocument), work, required=True) if together and not query.dry_run else work())


async def _ids(filter_: BSON, most: int, milliseconds: int, session: Session | None) -> list[ObjectId]:
    pipeline: list[BSON] = [{"$match": filter_}, {"$limit": most + 1}, {"$project": {"_id": 1}}]
    hint = index_hints.choose(filter_, {}) if session is None else None  # one that is missing would end a transaction
    ids = [found["_id"] for found in await aggregate(collection(TaskDocument), pipeline, milliseconds, session, hint=hint)]
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
        conditions = rules.conditions(change.data)
        batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
        for batch in batches if conditions else ():
            breaking = _narrow(filter_, batch, [{"$nor": [{"$and": conditions}]}])
            if await collection(TaskDocument).find_one(breaking, {"_id": 1}, session=session):
                raise rules.broken(change.data)
        for batch in batches:  # what has come to break a rule meanwhile stays as it is
            narrowed = _narrow(filter_, batch, conditions)
            changed += (await collection(TaskDocument).update_many(narrowed, change.pipeline, session=session)).modified_count
    return changed


def _narrow(filter_: BSON, ids: list[ObjectId], conditions: list[BSON]) -> BSON:
    every = [*filter_.get("$and", []), *conditions]
    return {**filter_, "_id": {"$in": ids}, **({"$and": every} if every else {})}
