"""Secrets never appear in logs: what a run of the suite logs is kept, and at its end searched for secrets.

The log is files in one folder: a file for each process that runs tests, one for the servers that it starts, and one of
the values that its tests know to be secret. ``tests/runlog.py`` fills and searches it in a run.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, quote_plus

FOLDER_VARIABLE = "TASKAPI_TEST_LOGS"  # set by the process that controls the run
BEGUN, ENDED = "the log of this run begins", "the log of this run is complete"

SHAPES = {
    "JWT": re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+"),
    "refresh token": re.compile(r"tsr_[\w-]{40,}"),
    "API token": re.compile(r"tsk_[\w-]{30,}"),
    "password hash": re.compile(r"\$argon2(id|i|d)\$|\$2[abxy]\$\d\d\$"),
    "webhook secret": re.compile(r"whsec_[A-Za-z0-9+/]{30,}"),
    "TOTP secret": re.compile(r"otpauth:", re.IGNORECASE),
}
HEADER = re.compile(r'^\S+Z [A-Z]+ +(\S+) \[|^\{.*?"logger": "([^"]+)"', re.MULTILINE)  # of both formats of taskapi.core.logs
SHORTEST = 10  # characters that no log holds by chance
WORD = re.compile(r"[A-Za-z0-9]{16,}")


class Leak(NamedTuple):
    """A secret in a log: never its value."""

    logger: str
    kind: str


def folder() -> Path | None:
    """Where the log of this run is kept; None outside of one."""
    return Path(os.environ[FOLDER_VARIABLE]) if FOLDER_VARIABLE in os.environ else None


def process() -> str:
    """The name of this process among those that run tests."""
    return os.environ.get("PYTEST_XDIST_WORKER", "main")


@cache
def keep_secret(value: str, kind: str) -> str:
    """Notes that ``value`` must not be found in the log of this run, and returns it; one that is too short is ignored."""
    if len(value) >= SHORTEST:
        _append(f"{process()}.secrets", json.dumps([value, kind]))
    return value


def keep_output(text: str, kind: str = "service") -> None:
    """Adds what a server printed to the log of this run."""
    _append(f"{process()}-{kind}.servers.log", text)


def _append(name: str, text: str) -> None:
    if place := folder():
        with (place / name).open("a") as file:
            file.write(f"{text}\n")


def search(place: Path) -> set[Leak]:
    """The secrets in all logs of ``place``."""
    lines = [line for path in place.glob("*.secrets") for line in path.read_text().splitlines()]
    values = dict(json.loads(line) for line in lines)
    return {leak for path in place.glob("*.log") for leak in find(path.read_text(errors="replace"), values)}


def incomplete(place: Path) -> list[str]:
    """The processes whose log lacks its beginning or its end."""
    logs = {path.stem: path.read_text(errors="replace") for path in place.glob("*.log") if not path.match("*.servers.log")}
    return sorted(name for name, text in logs.items() if not (BEGUN in text and ENDED in text))


def find(text: str, values: Mapping[str, str]) -> Iterator[Leak]:
    """What looks like a secret in ``text``, and those ``values`` (each with its kind) that are in it, encoded or not."""
    for kind, shape in SHAPES.items():
        for match in shape.finditer(text):
            yield Leak(_logger(text, match.start()), kind)
    words = set(WORD.findall(text))  # to look for each of thousands of tokens in megabytes would take a minute
    for value, kind in values.items():
        for form in {value, quote(value), quote_plus(value), json.dumps(value)[1:-1]}:
            longest = max(WORD.findall(form), key=len, default=None)
            if (longest is None or longest in words) and form in text:
                yield Leak(_logger(text, text.index(form)), kind)


def _logger(text: str, place: int) -> str:
    """Who wrote the line at ``place``, or the traceback that it belongs to."""
    line_end = text.find("\n", place)
    headers = HEADER.findall(text[: line_end if line_end >= 0 else len(text)])
    return "".join(headers[-1]) if headers else "unknown"
