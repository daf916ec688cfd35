"""The migrations of tasks."""

from typing import Final

from taskapi.db.connection import BSON
from taskapi.db.expressions import literals
from taskapi.db.migrations.backfill import backfill, store_missing
from taskapi.db.migrations.step import Migration, Phase
from taskapi.tasks.fields import LEGACY_DEFAULTS
from taskapi.tasks.schemas import Status
from taskapi.tasks.storage import adoption
from taskapi.tasks.storage.backfill import OUTDATED, UNMARKED, mark_from_history
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.scope import PURGED

DEFAULTS: Final[BSON] = {
    **literals({**LEGACY_DEFAULTS, "history": []}),
    "progress": {"$cond": [{"$eq": ["$status", Status.done]}, 1.0, 0.0]},  # those that lack it have no checklist
}
"""What tasks of earlier versions lack: the expressions of its values."""

_lacking: Final = store_missing(DEFAULTS)

MIGRATIONS = (
    backfill(
        1,
        "task_defaults",
        "Tasks of versions 1.0 to 1.4: store the fields that they lack, such as checklist, metadata and history.",
        document=TaskDocument,
        matching={"state": {"$ne": PURGED}, **_lacking["matching"]},
        update=_lacking["update"],
    ),
    backfill(
        3,
        "task_marks",
        "Tasks of versions 1.0 to 1.4: store when they changed last (changed_at) and when their status did (status_changes).",
        document=TaskDocument,
        matching=UNMARKED,
        update=mark_from_history(),
    ),
    backfill(
        4,
        "task_late_marks",
        "Tasks that workers of version 1.4 have changed beside newer ones: store when, and when their status changed.",
        document=TaskDocument,
        matching=OUTDATED,
        update=mark_from_history(),
        phase=Phase.contract,
    ),
    Migration(
        5,
        "task_owner_id",
        "Tasks of versions 1.0 to 1.4: store who owns them in owner_id, and whether they are in the trash in state.",
        Phase.expand,
        adoption.adopt_everything,
        adoption.count_unadopted,
    ),
)
