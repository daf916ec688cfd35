"""The arguments of the command ``taskapi analytics``. Its actions are in ``analytics_actions``, which is slow to import."""

import argparse
from typing import Any

from taskapi.cli.arguments import add_action

DESCRIPTION = """\
Manage MongoDB accounts for analysts, and what is computed for them in advance, in the MongoDB of TASKAPI_MONGODB_URI or else in
the embedded one; the API may be running. Such an account can read the views of the service, such as v_tasks, and nothing else.
docs/analytics-accounts.md says more.
"""


def add_to(commands: Any) -> None:
    """Adds the command to the subparsers of ``taskapi``."""
    analytics = commands.add_parser(
        "analytics", help="manage MongoDB accounts for analysts, and daily figures", description=DESCRIPTION
    )
    actions = analytics.add_subparsers(dest="action", required=True)
    grant = _action(actions, "grant", "create an account that can read the views, and print its URI, once")
    grant.add_argument("--emails", action="store_true", help="let it read the e-mail addresses of users as well (v_user_emails)")
    grant.add_argument("--rotate", action="store_true", help="replace the account if it exists, with a new password")
    _action(actions, "revoke", "remove an account, and end what it does at the moment")
    actions.add_parser("list", help="print all accounts")
    actions.add_parser("update", help="after an upgrade: let all accounts read the views of this version")
    refresh = add_action(actions, "refresh", "bring the daily figures (v_days, v_task_days) up to date")
    refresh.add_argument("--full", action="store_true", help="count all tasks, not only those of users of whom one has changed")


def _action(actions: Any, name: str, about: str) -> argparse.ArgumentParser:
    parser = add_action(actions, name, about)
    parser.add_argument("name", help="the name of the account: letters, digits, and _ . -")
    return parser


def run(options: argparse.Namespace) -> None:
    """Runs the command and prints the result. Raises StartupError with the reason in one line."""
    if options.action == "refresh":
        from taskapi.cli import refresh_actions

        refresh_actions.run(full=options.full)
        return
    from taskapi.cli import analytics_actions  # imports the application

    arguments = {name: value for name, value in vars(options).items() if name in ("name", "emails", "rotate")}
    analytics_actions.run(options.action, arguments)
