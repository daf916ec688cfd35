"""The command ``taskapi users``: what it is asked for. Its actions are in ``user_actions``, which is slow to import."""

import argparse
import getpass
import sys
from typing import Any

from taskapi.core.errors import StartupError

DESCRIPTION = """\
Look after accounts without the API, on the MongoDB of TASKAPI_MONGODB_URI or the embedded one, whether the API runs or
not. The first admin is made with "taskapi users create NAME --admin", or with "taskapi users promote NAME" of an account
that exists. Passwords are asked for, or read from standard input when that is no terminal.
"""

NO_PASSWORD = "no password was given; type it in a terminal, or write it to standard input as one line"  # noqa: S105 - a message


def add_to(commands: Any) -> None:
    """Adds the command to the subparsers of ``taskapi``."""
    users = commands.add_parser("users", help="look after accounts, and make the first admin", description=DESCRIPTION)
    actions = users.add_subparsers(dest="action", required=True)
    create = _action(actions, "create", "make an account")
    create.add_argument("--email", help="its e-mail address")
    create.add_argument("--admin", action="store_true", help="make it an admin")
    _action(actions, "promote", "make an account an admin, from its next sign-in on")
    _action(actions, "demote", "make an admin an ordinary user, from the next request on")
    _action(actions, "disable", "keep an account from signing in, and end its sessions")
    _action(actions, "enable", "let a disabled account sign in again")
    reset = _action(actions, "reset-password", "give an account a new password, and end its sessions")
    reset.add_argument("--generate", action="store_true", help="make the password up, and print it")
    _action(actions, "remove-two-factor", "take a second factor that was lost off an account")
    actions.add_parser("list", help="print all accounts")


def _action(actions: Any, name: str, about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    parser.add_argument("name", help="the user name, in any case")
    return parser


def run(options: argparse.Namespace) -> None:
    """Runs the command and prints the result. Raises StartupError with the reason in one line."""
    wanted: dict[str, Any] = {"name": options.name} if options.action != "list" else {}
    if options.action == "create":
        wanted |= {"email": options.email, "admin": options.admin, "password": _ask_password()}
    elif options.action == "reset-password":
        wanted["password"] = None if options.generate else _ask_password()
    from taskapi.cli import user_actions  # Beanie and all, which "taskapi serve" has its workers import

    print(user_actions.run(options.action, **wanted))


def _ask_password() -> str:
    if not sys.stdin.isatty():
        given = sys.stdin.readline().rstrip("\r\n")
        if not given:
            raise StartupError(NO_PASSWORD)
        return given
    try:
        password = getpass.getpass("Password: ")
        again = getpass.getpass("Once more: ")
    except (EOFError, KeyboardInterrupt):
        raise StartupError(NO_PASSWORD) from None
    if password != again:
        raise StartupError("the two passwords differ")
    return password
