"""The command ``taskapi analytics``: granting, replacing, listing and revoking accounts, and what it refuses."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from pymongo.errors import OperationFailure

from taskapi.core.clock import utc_now
from tests.client import PASSWORD
from tests.server.analysts import GRANTED, ON_REQUEST, Mongo, grant, is_refused, names_of_views, taskapi
from tests.server.process import Server, serving, wait_until
from tests.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.real


def test_emails_are_granted_only_when_asked_for(service: Server, analyst: Mongo) -> None:
    with Mongo(grant(service.folder, "heidi", "--emails")) as heidi:
        assert names_of_views(heidi) == GRANTED | ON_REQUEST
        assert heidi["taskapi"]["v_user_emails"].find_one({"username": "ada"}, {"_id": 0, "email": 1}) == {
            "email": "ada@example.com"
        }
        with Mongo(grant(service.folder, "heidi", "--rotate")) as without:
            assert names_of_views(without) == GRANTED
        assert is_refused(heidi)


def test_rotation_replaces_password_and_ends_connections(service: Server) -> None:
    uri = grant(service.folder, "ivan")
    status, said = taskapi(service.folder, "grant", "ivan")
    assert (status, said.count("\n")) == (1, 1)
    assert "ivan has an account already; --rotate replaces it" in said
    with Mongo(uri) as former:
        cursor = former["taskapi"]["v_task_changes"].find(batch_size=1)
        assert next(cursor)
        with Mongo(grant(service.folder, "ivan", "--rotate")) as ivan:
            assert ivan["taskapi"]["v_tasks"].find_one()
            with pytest.raises(OperationFailure):
                list(cursor)
            assert is_refused(former)
    with Mongo(uri) as former:
        assert is_refused(former)


def is_running(admin: Mongo, name: str) -> bool:
    theirs = {"effectiveUsers.user": name, "op": "command"}
    operations = admin.admin.aggregate([{"$currentOp": {"allUsers": True}}, {"$match": theirs}])
    return any("aggregate" in each["command"] for each in operations)


def test_revoked_account_ends_at_once(service: Server, admin: Mongo) -> None:
    with Mongo(grant(service.folder, "judy")) as judy, ThreadPoolExecutor(1) as threads:
        cursor = judy["taskapi"]["v_task_changes"].find(batch_size=1)
        assert next(cursor)
        pairs = [({"$lookup": {"from": "v_task_changes", "pipeline": [], "as": "a"}}, {"$unwind": "$a"}) for _ in range(20)]
        endless: list[dict[str, Any]] = [*(stage for pair in pairs for stage in pair), {"$count": "rows"}]
        running = threads.submit(lambda: list(judy["taskapi"]["v_task_changes"].aggregate(endless)))
        wait_until(lambda: is_running(admin, "judy"), "the endless query to run")
        status, said = taskapi(service.folder, "revoke", "judy")
        assert (status, said) == (0, "judy has no account now, and what it was doing has ended.\n")
        with pytest.raises(OperationFailure):
            list(cursor)
        assert is_refused(judy)
        assert isinstance(running.exception(PATIENCE_SECONDS), OperationFailure)
    assert admin["taskapi"].command("usersInfo", "judy")["users"] == []
    status, said = taskapi(service.folder, "revoke", "judy")
    assert (status, said) == (1, "taskapi: judy has no account; see: taskapi analytics list\n")


def test_list_names_accounts_and_their_rights(service: Server, analyst: Mongo, admin: Mongo) -> None:
    grant(service.folder, "kim", "--emails")
    admin["taskapi"].command("createUser", "mallory", pwd=PASSWORD, roles=["read"])
    status, said = taskapi(service.folder, "list")
    today = f"{utc_now():%Y-%m-%d}"
    assert status == 0
    lines = [line.split() for line in said.splitlines()]
    assert [today, "no", "grace"] in lines
    assert [today, "yes", "kim"] in lines
    assert "mallory" not in said
    for command in (["grant", "mallory"], ["grant", "mallory", "--rotate"], ["revoke", "mallory"]):
        status, said = taskapi(service.folder, *command)
        assert (status, said) == (1, "taskapi: mallory is a MongoDB user that this command has not made\n")


def test_accounts_follow_the_views_of_a_version(service: Server, analyst: Mongo, admin: Mongo) -> None:
    before = admin["taskapi"].command("rolesInfo", "taskapi_analytics", showPrivileges=True)["roles"][0]["privileges"]
    kept = [each for each in before if each["resource"]["collection"] != "v_tasks"]
    more = {"resource": {"db": "taskapi", "collection": "users"}, "actions": ["find"]}
    admin["taskapi"].command("updateRole", "taskapi_analytics", privileges=[*kept, more])  # as of another version
    assert is_refused(analyst)
    assert "They cannot read v_tasks yet; run: taskapi analytics update\n" in taskapi(service.folder, "list")[1]
    assert taskapi(service.folder, "update") == (0, "All accounts can read the views of this version.\n")
    assert not is_refused(analyst)
    with pytest.raises(OperationFailure):
        analyst["taskapi"]["users"].find_one()


@pytest.mark.parametrize("name", ["", "a b", "a@b", "-a", "a/b", "ä", "a:b", "$a", "x" * 51, "a\nb"])
def test_other_names_are_refused_with_one_line(service: Server, name: str) -> None:
    status, said = taskapi(service.folder, "grant", "--", name)
    assert status == 1
    assert said == "taskapi: the name must have 1 to 50 of A-Z a-z 0-9 _ . - and begin with a letter or a digit\n"


def test_own_mongodb_needs_user_who_manages_accounts(service: Server, admin: Mongo, tmp_path: Path) -> None:
    for name, roles in (("plain", ["readWrite"]), ("manager", ["readWrite", "userAdmin"])):
        admin["taskapi"].command("createUser", name, pwd=PASSWORD, roles=roles)
    (host,) = admin.nodes
    given = {"SECRET_KEY": secrets.token_hex(32), "MONGODB_SELECTION_TIMEOUT_MS": "1000"}

    def own(user: str, host: str = quote(host[0], safe=""), **more: str) -> dict[str, str]:
        uri = f"mongodb://{user}:{quote_plus(PASSWORD)}@{host}/?directConnection=true&authSource=taskapi&retryWrites=true"
        return given | {"MONGODB_URI": uri} | more

    folder = tmp_path / "data"
    says = "taskapi: the MongoDB user of TASKAPI_MONGODB_URI may not manage accounts: run this command with the URI"
    for command in (["grant", "leo"], ["revoke", "leo"], ["list"], ["update"]):
        status, said = taskapi(folder, *command, **own("plain"))
        assert (status, said.count("\n"), said[: len(says)]) == (1, 1, says)
    with Mongo(grant(folder, "leo", **own("manager"))) as leo:
        assert names_of_views(leo) == GRANTED
    status, said = taskapi(folder, "revoke", "leo", **own("manager"))
    assert (status, "leo has no account now; what it was doing goes on" in said) == (0, True)
    assert taskapi(folder, "grant", "leo", **given, MONGODB_URI=service.mongodb_uri, MONGODB_DATABASE="empty") == (
        1,
        "taskapi: the database empty lacks the view v_checklist_items; first run: taskapi migrate up\n",
    )
    status, said = taskapi(folder, "grant", "leo", **own("plain", "127.0.0.1:1"))
    assert (status, said.count("\n")) == (1, 1)
    assert "cannot be used (TASKAPI_MONGODB_URI): no usable server within 1 s" in said


def test_without_sign_in_no_account_is_granted(folder: Path) -> None:
    with serving(folder, MONGOD_AUTH="false") as server:
        server.account()
    status, said = taskapi(folder, "grant", "mia")
    assert (status, said.count("\n")) == (1, 1)
    assert "so an account would protect nothing: everyone who can connect can read and change everything; start the" in said
    status, said = taskapi(folder, "grant", "mia", MONGOD_AUTH="true")  # while no service runs
    assert status == 0
    uri, *more = said.splitlines()
    assert "Only the account that runs the service, and root, can open this socket." in more[-1]
    with serving(folder) as server, Mongo(uri) as mia:
        assert names_of_views(mia) == GRANTED
        assert server.status() == 200
