"""Warnings at start: settings that may not mean what their author thinks."""

import difflib
import logging
import os
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from taskapi.core.env_file import ENV_FILE, names_in, read_env_file
from taskapi.core.settings import PREFIX, Settings

log = logging.getLogger(__name__)

VARIABLES = sorted(PREFIX + name.upper() for name in Settings.model_fields)
HANDED_DOWN = "_TASKAPI_HANDED_DOWN"  # in the environment of a process whose parent has warned already
SIMILARITY = 0.8  # of a misspelt name to the one that is suggested, from 0 to 1
ACCOUNTS_DATABASE = "admin"  # where accounts of MongoDB are kept: in a URI it says where to sign in


def find_warnings(settings: Settings, environment: Mapping[str, str] = os.environ) -> list[str]:
    """One line for each variable that no setting reads, and a database not used."""
    return [*_about_environment(environment), *_about_env_file(), *_about_database(settings)]


def log_warnings(settings: Settings) -> None:
    """Logs them, unless the process that started this one has printed them."""
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
    # With an @ in it, it is the rest of a password that was not percent-encoded.
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
