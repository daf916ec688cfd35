"""The search for secrets in the log finds them: in a text, and in runs of pytest that log some."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from tests import leaks
from tests.client import Account, stored_user
from tests.leaks import Leak

LINE = "2027-01-15T08:00:00.500Z INFO    taskapi.other [-] nothing\n2027-01-15T08:00:00.500Z ERROR   {logger} [-] {text}\n"
CANARIES = {
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl-_c2lnbmF0dXJl",
    "refresh token": "tsr_" + "aB3-_" * 8,
    "API token": "tsk_" + "aB3x9Z" * 5,
    "password hash": "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
    "TOTP secret": "otpauth://totp/taskapi:ada?secret=JBSWY3DPEHPK3PXP",
}
PLANTED = """
import logging
import pytest
from tests.leaks import keep_output, keep_secret

@pytest.mark.parametrize("canary", {canaries!r})
def test_a_shape(canary):
    logging.getLogger("taskapi.shapes").debug("it is %s", canary)

def test_a_value_that_is_registered_later_by_another_test():
    logging.getLogger("some.library").debug("form: password=long+enough%21")

def test_register():
    keep_secret("long enough!", "password")

def test_a_traceback():
    try:
        raise ValueError({hash!r})
    except ValueError:
        logging.getLogger("taskapi.faults").exception("failed")

def test_a_server():
    keep_output('{{"time": "…", "logger": "uvicorn.error", "message": "{jwt}"}}')
"""
CLEAN = 'import logging\ndef test_nothing_secret():\n    logging.getLogger("taskapi").debug("tsr_ tsk_ eyJ")\n'
DEAF = "import logging\ndef test_handlers_are_lost():\n    logging.root.handlers.clear()\n"


def run(folder: Path, tests: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A run of pytest of its own, with nothing but the plugin."""
    (folder / "test_planted.py").write_text(tests)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TASKAPI_"))}
    places = {"PYTHONPATH": str(Path(__file__).parents[1]), "TMPDIR": str(folder)}
    command = [sys.executable, "-m", "pytest", "-p", "tests.runlog", "-p", "no:cacheprovider", *options, "test_planted.py"]
    return subprocess.run(command, cwd=folder, env=kept | places, capture_output=True, text=True, check=False)


def found(text: str, values: dict[str, str] | None = None, logger: str = "taskapi.sessions") -> set[Leak]:
    return set(leaks.find(LINE.format(logger=logger, text=text), values or {}))


@pytest.mark.parametrize(("kind", "canary"), CANARIES.items())
def test_each_kind_is_found_with_its_logger(kind: str, canary: str) -> None:
    assert found(f"refused {canary}, from 127.0.0.1") == {Leak("taskapi.sessions", kind)}
    assert found(f"refused\nTraceback (most recent call last):\nValueError: {canary}") == {Leak("taskapi.sessions", kind)}


async def test_what_the_service_gives_has_these_shapes(ada: Account) -> None:
    assert found(ada.token) == {Leak("taskapi.sessions", "JWT")}
    assert found(ada.refresh_token) == {Leak("taskapi.sessions", "refresh token")}
    assert found((await stored_user(ada.id))["password_hash"]) == {Leak("taskapi.sessions", "password hash")}


@pytest.mark.parametrize("value", ["correct horse battery", "pässword & more", "aB3x" * 11, "a-_" * 15, 'quo"ted secret'])
@pytest.mark.parametrize("encode", [str, quote, quote_plus, json.dumps])
def test_registered_value_is_found_in_any_encoding(value: str, encode: Callable[[str], str]) -> None:
    assert found(f"body={encode(value)}", {value: "password"}) == {Leak("taskapi.sessions", "password")}
    assert found(f"body={encode('another one that is long')}", {value: "password"}) == set()


def test_ordinary_lines_are_not_found() -> None:
    assert found("request method=GET path=/tasks/65f1a2b3c4d5e6f708192a3b status=200 ms=1.5 token=tsr_… eyJ. $argon") == set()


def test_run_logging_secrets_fails_naming_logger_and_kind(tmp_path: Path) -> None:
    tests = PLANTED.format(canaries=list(CANARIES.values()), hash=CANARIES["password hash"], jwt=CANARIES["JWT"])
    done = run(tmp_path, tests, "-n", "2")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "9 passed" in done.stdout
    said = [line for line in done.stdout.splitlines() if " logged a secret: " in line]
    assert said == sorted(
        [
            *(f"taskapi.shapes logged a secret: {kind}" for kind in CANARIES),
            "some.library logged a secret: password",
            "taskapi.faults logged a secret: password hash",
            "uvicorn.error logged a secret: JWT",
        ]
    )
    assert not [canary for canary in (*CANARIES.values(), "long+enough", "long enough!") if canary in done.stdout]


def test_run_logging_no_secrets_passes_and_cleans_up(tmp_path: Path) -> None:
    done = run(tmp_path, CLEAN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(tmp_path.glob("taskapi-test-logs-*"))


def test_run_with_an_uncaptured_process_fails(tmp_path: Path) -> None:
    done = run(tmp_path, DEAF, "-n", "1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the log of gw0 was not captured" in done.stdout
