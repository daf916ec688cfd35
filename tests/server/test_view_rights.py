"""Views are created and changed by a MongoDB user who has the role ``readWrite`` and no other; less is named in one line."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from taskapi.db.connection import Database, connect, open_database
from taskapi.db.views import NO_RIGHTS, ViewDrift
from taskapi.main import VIEWS
from tests.client import PASSWORD
from tests.conftest import make_settings
from tests.db.migrations.conftest import leave
from tests.server.analysts import Mongo
from tests.server.process import SERVE, completed, serving
from tests.tools import free_port

pytestmark = pytest.mark.real

NAME = "taskapi"


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongo]:
    folder = tmp_path_factory.mktemp("rights") / "data"
    with serving(folder, MONGOD_PORT=str(free_port())) as server, Mongo(server.mongodb_uri) as client:
        server.account()
        client[NAME].command("createUser", "plain", pwd=PASSWORD, roles=["readWrite"])
        yield client


@pytest.fixture
def uri(admin: Mongo) -> str:
    """That of the user, while two views differ and one is missing."""
    for name in ("v_tasks", "v_users"):
        admin[NAME].command("collMod", name, viewOn="tasks", pipeline=[])
    admin[NAME].drop_collection("v_sign_ins")
    ((host, _),) = admin.nodes
    return f"mongodb://plain:{quote_plus(PASSWORD)}@{quote(host, safe='')}/?directConnection=true&authSource={NAME}"


async def differing(database: Database) -> list[ViewDrift]:
    return await database.compare_views(VIEWS)


def test_migrations_repair_views_with_this_role(uri: str, tmp_path: Path) -> None:
    given = {"SECRET_KEY": secrets.token_hex(32), "MONGODB_URI": f"{uri}&retryWrites=true"}
    assert completed(tmp_path, [*SERVE[:1], "migrate", "status"], **given)[0] == 4
    status, said = completed(tmp_path, [*SERVE[:1], "migrate", "up"], **given)
    assert (status, said) == (0, "0 migrations applied. The database is up to date.\n")
    assert completed(tmp_path, [*SERVE[:1], "migrate", "status"], **given)[0] == 0


def test_refused_views_are_left_to_do(admin: Mongo, uri: str, tmp_path: Path) -> None:
    """By a user who may write documents, and nothing else."""
    actions = ["find", "insert", "update", "remove", "createIndex", "listIndexes", "listCollections"]
    privileges = [{"resource": {"db": NAME, "collection": ""}, "actions": actions}]
    admin[NAME].command("createRole", "writer", privileges=privileges, roles=[])
    admin[NAME].command("createUser", "writer", pwd=PASSWORD, roles=["writer"])
    given = {"SECRET_KEY": secrets.token_hex(32), "MONGODB_URI": f"{uri.replace('plain', 'writer')}&retryWrites=true"}
    status, said = completed(tmp_path, [*SERVE[:1], "migrate", "up"], **given)
    assert (status, NO_RIGHTS in said) == (4, True), said
    assert said.splitlines()[-4:] == [
        "view v_tasks has another definition",
        "view v_users has another definition",
        "view v_sign_ins is missing",
        "0 migrations applied.",
    ]


@pytest.mark.parametrize("actions", [[], ["find"], ["find", "insert", "update", "remove", "createIndex", "listIndexes"]], ids=len)
def test_missing_right_is_named_in_one_line(admin: Mongo, uri: str, tmp_path: Path, actions: list[str]) -> None:
    name = f"user_with_{len(actions)}"
    privileges = [{"resource": {"db": NAME, "collection": ""}, "actions": actions}] if actions else []
    admin[NAME].command("createRole", name, privileges=privileges, roles=[])
    admin[NAME].command("createUser", name, pwd=PASSWORD, roles=[name])
    given = {"SECRET_KEY": secrets.token_hex(32), "MONGODB_URI": f"{uri.replace('plain', name)}&retryWrites=true"}
    for command in ("status", "verify"):
        status, said = completed(tmp_path, [*SERVE[:1], "migrate", command], **given)
        assert (status, "Traceback" in said) == (1, False), said
        last = said.splitlines()[-1]
        assert "lacks a right" in last
        assert "grant the role readWrite" in last
        assert "$db" not in last  # which the server's message repeats


async def test_ten_workers_repair_views_at_once(uri: str) -> None:
    async with open_database(make_settings(mongodb_uri=uri, mongodb_database=NAME), leave, connect) as database:
        assert len(await differing(database)) == 3
        await asyncio.gather(*(database.repair_views(VIEWS) for _ in range(10)))
        assert await differing(database) == []
