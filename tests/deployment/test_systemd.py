"""The systemd unit."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

from taskapi.cli import serve as cli
from taskapi.cli import supervisor
from taskapi.core.settings import Settings
from taskapi.db import mongod_process
from tests.tools import needs, unavailable

UNIT = Path(__file__).parents[2] / "scripts" / "taskapi.service"
PROGRAM = "/opt/taskapi/.venv/bin/taskapi"
HARDENING = {
    "NoNewPrivileges": "yes",
    "DynamicUser": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectControlGroups": "yes",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "LockPersonality": "yes",
    "CapabilityBoundingSet": "",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
}


@pytest.fixture(scope="module")
def service() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser["Service"]


@pytest.fixture
def analyze() -> str:
    return needs("systemd-analyze", "systemd")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit as on a machine where its program is installed."""
    text = UNIT.read_text()
    assert text.count(f"ExecStart={PROGRAM} ") == 1
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace(f"ExecStart={PROGRAM} ", f"ExecStart={sys.executable} "))
    return copy


def test_systemd_finds_no_fault_in_the_unit(analyze: str, installed: Path) -> None:
    done = subprocess.run([analyze, "verify", "--man=no", str(installed)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_rates_the_unit_as_well_protected(analyze: str, installed: Path) -> None:
    version = subprocess.run([analyze, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.split()[1]) < 250:
        unavailable("systemd before 250 cannot rate a file; Debian 12 and Ubuntu 24.04 have a newer one")
    command = [analyze, "security", "--offline=yes", "--threshold=20", "--no-pager", str(installed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "value"), HARDENING.items())
def test_the_unit_is_hardened(service: configparser.SectionProxy, name: str, value: str) -> None:
    assert service[name] == value


def test_unit_omits_hardening_that_breaks_mongod(service: configparser.SectionProxy) -> None:
    assert {"MemoryDenyWriteExecute", "ProcSubset"}.isdisjoint(service)


def test_the_unit_runs_a_command_that_exists(service: configparser.SectionProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *arguments = service["ExecStart"].split()
    assert program == PROGRAM
    served: list[tuple[str, int, int, bool]] = []
    monkeypatch.setattr(cli, "_serve", lambda *given: served.append(given))
    cli.main(arguments)
    assert served == [("127.0.0.1", 8000, 2, False)]


def test_data_is_kept_where_the_unit_may_write(service: configparser.SectionProxy) -> None:
    variables = dict(part.split("=", 1) for part in service["Environment"].split())
    assert "data_dir" in Settings.model_fields
    assert variables["TASKAPI_DATA_DIR"] == f"/var/lib/{service['StateDirectory']}" == service["WorkingDirectory"]
    assert service["StateDirectoryMode"] == "0700"
    assert service["EnvironmentFile"] == "/etc/taskapi.env"


def test_stop_timeout_covers_requests_and_mongod(service: configparser.SectionProxy) -> None:
    assert int(service["TimeoutStopSec"]) > supervisor.STOP_SECONDS + mongod_process.STOP_SECONDS
    assert service["Type"] == "exec"  # a start that waits for a recovery has no limit of time: it counts as started
    assert service["KillMode"] == "mixed"  # else mongod would be stopped first


def test_the_variables_in_the_unit_are_settings() -> None:
    named = set(re.findall(r"TASKAPI_([A-Z_]+)\b", UNIT.read_text()))
    assert named <= {name.upper() for name in Settings.model_fields}
