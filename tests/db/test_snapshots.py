"""Exports that are read for longer than MongoDB keeps the moment that they show."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import httpx
import pytest
from bson import ObjectId
from pymongo.errors import OperationFailure

from taskapi.accounts.deletion.export import AccountExporters
from taskapi.accounts.users.schemas import Account as Reader
from taskapi.audit.documents import SecurityEventDocument
from taskapi.core.settings import Settings
from taskapi.db import embedded
from taskapi.db.codes import SNAPSHOT_LOST
from taskapi.db.snapshots import stream_batches
from taskapi.tasks.import_export.export import ExportQuery, ExportService, Format
from taskapi.tasks.services.account_data import TaskAccountData
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.pipelines import trash_pipeline
from tests.client import Account, make_account, stored_user
from tests.conftest import another
from tests.stored import collection, service

pytestmark = pytest.mark.real

COUNT = 400  # several batches
WINDOW = {"setParameter": 1, "minSnapshotHistoryWindowInSeconds": 1}


@pytest.fixture(scope="module")
async def forgetful(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application whose MongoDB keeps a moment for one second."""
    settings = Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("forgetful"), mongod_cache_gb=0.25)
    with embedded.provide(settings) as complete:
        async with another(mongodb_uri=complete.mongodb_uri, mongodb_database="forgetful") as client:
            await collection(TaskDocument).database.client.admin.command(WINDOW)
            yield client


@pytest.fixture
async def eve(forgetful: httpx.AsyncClient) -> Account:
    """Somebody with ``COUNT`` tasks and as many events there."""
    eve = await make_account(forgetful, f"eve-{ObjectId()}")
    await seed(eve, COUNT)
    event = await collection(SecurityEventDocument).find_one({"user": ObjectId(eve.id)}) or {}
    events = [{**event, "_id": ObjectId(), "request_id": f"{number:032x}"} for number in range(COUNT)]
    await collection(SecurityEventDocument).insert_many(events)
    return eve


async def seed(account: Account, count: int, **changes: Any) -> list[ObjectId]:
    made = await account.make_task("task")
    template = await collection(TaskDocument).find_one_and_delete({"_id": ObjectId(made["id"])}) or {}
    many = [{**template, "title": f"task {number:03}", **changes, "_id": ObjectId()} for number in range(count)]
    await collection(TaskDocument).insert_many(many)
    return [task["_id"] for task in many]


async def the_moment_has_passed() -> None:
    """Returns when MongoDB no longer keeps what is at this moment."""
    now = (await collection(TaskDocument).database.command("hello"))["$clusterTime"]["clusterTime"]
    while await is_kept(now):  # it moves on with what is written
        await collection(TaskDocument).database["clock"].insert_one({})


async def is_kept(moment: Any) -> bool:
    tasks = collection(TaskDocument)
    read = {"find": tasks.name, "limit": 1, "readConcern": {"level": "snapshot", "atClusterTime": moment}}
    try:
        await tasks.database.command(read)
    except OperationFailure as gone:
        if gone.code not in SNAPSHOT_LOST:
            raise
        return False
    return True


async def reader(account: Account) -> Reader:
    return Reader.model_validate(await stored_user(account.id))


async def rest(parts: AsyncGenerator[bytes, None], first: bytes) -> bytes:
    async with aclosing(parts):
        return first + b"".join([part async for part in parts])


def ids(text: bytes) -> list[str]:
    return [json.loads(line)["id"] for line in text.splitlines()]


QUERIES: Sequence[dict[str, str]] = (
    {},
    {"sort": "created_at"},
    {"sort": "title"},
    {"sort": "-updated_at"},
    {"sort": "due_date,-priority"},
    {"q": "task"},
)


async def exports(account: Account) -> list[AsyncGenerator[bytes, None]]:
    user = await reader(account)
    return [service(ExportService).parts(user, ExportQuery.model_validate(query), Format.jsonl) for query in QUERIES]


async def test_exports_go_on_in_their_order(eve: Account, caplog: pytest.LogCaptureFixture) -> None:
    whole = [await rest(parts, b"") for parts in await exports(eve)]
    slow = await exports(eve)
    begun = [await anext(parts) for parts in slow]
    await the_moment_has_passed()
    assert [await rest(parts, first) for parts, first in zip(slow, begun, strict=True)] == whole
    assert {len(set(ids(text))) for text in whole} == {COUNT}
    assert caplog.text.count("MongoDB discarded a snapshot of tasks") >= 4  # what was sorted in memory needs none


async def test_exports_repeat_no_task_and_miss_none_kept(eve: Account) -> None:
    tasks = collection(TaskDocument)
    all_ids = [str(task["_id"]) async for task in tasks.find({"owner_id": ObjectId(eve.id)}).sort("_id")]
    gone, moved = set(all_ids[5::7]), all_ids[6::7]
    slow = await exports(eve)
    begun = [await anext(parts) for parts in slow]
    await tasks.delete_many({"_id": {"$in": [ObjectId(identity) for identity in gone]}})
    for number, identity in enumerate(moved):  # from the end of an order to its beginning, and the other way round
        changed = {"title": f"{'az'[number % 2]} task", "priority": 5 - 4 * (number % 2)}
        assert (await eve.client.patch(f"/tasks/{identity}", json=changed, headers=eve.headers)).status_code == 200
    await seed(eve, 20)
    await the_moment_has_passed()
    for query, parts, first in zip(QUERIES, slow, begun, strict=True):
        found = ids(await rest(parts, first))
        assert len(found) == len(set(found)), query
        assert set(all_ids) - gone <= set(found), query
        if query != {"sort": "created_at"}:
            assert set(found) <= set(all_ids), query


async def test_what_an_account_export_holds_goes_on(eve: Account) -> None:
    user = await reader(eve)
    tasks = collection(TaskDocument)
    for task in await tasks.find({"owner_id": user.object_id}, {"_id": 1}, limit=COUNT // 2).to_list(None):
        await tasks.update_one({"_id": task["_id"]}, trash_pipeline(user, 1))
    kinds = (
        service(TaskAccountData).export_tasks,
        service(TaskAccountData).export_trash,
        service(TaskAccountData).export_history,
        service(AccountExporters)["events.jsonl"],
    )
    whole = [[line async for line in exported(user)] for exported in kinds]
    slow = [exported(user) for exported in kinds]
    begun = [[await anext(lines)] for lines in slow]
    await the_moment_has_passed()
    assert [first + [line async for line in lines] for first, lines in zip(begun, slow, strict=True)] == whole
    assert [len(set(lines)) for lines in whole[:3]] == [COUNT // 2, COUNT // 2, COUNT * 3 // 2]


async def test_it_goes_on_more_than_once(eve: Account, caplog: pytest.LogCaptureFixture) -> None:
    owner, found = ObjectId(eve.id), []

    def stages(last: Any) -> list[Any]:
        after = {"_id": {"$gt": last["_id"]}} if last else {}
        return [{"$match": {"owner_id": owner, **after}}, {"$sort": {"_id": 1}}, {"$project": {"_id": 1}}]

    async for batch in stream_batches(collection(TaskDocument), stages, COUNT // 2):
        found += [task["_id"] for task in batch]
        await the_moment_has_passed()
    assert len(found) == len(set(found)) == COUNT
    assert caplog.text.count("MongoDB discarded a snapshot of tasks") in (1, 2)  # the end of the last batch may need none
