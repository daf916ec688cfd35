"""The script that follows accounts while everything dies, for some seconds: a primary that steps down, and one that freezes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts.test_scripts import SCRIPTS
from tests.tools import needs

pytestmark = pytest.mark.real

FAULTS = "primary stepped down,primary frozen"
SHORT = ("--seconds", "16", "--every", "5", "--owners", "6", "--writers", "6", "--pause", "0.1", "--faults", FAULTS)


def run(folder: Path) -> tuple[int, str]:
    needs("nginx", "nginx-light")
    command = [sys.executable, str(SCRIPTS / "live_faults.py"), *SHORT]
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, timeout=240, check=False)
    return done.returncode, done.stdout + done.stderr


def test_nothing_is_missed_when_the_primary_changes(tmp_path: Path) -> None:
    status, said = run(tmp_path)
    assert status == 0, said
    assert len(re.findall(r"^\| \d+ \| primary (?:stepped down|frozen) ", said, re.MULTILINE)) == 3
    for way in ("stream", "socket", "delta", "webhook"):
        row = re.search(rf"^\| {way} \| (\d+) \| \d+ \| 0 \| 0 \| 0 \| 0 \|", said, re.MULTILINE)
        assert row, said
        assert int(row[1]) > 100
