"""A pytest plugin: everything that is logged during a run is kept, and the run fails when a secret is found in it."""

import logging
import os
import shutil
import tempfile

import pytest

from taskapi.core.logs import ConsoleFormatter
from tests import leaks

log = logging.getLogger("taskapi.tests")

# PyMongo writes each command with its documents, HTTPX each address, also those that tests call, and the client of websockets
# each header. The application never lets them (tests/core/test_logs.py).
LOUD = {"pymongo": logging.INFO, "httpx": logging.WARNING, "websockets.client": logging.INFO}
TOOLS = ("selenium", "urllib3", "mail.log")  # drive the application from outside: a browser's driver, an SMTP server
PROBLEMS = pytest.StashKey[list[str]]()


def _of_the_application(record: logging.LogRecord) -> bool:
    return not record.name.startswith(TOOLS)


def _as_the_application_is_configured(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name.startswith(("taskapi", "uvicorn"))


def pytest_configure(config: pytest.Config) -> None:
    """Sends all that is logged in this process to the run's folder, which the controlling process makes."""
    if not hasattr(config, "workerinput"):
        os.environ[leaks.FOLDER_VARIABLE] = tempfile.mkdtemp(prefix="taskapi-test-logs-")
    place = leaks.folder()
    assert place
    handler = logging.FileHandler(place / f"{leaks.process()}.log", encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(ConsoleFormatter())
    handler.addFilter(_of_the_application)
    logging.root.addHandler(handler)
    logging.root.setLevel(logging.DEBUG)
    for name, level in LOUD.items():
        logging.getLogger(name).setLevel(level)
    log.debug(leaks.BEGUN)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Shows tests and reports no more of it than the application's own configuration lets through."""
    plugin = session.config.pluginmanager.get_plugin("logging-plugin")
    assert plugin
    for handler in (plugin.caplog_handler, plugin.report_handler):
        handler.addFilter(_as_the_application_is_configured)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In the controlling process, when all others have ended: searches the log."""
    log.debug(leaks.ENDED)
    if hasattr(session.config, "workerinput"):
        return
    place = leaks.folder()
    assert place
    problems = []
    if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        problems += [f"{leak.logger} logged a secret: {leak.kind}" for leak in sorted(leaks.search(place))]
        problems += [f"the log of {name} was not captured" for name in leaks.incomplete(place)]
    if problems:
        session.config.stash[PROBLEMS] = [*problems, f"The log is kept in {place}"]
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    else:
        shutil.rmtree(place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says what was found."""
    if problems := config.stash.get(PROBLEMS, []):
        terminalreporter.section("secrets in the log", red=True)
        for problem in problems:
            terminalreporter.line(problem, red=True)
