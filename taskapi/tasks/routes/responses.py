"""The response of routes that return one task."""

from starlette.responses import Response

from taskapi.accounts.users.schemas import Account
from taskapi.tasks.schemas import TaskRead
from taskapi.web.conditional import etag
from taskapi.web.routing import JSON


class TaskResponse(Response):
    """A task as JSON with its entity tag. The status is 201 if ``location``, the path of a new resource, is given."""

    media_type = JSON

    def __init__(self, task: TaskRead, owner: Account, location: str | None = None) -> None:
        headers = {"ETag": etag(task.version, owner.renames)}
        if location is not None:
            headers["Location"] = location
        super().__init__(task.model_dump_json(), 200 if location is None else 201, headers)
