"""Keys that older versions of the service stored: the same request gets the recorded answer, another one is refused."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from bson import ObjectId
from pydantic import SecretStr

from taskapi.core.clock import utc_now
from taskapi.db.connection import BSON
from taskapi.web.idempotency.documents import IdempotencyDocument
from tests.client import Account, is_problem
from tests.conftest import SECRET, another
from tests.stored import collection
from tests.web.idempotency.records import KEY, KEYED, tasks

SMALL = b'{"title":"Once"}'
LARGE = SMALL + b" " * 200_000  # more than is read before anything is reserved
# What each version stores for ``POST /tasks`` with one of these bodies, as JSON, under the secret of the test suite.
FINGERPRINTS = {
    ("1.1", SMALL): "229f3a95f2157e6185d9b8f379a7c869ea6631c7d1d2e85bca9b40b998c6e384",
    ("1.1", LARGE): "50ada716a55d8b4bf78c6df537dd1a6f30ef96edca635583ce90ee298acc36d6",
    ("1.3", SMALL): "24ee9bddf4654a0b5b2d7244c10fe99ab9a04227716e78a98b097a178a6d413d",
    ("1.3", LARGE): "59ec8991fde2a8080bc2f3787dff7566182252d958d1c34bccf99ce329b42e74",
}
ANSWER: BSON = {"status": 201, "headers": [["content-type", "application/json"], ["etag", '"1"']], "body": b'{"title":"Once"}'}
NO_ANSWER: BSON = {"status": None, "headers": None, "body": None}

versions = pytest.mark.parametrize(("version", "body"), FINGERPRINTS, ids=["1.1 small", "1.1 large", "1.3 small", "1.3 large"])


async def keep(ada: Account, fingerprint: str, answer: BSON) -> None:
    """Stores Ada's key as an older version left it; without an answer, as it was killed in the request."""
    now = utc_now()
    record = {
        "_id": {"scope": f"user:{ada.id}", "key": KEY},
        "seed": ObjectId(),
        "fingerprint": bytes.fromhex(fingerprint),
        "holder": None,
        "locked_until": now - timedelta(seconds=1),
        **answer,
        "created_at": now,
        "expires_at": now + timedelta(hours=24),
    }
    await collection(IdempotencyDocument).insert_one(record)


async def send(ada: Account, body: bytes, client: httpx.AsyncClient | None = None) -> httpx.Response:
    headers = {**ada.headers, **KEYED, "content-type": "application/json"}
    return await (client or ada.client).post("/tasks", content=body, headers=headers)


@versions
async def test_the_answer_of_an_older_version_is_replayed(ada: Account, version: str, body: bytes) -> None:
    await keep(ada, FINGERPRINTS[version, body], ANSWER)
    answer = await send(ada, body)
    assert (answer.status_code, answer.content, answer.headers.get("idempotent-replay")) == (201, ANSWER["body"], "true")
    assert answer.headers["etag"] == '"1"'
    is_problem(await send(ada, body + b" "), 422, "idempotency_key_reused")
    assert await tasks() == 0


@versions
async def test_request_left_unfinished_by_older_version_resumes(ada: Account, version: str, body: bytes) -> None:
    await keep(ada, FINGERPRINTS[version, body], NO_ANSWER)
    is_problem(await send(ada, body + b" "), 422, "idempotency_key_reused")
    answers = [await send(ada, body) for _ in range(2)]
    assert [(answer.status_code, "idempotent-replay" in answer.headers) for answer in answers] == [(201, False), (201, True)]
    assert await tasks() == 1


@pytest.mark.real
@versions
async def test_replay_works_when_its_secret_became_second(ada: Account, version: str, body: bytes) -> None:
    await keep(ada, FINGERPRINTS[version, body], ANSWER)
    keys: dict[str, Any] = {"secret_key": None, "secret_keys": [SecretStr("another" + SECRET), SecretStr(SECRET)]}
    async with another(**keys) as client:
        answer = await send(ada, body, client)
    assert (answer.status_code, answer.headers.get("idempotent-replay")) == (201, "true")
