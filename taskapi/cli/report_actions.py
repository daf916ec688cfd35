"""The action of ``taskapi report``, on the configured MongoDB or the embedded one."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from taskapi.analytics.report.daily import make_daily_report
from taskapi.analytics.report.page import make_page
from taskapi.analytics.report.repository import QUERY_SECONDS, ReportRepository
from taskapi.analytics.report.service import ReportRequest, make_report
from taskapi.analytics.report.terminal import make_text
from taskapi.cli.progress import Progress
from taskapi.core.errors import StartupError
from taskapi.core.settings import load_settings
from taskapi.db import embedded
from taskapi.db.blocking import connected

PIPE_COLUMNS: Final = 100  # where there is no terminal


def run(to: Path | None, owner: str | None, weeks: int, zone: str, *, daily: bool) -> None:
    """Prints the report, or writes it to the file ``to``; with ``daily``, from the daily figures of all users.

    Raises:
        StartupError: it cannot be made or written; one line that says why. A file of that name is as it was.
        KeyboardInterrupt: SIGINT, SIGTERM or SIGHUP arrived.
    """
    settings = load_settings()
    embedded.require_data(settings)
    if to:
        _require_writable(to)
    progress = Progress()
    try:
        with embedded.provide(settings, join=True) as complete, connected(complete, QUERY_SECONDS + 5) as database:
            views, step = ReportRepository(database), _announcer(progress)
            if daily:
                report = make_daily_report(views, database.name, weeks, step=step)
            else:
                report = make_report(views, database.name, ReportRequest(owner, weeks, zone), step=step)
    finally:
        progress.end()
    if to:
        _write(to, make_page(report))
        print(f"Saved {to}")
    else:
        print(make_text(report, shutil.get_terminal_size((PIPE_COLUMNS, 24)).columns))


def _announcer(progress: Progress) -> Callable[[str], None]:
    return lambda what: progress.update(f"{what} …")


def _require_writable(path: Path) -> None:
    folder = path.absolute().parent
    if path.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise StartupError(f"--to {path} cannot be written")


def _write(path: Path, page: str) -> None:
    """Writes the file as a whole, or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            part.write_text(page, encoding="utf-8", errors="replace")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise StartupError(f"--to {path} cannot be written: {(error.strerror or str(error)).lower()}") from None
