"""The file ``.env`` as text: what can be wrong with it is said in one line."""

from pathlib import Path

from taskapi.errors import StartupError

ENV_FILE = Path(".env")


def read_env_file() -> str:
    """The text of ``.env``; empty where there is no such file.

    Raises:
        StartupError: it cannot be read, or is not UTF-8.
    """
    if not ENV_FILE.is_file():  # a named pipe can be read only once, by the settings themselves
        return ""
    try:
        text = ENV_FILE.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise StartupError(f"{ENV_FILE} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise not_utf8(error) from None
    if "\0" in text:
        raise StartupError(f"{ENV_FILE} is not UTF-8 text: it has NUL characters, as UTF-16 has; save it as UTF-8")
    return text


def not_utf8(error: UnicodeDecodeError) -> StartupError:
    """The line that says where ``.env`` is not UTF-8."""
    line = error.object.count(b"\n", 0, error.start) + 1
    return StartupError(f"{ENV_FILE} is not UTF-8 (line {line}); save it as UTF-8")
