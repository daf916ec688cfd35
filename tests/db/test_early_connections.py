"""Connections that were opened before their server was ready."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from pymongo.errors import ConfigurationError

from taskapi.db.connection import connect
from tests.conftest import make_settings
from tests.mongod import direct_uri, initiate, running_mongod
from tests.web.idempotency.test_faults import eventually

pytestmark = pytest.mark.real


async def test_sessions_work_on_connections_opened_too_early(tmp_path: Path) -> None:
    with running_mongod(tmp_path) as address:
        client = connect(make_settings(mongodb_uri=SecretStr(direct_uri(address))))

        async def has_snapshots() -> bool:
            async with await client.start_session(snapshot=True) as session:
                try:
                    return await client["some"]["tasks"].find_one({}, session=session) is None
                except ConfigurationError:
                    return False

        await client.admin.command("ping")
        assert not await has_snapshots()
        initiate(address)
        await eventually(has_snapshots)
        client.close()
