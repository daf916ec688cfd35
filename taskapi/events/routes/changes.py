"""The route of delta sync."""

from typing import Annotated

from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from taskapi.accounts.dependencies import TaskReader
from taskapi.core.errors import QueryTimeout
from taskapi.db.change_streams import StreamsUnsupported
from taskapi.events.delta import DeltaSync
from taskapi.events.errors import InvalidPosition, PositionExpired
from taskapi.events.schemas import POSITION_EXAMPLE, PositionText, TaskEvent
from taskapi.web import admission
from taskapi.web.problems import responses
from taskapi.web.routing import JSON, strict_router
from taskapi.web.services import provided

MAX_CHANGES = 1000

router = strict_router(prefix="/tasks", tags=["events"])

Delta = Annotated[DeltaSync, Depends(provided(DeltaSync))]


class ChangesQuery(BaseModel):
    """From where on, and how many changes."""

    model_config = ConfigDict(extra="forbid")

    since: PositionText | None = Field(None, description="The `next` of the last answer, or the position of an event.")
    limit: int = Field(100, ge=1, le=MAX_CHANGES, description="Maximum number of changes. A page of very long tasks has fewer.")


class TaskChangesRead(BaseModel):
    """What has changed, in the order in which it has."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"changes": TaskEvent.model_config["json_schema_extra"]["examples"], "next": POSITION_EXAMPLE, "more": False}  # type: ignore[index]
            ]
        }
    )

    changes: list[TaskEvent]
    next: PositionText = Field(description="Send it as `since` once you have stored the changes.")
    more: bool = Field(description="Whether there are more changes now.")


@router.get(
    "/changes",
    summary="List what has changed",
    response_model=TaskChangesRead,
    response_description="A page of changes, oldest first; those of a first run, newest first.",
    responses=responses(401, 403, 422, InvalidPosition, PositionExpired, StreamsUnsupported, QueryTimeout, *admission.PROBLEMS),
)
async def list_changes(query: Annotated[ChangesQuery, Query()], user: TaskReader, delta: Delta, request: Request) -> Response:
    """Keep a copy of your tasks up to date: each task that has changed since a position comes once, as it is now.

    Without `since`, you get all your tasks outside the trash. Ask again with `since=` the `next` of each answer, at once while
    there is `more`. Changes of the last minutes come again: ignore those that are older than your copy. You can also send `next`
    to `/events/stream`, and miss nothing. A position is valid for as long as deleted tasks are kept in the trash.
    """
    async with admission.admit(admission.LISTS, request):
        page = await delta.find(user, query.since, query.limit)
    return Response(page.json(), media_type=JSON)
