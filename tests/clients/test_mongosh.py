"""The examples in mongosh print what plain Python counts in a seeded database."""

import re
import subprocess
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.examples.brute_force import TABLES
from tests.examples.sources import LAST_DAY, seeded
from tests.examples.tables import EXAMPLES, assert_is, read_table
from tests.tools import needs

pytestmark = pytest.mark.real

MONGOSH = Path(__file__).parent / "node_modules" / ".bin" / "mongosh"
ZONE = "America/New_York"
SECONDS = 60


def test_mongosh_prints_what_plain_python_counts(tmp_path: Path) -> None:
    node = Path(needs("node", "nodejs")).parent
    assert MONGOSH.exists(), "run ./scripts/clients, which installs it"
    config = tmp_path / ".mongodb" / "mongosh" / "config"
    config.parent.mkdir(parents=True)
    config.write_text('{"enableTelemetry": false}')
    with seeded(tmp_path, users=20, tasks=700) as source:
        done = subprocess.run(
            [str(MONGOSH), source.uri, "--quiet", "--file", str(EXAMPLES / "mongosh.js")],
            env={**source.variables(ZONE), "HOME": str(tmp_path), "PATH": str(node)},
            text=True, capture_output=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        _, *parts = re.split(r"^(\w+)\n", done.stdout, flags=re.MULTILINE)
        tables = dict(zip(parts[::2], parts[1::2], strict=True))
        for question, table in TABLES.items():
            expected = table(source.tasks, ZoneInfo(ZONE), date.fromisoformat(LAST_DAY))
            found = read_table(tables[re.sub(r"_(\w)", lambda match: match[1].upper(), question)])
            assert_is([cells for _, *cells in found], expected)  # the first column has the numbers of rows
