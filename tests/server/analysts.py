"""Accounts of analysts in the MongoDB of a running service, made as an operator makes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure

from taskapi.main import VIEWS
from tests.client import PASSWORD
from tests.leaks import keep_secret
from tests.server.process import SERVE, Server, completed, serving
from tests.tools import free_port

Mongo = MongoClient[dict[str, Any]]

GRANTED = {view.name for view in VIEWS if not view.on_request}
ON_REQUEST = {view.name for view in VIEWS if view.on_request}
UNAUTHORIZED, AUTHENTICATION_FAILED = 13, 18  # the server's error codes


def taskapi(folder: Path, *arguments: str, **settings: str) -> tuple[int, str]:
    return completed(folder, [SERVE[0], "analytics", *arguments], **settings)


def grant(folder: Path, *arguments: str, **settings: str) -> str:
    """The URI that the command prints."""
    status, said = taskapi(folder, "grant", *arguments, **settings)
    assert status == 0, said
    (uri,) = [line for line in said.splitlines() if line.startswith("mongodb://")]
    return uri


def names_of_views(client: Mongo) -> set[str]:
    """What an account is shown when it lists collections."""
    return set(client["taskapi"].list_collection_names(authorizedCollections=True))


def is_refused(client: Mongo) -> bool:
    try:
        client["taskapi"]["v_tasks"].find_one()
    except OperationFailure as error:
        return error.code in {UNAUTHORIZED, AUTHENTICATION_FAILED}
    return False


@contextmanager
def service_with_rows(folder: Path) -> Iterator[Server]:
    """A service whose views have rows, and whose MongoDB has a port."""
    with serving(folder, MONGOD_PORT=str(free_port())) as server:
        with server.client() as client:
            person = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
            assert client.post("/register", json=person).status_code == 201
            token = keep_secret(client.post("/token", data=person).json()["access_token"], "access_token")
            assert client.post("/token", data=person | {"password": "wrong"}).status_code == 401
            client.headers["Authorization"] = f"Bearer {token}"
            for title in ("Kept", "Deleted"):
                task = client.post("/tasks", json={"title": title, "checklist": [{"text": "one"}]}).json()
                assert client.patch(f"/tasks/{task['id']}", json={"status": "in_progress"}).status_code == 200
            assert client.delete(f"/tasks/{task['id']}").status_code in (200, 204)
        with Mongo(server.mongodb_uri) as admin:
            admin["elsewhere"]["things"].insert_one({})
        status, said = taskapi(folder, "refresh")
        assert (status, "were counted: 1;" in said) == (0, True), said
        yield server
