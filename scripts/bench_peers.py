"""The servers that the benchmark compares with the API: how each is started, what it needs, and its versions."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parent / "peers"
FASTIFY = FOLDER / "fastify"
GO_PATH = Path("/usr/share/gocode")  # of Debian's packages
TITLES = {
    "floor": "floor",
    "taskapi": "**taskapi**",
    "fastify": "Fastify",
    "go": "Go, net/http",
    "naive": "FastAPI + Beanie",
}


def find_missing(name: str) -> str | None:
    """What to install before ``name`` can run, or None."""
    if name == "fastify" and not (shutil.which("node") and shutil.which("npm")):
        return "needs Node.js 20.19 or newer with npm (Debian, Ubuntu: apt-get install nodejs npm)"
    if name == "fastify" and not (FASTIFY / "node_modules").is_dir():
        packages = ", ".join(json.loads((FASTIFY / "package.json").read_text())["dependencies"])
        return f"needs {packages} (npm ci --prefix scripts/peers/fastify)"
    if name == "go" and not (shutil.which("go") and (GO_PATH / "src/go.mongodb.org/mongo-driver").is_dir()):
        packages = "golang-go golang-mongodb-mongo-driver-dev"
        return f"needs Go and its driver of MongoDB (Debian, Ubuntu: apt-get install {packages})"
    return None


def compile_go(folder: Path) -> Path:
    """Compiles the Go server into ``folder``, unless it is there. Returns its path."""
    program = folder / "go-peer"
    if not program.exists():
        environment = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GO_PATH), "GOCACHE": str(folder / "go-cache")}
        source = str(FOLDER / "go" / "main.go")
        subprocess.run(["go", "build", "-o", str(program), source], env=environment, check=True)
    return program


def make_command(name: str, port: int, folder: Path) -> list[str]:
    """The command that serves ``name`` on ``port``."""
    if name == "fastify":
        return ["node", str(FASTIFY / "server.mjs")]
    if name == "go":
        return [str(compile_go(folder))]
    options = ["--app-dir", str(FOLDER), "--port", str(port), "--no-access-log", "--log-level", "critical"]
    return [sys.executable, "-m", "uvicorn", f"{name}:app", *options]


def find_versions(name: str, folder: Path) -> list[str]:
    if name == "fastify":
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
        manifests = [
            json.loads((FASTIFY / "node_modules" / each / "package.json").read_text()) for each in ("fastify", "mongodb")
        ]
        return [
            f"Node.js {node.removeprefix('v')}",
            f"Fastify {manifests[0]['version']}",
            f"its driver {manifests[1]['version']}",
        ]
    if name == "go":
        said = subprocess.run([str(compile_go(folder)), "versions"], capture_output=True, text=True, check=True).stdout
        return said.strip().split(", ")
    packages = {"taskapi": ("taskapi", "uvicorn", "pymongo"), "floor": ("starlette", "motor"), "naive": ("fastapi", "beanie")}
    return [f"{package} {version(package)}" for package in packages[name]]


def find_wrk_version() -> str:
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    found = re.search(r"wrk \D*([\d.]+)", said.stdout + said.stderr)
    return f"wrk {found[1]}" if found else "wrk"
