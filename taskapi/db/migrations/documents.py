"""What is stored about migrations."""

from datetime import datetime
from typing import ClassVar

from beanie import Document

from taskapi.db.indexes import Index
from taskapi.db.migrations.step import Phase


class MigrationDocument(Document):
    """A step of the migrations that has begun in this database."""

    id: int  # type: ignore[assignment]
    """The number of the step."""
    name: str
    """The name of the step."""
    phase: Phase
    """``expand``: workers of the previous version can go on beside it. ``contract``: none may run any more."""
    started_at: datetime
    """When the step began."""
    finished_at: datetime | None = None
    """When the step finished; null until then."""
    changed: int
    """How many documents the step changed. Those of a batch during which it was killed may be missing."""
    skipped: int
    """How many documents MongoDB refused to write."""

    class Settings:
        name = "migrations"
        is_internal = True
        indexes: ClassVar[list[Index]] = []
