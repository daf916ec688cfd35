"""The benchmark, run as a developer runs it, and what it needs."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tools import needs

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the scripts by its name."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module


def run_bench(*arguments: str, **variables: str) -> tuple[int, str]:
    command = [sys.executable, str(SCRIPTS / "bench.py"), *arguments]
    done = subprocess.run(command, env={**os.environ, **variables}, text=True, capture_output=True, timeout=180, check=False)
    return done.returncode, done.stdout + done.stderr


def test_floor_and_service_answer_every_request(tmp_path: Path) -> None:
    needs("wrk", "wrk")
    output = tmp_path / "rows.json"
    short = ("--rounds", "1", "--seconds", "1", "--connections", "4", "--json", str(output))
    status, said = run_bench(*short, TMPDIR=str(tmp_path))
    assert status == 0, said
    rows = json.loads(output.read_text())
    names = {(row["operation"], row["server"].strip("*")) for row in rows}
    assert names == {(name, server) for name in ("get", "list", "create", "patch") for server in ("floor", "taskapi")}
    assert all(row["errors"] == 0 and float(row["req/s"]) > 0 for row in rows)
    assert {row["ratio to floor"] for row in rows if row["server"] == "floor"} == {"1.00"}


def test_missing_load_generator_is_named(tmp_path: Path) -> None:
    status, said = run_bench(PATH=str(tmp_path))
    assert (status, said) == (1, "wrk is missing; install it (Debian, Ubuntu: apt-get install wrk)\n")


@pytest.mark.parametrize(
    ("name", "packages"),
    [("fastify", "apt-get install nodejs npm"), ("go", "apt-get install golang-go golang-mongodb-mongo-driver-dev")],
)
def test_missing_tools_of_peers_are_named(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, packages: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    peers = script("bench_peers")
    assert packages in peers.find_missing(name)
    assert [peers.find_missing(each) for each in ("floor", "taskapi", "naive")] == [None, None, None]


def test_missing_packages_of_fastify_are_named(script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    peers = script("bench_peers")
    manifest = (peers.FASTIFY / "package.json").read_text()
    (tmp_path / "package.json").write_text(manifest)
    for name in ("node", "npm"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setattr(peers, "FASTIFY", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = peers.find_missing("fastify")
    assert [package for package in json.loads(manifest)["dependencies"] if package not in said] == []
    assert "npm ci --prefix scripts/peers/fastify" in said


def test_lock_of_fastify_names_no_host() -> None:
    manifest = json.loads((SCRIPTS / "peers/fastify/package.json").read_text())
    lock = json.loads((SCRIPTS / "peers/fastify/package-lock.json").read_text())
    assert lock["packages"][""]["dependencies"] == manifest["dependencies"]
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []


def test_results_replace_their_section_only(script: Any, tmp_path: Path) -> None:
    page = script("bench_page")
    original = page.PAGE.read_text()
    copy = tmp_path / "page.md"
    for name in ("peers", "scale", "workers", "soak"):
        copy.write_text(original)
        page.require_section(copy, name)
        page.write(copy, name, "| new |")
        before, found, after = copy.read_text().partition(f"<!-- bench {name} -->\n\n| new |\n\n<!-- end -->")
        assert found
        assert original.startswith(before)
        assert original.endswith(after)
    with pytest.raises(ValueError, match="bench nothing"):
        page.require_section(copy, "nothing")


def test_too_large_collections_are_refused_at_once(tmp_path: Path) -> None:
    needs("wrk", "wrk")
    status, said = run_bench("--scale", "10000,1000000000000", TMPDIR=str(tmp_path))
    assert (status, "that is not enough" in said, "TMPDIR" in said) == (1, True, True)
