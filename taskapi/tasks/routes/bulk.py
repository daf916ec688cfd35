"""Routes that change many tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from taskapi.accounts.dependencies import TaskWriter
from taskapi.core.cooperative import CooperativeYield
from taskapi.core.errors import DomainError, QueryTimeout, Unavailable
from taskapi.core.fields import OBJECT_ID_EXAMPLE, ReadModel
from taskapi.db.connection import Session
from taskapi.tasks.errors import BulkRefused, CountDiffers, TooManyMatches
from taskapi.tasks.schemas import TaskUpdate
from taskapi.tasks.services.batch import BatchService, Bulk, BulkQuery, DeleteTask, OperationState
from taskapi.tasks.services.bulk_by_filter import BulkByFilterService, ManyQuery, ManyResult
from taskapi.web import admission
from taskapi.web.idempotency.once import answer_once, earlier_answer
from taskapi.web.problems import ProblemDetail, responses, status_of
from taskapi.web.request_state import state_of
from taskapi.web.routing import JSON, strict_router
from taskapi.web.services import services_of

router = strict_router(prefix="/tasks", tags=["bulk"])


class OperationError(ReadModel):
    """Why an operation failed."""

    error: str = Field(description="A stable code for programs.")
    detail: str
    details: list[ProblemDetail] | None = None


class OperationResult(ReadModel):
    """The outcome of one operation."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"index": 0, "status": 201, "id": OBJECT_ID_EXAMPLE, "version": 1, "error": None}]}
    )

    index: int = Field(description="Its place in the list.")
    status: int = Field(description="The status that it would have as a separate request.")
    id: str | None = None
    version: int | None = Field(None, description="The version of the task after the operation.")
    error: OperationError | None = None

    @classmethod
    def of(cls, index: int, state: OperationState) -> "OperationResult":
        """The result of an operation."""
        if state.error:
            return cls(index=index, status=status_of(state.error), error=_show(state.error))
        status = 201 if state.task else 204 if isinstance(state.operation, DeleteTask) else 200
        return cls(index=index, status=status, id=state.id, version=state.version)


def _show(error: DomainError) -> OperationError:
    details: list[Any] | None = None
    if error.faults is not None:
        details = [ProblemDetail(**asdict(fault)) for fault in error.faults]
    return OperationError(error=error.code, detail=error.detail, details=details)


RESULTS = TypeAdapter(list[OperationResult])


def _done_in(earlier: bytes | None) -> dict[int, OperationResult]:
    """The results of an earlier run that stand; none if there was no run, or a script has damaged its answer."""
    try:
        results = RESULTS.validate_json(earlier or b"[]")
    except ValidationError:
        return {}
    return {result.index: result for result in results if result.status < 500}


async def _render(states: Sequence[OperationState], done: Mapping[int, OperationResult]) -> Response:
    """Renders the results as a JSON array, and yields to other requests meanwhile. Those of an earlier run are in ``done``."""
    turns, results = CooperativeYield(), list[bytes]()
    for index, state in enumerate(states):
        result = done.get(index) or OperationResult.of(index, state)
        results.append(result.model_dump_json().encode())
        await turns.checkpoint()
    return Response(b"[%b]" % b",".join(results), media_type=JSON)


@router.post(
    "/bulk",
    summary="Run a list of operations",
    response_model=list[OperationResult],
    response_description="The outcome of each operation, in order.",
    responses=responses(400, 401, 403, BulkRefused, 413, 415, 422, 501, *admission.PROBLEMS),
)
@admission.limited(admission.BULK)
async def change_in_bulk(data: Bulk, query: Annotated[BulkQuery, Query()], user: TaskWriter, request: Request) -> Response:
    """Create, change and delete up to 1,000 tasks: each operation on its own, or with `atomic=true` all or none.

    The answer has the outcome of each operation, in order.
    """
    batch = services_of(request)[BatchService]
    if query.atomic:
        operations = await batch.read_all(user, data)

        async def work(session: Session | None) -> Response:
            await batch.run_atomically(user, operations, session)
            return await _render(operations, {})

        return await answer_once(request, work, atomic=True)
    done = _done_in(earlier_answer(request))
    states = await batch.run_independently(user, data, done)
    state_of(request).is_unfinished = any(isinstance(state.error, Unavailable) for state in states)
    return await _render(states, done)


@router.patch(
    "",
    summary="Change all tasks that match",
    response_description="How many tasks matched, and how many were changed.",
    responses=responses(400, 401, 403, CountDiffers, 413, 415, 422, TooManyMatches, 501, QueryTimeout, *admission.PROBLEMS),
)
@admission.limited(admission.BY_FILTER)
async def update_tasks(data: TaskUpdate, query: Annotated[ManyQuery, Query()], user: TaskWriter, request: Request) -> ManyResult:
    """Make one change to all tasks that match the filters; `where={}` matches all.

    To be safe, send it with `dry_run=true` first, then with the number it returned as `expect`.
    """
    return await services_of(request)[BulkByFilterService].update(user, query, data)


@router.delete(
    "",
    summary="Delete all tasks that match",
    response_description="How many tasks matched, and how many were moved to the trash.",
    responses=responses(401, 403, CountDiffers, 422, TooManyMatches, 501, QueryTimeout, *admission.PROBLEMS),
)
@admission.limited(admission.BY_FILTER)
async def delete_tasks(query: Annotated[ManyQuery, Query()], user: TaskWriter, request: Request) -> ManyResult:
    """Move all tasks that match the filters to the trash; `where={}` matches all."""
    return await services_of(request)[BulkByFilterService].move_to_trash(user, query)
