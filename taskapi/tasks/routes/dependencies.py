"""The parameters and dependencies of the task routes."""

from typing import Annotated

from fastapi import Depends

from taskapi.tasks.services.checklist import ChecklistService
from taskapi.tasks.services.trash import TrashService
from taskapi.tasks.services.versions import VersionService
from taskapi.tasks.storage.loader import TaskLoader
from taskapi.web.routing import path_id
from taskapi.web.services import provided

TaskId = Annotated[str, path_id("The id of the task.")]
Tasks = Annotated[TaskLoader, Depends(provided(TaskLoader))]
Checklists = Annotated[ChecklistService, Depends(provided(ChecklistService))]
Versions = Annotated[VersionService, Depends(provided(VersionService))]
Trash = Annotated[TrashService, Depends(provided(TrashService))]
ItemId = Annotated[str, path_id("The id of the item in the checklist.")]
