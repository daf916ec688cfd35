"""The actions of ``taskapi analytics``, on the configured MongoDB or the embedded one."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from taskapi.analytics.accounts import AnalystAccounts
from taskapi.core import logs
from taskapi.core.errors import StartupError
from taskapi.core.settings import Settings, load_settings
from taskapi.db import blocking, embedded
from taskapi.db.uris import for_account
from taskapi.main import VIEWS

SECONDS = 30  # for one command
REMEDY = "turn on its access control (security.authorization) first"
EMBEDDED_REMEDY = "start the service with TASKAPI_MONGOD_AUTH=true first"
SHOWN_ONCE = "{name} can read {views}. The URI contains the password and is not shown again."
SOCKET_ONLY = (
    "Only the account that runs the service, and root, can open this socket. For others, set TASKAPI_MONGOD_PORT, restart the "
    "service, and write 127.0.0.1 and that port in place of the socket."
)
ENDED = ", and what it was doing has ended."
GOES_ON = "; what it was doing goes on until it ends, because your MongoDB user lacks the right killAnySession."


@dataclass(frozen=True, slots=True)
class AnalyticsCommands:
    """The actions."""

    accounts: AnalystAccounts
    settings: Settings  # with the URI of a running MongoDB
    is_embedded: bool

    def grant(self, name: str, *, emails: bool, rotate: bool) -> None:
        """Creates an account and prints its URI."""
        self.accounts.require_sign_in(EMBEDDED_REMEDY if self.is_embedded else REMEDY)
        self.accounts.require_views()
        port = self.accounts.local_port() if self.is_embedded else None
        hosts = f"127.0.0.1:{port}" if port else None
        password = self.accounts.grant(name, on_request=emails, rotate=rotate)
        assert self.settings.mongodb_uri
        uri, database = self.settings.mongodb_uri.get_secret_value(), self.settings.mongodb_database
        print(for_account(uri, f"{name}:{password}", database, hosts=hosts))
        views = ", ".join(view.name for view in VIEWS if emails or not view.on_request)
        print(SHOWN_ONCE.format(name=name, views=views), file=sys.stderr)
        if self.is_embedded and not hosts:
            print(SOCKET_ONLY, file=sys.stderr)

    def revoke(self, name: str) -> None:
        """Removes an account."""
        ended = self.accounts.revoke(name)
        print(f"{name} has no account now{ENDED if ended else GOES_ON}")

    def list(self) -> None:
        """Prints one line for each account."""
        analysts = self.accounts.find_all()
        print(f"{'granted':12}{'e-mails':9}name")
        for each in analysts:
            granted = f"{each.granted_at:%Y-%m-%d}" if each.granted_at else ""
            print(f"{granted:12}{'yes' if each.on_request else 'no':9}{each.name}")
        if lacking := self.accounts.lacking():
            print(f"They cannot read {', '.join(sorted(lacking))} yet; run: taskapi analytics update", file=sys.stderr)

    def update(self) -> None:
        """Gives all accounts the views of this version."""
        self.accounts.update_roles()
        print("All accounts can read the views of this version.")


ACTIONS: Final[dict[str, Callable[..., None]]] = {
    "grant": AnalyticsCommands.grant,
    "revoke": AnalyticsCommands.revoke,
    "list": AnalyticsCommands.list,
    "update": AnalyticsCommands.update,
}


def run(action: str, options: dict[str, Any]) -> None:
    """Runs ``action``, and prints the result. Raises StartupError with the reason in one line."""
    settings = load_settings()
    embedded.require_data(settings)
    logs.configure("error", settings.log_format)
    try:
        with embedded.provide(settings, join=True) as complete, blocking.connected(complete, SECONDS) as database:
            assert complete.mongodb_uri
            accounts = AnalystAccounts(database, complete.mongodb_uri.get_secret_value(), VIEWS)
            ACTIONS[action](AnalyticsCommands(accounts, complete, embedded.is_used(settings)), **options)
    except KeyboardInterrupt:
        raise StartupError("interrupted") from None
