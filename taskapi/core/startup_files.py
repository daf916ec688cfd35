"""Access to the files that a start needs: every problem is a StartupError of one line that names the file."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from taskapi.core.errors import StartupError

PRIVATE = 0o600


def give_to_owner(folder: Path) -> None:
    """Gives what root has made in ``folder`` to whom it belongs, such as the data of a MongoDB that an operator's command ran.

    The service has to read it. Files with several names are left out: one of them may be outside. Raises StartupError.
    """
    if os.geteuid() != 0:
        return
    with explained(f"{folder} cannot be given to its owner"):
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)  # may be reached by a link, as with systemd's DynamicUser
        try:
            _give_to_owner(top)
        finally:
            os.close(top)


def _give_to_owner(top: int) -> None:
    owner = os.fstat(top)
    for _, folders, files, place in os.fwalk(".", dir_fd=top):
        for name in (*folders, *files):
            with suppress(FileNotFoundError):  # a running MongoDB replaces files
                found = os.stat(name, dir_fd=place, follow_symlinks=False)
                if found.st_uid == 0 != owner.st_uid and (found.st_nlink == 1 or stat.S_ISDIR(found.st_mode)):
                    os.chown(name, owner.st_uid, owner.st_gid, dir_fd=place, follow_symlinks=False)


@contextmanager
def explained(problem: str) -> Iterator[None]:
    """Raises StartupError, "problem: reason", for what the system refuses and for text that is not UTF-8."""
    try:
        yield
    except OSError as error:
        raise StartupError(f"{problem}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise StartupError(f"{problem}: it is not UTF-8 text") from None
    except ValueError as error:  # "embedded null byte"
        raise StartupError(f"{problem}: {error}") from None


def read_text(path: Path) -> str | None:
    """The text of a file; None if there is no such file. Raises StartupError."""
    with explained(f"{path} cannot be read"):
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except FileNotFoundError:
            return None
    if "\0" in text:
        raise StartupError(f"{path} cannot be read: it is not UTF-8 text, it has NUL characters, as UTF-16 has")
    return text


def write_text(path: Path, text: str) -> None:
    """Replaces a file atomically; only its owner can read it. Raises StartupError."""
    draft = path.with_suffix(".new")
    with explained(f"{path} cannot be written"):
        draft.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb", buffering=0) as file:
                remaining = text.encode()
                while remaining:
                    remaining = remaining[file.write(remaining) :]
                os.fsync(file.fileno())
                if os.geteuid() == 0:  # an operator's command; the service has to read it
                    folder = path.parent.stat()
                    os.fchown(file.fileno(), folder.st_uid, folder.st_gid)
            draft.rename(path)
        except OSError:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
