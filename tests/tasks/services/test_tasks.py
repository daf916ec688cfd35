"""The task service, below the routes."""

import pytest
from bson import ObjectId

from taskapi.accounts.auth.loaders import AccountLoader
from taskapi.accounts.users.schemas import UserRead
from taskapi.tasks.services.owner_name import OwnerNameSync
from tests.client import Account, stored_task, stored_user
from tests.stored import service


@pytest.mark.real
async def test_outdated_owner_name_is_replaced_by_the_latest(ada: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    task = await ada.make_task()
    present = UserRead.model_validate(await stored_user(ada.id))
    names = iter(["overtaken", "countess", "countess"])

    async def look_up(_: ObjectId) -> UserRead:
        return present.model_copy(update={"username": next(names)})

    monkeypatch.setattr(service(AccountLoader), "get", look_up)
    owner = await service(OwnerNameSync).sync_owner_name(present, [ObjectId(task["id"])])
    assert owner.username == (await stored_task(task["id"]))["owner"]["username"] == "countess"
    assert next(names, None) is None
