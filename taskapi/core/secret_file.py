"""The secrets of a data folder: one per line in its file ``secret_key``, the signing one first."""

import logging
import secrets
from collections.abc import Sequence
from pathlib import Path

from pydantic import SecretStr

from taskapi.core import startup_files
from taskapi.core.errors import StartupError
from taskapi.core.setting_values import MIN_SECRET_BYTES
from taskapi.core.settings import Settings

log = logging.getLogger(__name__)


def path_in(folder: Path) -> Path:
    """The file with the secrets of ``folder``."""
    return folder / "secret_key"


def read(folder: Path) -> tuple[str, ...]:
    """The secrets of ``folder``; empty if it has no such file.

    Raises:
        StartupError: the file is damaged, or cannot be read.
    """
    path = path_in(folder)
    text = startup_files.read_text(path)
    if text is None:
        return ()
    found = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not found or any(len(secret.encode()) < MIN_SECRET_BYTES for secret in found):
        raise StartupError(f"{path} is damaged; delete it to generate a new secret, which signs all users out")
    return found


def read_or_make(folder: Path) -> tuple[str, ...]:
    """The secrets of ``folder``; generates one if there is none. Raises as ``read``."""
    return read(folder) or _write(folder, (secrets.token_hex(32),))


def add(folder: Path, more: Sequence[str]) -> bool:
    """Appends secrets to those of ``folder``; False if it already has all of them. Raises as ``read``."""
    before = read(folder)
    after = tuple(dict.fromkeys((*before, *more)))
    return after != before and bool(_write(folder, after))


def complete(settings: Settings, folder: Path, *, make: bool = False) -> Settings:
    """``settings`` with the secrets of ``folder`` as well: the given ones sign, and those of the folder still verify.

    With ``make``, one is made when there is none at all.

    Raises:
        StartupError: the file is damaged, and no secret was given.
    """
    given = settings.secrets
    try:
        own = read_or_make(folder) if make and not given else read(folder)
    except StartupError as error:
        if not given:
            raise
        log.warning("%s; only the secret that is set is used", str(error).partition(";")[0])
        return settings
    if set(own) <= set(given):
        return settings
    together = dict.fromkeys((*given, *own))
    return settings.model_copy(update={"secret_key": None, "secret_keys": tuple(map(SecretStr, together))})


def _write(folder: Path, lines: tuple[str, ...]) -> tuple[str, ...]:
    startup_files.write_text(path_in(folder), "\n".join(lines))
    return lines
