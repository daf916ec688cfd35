"""Each index of the events serves the query it was made for, as MongoDB itself explains."""

from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId

from taskapi.audit.documents import SecurityEventDocument
from taskapi.audit.repository import NEWEST
from taskapi.core.clock import utc_now
from taskapi.db.connection import BSON
from tests.client import Account
from tests.plans import explain, found_in, stages
from tests.stored import collection

pytestmark = pytest.mark.real

EVENTS = 600
PAGE: list[BSON] = [{"$sort": NEWEST}, {"$limit": 20}]


@pytest.fixture
async def user(ada: Account) -> ObjectId:
    """Ada among others, with enough events for the planner to have a choice."""
    users = [ObjectId(ada.id), None, *(ObjectId() for _ in range(8))]
    now = utc_now()
    await collection(SecurityEventDocument).insert_many(
        {
            "at": now - timedelta(minutes=n // 2),
            "kind": ("sign_in", "password_changed", "session_ended")[n % 3],
            "outcome": "failure" if n % 5 == 0 else "success",
            "user": users[n // 3 % 10],
            "by": None,
            "expires_at": now + timedelta(days=1),
        }
        for n in range(EVENTS)
    )
    return ObjectId(ada.id)


async def plan(match: dict[str, Any]) -> BSON:
    return await explain(SecurityEventDocument, [{"$match": match}, *PAGE])


@pytest.mark.parametrize(
    ("match", "index", "most"),
    [
        ({"user": "me"}, {"user_newest"}, 20),
        ({"user": "me", "kind": "sign_in"}, {"user_newest"}, 100),
        ({}, {"newest"}, 20),
        ({"outcome": "failure"}, {"newest"}, 120),
        ({"kind": "sign_in"}, {"kind_newest"}, 20),
        ({"kind": "sign_in", "outcome": "failure"}, {"kind_newest"}, 120),
    ],
    ids=str,
)
async def test_a_page_comes_from_one_index_in_order(user: ObjectId, match: dict[str, Any], index: set[str], most: int) -> None:
    explained = await plan({**match, "user": user} if "user" in match else match)
    assert set(found_in(explained, "indexName")) == index
    assert not stages(explained) & {"COLLSCAN", "SORT"}
    (statistics,) = found_in(explained, "executionStats")
    assert statistics["totalDocsExamined"] <= most
