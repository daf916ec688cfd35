"""``taskapi extract``: writes what has changed since the last run into a folder."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from taskapi import __version__
from taskapi.analytics.extracts import folder as folders
from taskapi.analytics.extracts.folder import Folder
from taskapi.analytics.extracts.formats import FORMATS
from taskapi.analytics.extracts.manifest import Manifest, Watermark
from taskapi.analytics.extracts.repository import ExtractRepository
from taskapi.analytics.extracts.run import Run
from taskapi.analytics.extracts.tables import OPTIONAL, SCHEMA_VERSION, TABLES, TASKS, USERS
from taskapi.analytics.watermarks import overlap_of
from taskapi.core.errors import StartupError
from taskapi.core.settings import Settings
from taskapi.db.blocking import connected
from taskapi.db.connection import BSON

READ_SECONDS: Final = 120  # for one batch


@dataclass(frozen=True, slots=True)
class Request:
    """What the caller asks for. None: as the folder has it, or else the default."""

    to: Path
    format: str | None = None
    since: str | None = None
    only: Sequence[str] | None = None  # of the tables that can be left out
    full: bool = False  # begin anew, and replace what is there
    rows_per_file: int = 250_000


Progress = Callable[[int, int], None]
"""Called with the number of tasks that were read so far, and of all that are to be read."""


def extract(settings: Settings, request: Request, progress: Progress) -> tuple[Manifest, dict[str, int]]:
    """Brings the folder up to date. Returns its manifest, and how many rows each table got.

    Raises:
        StartupError: the request is refused, or the run failed; one line that says why. What earlier runs wrote is as it was.
    """
    with folders.opened(request.to) as folder, connected(settings, READ_SECONDS) as database:
        source = ExtractRepository(database)
        try:
            known, database_id = folder.read(check=not request.full), source.database_id()
            if known is not None and not request.full:
                _require_same(folder, known, request, database_id)
            begun = _begin(known, request, database.name, database_id)
            time = source.settled_time()
            since = _parse(begun.watermark or begun.since)
            if since is not None:
                _require_continuous(since, begun, request, settings, database_id, time)
            format_ = FORMATS[begun.format]()
            if known is None:
                folder.commit(begun, {})
            folder.clean(known or begun)
            run = Run(folder, begun, format_, Watermark(time - overlap_of(settings), database_id), time)
            with closing(run):
                _read(source, run, request, _matching(since, begun), progress, commit=known is None or not request.full)
            folder.clean(run.manifest)
            return run.manifest, run.rows
        finally:
            source.close()


def _read(source: ExtractRepository, run: Run, request: Request, matching: BSON, progress: Progress, *, commit: bool) -> None:
    """Has the run write what was found; with ``commit``, from time to time also what was found so far."""
    total, done = source.count(matching), 0
    hidden = () if "task_changes" in run.rows else ("history",)
    for batch in source.tasks(matching, hidden):
        run.add(batch)
        progress(done := done + len(batch), total)
        if commit and run.rows_in_part >= request.rows_per_file:
            run.commit()
    run.add_users(source.users())
    run.finish()


def _begin(known: Manifest | None, request: Request, name: str, database_id: str) -> Manifest:
    """The manifest that the run extends."""
    only = OPTIONAL if request.only is None else request.only
    new = Manifest(
        taskapi=__version__,
        schema_version=SCHEMA_VERSION,
        format=request.format or (known.format if known else "parquet"),
        database=name,
        database_id=database_id,
        since=request.since,
        tables={table: [] for table in TABLES if table in (TASKS, USERS, *only)},
    )
    if known is None:
        return new
    if request.full:
        return new.model_copy(update={"runs": known.runs, "parts": known.parts})
    return known.model_copy(update={"taskapi": __version__})


def _require_same(folder: Folder, known: Manifest, request: Request, database_id: str) -> None:
    """Raises StartupError unless the run can extend what is there."""
    anew = "use another folder, or begin anew with --full"
    if known.database_id != database_id:
        raise StartupError(f"{folder.path} holds an extract of another database, or of this one before a restore; {anew}")
    if known.schema_version != SCHEMA_VERSION:
        raise StartupError(f"{folder.path} holds tables of schema {known.schema_version}, not {SCHEMA_VERSION}; {anew}")
    if request.format not in (None, known.format):
        raise StartupError(f"{folder.path} holds an extract in the format {known.format}, not {request.format}; {anew}")
    if request.only is not None and {*request.only} != {*known.tables} - {TASKS, USERS}:
        raise StartupError(f"{folder.path} holds the tables {', '.join(known.tables)}, not those of --only; {anew}")
    if request.since not in (None, known.since):
        raise StartupError(f"{folder.path} continues from its own watermark; --since is for a new folder")


def _parse(text: str | None) -> Watermark | None:
    try:
        return None if text is None else Watermark.parse(text)
    except ValueError:
        raise StartupError(f"--since: {text!r} is not a watermark; manifest.json of an extract has one") from None


def _require_continuous(
    since: Watermark, begun: Manifest, request: Request, settings: Settings, database_id: str, time: datetime
) -> None:
    """Raises StartupError if not all changes since then can be read.

    A run that was killed may have come to a task of years ago. What has changed since it began is read by the next one, so that
    time counts, not how far it came.
    """
    if since.database != database_id:
        raise StartupError(
            "--since: the watermark is of another database, or of this one before a restore; begin anew without it"
        )
    if since.at > time:
        raise StartupError("the watermark is later than the database: it may have been restored; begin anew with --full")
    if (begun.begun_at or since.at) < time - timedelta(days=settings.trash_days):
        what, anew = ("the watermark", "without --since") if request.since else ("the last run", "with --full")
        raise StartupError(
            f"{what} is more than {settings.trash_days} days old (TASKAPI_TRASH_DAYS): for tasks purged since then there "
            f"may be no tombstones any more; begin anew {anew}"
        )


def _matching(since: Watermark | None, begun: Manifest) -> BSON:
    """The filter of the tasks that the run reads."""
    if since is None:
        return {}
    if begun.complete or begun.since:
        return {"changed_at": {"$gte": since.at}}
    return {"changed_at": {"$not": {"$lt": since.at}}}  # also tasks with no time, which the first run reads last
