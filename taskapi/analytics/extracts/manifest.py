"""The manifest of an extract: which files belong to it, and from when on the next run reads."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict

from taskapi.core.clock import parse_rfc3339, rfc3339


@dataclass(frozen=True, slots=True)
class Watermark:
    """A time from which on the changes of one database are still to be read: ``2027-01-03T10:00:00.000Z@<database>``."""

    at: datetime
    database: str  # its id

    def __str__(self) -> str:
        return f"{rfc3339(self.at)}@{self.database}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads its text. Raises ValueError."""
        at, _, database = text.partition("@")
        if not database:
            raise ValueError("not a watermark")
        return cls(parse_rfc3339(at), database)


class FileEntry(BaseModel):
    """A file of a table."""

    model_config = ConfigDict(frozen=True)

    path: str  # in the folder of the extract
    rows: int
    bytes: int
    run: int  # that wrote it


class Manifest(BaseModel):
    """What is in the folder. Files that it does not name are not part of the extract."""

    model_config = ConfigDict(frozen=True)

    taskapi: str  # the version that wrote it
    schema_version: str  # of the tables
    format: str
    database: str  # its name
    database_id: str  # another one after a restore
    complete: bool = False  # whether the last run has come to its end
    watermark: str | None = None  # where the next run begins
    begun_at: datetime | None = None  # if the last run has not: when it began, or the first of several such runs
    since: str | None = None  # where the first one began; null: with everything
    as_of: datetime | None = None  # all writes until then are in it
    runs: int = 0
    parts: int = 0  # how many sets of files were begun
    recent: str | None = None  # the file with the latest changes, which the next run reads again
    users_digest: str | None = None
    tables: dict[str, list[FileEntry]]
