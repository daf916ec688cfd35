"""The migrations of tasks."""

from typing import Final

from taskapi.db.connection import BSON
from taskapi.db.migrations.backfill import backfill, literals, store_missing
from taskapi.tasks.fields import LEGACY_DEFAULTS
from taskapi.tasks.schemas import Status
from taskapi.tasks.storage.documents import TaskDocument

DEFAULTS: Final[BSON] = {
    **literals({**LEGACY_DEFAULTS, "history": []}),
    "progress": {"$cond": [{"$eq": ["$status", Status.done]}, 1.0, 0.0]},  # those that lack it have no checklist
}
"""What tasks of earlier versions lack: the expressions of its values."""

MIGRATIONS = (
    backfill(
        1,
        "task_defaults",
        "Tasks of versions 1.0 to 1.4: store the fields that they lack, such as checklist, metadata and history.",
        document=TaskDocument,
        **store_missing(DEFAULTS),
    ),
)
