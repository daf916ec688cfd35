"""What routes of tasks ask for in their signatures."""

from typing import Annotated

from fastapi import Depends

from taskapi.tasks.storage.loader import TaskLoader
from taskapi.web.routing import path_id
from taskapi.web.services import provided

TaskId = Annotated[str, path_id("The id of the task.")]
Tasks = Annotated[TaskLoader, Depends(provided(TaskLoader))]
ItemId = Annotated[str, path_id("The id of the item in the checklist.")]
