"""The nginx that the repository ships, in a folder of its own and without root."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench_load import free_port

ROOT = Path(__file__).parents[1]
SNIPPETS = ROOT / "scripts" / "nginx"
INSTALLED = "/opt/taskapi/scripts/nginx/"


@contextmanager
def nginx(folder: Path, api: int, changes: dict[str, str]) -> "Iterator[tuple[str, subprocess.Popen[bytes]]]":
    """Runs it in front of the API on that port; its URL and its process. ``changes`` are made to its files."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        sys.exit("nginx is missing: apt-get install nginx-light")
    port = free_port()
    folder.mkdir()
    for path in SNIPPETS.glob("*.conf"):
        (folder / path.name).write_text(_changed(path.read_text(), {INSTALLED: f"{folder}/", **changes}))
    origins = (SNIPPETS / "origins.conf.template").read_text().replace("${TASKAPI_CORS_ORIGINS}", "")
    (folder / "origins.conf").write_text(origins)
    here = {" /tmp/": f" {folder}/", INSTALLED: f"{folder}/", "listen 8080": f"listen 127.0.0.1:{port}"}
    here |= {"server api:8000;": f"server 127.0.0.1:{api};", "access_log /dev/stdout": "access_log /dev/null"}
    text = _changed((ROOT / "nginx.conf").read_text(), {**here, **changes})
    (folder / "nginx.conf").write_text(text)
    directives = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
    command = [program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", directives]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _changed(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        text = text.replace(old, new)
    return text
