"""What routes of tasks ask for in their signatures."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from taskapi.tasks.query.page_loader import PageLoader
from taskapi.tasks.storage.inserter import TaskInserter
from taskapi.tasks.storage.loader import TaskLoader
from taskapi.web.routing import path_id


@dataclass(frozen=True, slots=True)
class TaskTools:
    """What lets the requests of one application share their round trips to MongoDB; kept in ``app.state.tasks``."""

    reads: TaskLoader = field(default_factory=TaskLoader)
    lists: PageLoader = field(default_factory=PageLoader)
    inserts: TaskInserter = field(default_factory=TaskInserter)


def tools_of(request: Request) -> TaskTools:
    """The tools of the application that answers."""
    tools: TaskTools = request.app.state.tasks
    return tools


async def task_loader(request: Request) -> TaskLoader:
    """The reads of the application that answers."""
    return tools_of(request).reads


TaskId = Annotated[str, path_id("The id of the task.")]
Tasks = Annotated[TaskLoader, Depends(task_loader)]
ItemId = Annotated[str, path_id("The id of the item, as the checklist has it.")]
