"""The commands of the README and the tutorial, run in the order in which a reader runs them."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.leaks import keep_secret
from tests.server.process import Server, serving
from tests.tools import needs

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Reports the status of each answer on stderr, and ends each answer with a newline.
CURL = "curl() { command curl --write-out '\\n%{stderr}%{http_code}\\n' \"$@\"; }"
CHANGING = re.compile(r"tsk_\w{36}|\b[0-9a-f]{32}\b|\b[0-9a-f]{24}\b|\d{4}-\d\d-\d\dT[0-9:.]+Z")
README = [201, 200, 201, 200, 200, 200, 200, 422, 200, 200]
TUTORIAL = [201, 200, 200, 201, 201, *[200] * 17, 422, 422, 404]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One where nobody has the names of the pages yet."""
    with serving(tmp_path_factory.mktemp("documented") / "data") as server:
        yield server


def run(page: str, server: Server) -> tuple[list[int], str]:
    """The statuses of all answers, and everything that the commands of a page printed after those that start a service."""
    commands = [text for language, text in BLOCK.findall(page) if language == "sh" and "./scripts/" not in text]
    script = "\n".join(["set -euo pipefail", CURL, *commands]).replace("http://127.0.0.1:8000", server.url)
    done = subprocess.run(["bash", "-c", script], text=True, capture_output=True, timeout=60, check=True)
    for token in re.findall(r"tsk_\w{36}", done.stdout):
        keep_secret(token, "API token")
    return [int(status) for status in done.stderr.split()], done.stdout


def json_lines(text: str) -> Iterator[Any]:
    for line in text.splitlines():
        if line.startswith(("{", "[")) and "…" not in line:
            yield json.loads(line)


def agrees(documented: Any, actual: Any) -> bool:
    """Whether an answer holds what the page shows; ids, times and tokens may differ, and it may hold further fields."""
    if isinstance(documented, dict) and isinstance(actual, dict):
        return all(name in actual and agrees(value, actual[name]) for name, value in documented.items())
    if isinstance(documented, list) and isinstance(actual, list):
        return len(documented) == len(actual) and all(map(agrees, documented, actual))
    if isinstance(documented, str) and isinstance(actual, str):
        return CHANGING.sub("…", documented) == CHANGING.sub("…", actual)
    return type(documented) is type(actual) and documented == actual


@pytest.mark.parametrize(("name", "expected"), [("README.md", README), ("docs/tutorial.md", TUTORIAL)])
def test_every_command_answers_as_the_page_shows(name: str, expected: list[int], server: Server) -> None:
    needs("curl", "curl")
    page = (ROOT / name).read_text()
    statuses, printed = run(page, server)
    assert statuses == expected
    answers = list(json_lines(printed))
    shown = [answer for language, text in BLOCK.findall(page) if language != "sh" for answer in json_lines(text)]
    assert shown
    assert [answer for answer in shown if not any(agrees(answer, actual) for actual in answers)] == []
