"""Routes of the checklist inside a task."""

from typing import Any

from fastapi import Request, Response

from taskapi.accounts.dependencies import TaskReader, TaskWriter
from taskapi.core.errors import DamagedTask
from taskapi.core.ids import new_id
from taskapi.db.connection import Session
from taskapi.tasks.errors import Contended, TooManyItems
from taskapi.tasks.routes.dependencies import Checklists, ItemId, TaskId, Tasks
from taskapi.tasks.routes.responses import TaskResponse
from taskapi.tasks.schemas import ChecklistItemRead, ItemCreate, ItemUpdate, TaskRead
from taskapi.web.conditional import ETAG_HEADER, IF_MATCH, OfferedVersions
from taskapi.web.idempotency.once import answer_once
from taskapi.web.problems import responses
from taskapi.web.routing import LOCATION, path_to, strict_router

router = strict_router(prefix="/tasks/{task_id}/checklist", tags=["checklist"])

TASK: dict[str, Any] = {"response_model": TaskRead, "response_description": "The task after the change."}
REMOVED = {200: {"headers": ETAG_HEADER}, **responses(401, 403, 404, DamagedTask, 412, Contended)}
CHANGED = {**REMOVED, **responses(400, 413, 415, 422)}
ADDED = {
    201: {"headers": {**ETAG_HEADER, **LOCATION}},
    **responses(400, 401, 403, 404, TooManyItems, DamagedTask, 412, 413, 415, 422, Contended),
}


@router.get("", summary="Read a checklist", response_description="Its items.", responses=responses(401, 403, 404))
async def read_checklist(task_id: TaskId, user: TaskReader, tasks: Tasks) -> list[ChecklistItemRead]:
    """The items of a task's checklist, in order."""
    return (await tasks.get(user, task_id)).checklist


@router.post("", status_code=201, summary="Add an item", **TASK, responses=ADDED, openapi_extra=IF_MATCH)
async def add_checklist_item(
    task_id: TaskId, data: ItemCreate, user: TaskWriter, versions: OfferedVersions, checklists: Checklists, request: Request
) -> Response:
    """Add an item, at the end or before another one. The answer is the task; `Location` is the URL of the item."""
    item_id = new_id()  # outside of what may be run again

    async def work(session: Session | None) -> TaskResponse:
        task = await checklists.add(user, task_id, item_id, data, versions, session)
        location = path_to(request, router, "update_checklist_item", task_id=task.id, item_id=str(item_id))
        return TaskResponse(task, user, location)

    return await answer_once(request, work)


@router.patch("/{item_id}", summary="Change an item", **TASK, responses=CHANGED, openapi_extra=IF_MATCH)
async def update_checklist_item(
    task_id: TaskId, item_id: ItemId, data: ItemUpdate, user: TaskWriter, versions: OfferedVersions, checklists: Checklists
) -> TaskResponse:
    """Change an item's text, tick it, or move it before another one. The answer is the task."""
    task = await checklists.update(user, task_id, item_id, data, versions)
    return TaskResponse(task, user)


@router.delete("/{item_id}", summary="Remove an item", **TASK, responses=REMOVED, openapi_extra=IF_MATCH)
async def remove_checklist_item(
    task_id: TaskId, item_id: ItemId, user: TaskWriter, versions: OfferedVersions, checklists: Checklists
) -> TaskResponse:
    """Remove an item. The answer is the task."""
    task = await checklists.remove(user, task_id, item_id, versions)
    return TaskResponse(task, user)
