"""What routes of tasks ask for in their signatures."""

from typing import Annotated

from taskapi.routing import path_id

TaskId = Annotated[str, path_id("The id of the task.")]
ItemId = Annotated[str, path_id("The id of the item, as the checklist has it.")]
