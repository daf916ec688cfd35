"""Single tasks that are read together, one of them damaged by a script."""

import asyncio

import pytest
from bson import ObjectId

from taskapi.accounts.users.schemas import UserRead
from taskapi.core.errors import NotFound
from taskapi.tasks.storage.documents import TaskDocument
from taskapi.tasks.storage.loader import TaskLoader
from tests.client import Account, stored_user
from tests.stored import collection, service


@pytest.mark.real
async def test_owner_list_fails_no_read_beside_it(ada: Account, bob: Account) -> None:
    odd, sound = await ada.make_task("Odd"), await ada.make_task("Sound")
    tasks, task_id = collection(TaskDocument), ObjectId(odd["id"])
    owners = ["nonsense", ObjectId(ada.id)]
    users = [UserRead.model_validate(await stored_user(account.id)) for account in (ada, bob)]
    loader, asked = service(TaskLoader), [(user, task["id"]) for user in users for task in (odd, sound)]
    await tasks.update_one({"_id": task_id}, {"$set": {"owner_id": owners}, "$unset": {"tags": ""}})
    found = await asyncio.gather(*(loader.get(*each) for each in asked), return_exceptions=True)
    assert [each.title if not isinstance(each, BaseException) else type(each) for each in found] == [
        "Odd", "Sound", NotFound, NotFound,
    ]  # fmt: skip
