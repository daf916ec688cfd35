"""What all commands have in common."""

import argparse
import io
from typing import NoReturn

import pytest

from taskapi.cli.serve import RUN, main


@pytest.mark.parametrize("command", ["serve", *RUN])
def test_help_is_printed_in_any_encoding(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.TextIOWrapper(file := io.BytesIO(), "ascii")
    monkeypatch.setattr("sys.stdout", terminal)
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    terminal.flush()
    assert stop.value.code == 0
    assert file.getvalue().startswith(f"usage: taskapi {command} ".encode())
    assert b"?" not in file.getvalue()


def test_interrupted_command_ends_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: argparse.Namespace) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setitem(RUN, "analytics", interrupt)
    with pytest.raises(SystemExit, match=r"^taskapi: interrupted$"):
        main(["analytics", "list"])
