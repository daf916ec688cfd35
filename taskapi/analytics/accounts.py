"""MongoDB accounts for analysts, who can read the views of the service and nothing else.

All of them have one role, so that a new view is added to all at once; a second role has the views that are granted only when
asked for. Both name the views one by one: MongoDB needs no right to the collections that a view reads.
"""

import hashlib
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pymongo
from bson import Binary
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from taskapi.core.clock import utc_now
from taskapi.core.errors import StartupError
from taskapi.db.codes import UNAUTHORIZED
from taskapi.db.connection import BSON
from taskapi.db.indexes import MIGRATE
from taskapi.db.uris import for_account
from taskapi.db.views import View

ROLE: Final = "taskapi_analytics"
ON_REQUEST_ROLE: Final = "taskapi_analytics_on_request"
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,49}")
PASSWORD_BYTES = 32
PROBE_SECONDS = 5
NO_RIGHTS = (
    "the MongoDB user of TASKAPI_MONGODB_URI may not manage accounts: run this command with the URI of a user that has the role "
    "userAdmin for the database {database}"
)
NO_SIGN_IN = (
    "this MongoDB requires no sign-in, so an account would protect nothing: everyone who can connect can read and change "
    "everything; {remedy}"
)


@dataclass(frozen=True, slots=True)
class Analyst:
    """An account."""

    name: str
    on_request: bool
    granted_at: datetime | None


class AnalystAccounts:
    """Creates, lists and removes the accounts of one database. ``uri`` is how the service connects to it.

    Every method raises StartupError, with one line that says why, and PyMongoError.
    """

    def __init__(self, database: "Database[BSON]", uri: str, views: Sequence[View]) -> None:
        self._database, self._uri, self._views = database, uri, views

    def require_sign_in(self, remedy: str) -> None:
        """Raises StartupError if the server admits those who name no account."""
        uri = for_account(self._uri, "", self._database.name)
        with suppress(PyMongoError), MongoClient[BSON](uri) as anonymous, pymongo.timeout(PROBE_SECONDS):
            anonymous[self._database.name].command("listCollections")
            raise StartupError(NO_SIGN_IN.format(remedy=remedy))

    def require_views(self) -> None:
        """Raises StartupError if a view is missing."""
        with self._explained():
            found = self._database.list_collection_names(filter={"type": "view"})
        if missing := sorted({view.name for view in self._views} - set(found)):
            raise StartupError(f"the database {self._database.name} lacks the view {missing[0]}; first run: {MIGRATE}")

    def local_port(self) -> int | None:
        """The port of 127.0.0.1 on which the embedded MongoDB listens, if it does."""
        network = self._database.client.admin.command("getCmdLineOpts")["parsed"]["net"]
        port: int | None = network.get("port")
        return port

    def lacking(self) -> set[str]:
        """The views that accounts cannot read, because they are of a later version than the latest grant or update."""
        with self._explained():
            names = [ROLE, ON_REQUEST_ROLE]
            roles = self._database.command("rolesInfo", names, showPrivileges=True)["roles"]
        granted = {each["resource"]["collection"] for role in roles for each in role["privileges"]}
        return {view.name for view in self._views} - granted if roles else set()

    def grant(self, name: str, *, on_request: bool, rotate: bool) -> str:
        """Creates an account, or one in place of the former, whose connections lose their rights. Returns its password."""
        if not NAME.fullmatch(name):
            raise StartupError("the name must have 1 to 50 of A-Z a-z 0-9 _ . - and begin with a letter or a digit")
        with self._explained():
            known = self._find(name)
            if known and not rotate:
                raise StartupError(f"{name} has an account already; --rotate replaces it, with a new password")
            self.update_roles()
            if known:
                self._drop(name)
            password = secrets.token_urlsafe(PASSWORD_BYTES)
            roles = [ROLE, ON_REQUEST_ROLE] if on_request else [ROLE]
            self._command("createUser", name, pwd=password, roles=roles, customData={"granted_at": utc_now()})
        return password

    def revoke(self, name: str) -> bool:
        """Removes an account; its connections lose their rights. Returns whether what it was running could be ended."""
        with self._explained():
            if not self._find(name):
                raise StartupError(f"{name} has no account; see: taskapi analytics list")
            return self._drop(name)

    def find_all(self) -> list[Analyst]:
        """All accounts, by name."""
        with self._explained():
            return [each for user in self._users(1) if (each := _to_analyst(user))]

    def update_roles(self) -> None:
        """Gives all accounts the views of this version, and only those."""
        with self._explained():
            for role, on_request in ((ROLE, False), (ON_REQUEST_ROLE, True)):
                wanted = [self._privilege(view) for view in self._views if view.on_request is on_request]
                stored = self._database.command("rolesInfo", role, showPrivileges=True)["roles"]
                if not stored:
                    self._command("createRole", role, privileges=wanted, roles=[])
                    continue
                # Not updateRole, which needs rights to all databases.
                if surplus := [each for each in stored[0]["privileges"] if each not in wanted]:
                    self._command("revokePrivilegesFromRole", role, privileges=surplus)
                if missing := [each for each in wanted if each not in stored[0]["privileges"]]:
                    self._command("grantPrivilegesToRole", role, privileges=missing)

    def _privilege(self, view: View) -> BSON:
        return {"resource": {"db": self._database.name, "collection": view.name}, "actions": ["find"]}

    def _find(self, name: str) -> Analyst | None:
        for user in self._users(name):
            if found := _to_analyst(user):
                return found
            raise StartupError(f"{name} is a MongoDB user that this command has not made")
        return None

    def _drop(self, name: str) -> bool:
        self._command("dropUser", name)
        with suppress(OperationFailure):  # the operator's user lacks the right to do this
            # By the digest that MongoDB notes in sessions: killAllSessions looks the account up, which is gone.
            digest = hashlib.sha256(f"{name}@{self._database.name}".encode()).digest()
            self._database.client.admin.command("killAllSessionsByPattern", [{"uid": Binary(digest)}])
            return True
        return False

    def _users(self, which: str | int) -> list[BSON]:
        found: list[BSON] = self._database.command("usersInfo", which)["users"]
        return sorted(found, key=lambda user: str(user["user"]))

    def _command(self, command: str, name: str, **options: Any) -> None:
        self._database.command(command, name, writeConcern={"w": "majority"}, **options)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OperationFailure as error:
            if error.code != UNAUTHORIZED:
                raise
            raise StartupError(NO_RIGHTS.format(database=self._database.name)) from None


def _to_analyst(user: BSON) -> Analyst | None:
    """The account of a MongoDB user; None if it is not of an analyst."""
    roles = {role["role"] for role in user["roles"] if role["db"] == user["db"]}
    granted_at = user.get("customData", {}).get("granted_at")
    return Analyst(user["user"], ON_REQUEST_ROLE in roles, granted_at) if ROLE in roles else None
