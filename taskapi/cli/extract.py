"""The arguments of the command ``taskapi extract``. Its action is in ``extract_actions``, which is slow to import."""

import argparse
from pathlib import Path
from typing import Any

from taskapi.cli.arguments import whole_number
from taskapi.core.errors import StartupError

DESCRIPTION = """\
Write tasks, what belongs to them, and users to the files of a folder, from the MongoDB of TASKAPI_MONGODB_URI or else the
embedded one. The API may be running. Each further run adds what has changed since the last one. An interrupted run loses nothing;
the next one continues. docs/extracts.md describes the files and how to read them.
"""
FORMATS = ("parquet", "jsonl", "csv")
OPTIONAL = ("status_periods", "task_changes", "checklist_items")


def add_to(commands: Any) -> None:
    """Adds the command to the subparsers of ``taskapi``."""
    extract = commands.add_parser("extract", help="write what has changed to files for analysis", description=DESCRIPTION)
    extract.add_argument("--to", metavar="DIR", type=Path, required=True, help="the folder; created if there is none")
    extract.add_argument("--format", choices=FORMATS, help="the default is that of the folder, else parquet")
    extract.add_argument(
        "--since", metavar="WATERMARK", help="begin a new folder with the changes since then; manifest.json of another has one"
    )
    extract.add_argument(
        "--only",
        metavar="TABLES",
        type=_tables,
        help=f"which tables to write beside tasks and users, comma-separated: {', '.join(OPTIONAL)} (default: all)",
    )
    extract.add_argument("--full", action="store_true", help="begin anew: read everything, and replace what the folder holds")
    tasks = whole_number("number of tasks", 100_000_000)
    extract.add_argument(
        "--rows-per-file", metavar="N", type=tasks, default=250_000, help="tasks in a file, at most about (default %(default)s)"
    )


def run(options: argparse.Namespace) -> None:
    """Runs the command. Raises StartupError with the reason in one line."""
    from taskapi.cli import extract_actions  # imports the application

    if options.full and options.since is not None:
        raise StartupError("--full begins with everything, --since does not: use one of them")
    try:
        extract_actions.run({name: value for name, value in vars(options).items() if name != "command"})
    except KeyboardInterrupt:
        raise StartupError("interrupted; the next run continues where this one stopped") from None


def _tables(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in (*OPTIONAL, "tasks", "users")]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of tasks, users, {', '.join(OPTIONAL)}")
    return tuple(name for name in OPTIONAL if name in names)
