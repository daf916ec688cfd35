"""What an analyst's account reaches in a real MongoDB with sign-in: the views, and nothing else, however it asks."""

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.errors import OperationFailure

from taskapi.main import DOCUMENTS
from tests.server.analysts import GRANTED, ON_REQUEST, UNAUTHORIZED, Mongo, names_of_views

pytestmark = pytest.mark.real

COLLECTIONS = [document.Settings.name for document in DOCUMENTS]
SYSTEM = ("system.views", "system.js", "system.profile")
HIDDEN = [
    *(("taskapi", name) for name in (*COLLECTIONS, *sorted(ON_REQUEST), *SYSTEM, "unknown")),
    *(("admin", name) for name in ("system.users", "system.roles", "system.version", "system.keys")),
    *(("local", name) for name in ("oplog.rs", "startup_log", "system.replset", "replset.election")),
    *(("config", name) for name in ("system.sessions", "transactions", "image_collection", "settings")),
    ("elsewhere", "things"),
]
FAILED_TO_PARSE = {9, 14, 40321}  # a database that $lookup does not accept is refused before anything is looked at
BODY = "function() { return true }"


def test_analyst_lists_and_reads_the_views_only(analyst: Mongo) -> None:
    assert names_of_views(analyst) == GRANTED
    assert analyst.list_database_names() == ["taskapi"]
    privileges = analyst.admin.command("connectionStatus", showPrivileges=True)["authInfo"]["authenticatedUserPrivileges"]
    assert {(each["resource"].get("db"), each["resource"].get("collection")) for each in privileges} == {
        ("taskapi", name) for name in GRANTED
    }
    assert {action for each in privileges for action in each["actions"]} == {"find"}
    for name in GRANTED:
        rows = list(analyst["taskapi"][name].find())
        assert rows, name
        assert analyst["taskapi"][name].count_documents({}) == len(rows)
        for field in {field for row in rows for field in row}:
            assert analyst["taskapi"][name].distinct(field) is not None
    with analyst.start_session(snapshot=True) as session:
        assert analyst["taskapi"]["v_tasks"].find_one({}, session=session)


def stages_that_reach(database: str, name: str) -> Iterator[list[dict[str, Any]]]:
    if database == "taskapi":
        look_up = {"from": name, "pipeline": [], "as": "found"}
        joins = {
            "$lookup": look_up,
            "$unionWith": name,
            "$graphLookup": {
                "from": name,
                "startWith": "$owner_id",
                "connectFromField": "a",
                "connectToField": "_id",
                "as": "found",
            },
        }
        for stage, value in joins.items():
            yield [{stage: value}]
            yield [{"$facet": {"a": [{stage: value}]}}]
        yield [{"$lookup": {"from": "v_users", "pipeline": [{"$lookup": look_up}], "as": "nested"}}]
        yield [{"$unionWith": {"coll": "v_users", "pipeline": [{"$unionWith": name}]}}]
    else:
        yield [{"$lookup": {"from": {"db": database, "coll": name}, "pipeline": [], "as": "found"}}]
    if name not in SYSTEM:
        yield [{"$out": {"db": database, "coll": name}}]
        yield [{"$merge": {"into": {"db": database, "coll": name}}}]


@pytest.mark.parametrize(("database", "name"), HIDDEN)
def test_analyst_reaches_no_other_collection(analyst: Mongo, database: str, name: str) -> None:
    commands: list[dict[str, Any]] = [
        {"find": name},
        {"aggregate": name, "pipeline": [], "cursor": {}},
        {"count": name},
        {"distinct": name, "key": "_id"},
        {"listIndexes": name},
        {"collStats": name},
        {"validate": name},
        {"explain": {"find": name}},
        {"insert": name, "documents": [{}]},
        {"update": name, "updates": [{"q": {}, "u": {"$set": {"a": 1}}}]},
        {"delete": name, "deletes": [{"q": {}, "limit": 0}]},
        {"findAndModify": name, "remove": True},
        {"drop": name},
        {"createIndexes": name, "indexes": [{"key": {"a": 1}, "name": "a"}]},
        {"collMod": name, "validator": {}},
        {"aggregate": name, "pipeline": [{"$changeStream": {}}], "cursor": {}},
    ]
    for command in commands:
        with pytest.raises(OperationFailure) as caught:
            analyst[database].command(command)
        assert caught.value.code == UNAUTHORIZED, command
    for stages in stages_that_reach(database, name):
        for source in ("v_tasks", "v_users"):
            command = {"aggregate": source, "pipeline": stages, "cursor": {}}
            for asked in (command, {"explain": command}):
                with pytest.raises(OperationFailure) as caught:
                    analyst["taskapi"].command(asked)
                assert caught.value.code in {UNAUTHORIZED, *FAILED_TO_PARSE}, (asked, caught.value)


def refused() -> Iterator[tuple[str, dict[str, Any]]]:
    """Commands on databases."""
    view = {"aggregate": "v_tasks", "cursor": {}}
    for database in ("taskapi", "admin", "local"):
        yield database, {"listCollections": 1}
        yield database, {"dbStats": 1}
        yield database, {"usersInfo": 1}
        yield database, {"createUser": "eve", "pwd": "eve", "roles": []}
        yield database, {"createRole": "eve", "privileges": [], "roles": []}
        yield database, {"dropUser": "taskapi"}
        yield database, {"dropDatabase": 1}
        yield database, {"create": "eve"}
        yield database, {"dbHash": 1}
        yield database, {"profile": 2}
    changes: tuple[dict[str, Any], ...] = (
        {"create": "v_eve", "viewOn": "users", "pipeline": []},
        {"create": "v_eve", "viewOn": "v_tasks", "pipeline": []},
        {"collMod": "v_tasks", "viewOn": "users", "pipeline": []},
        {"drop": "v_tasks"},
        {"insert": "v_tasks", "documents": [{}]},
        {"delete": "v_tasks", "deletes": [{"q": {}, "limit": 0}]},
        {"listIndexes": "v_tasks"},
        {"collStats": "v_tasks"},
        {"usersInfo": {"user": "taskapi", "db": "admin"}},
        {"usersInfo": {"forAllDBs": True}},
        {"updateUser": "grace", "pwd": "grace"},
        {"updateUser": "grace", "roles": ["readWrite"]},
        {"grantRolesToUser": "grace", "roles": ["read"]},
        {"rolesInfo": "root", "showPrivileges": True},
        {"updateRole": "taskapi_analytics", "privileges": [], "roles": ["read"]},
        {"grantRolesToRole": "taskapi_analytics", "roles": ["read"]},
        {"planCacheClear": "v_tasks"},
        view | {"pipeline": [{"$out": "v_eve"}]},
        view | {"pipeline": [{"$merge": "v_users"}]},
        view | {"pipeline": [{"$collStats": {"count": {}}}]},
        view | {"pipeline": [{"$indexStats": {}}]},
        view | {"pipeline": [{"$changeStream": {}}]},
        {"aggregate": 1, "pipeline": [{"$changeStream": {}}], "cursor": {}},
    )
    yield from (("taskapi", change) for change in changes)
    commands: tuple[dict[str, Any], ...] = (
        {"aggregate": 1, "pipeline": [{"$changeStream": {"allChangesForCluster": True}}], "cursor": {}},
        {"aggregate": 1, "pipeline": [{"$currentOp": {"allUsers": True}}], "cursor": {}},
        {"aggregate": 1, "pipeline": [{"$listLocalSessions": {"allUsers": True}}], "cursor": {}},
        {"currentOp": 1},
        {"killOp": 1, "op": 1},
        {"killAllSessions": []},
        {"killAllSessions": [{"user": "taskapi", "db": "admin"}]},
        {"killAllSessionsByPattern": [{}]},
        {"renameCollection": "taskapi.v_tasks", "to": "taskapi.v_eve"},
        {"applyOps": []},
        {"serverStatus": 1},
        {"getLog": "global"},
        {"getCmdLineOpts": 1},
        {"getParameter": "*"},
        {"setParameter": 1, "logLevel": 1},
        {"hostInfo": 1},
        {"top": 1},
        {"fsync": 1},
        {"replSetGetStatus": 1},
        {"replSetGetConfig": 1},
        {"replSetStepDown": 1},
        {"logRotate": 1},
        {"setFeatureCompatibilityVersion": "6.0"},
        {"shutdown": 1},
    )
    yield from (("admin", command) for command in commands)


@pytest.mark.parametrize(("database", "command"), list(refused()), ids=lambda value: " ".join(map(str, value))[:60])
def test_no_command_beyond_reading_views_is_allowed(analyst: Mongo, database: str, command: dict[str, Any]) -> None:
    with pytest.raises(OperationFailure) as caught:
        analyst[database].command(command)
    assert caught.value.code == UNAUTHORIZED, caught.value


@pytest.mark.parametrize(
    "command",
    [
        {"find": "v_tasks", "filter": {"$where": BODY}},
        {"find": "v_tasks", "filter": {"$expr": {"$function": {"body": BODY, "args": [], "lang": "js"}}}},
        {
            "aggregate": "v_tasks",
            "cursor": {},
            "pipeline": [
                {
                    "$group": {
                        "_id": None,
                        "a": {
                            "$accumulator": {
                                "init": BODY,
                                "accumulate": BODY,
                                "accumulateArgs": [],
                                "merge": BODY,
                                "lang": "js",
                            }
                        },
                    }
                }
            ],
        },
        {"mapReduce": "v_tasks", "map": BODY, "reduce": BODY, "out": {"inline": 1}},
    ],
    ids=["where", "function", "accumulator", "mapReduce"],
)
def test_analyst_cannot_run_javascript(analyst: Mongo, command: dict[str, Any]) -> None:
    with pytest.raises(OperationFailure, match=r"[Ss]cript|[Jj]ava[Ss]cript|mapReduce on a view is not supported"):
        analyst["taskapi"].command(command)


def test_analyst_sees_and_ends_own_operations_only(admin: Mongo, analyst: Mongo) -> None:
    cursor = admin["taskapi"].command("find", "security_events", batchSize=1)["cursor"]["id"]
    commands: list[dict[str, Any]] = [
        {"getMore": cursor, "collection": "security_events"},
        {"killCursors": "security_events", "cursors": [cursor]},
        {"killCursors": "v_sign_ins", "cursors": [cursor]},
    ]
    for command in commands:
        with pytest.raises(OperationFailure) as caught:
            analyst["taskapi"].command(command)
        assert caught.value.code == UNAUTHORIZED
    assert admin["taskapi"].command("getMore", cursor, collection="security_events")["ok"] == 1
    seen = list(analyst.admin.aggregate([{"$currentOp": {}}]))
    assert {user["user"] for each in seen for user in each.get("effectiveUsers", [])} == {"grace"}
