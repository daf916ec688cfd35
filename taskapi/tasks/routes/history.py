"""Routes of the history of a task."""

from fastapi import Request, Response

from taskapi.accounts.dependencies import TaskReader, TaskWriter
from taskapi.core.errors import DamagedTask
from taskapi.db.connection import Session
from taskapi.tasks.errors import Contended, VersionNotKept
from taskapi.tasks.routes.dependencies import TaskId, Versions
from taskapi.tasks.routes.responses import TaskResponse
from taskapi.tasks.schemas import TaskRead
from taskapi.tasks.services.versions import HistoryEntry, Revert
from taskapi.web.conditional import ETAG_HEADER, IF_MATCH, OfferedVersions
from taskapi.web.idempotency.once import answer_once
from taskapi.web.problems import responses
from taskapi.web.routing import strict_router

router = strict_router(prefix="/tasks/{task_id}", tags=["history"])


@router.get(
    "/history",
    summary="Read the history of a task",
    response_description="Its changes, newest first.",
    responses=responses(401, 403, 404),
)
async def read_task_history(task_id: TaskId, user: TaskReader, versions: Versions) -> list[HistoryEntry]:
    """Who changed what and when, newest change first. The last 100 changes are kept, or fewer if they are large."""
    return await versions.history(user, task_id)


@router.post(
    "/revert",
    summary="Revert to an earlier version",
    response_model=TaskRead,
    response_description="The task, at a new version.",
    responses={
        200: {"headers": ETAG_HEADER},
        **responses(400, 401, 403, 404, DamagedTask, VersionNotKept, 412, 413, 415, 422, Contended),
    },
    openapi_extra=IF_MATCH,
)
async def revert_task(
    task_id: TaskId, data: Revert, user: TaskWriter, offered: OfferedVersions, versions: Versions, request: Request
) -> Response:
    """Restore an earlier version as a new version, so that nothing in between is lost."""

    async def work(session: Session | None) -> TaskResponse:
        return TaskResponse(await versions.revert(user, task_id, data.version, offered, session), user)

    return await answer_once(request, work)
