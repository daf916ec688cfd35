"""The commands of an operator, on the database of the application that a test has started last."""

from typing import Any

from taskapi.accounts.security.access_tokens import PasswordHasher
from taskapi.cli import user_actions
from taskapi.cli.user_actions import UserCommands
from taskapi.core.settings import Settings
from taskapi.db.connection import Database
from tests.stored import service


def user_commands(**changes: Any) -> UserCommands:
    """The commands, with these changes of its settings."""
    settings = service(Settings).model_copy(update=changes)
    return user_actions.wire(settings, service(Database), service(PasswordHasher))
