"""The arguments of the command ``taskapi report``. Its action is in ``report_actions``, which is slow to import."""

import argparse
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from taskapi.cli.arguments import utf8, whole_number
from taskapi.core.errors import StartupError

DESCRIPTION = """\
Show how work goes: cumulative flow, throughput, lead times, overdue tasks and changed fields, from the MongoDB of
TASKAPI_MONGODB_URI or else the embedded one. The API may be running. Only views are read, so the MongoDB account of an analyst is
enough.
"""
MAX_WEEKS = 104


def add_to(commands: Any) -> None:
    """Adds the command to the subparsers of ``taskapi``."""
    report = commands.add_parser("report", help="show how work goes, as tables or as a page with charts", description=DESCRIPTION)
    report.add_argument("--to", metavar="FILE.html", type=_page, help="write a page with charts, not tables to the terminal")
    report.add_argument("--owner", metavar="NAME", type=utf8, help="only the tasks of this user (default: of all)")
    report.add_argument("--daily", action="store_true", help="as of the last taskapi analytics refresh: quick, in UTC")
    weeks = whole_number("number of weeks", MAX_WEEKS)
    report.add_argument("--weeks", metavar="N", type=weeks, default=12, help="how many, with this one (default %(default)s)")
    report.add_argument(
        "--tz", metavar="ZONE", type=_zone, default="UTC", help="the IANA time zone of days and weeks (default %(default)s)"
    )


def run(options: argparse.Namespace) -> None:
    """Runs the command. Raises StartupError with the reason in one line."""
    if options.daily and (options.owner is not None or options.tz != "UTC"):
        raise StartupError("the daily figures are those of all users, in UTC: leave out --owner and --tz, or --daily")
    from taskapi.cli import report_actions  # imports pipelines, and with them much of the application

    report_actions.run(options.to, options.owner, options.weeks, options.tz, daily=options.daily)


def _page(text: str) -> Path:
    if Path(text).suffix.lower() not in (".html", ".htm"):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .html")
    return Path(text)


def _zone(text: str) -> str:
    try:
        return ZoneInfo(text).key
    except (ZoneInfoNotFoundError, ValueError, OSError):  # it looks the name up as that of a file
        raise argparse.ArgumentTypeError(f"{text!r} is no time zone of the IANA database, such as Europe/Berlin") from None
