"""What the service promises below the routes."""

from bson import ObjectId

from taskapi.accounts.users.schemas import UserRead
from taskapi.tasks.services.tasks import sync_owner_name
from tests.client import Account, stored_task, stored_user


async def test_outdated_owner_name_is_replaced_by_the_latest(ada: Account) -> None:
    task = await ada.make_task()
    present = UserRead.model_validate(await stored_user(ada.id))
    names = iter(["overtaken", "countess", "countess"])

    async def look_up(_: ObjectId) -> UserRead:
        return present.model_copy(update={"username": next(names)})

    owner = await sync_owner_name(present, look_up, [ObjectId(task["id"])])
    assert owner.username == (await stored_task(task["id"]))["owner"]["username"] == "countess"
    assert next(names, None) is None
