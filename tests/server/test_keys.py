"""A secret that is set beside the one that the embedded server made for itself: nobody is signed out unawares."""

import json
from pathlib import Path

import pytest

from tests.client import PASSWORD
from tests.leaks import keep_secret
from tests.server.process import Server, serving
from tests.server.test_accounts import sign_in, statuses

pytestmark = pytest.mark.real

GIVEN = keep_secret("the,key-of-the-containers-0123456789abcdef", "secret key")  # a comma is part of it
NEW = keep_secret("the-next-key-fedcba9876543210fedcba9876543210", "secret key")


def said(server: Server, text: str) -> int:
    return sum(text in line for line in server.output.splitlines())


def test_configured_key_signs_while_stored_key_still_verifies(folder: Path) -> None:
    with serving(folder, "--workers", "2") as server, server.client() as client:
        client.post("/register", json={"username": "ada", "password": PASSWORD})
        own = sign_in(client, "ada")
        assert len(server.warnings) == 0

    env = folder.parent / ".env"
    env.write_text(f"TASKAPI_SECRET_KEY={GIVEN}\n")  # as the container step of docs/deployment.md does
    with serving(folder, "--workers", "2") as server, server.client() as client:
        assert statuses(server, own) == {200}
        given = sign_in(client, "ada")
        assert statuses(server, given) == {200}
        assert said(server, f"{folder / 'secret_key'} still verifies, so all sessions continue") == 1
        assert len(server.warnings) == 1
        assert GIVEN not in server.output

    env.unlink()
    with serving(folder, "--workers", "2") as server:
        assert statuses(server, own) == {200}
        assert statuses(server, given) == {401}
        assert said(server, "the secret key has changed") == 1
        assert len(server.warnings) == 1


def test_key_with_a_comma_can_be_changed(folder: Path) -> None:
    with serving(folder, SECRET_KEY=GIVEN) as server, server.client() as client:
        client.post("/register", json={"username": "ada", "password": PASSWORD})
        headers = sign_in(client, "ada")
    with serving(folder, "--workers", "2", SECRET_KEYS=json.dumps([NEW, GIVEN])) as server:
        assert statuses(server, headers) == {200}
        assert server.warnings == []
