"""The arguments of the command ``taskapi migrate``. Its actions are in ``migrate_actions``, which is slow to import."""

import argparse
import sys
from typing import Any

from taskapi.cli.arguments import add_action
from taskapi.core.errors import StartupError

DESCRIPTION = """\
Bring the database to the shape that this version needs, in the MongoDB of TASKAPI_MONGODB_URI or else the embedded one. The API
may be running, also that of the previous version. An interrupted run loses nothing; the next one continues. The exit status is 0
when nothing is left to do, 4 when "status", "verify" or a dry run has found something to do or "up" has left something,
and 1 for a failure.
"""
TO_DO = 4


def add_to(commands: Any) -> None:
    """Adds the command to the subparsers of ``taskapi``."""
    migrate = commands.add_parser("migrate", help="bring the database to the shape of this version", description=DESCRIPTION)
    actions = migrate.add_subparsers(dest="action", required=True)
    add_action(actions, "status", "print the migrations, which of them were applied, and indexes that differ")
    up = add_action(actions, "up", "apply the migrations that are left, and create or repair indexes")
    up.add_argument(
        "--contract",
        action="store_true",
        help="also apply those of the contract phase, and drop former indexes; first stop all workers of the previous version",
    )
    up.add_argument("--dry-run", action="store_true", help="only print what would be done, and to how many documents")
    verify = add_action(
        actions, "verify", "look through all documents for what the applied migrations should have changed, and for invalid ones"
    )
    verify.add_argument("--fix", action="store_true", help="first repair invalid documents, where only one value can be right")
    verify.add_argument("--dry-run", action="store_true", help="with --fix: only print what would be repaired")


def run(options: argparse.Namespace) -> None:
    """Runs the command, and exits with 4 if something is left to do. Raises StartupError with the reason in one line."""
    from taskapi.cli import migrate_actions  # imports the application

    arguments = {name: value for name, value in vars(options).items() if name in ("contract", "dry_run", "fix")}
    try:
        is_done = migrate_actions.run(options.action, **arguments)
    except KeyboardInterrupt:
        raise StartupError("interrupted; the next run continues where this one stopped") from None
    if not is_done:
        sys.exit(TO_DO)
