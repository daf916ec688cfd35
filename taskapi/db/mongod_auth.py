"""Sign-in at the embedded MongoDB: its key, the account of the service, and what turns them on or off.

The key, in the file ``mongodb_key`` of the data folder, is all there is to keep: whoever knows it is MongoDB's own account
``__system``, which needs no entry in the database. With it, each start makes the account of the service if it is missing or
has another password. So a start may end at any moment, and the next one continues. There is no moment without sign-in.
"""

import hmac
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure

from taskapi.core import startup_files
from taskapi.core.errors import StartupError
from taskapi.core.startup_files import PRIVATE, explained
from taskapi.db.codes import AUTHENTICATION_FAILED
from taskapi.db.mongod_address import uri_of

ADMIN = "taskapi"  # the account of the service, in the database admin
KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """The key of a data folder, and what follows from it."""

    file: Path
    key: str = field(repr=False)

    @property
    def arguments(self) -> list[str]:
        """The arguments of a mongod that requires these credentials.

        It runs no JavaScript, which any account could send. An account cannot be made without one, not even the first.
        """
        return ["--keyFile", str(self.file), "--noscripting", "--setParameter", "enableLocalhostAuthBypass=false"]

    @property
    def _password(self) -> str:
        return hmac.digest(self.key.encode(), b"password of the service", "sha256").hex()

    def uri_of(self, socket: Path) -> str:
        """The URI for the service, which may do everything."""
        return uri_of(socket, f"{ADMIN}:{self._password}") + "&authSource=admin"

    def system_uri_of(self, socket: Path) -> str:
        """The URI for MongoDB's own account, which exists before any other and before the replica set."""
        return uri_of(socket, f"__system:{self.key}") + "&authSource=local&authMechanism=SCRAM-SHA-256"

    def provide_admin(self, system: "MongoClient[dict[str, Any]]", socket: Path) -> None:
        """Makes the account of the service, or sets its password, unless it can sign in."""
        try:
            with MongoClient[dict[str, Any]](self.uri_of(socket)) as client:
                client.admin.command("ping")
        except OperationFailure as error:
            if error.code != AUTHENTICATION_FAILED:
                raise
            action = "updateUser" if system.admin.command("usersInfo", ADMIN)["users"] else "createUser"
            durable = {"w": "majority", "j": True}
            system.admin.command(action, ADMIN, pwd=self._password, roles=["root"], writeConcern=durable)


def choose(folder: Path, wanted: bool | None) -> Credentials | None:
    """The credentials of a data folder; None if its MongoDB requires none. Raises StartupError.

    If ``wanted`` is None, a folder without data gets a key, and another one stays as it is.
    """
    path = folder / "mongodb_key"
    with explained(f"{path} cannot be used"):
        if wanted is False:
            path.unlink(missing_ok=True)
            return None
        if path.exists() and path.stat().st_mode & 0o077:
            path.chmod(PRIVATE)  # mongod refuses it otherwise; a copy of the folder may have lost its mode
        is_new = not any((folder / "mongodb").iterdir())
    key = startup_files.read_text(path)
    if key is None:
        if not (wanted or is_new):
            return None
        startup_files.write_text(path, key := secrets.token_hex(32))
    elif not KEY.fullmatch(key := key.strip()):
        raise StartupError(f"{path} is damaged; delete it and set TASKAPI_MONGOD_AUTH=true to generate another key")
    return Credentials(path, key)
