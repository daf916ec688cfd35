"""Routes of tasks."""

from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response

from taskapi.accounts.dependencies import PendingTaskReader, TaskReader, TaskWriter
from taskapi.core.errors import DamagedTask
from taskapi.tasks.errors import Contended, PatchTestFailed, VersionNotKept
from taskapi.tasks.links.fetch import PageFetcher
from taskapi.tasks.links.preview import LinkRead, preview
from taskapi.tasks.query.projection import TaskPart
from taskapi.tasks.routes.dependencies import TaskId, Tasks
from taskapi.tasks.routes.responses import TaskResponse
from taskapi.tasks.schemas import TaskCreate, TaskRead, TaskUpdate
from taskapi.tasks.services import json_patch
from taskapi.tasks.services.json_patch import Patch
from taskapi.tasks.services.put import TaskPut
from taskapi.tasks.services.tasks import TaskService
from taskapi.tasks.services.trash import TrashService
from taskapi.tasks.services.view import SummaryQuery, TaskSummary, TaskView, ViewService
from taskapi.tasks.storage.loader import TaskLoader, found
from taskapi.tasks.storage.rendering import TaskRenderer
from taskapi.tasks.storage.scope import Scope
from taskapi.web import admission
from taskapi.web.conditional import ETAG_HEADER, IF_MATCH, IF_NONE_MATCH, NOT_MODIFIED, ExpectedVersions, etag, validators
from taskapi.web.problems import responses
from taskapi.web.routing import JSON, LOCATION, media_type, path_to, read_json, strict_router
from taskapi.web.services import provided, services_of

router = strict_router(prefix="/tasks", tags=["tasks"])

READ = responses(401, 403, 404)
CHANGED_FIELDS = {"schema": {"$ref": "#/components/schemas/TaskUpdate"}}
PATCHES = {
    JSON: CHANGED_FIELDS,
    "application/merge-patch+json": CHANGED_FIELDS,
    json_patch.MEDIA_TYPE: {"schema": json_patch.schema()},
}
PROBLEMS = (400, 401, 403, 404, DamagedTask, 412, 413, 415, 422, 428, Contended)
WRITE: dict[str, Any] = {"response_model": TaskRead, "response_description": "The task after the change."}
ANSWER: dict[int | str, Any] = {200: {"headers": ETAG_HEADER}}


@router.post(
    "",
    status_code=201,
    summary="Create a task",
    response_model=TaskRead,
    response_description="The new task.",
    responses={201: {"headers": {**ETAG_HEADER, **LOCATION}}, **responses(400, 401, 403, 413, 415, 422)},
)
async def create_task(data: TaskCreate, user: TaskWriter, request: Request) -> TaskResponse:
    """Create a task."""
    task = await services_of(request)[TaskService].create(user, data)
    return TaskResponse(task, user, path_to(request, router, "read_task", task_id=task.id))


@router.get(
    "/{task_id}",
    summary="Read a task",
    response_model=TaskRead | TaskPart,
    response_description="The task, or the requested fields.",
    responses={200: {"headers": ETAG_HEADER}, **NOT_MODIFIED, **READ, **responses(VersionNotKept, 422)},
    openapi_extra=IF_NONE_MATCH,
)
async def read_task(
    task_id: TaskId, query: Annotated[TaskView, Query()], caller: PendingTaskReader, request: Request
) -> Response:
    """One task, whole or in part: now, in an earlier version, or at an earlier time."""
    services = services_of(request)
    if query.model_fields_set:
        user = await caller.settle()
        view = await services[ViewService].read(user, task_id, query)
        return Response(view.json(), headers=validators(request, etag(view.version, user.renames)), media_type=JSON)
    user, stored = await caller.beside(lambda owner_id: services[TaskLoader].ask(Scope.of_id(owner_id), task_id))
    task = services[TaskRenderer].render(found(stored), user)
    headers = validators(request, etag(task.version, user.renames))
    return Response(task.json, headers=headers, media_type=JSON)


@router.get(
    "/{task_id}/summary",
    summary="Read the summary of a task",
    response_description="The summary.",
    responses={**READ, **responses(422)},
)
async def read_task_summary(
    task_id: TaskId, query: Annotated[SummaryQuery, Query()], user: TaskReader, tasks: Tasks
) -> TaskSummary:
    """A summary of one task: whether it is overdue, and how old it is."""
    return TaskSummary.of(await tasks.get(user, task_id), query.tz)


@router.get(
    "/{task_id}/links",
    summary="Preview the links of a task",
    response_description="One entry for each link, in order.",
    responses=responses(401, 403, 404, *admission.PROBLEMS),
)
@admission.limited(admission.LINKS)
async def read_task_links(
    task_id: TaskId, user: TaskReader, tasks: Tasks, fetcher: Annotated[PageFetcher, Depends(provided(PageFetcher))]
) -> list[LinkRead]:
    """Title, status and time of each page that the task links to. If a page fails, its entry says why."""
    task = await tasks.get(user, task_id)
    return await preview(task.links, fetcher, user.id)


@router.patch(
    "/{task_id}",
    summary="Change a task",
    **WRITE,
    responses={**ANSWER, **responses(*PROBLEMS, PatchTestFailed)},
    openapi_extra={**IF_MATCH, "requestBody": {"content": PATCHES, "required": True}},
)
async def update_task(task_id: TaskId, user: TaskWriter, versions: ExpectedVersions, request: Request) -> TaskResponse:
    """Change a task: send the fields that change (RFC 7396), or a JSON Patch (RFC 6902).

    With `If-Match`, the change applies only to the version you know.
    """
    tasks = services_of(request)[TaskService]
    if media_type(request) == json_patch.MEDIA_TYPE:
        operations = (await read_json(Patch, request)).root
        task = await tasks.patch(user, task_id, operations, versions)
    else:
        task = await tasks.update(user, task_id, await read_json(TaskUpdate, request), versions)
    return TaskResponse(task, user)


@router.put(
    "/{task_id}",
    summary="Change a task, like PATCH",
    **WRITE,
    responses={**ANSWER, **responses(*PROBLEMS)},
    openapi_extra=IF_MATCH,
)
async def put_task(
    task_id: TaskId, data: TaskPut, user: TaskWriter, versions: ExpectedVersions, request: Request
) -> TaskResponse:
    """Change the fields that you send, like PATCH. You may send the whole task as you read it, including the server's fields."""
    task = await services_of(request)[TaskService].put(user, task_id, data, versions)
    return TaskResponse(task, user)


@router.delete(
    "/{task_id}",
    status_code=204,
    summary="Delete a task",
    response_class=Response,
    responses=responses(401, 403, 404, DamagedTask, 412, 428, Contended),
    openapi_extra=IF_MATCH,
)
async def delete_task(task_id: TaskId, user: TaskWriter, versions: ExpectedVersions, request: Request) -> None:
    """Move a task to the trash, from which you can restore it. With `If-Match`, only if it is the version you know."""
    await services_of(request)[TrashService].move_to_trash(user, task_id, versions)
