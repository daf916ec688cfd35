"""Reading the file ``.env``. Each problem is reported in one line."""

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from dotenv.variables import parse_variables
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource

from taskapi.core.errors import StartupError
from taskapi.core.startup_files import explained

ENV_FILE = Path(".env")
ENCODING = "utf-8-sig"
HANDED_DOWN = "_TASKAPI_HANDED_DOWN"  # in the environment of a process whose parent has warned about its settings
EVERYTHING = "everything"  # its value if all settings are there; a parent that still runs version 1.4 hands down only some

BEFORE_SINGLE_QUOTES = re.compile(r"[^=]+=[^\S\r\n]*(?=')")


class EnvFileSettings(BaseSettings):
    """Settings of which ``.env`` may have some, in single quotes as they are."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources, the one with precedence first."""
        assert isinstance(dotenv_settings, DotEnvSettingsSource)
        if dotenv_settings.env_file == ENV_FILE and (values := _read_values(read_env_file())):  # else it may be a named pipe
            dotenv_settings.env_vars = {name.lower(): value for name, value in values.items() if value}
        return init_settings, env_settings, dotenv_settings, file_secret_settings


def _read_values(text: str) -> dict[str, str]:
    """The values that the text of a ``.env`` sets. In single quotes ``${NAME}`` stands for itself, as for Compose; else it is
    replaced.
    """
    found: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        if binding.key is not None and binding.value is not None:
            known: dict[str, str | None] = {**os.environ, **found}
            is_literal = BEFORE_SINGLE_QUOTES.match(binding.original.string)
            parts = parse_variables(binding.value)
            found[binding.key] = binding.value if is_literal else "".join(part.resolve(known) for part in parts)
    return found


def env_file() -> Path | None:
    """The file with settings; None if they were handed down."""
    return None if os.environ.get(HANDED_DOWN) == EVERYTHING else ENV_FILE


def hand_down(prefix: str) -> None:
    """Puts the settings of ``.env`` into the environment of this process and its children, which do not read the file again."""
    given = {name.upper() for name, value in os.environ.items() if value}
    values = _read_values(read_env_file()) or dotenv_values(ENV_FILE, encoding=ENCODING)
    for name, value in values.items():
        if value and name.upper().startswith(prefix) and name.upper() not in given:
            os.environ[name.upper()] = value
    os.environ[HANDED_DOWN] = EVERYTHING


def read_env_file() -> str:
    """The text of ``.env``; empty if there is no such file, or its settings were handed down.

    Raises:
        StartupError: it cannot be read, is not UTF-8, or has a line that sets nothing.
    """
    if env_file() is None:
        return ""
    with explained(f"{ENV_FILE} cannot be read"):
        if ENV_FILE.is_dir():
            raise StartupError(f"{ENV_FILE} is a folder, not a file; rename it, or start taskapi in another folder")
        if not ENV_FILE.is_file():  # a named pipe can be read only once, and the settings have to
            return ""
        content = ENV_FILE.read_bytes()
    try:
        text = content.decode(ENCODING)
    except UnicodeDecodeError as error:
        raise not_utf8(error) from None
    if "\0" in text:
        raise StartupError(f"{ENV_FILE} is not UTF-8 text: it has NUL characters, as UTF-16 has; save it as UTF-8")
    list(names_in(text))
    return text


def names_in(text: str) -> Iterator[tuple[int, str]]:
    """The variables that the text of a ``.env`` sets, each with the number of its line.

    Raises:
        StartupError: a line is neither NAME=value nor a comment.
    """
    for binding in parse_stream(io.StringIO(text)):
        before = binding.original.string  # from the end of the last one
        line = binding.original.line + before[: -len(before.lstrip()) or None].count("\n")
        if binding.error or (binding.key is not None and binding.value is None):
            raise StartupError(
                f"{ENV_FILE}, line {line}: not a setting of the form NAME=value; complete it, or put a # before it"
            )
        if binding.key is not None:
            yield line, binding.key


def not_utf8(error: UnicodeDecodeError) -> StartupError:
    """The line that says where ``.env`` is not UTF-8."""
    line = error.object.count(b"\n", 0, error.start) + 1
    return StartupError(f"{ENV_FILE} is not UTF-8 (line {line}); save it as UTF-8")
