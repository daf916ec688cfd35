"""What is stored about migrations."""

from datetime import datetime
from typing import ClassVar

from beanie import Document

from taskapi.db.indexes import Index
from taskapi.db.migrations.step import Phase


class MigrationDocument(Document):
    """A step that has begun in this database. Its id is its number."""

    id: int  # type: ignore[assignment]
    name: str
    phase: Phase
    started_at: datetime
    finished_at: datetime | None = None  # null until it has finished
    changed: int  # the documents that it changed; those of a batch during which it was killed may be missing
    skipped: int  # the documents that MongoDB refused to write

    class Settings:
        name = "migrations"
        indexes: ClassVar[list[Index]] = []
