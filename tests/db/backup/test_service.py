"""Backup and restore of real databases. The commands themselves are run in ``tests/server``."""

import asyncio
import io
from datetime import UTC, datetime
from typing import Any

import bson
import httpx
import pytest
from bson import ObjectId
from fastapi import FastAPI
from pydantic import SecretStr
from pymongo import ASCENDING
from pymongo.errors import WriteError

from taskapi.core.errors import StartupError
from taskapi.core.keys import Keyring
from taskapi.core.settings import Settings
from taskapi.db.backup.format import BadFile, Reader, Writer
from taskapi.db.service_state import RESTORE
from tests.accounts.two_factor.test_router import enter, turn_on
from tests.client import Account, signed_in
from tests.conftest import SECRET, another
from tests.db.backup.conftest import Said, Store, back_up, restore
from tests.leaks import keep_secret

pytestmark = pytest.mark.real

OTHER = keep_secret("another-secret-of-the-test-suite-0123456789", "secret key")
COLLATION = {"locale": "en", "strength": 1, "numericOrdering": True}


def contents(store: Store) -> dict[str, Any]:
    """Everything in a database, but for the ids that the server gives to its collections. Rows of views follow from it."""
    found = {}
    for entry in store.list_collections():
        if (name := entry["name"]).startswith("system."):  # such as what a profiler noted of this database
            continue
        indexes = [] if entry["type"] == "view" else sorted(map(str, store[name].list_indexes()))
        documents = [] if entry["type"] == "view" else sorted(map(bson.encode, store[name].find()))
        found[name] = (entry["type"], entry["options"], indexes, documents)
    return found


def fill(store: Store, documents: int = 10) -> None:
    """Every kind of collection and index, and values of every type."""
    store.create_collection("validated", validator={"age": {"$gte": 0}}, validationLevel="moderate")
    store["validated"].with_options().insert_one({"age": 1})
    store.command("collMod", "validated", validator={"age": {"$gte": 10}})  # what was stored before stays
    store.create_collection("collated", collation={"locale": "de", "strength": 2})
    store["collated"].insert_many([{"_id": "a"}, {"_id": "B"}])
    store.create_collection("capped", capped=True, size=4096, max=5)
    store.create_collection("seen", viewOn="tasks", pipeline=[{"$match": {"n": 1}}])
    store.create_collection("empty")
    store["tasks"].insert_many({"n": n, "title": f"Title {n}", "noise": bytes(100)} for n in range(documents))
    store["tasks"].create_index([("n", 1), ("title", "text")], weights={"title": 10}, default_language="none", name="words")
    store["tasks"].create_index([("title", 1)], collation=COLLATION, unique=True, name="in_order")
    store["tasks"].create_index([("meta.$**", 1)], partialFilterExpression={"n": {"$exists": True}}, name="any")
    store["tasks"].create_index([("at", 1)], expireAfterSeconds=0, sparse=True, name="ttl")
    types: list[Any] = [None, True, 1, 2**40, 1.5, float("inf"), "", "\u0000", b"\0", [], {}, {"": {"a.b": 1, "$c": 2}}]
    types += [datetime(1, 1, 1, tzinfo=UTC), bson.Decimal128("1.10"), bson.Regex("a", "i"), bson.Timestamp(1, 2), bson.MinKey()]
    store["users"].insert_many({"_id": number, "value": value} for number, value in enumerate(types))


def test_everything_is_restored_into_an_empty_database(source: Store, target: Store) -> None:
    fill(source)
    said = Said()
    restore(target, back_up(source), said)
    assert contents(target) == contents(source)
    assert len(contents(target)["tasks"][2]) == 5
    assert "30 documents of 7 collections, 0.0 MiB, restored into" in said[-2]
    with pytest.raises(WriteError):
        target["validated"].insert_one({"age": 1})  # the validator holds for what is new


async def test_an_application_goes_on_where_it_was(app: FastAPI, ada: Account, target: Store) -> None:
    factor = await turn_on(ada)
    tasks = [await ada.make_task(f"Task {number}", tags=["a"]) for number in range(3)]
    async with another(mongodb_database=target.name):
        pass  # has made its collections and a note
    own = target.client[app.state.services[Settings].mongodb_database]
    await asyncio.to_thread(lambda: restore(target, back_up(own)))
    assert contents(target) == contents(own)
    async with another(mongodb_database=target.name) as client:
        there = Account(client, ada.id, ada.username, ada.token, ada.refresh_token)
        assert (await there.get("/tasks?sort=created_at")).json() == tasks
        assert (await enter(client, factor.recovery[0])).status_code == 200
        assert (await enter(client, factor.code(1))).status_code == 200
    assert contents(target) != contents(own)


def test_backup_shows_one_moment_despite_concurrent_writes(source: Store, target: Store) -> None:
    source["a"].insert_many({"pair": number} for number in range(2500))
    source["z"].insert_many({"pair": number} for number in range(2500))
    source["users"].insert_one({})

    class Writing(Said):
        def at(self, collection: str) -> None:
            source["a"].delete_many({"pair": {"$gte": 2000}})
            with source.client.start_session() as session, session.start_transaction():
                pair = ObjectId()
                source["a"].insert_one({"pair": pair}, session=session)
                source["z"].insert_one({"pair": pair}, session=session)
                source["users"].update_one({}, {"$push": {"pairs": pair}}, session=session)

    restore(target, back_up(source, Writing()))
    assert source["z"].count_documents({}) > 2500
    for name in ("a", "z"):
        assert [each["pair"] for each in target[name].find(sort=[("pair", ASCENDING)])] == list(range(2500))
    assert "pairs" not in (target["users"].find_one() or {})


def test_users_and_mails_come_last(source: Store) -> None:
    for name in ("users", "mail_jobs", "a", "z"):
        source[name].insert_one({})
    source.create_collection("a_view", viewOn="a", pipeline=[])
    found = []
    for description, documents in Reader(back_up(source)).contents():
        found.append(description["collection"])
        assert len(list(documents)) <= 1
    assert found == ["a", "z", "users", "mail_jobs", "a_view"]


def test_a_database_that_holds_something_is_left_alone(source: Store, target: Store) -> None:
    fill(source)
    target["tasks"].insert_many([{}, {}])
    target["users"].insert_one({})
    before = contents(target)
    file = back_up(source)
    with pytest.raises(StartupError, match=r"is not empty: tasks \(2\), users \(1\)\. .*--drop test_.*_target"):
        restore(target, file)
    assert contents(target) == before
    restore(target, file, drop=True)
    assert contents(target) == contents(source)


def test_nothing_is_written_from_a_damaged_file(source: Store, target: Store) -> None:
    fill(source, 3000)
    data = bytearray(back_up(source).getvalue())
    data[len(data) // 2] ^= 1
    target["keep"].insert_one({})
    for damaged in (bytes(data), bytes(data[:-9])):
        with pytest.raises(BadFile, match="damaged or cut short"):
            restore(target, io.BytesIO(damaged), drop=True)
    assert target.list_collection_names() == ["keep"]


async def test_interrupted_restore_is_reported_and_can_be_repeated(source: Store, target: Store) -> None:
    fill(source, 3000)
    file = back_up(source)

    class Interrupting(Said):
        def at(self, collection: str) -> None:
            if collection == "tasks":
                raise KeyboardInterrupt

    with pytest.raises(
        StartupError, match=r"^interrupted\. .* is only partly restored; start over with: taskapi restore FILE --drop"
    ):
        restore(target, file, Interrupting())
    assert target["tasks"].count_documents({}) == 1000
    with pytest.raises(StartupError, match="only partly restored"):
        restore(target, file)
    with pytest.raises(StartupError, match="only partly restored"):
        back_up(target)
    with pytest.raises(StartupError, match="only partly restored"):
        async with another(mongodb_database=target.name):
            pass
    restore(target, file, drop=True)
    assert contents(target) == contents(source)
    assert target["service_state"].find_one({"_id": RESTORE}) is None


def test_who_writes_meanwhile_is_not_overwritten(source: Store, target: Store) -> None:
    for name in ("tasks", "users"):
        source[name].insert_one({"_id": 1})

    class Registering(Said):
        def at(self, collection: str) -> None:
            target["users"].insert_one({"_id": 1, "somebody": "else"})

    with pytest.raises(StartupError, match="another process is writing to users: stop the API first"):
        restore(target, back_up(source), Registering())
    assert target["users"].find_one() == {"_id": 1, "somebody": "else"}


def test_writer_during_a_restore_is_named(source: Store, target: Store) -> None:
    source["tasks"].insert_many({"_id": number} for number in range(1500))

    class Writing(Said):
        def at(self, collection: str) -> None:
            target["tasks"].insert_one({"_id": 1200, "somebody": "else"})

    with pytest.raises(
        StartupError, match=r"^another process is writing to tasks: stop the API first\. .* is only partly restored"
    ):
        restore(target, back_up(source), Writing())


def test_collection_options_are_not_taken_as_driver_options(source: Store, target: Store) -> None:
    source["a"].insert_one({})
    sink = io.BytesIO()
    writer = Writer(sink, Reader(back_up(source)).header)
    writer.begin({"collection": "a", "type": "collection", "options": {"check": False, "size": 1}, "indexes": []})
    writer.end()
    writer.close()
    with pytest.raises(StartupError, match="MongoDB refused"):
        restore(target, sink)


def test_an_empty_database_is_not_backed_up(source: Store) -> None:
    with pytest.raises(StartupError, match="is empty"):
        back_up(source)


def test_keys_are_in_the_file_on_request(source: Store, target: Store) -> None:
    fill(source)
    without, said = back_up(source, said := Said()), said
    assert "secrets" not in Reader(without).header
    assert "keep TASKAPI_SECRET_KEY as well" in said[-1]
    keys = {"secret_key": None, "secret_keys": (SecretStr(OTHER), SecretStr(SECRET))}
    with_keys = back_up(source, said, with_keys=True, **keys)
    assert Reader(with_keys).header["secrets"] == [OTHER, SECRET]
    assert "keep it safe" in said[-1]
    said.clear()
    restore(target, without, said)
    assert not [line for line in said if "another secret key" in line]
    restore(target, with_keys, said, drop=True)
    (line,) = [line for line in said if "another secret key" in line]
    assert Keyring([OTHER]).fingerprints()[0] in line
    assert "(--keys-to writes it to a file)" in line
    assert not [line for line in said if OTHER in line or SECRET in line]


def test_key_other_than_the_signing_one_is_named(source: Store) -> None:
    fingerprint = Keyring([OTHER]).fingerprints()[0]
    source["service_state"].insert_one({"_id": "signing_key", "fingerprint": fingerprint, "since": datetime.now(UTC)})
    said = Said()
    assert Reader(back_up(source, said)).header["fingerprints"] == [fingerprint, *Keyring([SECRET]).fingerprints()]
    assert f"its fingerprint is {fingerprint}" in said[0]
    with pytest.raises(StartupError, match=fingerprint):
        back_up(source, with_keys=True)


async def test_sessions_are_restored(app: FastAPI, ada: Account, anonymous: httpx.AsyncClient, target: Store) -> None:
    second = await signed_in(anonymous, ada)
    own = target.client[app.state.services[Settings].mongodb_database]
    file = await asyncio.to_thread(back_up, own)
    await asyncio.to_thread(restore, target, file)
    async with another(mongodb_database=target.name) as client:
        for session in (ada, second):
            assert (await client.get("/users/me", headers=session.headers)).status_code == 200
