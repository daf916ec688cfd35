"""Each index of the accounts serves the query it was made for, as MongoDB itself explains."""

from typing import Any

import pytest
from bson import ObjectId

from taskapi.accounts.users.admin_repository import ADMIN, user_filter
from taskapi.accounts.users.admin_schemas import UserQuery
from taskapi.accounts.users.documents import UserDocument
from taskapi.db.connection import BSON
from tests.client import Account
from tests.plans import explain, found_in, stages
from tests.stored import collection

pytestmark = pytest.mark.real

USERS = 500


@pytest.fixture(autouse=True)
async def users(ada: Account) -> None:
    """Ada among others, with enough accounts for the planner to have a choice."""
    await collection(UserDocument).insert_many(
        {"_id": ObjectId(), "username_key": f"user{n}", "disabled": n % 10 == 0, "role": "admin" if n % 100 == 1 else "user"}
        | ({"email_key": f"user{n}@example.com"} if n % 2 else {})
        for n in range(USERS)
    )


async def plan(match: dict[str, Any], *stages: BSON) -> BSON:
    return await explain(UserDocument, [{"$match": match}, *stages])


def examined(explained: BSON) -> int:
    return sum(int(statistics["totalDocsExamined"]) for statistics in found_in(explained, "executionStats"))


@pytest.mark.parametrize(
    ("match", "index"),
    [({"username_key": "ada"}, "username_unique"), ({"email_key": "user1@example.com"}, "email_unique"), (ADMIN, "admins")],
    ids=str,
)
async def test_an_account_is_found_by_one_index(match: dict[str, Any], index: str) -> None:
    explained = await plan(match)
    assert set(found_in(explained, "indexName")) == {index}
    assert examined(explained) <= USERS / 100


@pytest.mark.parametrize("parameters", [{}, {"disabled": "false"}, {"role": "user"}, {"q": "user"}], ids=str)
async def test_page_of_accounts_is_read_in_index_order(parameters: dict[str, str]) -> None:
    match = user_filter(UserQuery.model_validate(parameters))
    explained = await plan(match, {"$sort": {"username_key": 1}}, {"$limit": 20})
    assert set(found_in(explained, "indexName")) == {"username_unique"}
    assert not stages(explained) & {"COLLSCAN", "SORT"}
    assert examined(explained) <= 30


async def test_listing_admins_examines_no_other_accounts() -> None:
    explained = await plan(user_filter(UserQuery(role="admin")), {"$sort": {"username_key": 1}}, {"$limit": 20})
    assert set(found_in(explained, "indexName")) == {"admins"}
    assert examined(explained) == USERS / 100
