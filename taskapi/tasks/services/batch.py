"""A list of operations in one request: each for itself, or all or none."""

from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pymongo.errors import BulkWriteError, PyMongoError

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.cooperative import CooperativeYield
from taskapi.core.errors import MAX_FAULTS, DatabaseUnavailable, DomainError, FieldError, InvalidInput, field_errors
from taskapi.core.fields import OBJECT_ID_EXAMPLE, DescribedAs, ObjectIdIn, QueryBool
from taskapi.db.connection import BSON, Session, collection
from taskapi.db.errors import DUPLICATE_KEY, lacks_durability, to_domain_error
from taskapi.db.transactions import transaction
from taskapi.tasks.errors import BulkRefused
from taskapi.tasks.schemas import TaskCreate, TaskUpdate
from taskapi.tasks.services import tasks as service
from taskapi.tasks.services import trash
from taskapi.tasks.services.tasks import LookUp
from taskapi.tasks.services.versions import MAX_VERSION
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.repository import Versions

MAX_OPERATIONS = 1000


class _Operation(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CreateTask(_Operation):
    """Create a task."""

    op: Literal["create"]
    task: TaskCreate


class _OfOneTask(_Operation):
    id: ObjectIdIn
    version: Annotated[int, Field(strict=True, ge=1, le=MAX_VERSION)] | None = Field(
        None, description="Change only this version."
    )

    @property
    def versions(self) -> Versions:
        """The versions that the operation may meet."""
        return None if self.version is None else frozenset([self.version])


class UpdateTask(_OfOneTask):
    """Change a task."""

    op: Literal["update"]
    changes: TaskUpdate


class DeleteTask(_OfOneTask):
    """Move a task to the trash."""

    op: Literal["delete"]


Operation = CreateTask | UpdateTask | DeleteTask
OperationSent = Annotated[dict[str, Any], DescribedAs(Annotated[Operation, Field(discriminator="op")])]
KINDS: dict[Any, type[Operation]] = {"create": CreateTask, "update": UpdateTask, "delete": DeleteTask}


class Bulk(BaseModel):
    """Operations on tasks, in the order in which they run."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "operations": [
                        {"op": "create", "task": {"title": "Order paper", "tags": ["office"]}},
                        {"op": "update", "id": OBJECT_ID_EXAMPLE, "version": 3, "changes": {"completed": True}},
                        {"op": "delete", "id": "65f1a2b3c4d5e6f708192a3c"},
                    ]
                }
            ]
        },
    )

    operations: list[OperationSent] = Field(
        min_length=1,
        max_length=MAX_OPERATIONS,
        description="Each runs independently unless `atomic=true`. The answer reports an invalid one at its position.",
    )


class BulkQuery(BaseModel):
    """How the operations belong together."""

    model_config = ConfigDict(extra="forbid")

    atomic: QueryBool = Field(False, description="Run all operations in one transaction: all or none.")


@dataclass(slots=True)
class OperationState:
    """One operation, and what became of it: the task it made or changed, or why it could not."""

    operation: Operation | None = None
    task: BSON | None = None  # what a create stores
    id: str | None = None
    version: int | None = None
    error: DomainError | None = None


def _step(owner: UserRead, raw: dict[str, Any]) -> OperationState:
    kind = KINDS.get(raw["op"]) if isinstance(raw.get("op"), str) else None
    if kind is None:
        return OperationState(error=InvalidInput([FieldError("op", "should be create, update or delete", "enum")]))
    try:
        operation = kind.model_validate(raw)
    except ValidationError as error:
        return OperationState(error=InvalidInput(field_errors(error)))
    if isinstance(operation, CreateTask):
        task = service.new_task(owner, operation.task)
        return OperationState(operation, task, id=str(task["_id"]), version=1)
    return OperationState(operation)


async def _steps(owner: UserRead, raws: Iterable[dict[str, Any]]) -> AsyncIterator[OperationState]:
    """The operations as they are found right or wrong, which takes a while: others get their turns meanwhile."""
    turns = CooperativeYield()
    await turns.wait()
    for raw in raws:
        yield _step(owner, raw)
        await turns.checkpoint()


async def each(owner: UserRead, bulk: Bulk, look_up: LookUp, days: int) -> list[OperationState]:
    """Carries out the operations, each for itself: what is to be made first, then the rest in its order.

    Deleted tasks are kept for ``days`` days. When the database fails, that is what became of the operations that remain.
    """
    steps = [step async for step in _steps(owner, bulk.operations)]
    made = [step for step in steps if step.task]
    failure = await _failure(_insert(made, None))
    for step in made:
        step.error = failure
    for step in steps:
        if step.operation and not step.task:
            step.error = failure or await _failure(_carry_out(owner, step, days, None))
            failure = failure or (step.error if isinstance(step.error, DatabaseUnavailable) else None)
    await _settle(owner, made, look_up)
    return steps


async def _failure(work: Awaitable[None]) -> DomainError | None:
    """Why ``work`` failed, or None."""
    try:
        await work
    except DomainError as error:
        return error
    except PyMongoError as error:
        known = to_domain_error(error)
        if known is None:
            raise
        return known
    return None


async def run_atomically(owner: UserRead, bulk: Bulk, look_up: LookUp, days: int) -> list[OperationState]:
    """Carries out the operations in one transaction.

    Raises:
        InvalidInput: some are not valid; nothing was tried.
        BulkRefused: one cannot be carried out. Nothing was changed.
        TransactionsUnsupported: the MongoDB is a standalone server.
    """
    steps, faults = list[OperationState](), list[FieldError]()
    async for step in _steps(owner, bulk.operations):
        faults += at_operation(len(steps), step.error) if step.error else ()
        steps.append(step)
        if len(faults) >= MAX_FAULTS:
            break
    if faults:
        raise InvalidInput(faults[:MAX_FAULTS])
    made = [step for step in steps if step.task]

    async def work(session: Session | None) -> None:
        await _insert(made, session)
        for index, step in enumerate(steps):
            if not step.task:
                try:
                    await _carry_out(owner, step, days, session)
                except DomainError as error:
                    raise BulkRefused(index, at_operation(index, error)) from None

    if not (made and await _is_stored(owner, made[0])):  # or an earlier run of the same request has done it all
        await transaction(collection(TaskDocument), work, required=True)
    await _settle(owner, made, look_up)
    return steps


def at_operation(index: int, error: DomainError) -> list[FieldError]:
    """What is wrong with one operation, by its place in the list."""
    place = f"operations.{index}"
    if error.faults is None:
        return [FieldError(place, error.detail, error.code)]
    return [FieldError(f"{place}.{fault.field}", fault.message, fault.type) for fault in error.faults]


async def _is_stored(owner: UserRead, step: OperationState) -> bool:
    assert step.task
    theirs = {"$or": [{"owner.id": owner.object_id}, {"trash.owner.id": owner.object_id}]}
    return await collection(TaskDocument).find_one({"_id": step.task["_id"], **theirs}, {"_id": 1}) is not None


async def _insert(made: Sequence[OperationState], session: Session | None) -> None:
    tasks = [step.task for step in made if step.task]
    if not tasks:
        return
    try:
        await collection(TaskDocument).insert_many(tasks, ordered=False, session=session)
    except BulkWriteError as error:
        # An id that is there already was stored by an earlier run of the same request.
        others = [fault for fault in error.details["writeErrors"] if fault.get("code") != DUPLICATE_KEY]
        if others or session is not None or lacks_durability(error):
            raise


async def _carry_out(owner: UserRead, step: OperationState, days: int, session: Session | None) -> None:
    operation = step.operation
    if isinstance(operation, UpdateTask):
        task = await service.change(owner, operation.id, operation.changes, operation.versions, session)
        step.id, step.version = task.id, task.version
    elif isinstance(operation, DeleteTask):
        await trash.put(owner, operation.id, operation.versions, days, session)
        step.id = operation.id


async def _settle(owner: UserRead, made: Sequence[OperationState], look_up: LookUp) -> None:
    if made and not made[0].error:
        await service.sync_owner_name(owner, look_up, [step.task["_id"] for step in made if step.task])
