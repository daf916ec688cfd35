"""Runs a list of operations in one request: each independently, or all or none."""

from collections.abc import AsyncIterator, Awaitable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pymongo.errors import PyMongoError

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.cooperative import CooperativeYield
from taskapi.core.errors import (
    MAX_FAULTS,
    DatabaseUnavailable,
    DomainError,
    FieldError,
    InvalidInput,
    PreconditionFailed,
    field_errors,
)
from taskapi.core.fields import OBJECT_ID_EXAMPLE, DescribedAs, ObjectIdIn, QueryBool
from taskapi.db.connection import BSON, Session
from taskapi.db.errors import to_domain_error
from taskapi.tasks.errors import BulkRefused
from taskapi.tasks.schemas import TaskCreate, TaskUpdate
from taskapi.tasks.services.tasks import TaskService, new_task
from taskapi.tasks.services.trash import TrashService
from taskapi.tasks.services.versions import MAX_VERSION
from taskapi.tasks.storage.history import Versions
from taskapi.tasks.storage.repository import TaskRepository

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
    """How the operations run."""

    model_config = ConfigDict(extra="forbid")

    atomic: QueryBool = Field(False, description="Run all operations in one transaction: all or none.")


@dataclass(slots=True)
class OperationState:
    """One operation and its outcome: the task that it created or changed, or the error."""

    operation: Operation | None = None
    task: BSON | None = None  # the task that a create operation stores
    id: str | None = None
    version: int | None = None
    error: DomainError | None = None


def _read(owner: UserRead, raw: dict[str, Any]) -> OperationState:
    kind = KINDS.get(raw["op"]) if isinstance(raw.get("op"), str) else None
    if kind is None:
        return OperationState(error=InvalidInput([FieldError("op", "should be create, update or delete", "enum")]))
    try:
        operation = kind.model_validate(raw)
    except ValidationError as error:
        return OperationState(error=InvalidInput(field_errors(error)))
    if isinstance(operation, CreateTask):
        task = new_task(owner, operation.task)
        return OperationState(operation, task, id=str(task["_id"]), version=1)
    return OperationState(operation)


async def _read_all(owner: UserRead, raws: Iterable[dict[str, Any]]) -> AsyncIterator[OperationState]:
    """Validates the operations one by one, and yields to other requests in between."""
    turns = CooperativeYield()
    await turns.wait()
    for raw in raws:
        yield _read(owner, raw)
        await turns.checkpoint()


@dataclass(frozen=True, slots=True)
class BatchService:
    """Runs a list of operations."""

    tasks: TaskRepository
    service: TaskService
    trash: TrashService

    async def run_independently(self, owner: UserRead, bulk: Bulk, done: Container[int] = ()) -> list[OperationState]:
        """Runs each operation on its own: first those that create tasks, then the others in their order.

        Those in the places ``done`` are left out, but take the same ids.

        If the database fails, its error is the outcome of the remaining operations.
        """
        states = [state async for state in _read_all(owner, bulk.operations)]
        remaining = [state for place, state in enumerate(states) if place not in done]
        creates = [state for state in remaining if state.task]
        failure = await _failure_of(self._insert(creates))
        for state in creates:
            state.error = failure
        for state in remaining:
            if state.operation and not state.task:
                state.error = failure or await _failure_of(self._carry_out(owner, state))
                failure = failure or (state.error if isinstance(state.error, DatabaseUnavailable) else None)
        return states

    async def read_all(self, owner: UserRead, bulk: Bulk) -> list[OperationState]:
        """The operations, which ``run_atomically`` can run. Raises InvalidInput if some are not valid."""
        states, faults = list[OperationState](), list[FieldError]()
        async for state in _read_all(owner, bulk.operations):
            faults += at_operation(len(states), state.error) if state.error else ()
            states.append(state)
            if len(faults) >= MAX_FAULTS:
                break
        if faults:
            raise InvalidInput(faults[:MAX_FAULTS])
        return states

    async def run_atomically(self, owner: UserRead, states: Sequence[OperationState], session: Session | None) -> None:
        """Runs operations in the transaction of ``session``.

        Raises BulkRefused if one failed: the transaction must not be committed.
        """
        creates = [state for state in states if state.task]
        if await self._is_done(owner, creates):
            return
        await self._insert(creates, session)
        for index, state in enumerate(states):
            if not state.task:
                try:
                    await self._carry_out(owner, state, session)
                except DomainError as error:
                    raise BulkRefused(index, at_operation(index, error)) from None

    async def _is_done(self, owner: UserRead, creates: Sequence[OperationState]) -> bool:
        """Whether an earlier run of this request, whose answer was lost, has created the tasks, and so has run all operations."""
        first = next((state.task for state in creates if state.task), None)
        return first is not None and await self.tasks.find_earlier(owner, first["_id"]) is not None

    async def _insert(self, creates: Sequence[OperationState], session: Session | None = None) -> None:
        if tasks := [state.task for state in creates if state.task]:
            await self.tasks.insert_many(tasks, session)

    async def _carry_out(self, owner: UserRead, state: OperationState, session: Session | None = None) -> None:
        operation = state.operation
        try:
            if isinstance(operation, UpdateTask):
                task = await self.service.update(owner, operation.id, operation.changes, operation.versions, session)
                state.id, state.version = task.id, task.version
            elif isinstance(operation, DeleteTask):
                await self.trash.move_to_trash(owner, operation.id, operation.versions, session)
                state.id = operation.id
        except PreconditionFailed as error:
            detail = f"The task is at version {error.version}, not at the version in the operation. Read it again."
            raise PreconditionFailed(error.version, detail) from None


async def _failure_of(work: Awaitable[None]) -> DomainError | None:
    """The error that ``work`` failed with, or None."""
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


def at_operation(index: int, error: DomainError) -> list[FieldError]:
    """The faults of one operation, with its place in the list."""
    place = f"operations.{index}"
    if error.faults is None:
        return [FieldError(place, error.detail, error.code)]
    return [replace(fault, field=f"{place}.{fault.field}") for fault in error.faults]
