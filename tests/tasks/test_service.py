"""What the service promises below the routes."""

from bson import ObjectId

from taskapi.tasks.service import settle_owner
from taskapi.users.schemas import UserRead
from tests.client import Account, stored_task, stored_user


async def test_a_name_that_was_overtaken_is_not_the_one_that_stays(ada: Account) -> None:
    task = await ada.make_task()
    asked: list[ObjectId] = []

    async def look_up(identity: ObjectId) -> UserRead:
        asked.append(identity)
        return UserRead.model_validate(await stored_user(str(identity)))

    await settle_owner(ObjectId(ada.id), "overtaken", look_up)
    assert (await stored_task(task["id"]))["owner"]["username"] == "ada"
    assert asked == [ObjectId(ada.id)] * 2
