"""Where the embedded MongoDB listens: a Unix socket in the data folder, which only the account that runs it can open."""

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from taskapi.core import startup_files
from taskapi.core.errors import StartupError
from taskapi.core.startup_files import explained

MAX_SOCKET_BYTES = 107  # of its path, on Linux (unix(7))
SOCKET = "mongod.sock"  # drivers recognise a socket by this suffix
UNUSABLE = set(",:[]")  # mongod reads these as the end of a path in its list of addresses, or as a port


def choose_socket(folder: Path) -> Path:
    """The socket for a data folder: inside it, or in a private temporary folder if its path cannot be used for a socket.

    Raises:
        StartupError: neither is possible.
    """
    socket = folder / SOCKET
    if _is_usable(socket):
        return socket
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    socket = _private_folder() / f"{name}.sock"
    if not _is_usable(socket):
        raise StartupError(
            f"TASKAPI_DATA_DIR: {folder} is too long for a socket, and so is {socket.parent}; choose a shorter path"
        )
    return socket


def uri_of(socket: Path, account: str = "") -> str:
    """The URI of the MongoDB that listens there, for an account (``name:password``, percent-encoded) or without one."""
    return f"mongodb://{account and f'{account}@'}{quote(str(socket), safe='')}/?directConnection=true"


def withdraw_uri(folder: Path, uri: str) -> None:
    """Deletes the URI in the data folder if it is not ``uri``, which is to be valid soon. Raises StartupError."""
    if read_uri(folder) not in (None, uri):
        with explained(f"{_uri_file(folder)} cannot be deleted"):
            _uri_file(folder).unlink()


def write_uri(folder: Path, uri: str) -> None:
    """Writes the URI into the data folder, for other processes that want to connect. Raises StartupError."""
    if startup_files.read_text(_uri_file(folder)) != uri:
        startup_files.write_text(_uri_file(folder), uri)


def read_uri(folder: Path) -> str | None:
    """The URI of the server that runs on this folder, or ran last. Raises StartupError."""
    return startup_files.read_text(_uri_file(folder)) or None


def _uri_file(folder: Path) -> Path:
    return folder / "mongodb_uri"


def _is_usable(path: Path) -> bool:
    text = str(path)
    return len(os.fsencode(path)) <= MAX_SOCKET_BYTES and text.isprintable() and not UNUSABLE & set(text)


def _private_folder() -> Path:
    folder = _runtime_folder() / f"taskapi-{os.geteuid()}"
    with explained(f"{folder} cannot be used for the socket of MongoDB"):
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise StartupError(f"{folder} must be a private folder of this account, because it would contain the socket of MongoDB")
    return folder


def _runtime_folder() -> Path:
    """``XDG_RUNTIME_DIR`` if it belongs to this account, otherwise the system's temporary folder."""
    with suppress(OSError, KeyError):
        runtime = Path(os.environ["XDG_RUNTIME_DIR"])
        if runtime.stat().st_uid == os.geteuid() and os.access(runtime, os.W_OK | os.X_OK):
            return runtime
    return Path(tempfile.gettempdir())
