"""What a log line looks like."""

import json
import logging
import subprocess
import sys

import pytest

from taskapi.core.logs import ConsoleFormatter, JSONFormatter, request_id


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("taskapi.test", logging.INFO, __file__, 1, message, (), None)
    made.created = 1_800_000_000.5
    made.fields = fields
    return made


def test_json_lines_are_objects_with_the_request_id() -> None:
    token = request_id.set("abc")
    try:
        line = JSONFormatter().format(record("two\nlines", path="/a", status=200))
    finally:
        request_id.reset(token)
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2027-01-15T08:00:00.500Z",
        "level": "info",
        "logger": "taskapi.test",
        "message": "two\nlines",
        "request_id": "abc",
        "path": "/a",
        "status": 200,
    }


def test_console_lines_name_their_fields() -> None:
    line = ConsoleFormatter().format(record("request", path="/a", status=200))
    assert line == "2027-01-15T08:00:00.500Z INFO    taskapi.test [-] request path=/a status=200"


def test_no_setting_makes_libraries_tell_more_than_warnings() -> None:
    """They would log commands with their documents, addresses with their queries, headers."""
    names = ["asyncio", "httpcore", "httpx", "passlib", "pymongo.command", "pymongo.connection"]
    shown = "print([name for name in sys.argv[1:] if logging.getLogger(name).isEnabledFor(logging.INFO)])"
    code = f"import logging, sys; from taskapi.core import logs; logs.configure('debug', 'json'); {shown}"
    done = subprocess.run([sys.executable, "-c", code, *names, "taskapi.access"], capture_output=True, text=True, check=True)
    assert done.stdout == "['taskapi.access']\n"


def test_uvicorn_composes_no_lines_of_its_own() -> None:
    """It asks at each connection whether the logger has handlers, then composes a line for each request, logged or not."""
    code = "import logging; from taskapi.core import logs; logs.configure('debug', 'json'); "
    code += "print(logging.getLogger('uvicorn.access').hasHandlers())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("formatter", [JSONFormatter(), ConsoleFormatter()])
def test_exceptions_bring_their_traceback(formatter: logging.Formatter) -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        made = record("failed")
        made.exc_info = (ValueError, error, error.__traceback__)
    assert "ValueError: broken" in formatter.format(made)
