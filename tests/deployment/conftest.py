"""nginx with the shipped configuration, in front of a real ``taskapi serve``."""

import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from tests.client import PASSWORD
from tests.conftest import SECRET, URI_VARIABLE
from tests.deployment.nginx import CONFIGURATION, configuration, nginx
from tests.tools import PATIENCE_SECONDS, free_port, running

DATABASE = f"test_nginx_{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}"
ALICE = "127.0.0.2"  # a caller that is not one of the trusted 127.0.0.0/31


@dataclass
class Site:
    """nginx and the API behind it."""

    url: str
    api: str
    log: Path
    nginx_log: Path

    def caller(self, address: str = ALICE, url: str | None = None) -> httpx.Client:
        """A client that calls from ``address``, each of which has its own request rate."""
        return httpx.Client(
            base_url=url or self.url,
            transport=httpx.HTTPTransport(local_address=address),
            trust_env=False,
            timeout=PATIENCE_SECONDS,
        )

    def logged(self, request_id: str) -> dict[str, str]:
        """The fields of the API's access log line for a request; the API writes it after its answer."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            for line in self.log.read_text().splitlines():
                if f"[{request_id}] request " in line:
                    return dict(re.findall(r"(\w+)=(\S+)", line))
            time.sleep(0.01)
        raise AssertionError(f"{request_id} is not in the log:\n{self.log.read_text()}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    api, public = free_port(), free_port()
    program = nginx(configuration(folder, listen=public, api=api))
    variables = {
        "TASKAPI_MONGODB_URI": os.environ[URI_VARIABLE],
        "TASKAPI_MONGODB_DATABASE": DATABASE,
        "TASKAPI_SECRET_KEY": SECRET,
        "TASKAPI_ARGON2_MEMORY_KIB": "8",
        "TASKAPI_ARGON2_ROUNDS": "1",
        "TASKAPI_TRUSTED_PROXIES": "127.0.0.0/31",
    }
    serve = [sys.executable, "-c", "from taskapi.cli.serve import main; main()", "serve", "--port", str(api)]
    options = {"cwd": folder, "env": {**os.environ, **variables, "PYTHONPATH": str(CONFIGURATION.parent)}}
    with MongoClient[dict[str, Any]](os.environ[URI_VARIABLE]) as database:
        database.drop_database(DATABASE)
        with running(serve, folder / "api.log", api, **options), running(program, folder / "nginx.log", public):
            yield Site(f"http://127.0.0.1:{public}", f"http://127.0.0.1:{api}", folder / "api.log", folder / "nginx.log")
        database.drop_database(DATABASE)


@pytest.fixture(scope="module")
def token(site: Site) -> str:
    """Somebody's, who registered and signed in through nginx."""
    with site.caller() as client:
        made = client.post("/register", json={"username": "alice", "password": PASSWORD})
        assert made.status_code == 201, made.text
        signed_in = client.post("/token", data={"username": "alice", "password": PASSWORD})
    assert signed_in.status_code == 200, signed_in.text
    assert "content-encoding" not in signed_in.headers
    return str(signed_in.json()["access_token"])


@pytest.fixture
def alice(site: Site, token: str) -> Iterator[httpx.Client]:
    with site.caller() as client:
        client.headers["Authorization"] = f"Bearer {token}"
        yield client
