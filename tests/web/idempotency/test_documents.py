"""What MongoDB does for the keys by itself."""

import pytest
from fastapi import FastAPI

from taskapi.web.idempotency.documents import IdempotencyDocument
from tests.stored import collection


@pytest.mark.real
async def test_expired_keys_are_removed_and_lookups_use_id(app: FastAPI) -> None:
    indexes = await collection(IdempotencyDocument).index_information()
    assert set(indexes) == {"_id_", "expiry"}
    assert (indexes["expiry"]["key"], indexes["expiry"]["expireAfterSeconds"]) == ([("expires_at", 1)], 0)
