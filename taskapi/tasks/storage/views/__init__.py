"""The views of tasks, for scripts that read the database."""

from typing import Final

from taskapi.tasks.storage.views.changes import TASK_CHANGES
from taskapi.tasks.storage.views.checklist_items import CHECKLIST_ITEMS
from taskapi.tasks.storage.views.status_periods import STATUS_PERIODS
from taskapi.tasks.storage.views.task_tags import TASK_TAGS
from taskapi.tasks.storage.views.tasks import DELETED_TASKS, TASKS

VIEWS: Final = (TASKS, DELETED_TASKS, TASK_CHANGES, STATUS_PERIODS, CHECKLIST_ITEMS, TASK_TAGS)
