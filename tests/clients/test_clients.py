"""Clients that are generated from the OpenAPI document compile, and do their work against a running server.

They need npm's packages, which ``scripts/clients`` installs and ``scripts/test`` does not.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.process import Server, serving
from tests.tools import needs

pytestmark = pytest.mark.real

HERE = Path(__file__).parent
PACKAGES = HERE / "node_modules"
SECONDS = 240


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def folder(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is here, with the document of the running server."""
    folder = tmp_path_factory.mktemp("clients")
    for file in HERE.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    (folder / "node_modules").symlink_to(PACKAGES)
    with server.client() as client:
        (folder / "openapi.json").write_bytes(client.get("/openapi.json").content)
    return folder


def run(folder: Path, *command: str, **variables: str) -> str:
    """A command that succeeds in ``folder``, and calls nobody from there: what it said."""
    silent = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "DO_NOT_TRACK": "1"}
    environment = {**os.environ, **silent, **variables}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def npm(folder: Path, program: str, *arguments: str) -> str:
    """The same, for a program of a package."""
    needs("node", "nodejs")
    assert (PACKAGES / ".bin" / program).exists(), "run ./scripts/clients, which installs it"
    return run(folder, str(PACKAGES / ".bin" / program), *arguments)


def test_redocly_finds_nothing_wrong(folder: Path) -> None:
    npm(folder, "redocly", "lint", "openapi.json")


def test_spectral_finds_nothing_wrong(folder: Path) -> None:
    npm(folder, "spectral", "lint", "--fail-severity=hint", "openapi.json")


def test_typescript_clients_compile_and_work(folder: Path, server: Server) -> None:
    npm(folder, "openapi-typescript", "openapi.json", "--output=schema.d.ts", "--default-non-nullable=false")
    npm(folder, "openapi-ts", "--input=openapi.json", "--output=hey", "--no-log-file")
    npm(folder, "tsc", "--project", ".")
    for program in ("use_openapi_fetch", "use_hey_api"):
        run(folder, needs("node", "nodejs"), f"built/{program}.js", server.url, program)


def test_the_python_client_is_typed_and_works(folder: Path, server: Server) -> None:
    def python(*arguments: str) -> None:
        run(folder, sys.executable, "-m", *arguments, PYTHONPATH=str(folder), MYPYPATH=str(folder))

    python(
        "openapi_python_client", "generate", "--path=openapi.json", "--output-path=taskapi_client", "--meta=none",
        "--config=python_client.yaml",
    )  # fmt: skip
    python("mypy", "--strict", "--no-incremental", "use_python_client.py")
    python("use_python_client", server.url, "use_python_client")
