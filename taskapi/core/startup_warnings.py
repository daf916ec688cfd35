"""Warnings at start about settings that are probably mistakes."""

import difflib
import logging
import os
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from taskapi.core.env_file import ENV_FILE, HANDED_DOWN, names_in, read_env_file
from taskapi.core.settings import PREFIX, Settings

log = logging.getLogger(__name__)

VARIABLES = sorted(PREFIX + name.upper() for name in Settings.model_fields)
SIMILARITY = 0.8  # between a misspelt name and the suggested one, from 0 to 1
ACCOUNTS_DATABASE = "admin"  # in a URI, it names the database of MongoDB's accounts, not of the data


def find_warnings(settings: Settings, environment: Mapping[str, str] = os.environ) -> list[str]:
    """One line for each unknown variable, and one for a database name that is ignored."""
    return [*_about_environment(environment), *_about_env_file(), *_about_database(settings)]


def log_warnings(settings: Settings) -> None:
    """Logs the warnings, unless the parent process has already printed them."""
    if HANDED_DOWN not in os.environ:
        for warning in find_warnings(settings):
            log.warning("%s", warning)


def _about_environment(environment: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(environment):
        if _is_unknown(name):
            yield _not_a_setting(name)


def _about_env_file() -> Iterator[str]:
    for line, name in names_in(read_env_file()):
        if _is_unknown(name):
            yield f"{ENV_FILE}, line {line}: {_not_a_setting(name)}"


def _about_database(settings: Settings) -> Iterator[str]:
    uri = settings.mongodb_uri.get_secret_value() if settings.mongodb_uri else ""
    path = uri.partition("://")[2].partition("/")[2]
    named = unquote(path.partition("?")[0])
    # If it contains an @, it is the rest of a password that was not percent-encoded.
    if "@" not in path and named not in ("", ACCOUNTS_DATABASE, settings.mongodb_database):
        yield (
            f"TASKAPI_MONGODB_URI names the database {named!r}, which is ignored: the data is in "
            f"{settings.mongodb_database!r} (TASKAPI_MONGODB_DATABASE)"
        )


def _is_unknown(name: str) -> bool:
    return name.upper().startswith(PREFIX) and name.upper() not in VARIABLES


def _not_a_setting(name: str) -> str:
    near = difflib.get_close_matches(name.upper(), VARIABLES, 1, SIMILARITY)
    return f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else "")
