"""The commands ``taskapi backup`` and ``taskapi restore``: their files, progress and interruption."""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from taskapi.cli.progress import Progress
from taskapi.core import logs
from taskapi.core.errors import StartupError
from taskapi.core.files import sync_folder
from taskapi.core.settings import Settings, load_settings

COMMANDS = ("backup", "restore")
BACKUP = """\
Write a consistent snapshot of the whole database to one file: all collections with their indexes. This uses the MongoDB of
TASKAPI_MONGODB_URI, or else the embedded one, and works while the API is running and while it is not.
"""
RESTORE = """\
Fill an empty database from a file written by "taskapi backup". The whole file is verified before anything is written.
Stop the API during the restore, or restart it afterwards.
"""
STDIO = "-"
PIECE = 1024**2


def add_to(commands: Any) -> None:
    """Adds the commands to the subparsers of ``taskapi``."""
    backup = commands.add_parser("backup", help="write the whole database to a file", description=BACKUP)
    backup.add_argument("file", metavar="FILE", help=f"the file to create; {STDIO} for standard output")
    backup.add_argument("--with-keys", action="store_true", help="include the secret key in the backup")
    restore = commands.add_parser("restore", help="fill an empty database from a backup", description=RESTORE)
    restore.add_argument("file", metavar="FILE", help=f"the backup; {STDIO} for standard input")
    restore.add_argument("--drop", metavar="DATABASE", help="first delete everything in this database")
    restore.add_argument("--keys-to", metavar="KEYS", help="only write the backup's secret keys to this new file")


def run(options: argparse.Namespace) -> None:
    """Runs the command and reports to standard error. Raises StartupError with the reason in one line."""
    settings = load_settings()
    logs.configure("error", settings.log_format)
    progress = Progress()
    try:
        if options.command == "backup":
            _back_up(settings, progress, options.file, with_keys=options.with_keys)
        else:
            _restore(settings, progress, options.file, options.drop, options.keys_to)
    except KeyboardInterrupt:
        raise StartupError("interrupted") from None
    finally:
        progress.end()


def _report(progress: Progress) -> Any:
    from taskapi.db.backup.service import Report

    def show(collection: str, documents: int, size: int) -> None:
        progress.update(f"{documents:,} documents, {size / 1024**2:,.1f} MiB, at {collection}")

    return Report(progress.say, show)


def _back_up(settings: Settings, progress: Progress, name: str, *, with_keys: bool) -> None:
    from taskapi.db.backup import service  # imports Beanie, which only the workers of "taskapi serve" need

    with _new_file(name) as file:
        said = service.back_up(settings, file, _report(progress), with_keys=with_keys)
    for line in said:
        progress.say(line)


def _restore(settings: Settings, progress: Progress, name: str, drop: str | None, keys_to: str | None) -> None:
    from taskapi.db.backup import service
    from taskapi.db.backup.format import BadFile

    if drop not in (None, settings.mongodb_database):
        raise StartupError(f"--drop must name the target database: {settings.mongodb_database}")
    with _open_input(name) as file:
        try:
            if keys_to is None:
                service.restore(settings, file, _report(progress), drop=drop is not None)
                return
            secrets = service.secrets_in(file)
        except BadFile as error:
            raise StartupError(f"{name} {error}") from None
    with _new_file(keys_to) as keys:
        keys.write("".join(f"{secret}\n" for secret in secrets).encode())


@contextmanager
def _new_file(name: str) -> Iterator[BinaryIO]:
    """A new file that only its owner can read. It exists only if the block succeeds, complete and synced to disk."""
    path = Path(name)
    if not path.name:
        raise StartupError(f"{name!r} is not a file name")
    part = path.with_name(f"{path.name}.part")
    try:
        if name == STDIO:
            output = _require_open(sys.stdout, "standard output")
            if output.isatty():
                raise StartupError("standard output is a terminal; specify a file")
            with os.fdopen(os.dup(output.fileno()), "wb") as file:
                yield file
            return
        if os.path.lexists(path):
            raise StartupError(f"{path} already exists; specify a new file")
        try:
            number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise StartupError(
                f"{part} already exists: another backup is running or was killed; if it was killed, delete the file"
            ) from None
        try:
            with os.fdopen(number, "wb") as file:
                yield file
                file.flush()
                os.fsync(number)
            _rename(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise _to_startup_error(error, f"{name} cannot be written") from None


def _rename(part: Path, path: Path) -> None:
    try:
        os.link(part, path)  # unlike a rename, this never replaces a file
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        part.rename(path)
    sync_folder(path.parent)


@contextmanager
def _open_input(name: str) -> Iterator[BinaryIO]:
    try:
        with tempfile.TemporaryFile() if name == STDIO else Path(name).open("rb") as file:
            if name == STDIO:  # the backup is read twice
                source = _require_open(sys.stdin, "standard input").buffer
                while piece := source.read(PIECE):
                    file.write(piece)
                file.seek(0)
            yield cast(BinaryIO, file)
    except OSError as error:
        raise _to_startup_error(error, f"{name} cannot be read") from None


def _require_open(stream: TextIO | None, name: str) -> TextIO:
    if stream is None:  # closed by the shell: >&- or <&-
        raise StartupError(f"{name} is closed; specify a file")
    return stream


def _to_startup_error(error: OSError, what: str) -> StartupError:
    return StartupError(f"{error.filename or what}: {error.strerror}")
