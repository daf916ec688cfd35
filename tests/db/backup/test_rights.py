"""Backups are restored, and the service starts, whatever the MongoDB user may not do."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from tests.client import PASSWORD
from tests.server.analysts import Mongo
from tests.server.process import SERVE, Server, completed, serving
from tests.tools import free_port

pytestmark = pytest.mark.real

TASKAPI = SERVE[0]
OPERATIONS = ["find", "insert", "update", "remove", "createIndex", "listIndexes"]
LEAST = {"least": OPERATIONS, "lists": [*OPERATIONS, "listCollections"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service with a task, and an invalid one."""
    folder = tmp_path_factory.mktemp("rights") / "data"
    with serving(folder, MONGOD_PORT=str(free_port())) as server, Mongo(server.mongodb_uri) as admin:
        with server.client(headers=server.account()) as client:
            client.post("/tasks", json={"title": "Kept"})
        admin["taskapi"]["tasks"].insert_one({"title": 1}, bypass_document_validation=True)
        admin.admin.command("createUser", "plain", pwd=PASSWORD, roles=[{"role": "readWrite", "db": "copy"}])
        for name, actions in LEAST.items():
            granted: list[dict[str, Any]] = [{"resource": {"db": name, "collection": ""}, "actions": actions}]
            admin.admin.command("createRole", name, privileges=granted, roles=[])
            admin.admin.command("createUser", name, pwd=PASSWORD, roles=[name])
        yield server


@pytest.fixture(scope="module")
def admin(server: Server) -> Iterator[Mongo]:
    with Mongo(server.mongodb_uri) as client:
        yield client


def settings(admin: Mongo, user: str, database: str) -> dict[str, Any]:
    host, _ = admin.address or ("", None)
    uri = f"mongodb://{user}:{quote_plus(PASSWORD)}@{quote(str(host), safe='')}/?directConnection=true&authSource=admin"
    return {"SECRET_KEY": secrets.token_hex(32), "MONGODB_URI": uri, "MONGODB_DATABASE": database}


def options(admin: Mongo, name: str, database: str) -> dict[str, Any]:
    return dict(admin[database][name].options())


def test_role_read_write_restores_all_documents(server: Server, admin: Mongo, tmp_path: Path) -> None:
    file, given = tmp_path / "backup", settings(admin, "plain", "copy")
    assert completed(server.folder, [TASKAPI, "backup", str(file)])[0] == 0
    code, said = completed(tmp_path / "data", [TASKAPI, "restore", str(file)], **given)
    assert code == 0, said
    assert "may not set a validator" in said
    assert "dbAdmin" in said
    assert list(admin["copy"]["tasks"].find()) == list(admin["taskapi"]["tasks"].find())
    assert "validator" not in options(admin, "tasks", "copy")
    assert options(admin, "one_time_tokens", "copy") == options(admin, "one_time_tokens", "taskapi")  # it is empty
    with serving(tmp_path / "data", **given) as other:
        assert other.status() == 200
    admin.admin.command("grantRolesToUser", "plain", roles=[{"role": "dbAdmin", "db": "copy"}])
    code, said = completed(tmp_path / "data", [TASKAPI, "migrate", "up", "--contract"], **given)
    assert code == 0, said
    assert options(admin, "tasks", "copy")["validationLevel"] == "moderate"
    assert options(admin, "users", "copy") == options(admin, "users", "taskapi")


@pytest.mark.parametrize("user", LEAST)
def test_service_starts_with_fewer_rights(admin: Mongo, tmp_path: Path, user: str) -> None:
    given = settings(admin, user, user)
    for name in ("ada", "grace"):
        with serving(tmp_path / "data", **given) as server:
            with server.client(headers=server.account(name)) as client:
                assert client.post("/tasks", json={"title": "Works"}).status_code == 201
            assert ("may not list collections" in server.output) is (user == "least")
    assert options(admin, "tasks", user)["validationLevel"] == "strict"
