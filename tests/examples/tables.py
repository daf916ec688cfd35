"""Runs an example, and reads the table that it prints."""

import io
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from unittest import mock

import pytest

from tests.examples.brute_force import Row

EXAMPLES = Path(__file__).parents[2] / "examples"
ROUNDED = {1: 0.051, 2: 0.0051}  # by how much a number may differ that is printed with so many decimals
NOTHING = ("-", "NULL")
SECONDS = 120
MAX_LINES = 50
BOX = str.maketrans(dict.fromkeys("│'", " "))


def run_as_users_do(name: str, folder: Path, variables: Mapping[str, str]) -> str:
    """What an example prints that runs as a process of its own."""
    command = [sys.executable, str(EXAMPLES / f"{name}.py")]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def run_quickly(name: str, variables: Mapping[str, str]) -> str:
    """What an example prints that runs in this process, which has imported its libraries."""
    printed = io.StringIO()
    with mock.patch.dict(os.environ, variables), redirect_stdout(printed):
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    return printed.getvalue()


def read_table(printed: str) -> list[list[str]]:
    """The rows under the head of a table of aligned columns, or of one in a box."""
    lines = printed.splitlines()
    if lines[0].startswith("┌"):
        head, *ends = (number for number, line in enumerate(lines) if line.startswith(("├", "└")))
        return [line.translate(BOX).split() for line in lines[head + 1 : ends[0]]] if ends else []
    return [] if lines[0].startswith("Empty DataFrame") else [line.split() for line in lines[1:]]


def assert_is(found: Sequence[Sequence[str]], expected: Sequence[Row]) -> None:
    """Fails unless a printed table is the expected one, but for the rounding of what it prints with decimals."""
    assert len(found) == len(expected), (found, expected)
    for cells, row in zip(found, expected, strict=True):
        assert list(cells) == [_as_printed(value, cell) for cell, value in zip(cells, row, strict=True)], (cells, row)


def _as_printed(value: str | float | None, cell: str) -> str:
    """How an example shows the value: as ``cell``, if that is the value."""
    decimals = len(cell.partition(".")[2])
    if decimals and isinstance(value, int | float) and float(cell) == pytest.approx(value, abs=ROUNDED[decimals]):
        return cell
    return NOTHING[cell == "NULL"] if value is None else str(value)
