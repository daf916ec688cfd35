"""Tasks of version 1.4, which know their owner in another way, and its workers, which go on writing them."""

from typing import Any

import pytest
from bson import ObjectId, encode
from pymongo import ASCENDING, DESCENDING, TEXT

from taskapi.core.clock import utc_now
from taskapi.db.connection import Database
from taskapi.db.migrations.migrator import Migrator
from taskapi.db.migrations.startup import OnStart, make_ready
from taskapi.main import SCHEMA
from taskapi.tasks.services.adoption import TaskAdoption
from taskapi.tasks.storage.adoption import AdoptionRepository, count_unadopted
from taskapi.tasks.storage.documents import TaskDocument
from tests.db.migrations.conftest import Store

pytestmark = pytest.mark.real

ADA, BOB = {"id": ObjectId(), "username": "ada"}, {"id": ObjectId(), "username": "bob"}
NEWEST = [("owner.id", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)]


def of_1_4(**fields: Any) -> dict[str, Any]:
    """A task as version 1.4 stores it."""
    now = utc_now()
    plain = {"title": "A task", "description": "", "status": "todo", "completed": False, "completed_at": None, "priority": 3}
    lists: dict[str, Any] = {"tags": [], "links": [], "checklist": [], "progress": 0.0, "metadata": {}, "history": []}
    return {"_id": ObjectId(), **plain, "due_date": None, **lists, "created_at": now, "updated_at": now, "version": 1, **fields}


def trash(owner: Any) -> dict[str, Any]:
    return {"owner": owner, "deleted_at": utc_now(), "expires_at": utc_now()}


def owners(store: Store) -> dict[Any, tuple[Any, Any]]:
    return {task["_id"]: (task.get("owner_id"), task.get("state")) for task in store.tasks.find()}


@pytest.fixture
def old(store: Store) -> Store:
    """The database with some of the indexes of version 1.4."""
    outside = {"owner.id": {"$exists": True}}
    store.tasks.create_index(NEWEST, name="owner_newest")
    store.tasks.create_index([("owner.id", 1), ("title", TEXT)], name="owner_text", partialFilterExpression=outside)
    store.tasks.create_index([("metadata.$**", 1)], name="metadata_any", partialFilterExpression=outside)
    store.tasks.create_index(
        [("owner.id", 1), ("key", 1)],
        name="owner_key",
        unique=True,
        partialFilterExpression={"key": {"$exists": True}, **outside},
    )
    store.tasks.drop_index("owner_text")  # it has more keys, and the same name as in this version
    return store


async def test_older_tasks_get_owner_and_state(database: Database, old: Store) -> None:
    tasks = {
        "plain": of_1_4(owner=ADA, key="k"),
        "deleted": of_1_4(trash=trash(BOB), key="k"),
        "restored by a script": of_1_4(owner=ADA, trash=trash(ADA)),
        "of a list": of_1_4(trash=trash(["nonsense", BOB])),
        "of nobody": of_1_4(),
        "of a text": of_1_4(owner="ada"),
        "adopted": of_1_4(owner=BOB, owner_id=ADA["id"], state="active"),
        "without state": of_1_4(trash=trash(BOB), owner_id=BOB["id"]),
    }
    old.tasks.insert_many(tasks.values())
    await Migrator(database, SCHEMA).up()
    found = owners(old)
    assert {name: found[task["_id"]] for name, task in tasks.items()} == {
        "plain": (ADA["id"], "active"),
        "deleted": (BOB["id"], "trash"),
        "restored by a script": (ADA["id"], "active"),
        "of a list": (BOB["id"], "trash"),
        "of nobody": (None, None),
        "of a text": (None, None),
        "adopted": (ADA["id"], "active"),
        "without state": (BOB["id"], "trash"),
    }
    assert await Migrator(database, SCHEMA).up() == []


async def test_former_indexes_stay_until_contract(database: Database, old: Store) -> None:
    old.tasks.insert_one(of_1_4(owner=ADA))
    await Migrator(database, SCHEMA).up()
    declared = {index.document["name"] for index in TaskDocument.Settings.indexes}
    former = {"owner_newest", "metadata_any", "owner_key"}
    watching = {"moved_into_trash", "moved_out_of_trash"}
    assert set(old.tasks.index_information()) == declared | former | watching | {"_id_"}
    await Migrator(database, SCHEMA).up(contract=True)
    assert set(old.tasks.index_information()) == declared | {"_id_"}


async def test_tasks_of_old_workers_are_adopted(database: Database, old: Store) -> None:
    created, deleted, restored = of_1_4(owner=ADA), of_1_4(owner=ADA), of_1_4(trash=trash(BOB))
    old.tasks.insert_many([deleted, restored])
    await Migrator(database, SCHEMA).up()
    adoption = TaskAdoption(AdoptionRepository(database))
    old.tasks.insert_one(created)  # as version 1.4 creates, deletes and restores
    old.tasks.update_one({"_id": deleted["_id"]}, {"$set": {"trash": trash(ADA)}, "$unset": {"owner": ""}})
    old.tasks.update_one({"_id": restored["_id"]}, {"$set": {"owner": BOB}, "$unset": {"trash": ""}})
    await adoption.adopt_all()
    assert owners(old) == {
        created["_id"]: (ADA["id"], "active"),
        deleted["_id"]: (ADA["id"], "trash"),
        restored["_id"]: (BOB["id"], "active"),
    }
    assert old.tasks.count_documents({"changed_at": {"$exists": True}}) == 3
    await Migrator(database, SCHEMA).up(contract=True)
    old.tasks.insert_one(late := of_1_4(owner=ADA), bypass_document_validation=True)
    await adoption.adopt_all()
    assert owners(old)[late["_id"]] == (None, None)  # no worker of version 1.4 runs any more


@pytest.mark.parametrize("on_start", [OnStart.everything, OnStart.auto])
async def test_tasks_of_returned_version_are_adopted(database: Database, store: Store, on_start: OnStart) -> None:
    """Version 1.4 was started after the contract phase, without validation: it creates its indexes, and knows no owner_id."""
    kept, deleted = (of_1_4(owner=ADA, owner_id=ADA["id"], state="active") for _ in range(2))
    await make_ready(database, SCHEMA, OnStart.everything)
    store.command({"collMod": "tasks", "validationLevel": "off"})
    store.tasks.insert_many([kept, deleted])
    store.tasks.create_index(NEWEST, name="owner_newest")
    store.tasks.insert_one(created := of_1_4(owner=ADA))
    store.tasks.update_one({"_id": deleted["_id"]}, {"$set": {"trash": trash(ADA)}, "$unset": {"owner": ""}})
    await make_ready(database, SCHEMA, on_start)
    expected = {kept["_id"]: (ADA["id"], "active"), deleted["_id"]: (ADA["id"], "trash"), created["_id"]: (ADA["id"], "active")}
    assert owners(store) == expected
    is_embedded = on_start is OnStart.everything
    assert await AdoptionRepository(database).is_needed() is not is_embedded
    assert ("owner_newest" in store.tasks.index_information()) is not is_embedded
    store.tasks.insert_one(late := of_1_4(owner=BOB), bypass_document_validation=is_embedded)
    if not is_embedded:
        await Migrator(database, SCHEMA).up(contract=True)
        assert owners(store) == {**expected, late["_id"]: (BOB["id"], "active")}


async def test_adoption_finds_more_than_a_batch(database: Database, old: Store) -> None:
    old.tasks.insert_one(of_1_4(owner=ADA))
    await Migrator(database, SCHEMA).up()
    old.tasks.insert_many([of_1_4(owner=BOB) for _ in range(1100)])
    await TaskAdoption(AdoptionRepository(database)).adopt_all()
    assert set(owners(old).values()) == {(ADA["id"], "active"), (BOB["id"], "active")}


async def test_key_stays_unique_beside_old_workers(database: Database, old: Store) -> None:
    """The former index knows the tasks of both versions, the new one only those that are adopted."""
    old.tasks.insert_one(of_1_4(owner=ADA, key="k"))
    await Migrator(database, SCHEMA).up()
    old.tasks.insert_one(of_1_4(owner=ADA, key="new"))
    new = {**of_1_4(owner=ADA, key="new"), "owner_id": ADA["id"], "state": "active"}
    with pytest.raises(Exception, match="owner_key"):
        old.tasks.insert_one(new)


def delete_as_1_4(store: Store, task: dict[str, Any]) -> None:
    store.tasks.update_one({"_id": task["_id"]}, {"$set": {"trash": trash(task["owner"])}, "$unset": {"owner": ""}})


async def test_old_workers_reuse_key_of_deleted(database: Database, old: Store) -> None:
    old.tasks.insert_one(first := of_1_4(owner=ADA, key="k"))
    await Migrator(database, SCHEMA).up()
    delete_as_1_4(old, first)
    old.tasks.insert_many([again := of_1_4(owner=ADA, key="k"), other := of_1_4(owner=BOB)])
    await TaskAdoption(AdoptionRepository(database)).adopt_all()
    assert owners(old) == {
        first["_id"]: (ADA["id"], "trash"),
        again["_id"]: (ADA["id"], "active"),
        other["_id"]: (BOB["id"], "active"),
    }


async def test_old_workers_swap_tasks_of_one_key(database: Database, old: Store) -> None:
    old.tasks.insert_many([older := of_1_4(trash=trash(ADA), key="k"), newer := of_1_4(owner=ADA, key="k")])
    await Migrator(database, SCHEMA).up()
    delete_as_1_4(old, newer)
    old.tasks.update_one({"_id": older["_id"]}, {"$set": {"owner": ADA}, "$unset": {"trash": ""}})
    await Migrator(database, SCHEMA).up(contract=True)
    assert owners(old) == {older["_id"]: (ADA["id"], "active"), newer["_id"]: (ADA["id"], "trash")}


async def test_refused_tasks_stop_no_others(database: Database, old: Store, caplog: pytest.LogCaptureFixture) -> None:
    old.tasks.insert_one(deleted := of_1_4(owner=BOB))
    await Migrator(database, SCHEMA).up()
    old.tasks.insert_one({**of_1_4(owner=ADA, key="k"), "owner_id": BOB["id"], "state": "active"})
    taken, room = of_1_4(owner=BOB, key="k"), 16 * 2**20
    large = of_1_4(owner=ADA, filler="")
    large["filler"] = "x" * (room - len(encode(large)))
    old.tasks.insert_one(large, bypass_document_validation=True)
    old.tasks.insert_many([taken, fine := of_1_4(owner=ADA)])
    delete_as_1_4(old, deleted)
    adoption = TaskAdoption(AdoptionRepository(database))
    await adoption.adopt_all()
    await adoption.adopt_all()
    found = owners(old)
    assert found[fine["_id"]] == (ADA["id"], "active")
    assert found[deleted["_id"]] == (BOB["id"], "trash")
    assert found[taken["_id"]] == found[large["_id"]] == (None, None)
    named = [record.__dict__["fields"]["document"] for record in caplog.records if "refuses" in record.message]
    assert sorted(named) == sorted([str(taken["_id"]), str(large["_id"])])


async def test_owner_in_nested_list_is_left(database: Database, old: Store) -> None:
    old.tasks.insert_one(of_1_4(owner=ADA))
    await Migrator(database, SCHEMA).up()
    old.tasks.insert_one(damaged := of_1_4(trash=trash([{"id": [ADA["id"]]}])), bypass_document_validation=True)
    assert not await AdoptionRepository(database).adopt()
    assert "changed_at" not in old.tasks.find_one({"_id": damaged["_id"]})
    assert await count_unadopted(database) == 0


async def test_new_database_is_not_watched(database: Database) -> None:
    await Migrator(database, SCHEMA).set_up()
    assert not await AdoptionRepository(database).is_needed()
