"""The accounts that ``scripts/mongo.js`` makes in the container's MongoDB, in a real one that asks for passwords."""

import json
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from tests.deployment.nginx import ROOT
from tests.mongod import direct_uri, initiate, running_mongod
from tests.server.process import completed, serving

pytestmark = pytest.mark.real

SCRIPT = (ROOT / "scripts" / "mongo.js").read_text()
PASSWORDS = {name: secrets.token_hex(24) for name in ("root", "api", "analyst")}
REFUSED = 13  # the server's error code Unauthorized


def literal(text: str) -> Any:
    """The value of an object that is written in JavaScript."""
    text = text.replace("reading.role", '"taskapiAnalyst"').replace("database", '"taskapi"')
    text = re.sub(r"^ *//.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\bMONGO_(\w+)_PASSWORD", lambda found: json.dumps(PASSWORDS[found[1].lower()]), text)
    return json.loads(re.sub(r",(\s*[}\]])", r"\1", re.sub(r"(\w+):", r'"\1":', text)))


def uri(port: int, user: str) -> str:
    return f"mongodb://{user}:{PASSWORDS[user]}@127.0.0.1:{port}/?directConnection=true&authSource=admin"


@pytest.fixture(scope="module")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a replica set with sign-in, and the script's accounts."""
    folder = tmp_path_factory.mktemp("mongodb")
    key = folder / "key"
    key.write_text(secrets.token_hex(48))
    key.chmod(0o600)
    with running_mongod(folder, "--keyFile", str(key)) as address:
        initiate(address)
        port = int(address.partition(":")[2])
        with MongoClient[dict[str, Any]](direct_uri(address)) as client:
            client.admin.command("createUser", "root", pwd=PASSWORDS["root"], roles=["root"])
        with MongoClient[dict[str, Any]](uri(port, "root")) as client:
            (role,) = re.findall(r"const reading = (\{.*?\n\});", SCRIPT, re.DOTALL)
            made = literal(role)
            client.admin.command("createRole", made.pop("role"), **made)
            for account in literal("".join(re.findall(r"const accounts = (\[.*?\n\])", SCRIPT, re.DOTALL))):
                client.admin.command("createUser", account.pop("user"), **account)
        yield port


def test_api_account_may_do_all_the_api_does(mongodb: int, tmp_path: Path) -> None:
    given = {"MONGODB_URI": uri(mongodb, "api"), "SECRET_KEY": secrets.token_hex(32)}
    serve = serving(tmp_path / "data", MONGODB_URI=given["MONGODB_URI"], SECRET_KEY=given["SECRET_KEY"])
    with serve as server, server.client(headers=server.account("ada")) as client:
        operations = [{"op": "create", "task": {"title": f"Task {number}", "tags": ["a"]}} for number in range(3)]
        assert client.post("/tasks/bulk?atomic=true", json={"operations": operations}).status_code == 200
        assert client.get("/tasks", params={"q": "task", "tag": "a"}).headers["x-total-count"] == "3"
        imported = client.post("/tasks/import", content=b'{"title": "abc"}', headers={"Content-Type": "application/jsonl"})
        assert imported.json()["created"] == 1
        assert len(client.get("/tasks/export").text.splitlines()) == 4  # of a snapshot
        assert client.patch("/tasks?tag=a&expect=3", json={"priority": 3}).json()["changed"] == 3
        assert client.get("/users/me/export").status_code == 200
        assert client.get("/ready").status_code == 200
    assert "Unauthorized" not in server.output
    program, file = str(Path(sys.executable).with_name("taskapi")), str(tmp_path / "taskapi.backup")
    for command in (["users", "list"], ["backup", file], ["restore", file, "--drop", "taskapi"]):
        status, said = completed(tmp_path / "data", [program, *command], **given)
        assert status == 0, said
    with MongoClient[dict[str, Any]](uri(mongodb, "api")) as database:
        assert database["taskapi"]["tasks"].count_documents({}) == 4
        database["taskapi"].command("collMod", "tasks", validator={"title": {"$type": "string"}})
        database["taskapi"].command("collMod", "tasks", validator={})


@pytest.mark.parametrize("user", ["api", "analyst"])
def test_no_account_reaches_what_it_is_not_for(mongodb: int, user: str) -> None:
    with MongoClient[dict[str, Any]](uri(mongodb, user)) as client:
        tasks = client["taskapi"]["tasks"]
        assert tasks.count_documents({"tags": "a"}) >= 0
        calls: list[Callable[[], Any]] = [
            lambda: client["other"]["tasks"].find_one(),
            lambda: client.admin["system.users"].find_one(),
        ]
        calls.append(lambda: client["taskapi"].command("createUser", "eve", pwd="eve", roles=[]))
        if user == "analyst":
            assert "tasks" in client["taskapi"].list_collection_names()
            hidden = ("users", "sessions", "security_events")
            calls += [partial(client["taskapi"][name].find_one) for name in hidden]
            calls += [lambda: tasks.insert_one({}), lambda: tasks.aggregate([{"$out": "copy"}])]
        for call in calls:
            with pytest.raises(OperationFailure) as caught:
                call()
            assert caught.value.code == REFUSED
