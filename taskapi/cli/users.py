"""The arguments of the command ``taskapi users``. Its actions are in ``user_actions``, which is slow to import."""

import argparse
import getpass
import sys
from typing import Any

from taskapi.cli.arguments import add_action, utf8
from taskapi.core.errors import StartupError

DESCRIPTION = """\
Manage accounts without the API, in the MongoDB of TASKAPI_MONGODB_URI or else in the embedded one; the API may be running.
Create the first admin with "taskapi users create NAME --admin", or promote an existing account with
"taskapi users promote NAME". Passwords are prompted for, or read from standard input if that is not a terminal.
"""

NO_PASSWORD = "no password given; type it in a terminal, or write it to standard input as one line"  # noqa: S105 - a message


def add_to(commands: Any) -> None:
    """Adds the command to the subparsers of ``taskapi``."""
    users = commands.add_parser("users", help="manage accounts, and create the first admin", description=DESCRIPTION)
    actions = users.add_subparsers(dest="action", required=True)
    create = _action(actions, "create", "create an account")
    create.add_argument("--email", help="its e-mail address")
    create.add_argument("--admin", action="store_true", help="make it an admin")
    _action(actions, "promote", "make an account an admin, from its next sign-in on")
    _action(actions, "demote", "make an admin an ordinary user, from the next request on")
    _action(actions, "disable", "prevent an account from signing in, and end its sessions and API tokens")
    _action(actions, "enable", "let a disabled account sign in again")
    reset = _action(actions, "reset-password", "set a new password for an account, and end its sessions")
    reset.add_argument("--generate", action="store_true", help="generate the password, and print it")
    _action(actions, "remove-two-factor", "remove a lost second factor from an account")
    actions.add_parser("list", help="print all accounts")


def _action(actions: Any, name: str, about: str) -> argparse.ArgumentParser:
    parser = add_action(actions, name, about)
    parser.add_argument("name", type=utf8, help="the user name, in any case")
    return parser


def run(options: argparse.Namespace) -> None:
    """Runs the command and prints the result. Raises StartupError with the reason in one line."""
    wanted: dict[str, Any] = {"name": options.name} if options.action != "list" else {}
    if options.action == "create":
        wanted |= {"email": options.email, "admin": options.admin, "password": _ask_password()}
    elif options.action == "reset-password":
        wanted["password"] = None if options.generate else _ask_password()
    from taskapi.cli import user_actions  # imports Beanie, which only the workers of "taskapi serve" need

    print(user_actions.run(options.action, **wanted))


def _ask_password() -> str:
    if sys.stdin is None:  # closed by the shell or the scheduler: <&-
        raise StartupError(NO_PASSWORD)
    if not sys.stdin.isatty():
        given = sys.stdin.readline().rstrip("\r\n")
        if not given:
            raise StartupError(NO_PASSWORD)
        return given
    try:
        password = getpass.getpass("Password: ")
        again = getpass.getpass("Repeat the password: ")
    except (EOFError, KeyboardInterrupt):
        raise StartupError(NO_PASSWORD) from None
    if password != again:
        raise StartupError("the two passwords differ")
    return password
