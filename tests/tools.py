"""Programs that some tests need beside Python, and servers that run for a while."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.leaks import keep_output

PATIENCE_SECONDS = 60  # for what comes in a moment, were it not for a busy machine: only a test that fails waits so long
PORTS = range(10_000, 32_768)  # below those that Linux gives (ip_local_port_range, ip(7))
PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def needs(tool: str, package: str) -> str:
    """The path of ``tool``; where it is missing, the test is ``unavailable``.

    ``package`` is what to install on Debian and Ubuntu.
    """
    path = shutil.which(tool, path=PLACES)
    if path is None:
        unavailable(f"{tool} is missing; install it (Debian, Ubuntu: apt-get install {package})")
    return path


def unavailable(reason: str) -> NoReturn:
    """Skips the test on the machine of somebody who lacks what it needs. When the variable ``CI`` is set, it fails."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that the system gives to nobody else meanwhile.

    Of those that it gives to whoever asks for any, one can be taken again before a server has started to listen on it.
    """
    while True:
        with suppress(OSError), socket.socket() as probe:
            port = secrets.choice(PORTS)
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def running(command: list[str], log: Path, *ports: int, **options: Any) -> Iterator[None]:
    """A server that listens on all ``ports`` meanwhile; what it prints goes to ``log``, and nothing of it is left afterwards."""
    with log.open("a") as output, subprocess.Popen(command, stdout=output, stderr=output, **options) as process:
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not all(map(_listens, ports)):
                assert process.poll() is None, f"it ended:\n{log.read_text()}"
                assert time.monotonic() < deadline, f"it does not listen:\n{log.read_text()}"
                time.sleep(0.02)
            yield
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            keep_output(log.read_text())


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
