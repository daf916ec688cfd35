"""Output that goes to a full disk: the service runs without it."""

import subprocess
from pathlib import Path

import httpx
import pytest

from tests.server.process import SERVE, environment, wait_until
from tests.tools import PATIENCE_SECONDS, free_port

pytestmark = pytest.mark.real

FULL = Path("/dev/full")


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=PATIENCE_SECONDS).status_code == 200
    except httpx.TransportError:
        return False


def test_service_starts_when_its_log_is_full(folder: Path) -> None:
    port = free_port()
    with FULL.open("w") as full:
        process = subprocess.Popen(
            [*SERVE, "--port", str(port)],
            env=environment(folder, UNKNOWN="causes a warning"),
            cwd=folder.parent,
            stdout=full,
            stderr=full,
        )
    try:
        url = f"http://127.0.0.1:{port}/ready"
        wait_until(lambda: answers(url) or process.poll() is not None, "the server to be ready", 120)
        assert process.poll() is None
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
