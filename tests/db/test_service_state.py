"""What the service says at its start about its secret and its database."""

from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from taskapi.core.errors import StartupError
from taskapi.core.keys import Keyring
from taskapi.db.connection import Database
from taskapi.db.service_state import RESTORE, SIGNING_KEY, ServiceStateDocument, ServiceStateRepository
from tests.conftest import SECRET, another
from tests.leaks import keep_secret
from tests.stored import collection

pytestmark = pytest.mark.real

NEW = keep_secret("a-new-secret-of-the-test-suite-9876543210", "secret key")
OLD_FINGERPRINT = Keyring([SECRET]).fingerprints()[0]


async def fingerprint() -> str | None:
    found = await collection(ServiceStateDocument).find_one({"_id": SIGNING_KEY})
    return str(found["fingerprint"]) if found else None


@pytest.fixture(autouse=True)
async def signed_by_the_old_secret(app: FastAPI, anonymous: httpx.AsyncClient) -> None:
    await ServiceStateRepository(app.state.services[Database]).check(Keyring([SECRET]))


@pytest.mark.parametrize("secrets", [(SECRET,), (NEW, SECRET), (SECRET, NEW)])
async def test_proper_change_of_secret_logs_nothing(caplog: pytest.LogCaptureFixture, secrets: tuple[str, ...]) -> None:
    async with another(secret_key=None, secret_keys=tuple(map(SecretStr, secrets))):
        assert caplog.messages == []
        assert await fingerprint() == Keyring(secrets).fingerprints()[0]


async def test_another_secret_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        async with another(secret_key=SecretStr(NEW)):
            pass
    (said,) = caplog.messages
    assert f"(fingerprint {OLD_FINGERPRINT})" in said
    assert "set TASKAPI_SECRET_KEYS to both" in said
    assert await fingerprint() == Keyring([NEW]).fingerprints()[0]


async def test_database_without_a_known_secret_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    await collection(ServiceStateDocument).delete_many({})
    async with another(secret_key=SecretStr(NEW)):
        assert caplog.messages == []


async def test_a_half_restored_database_is_not_served() -> None:
    await collection(ServiceStateDocument).insert_one({"_id": RESTORE, "since": datetime.now(UTC)})
    with pytest.raises(StartupError, match=r"is only partly restored: .* taskapi restore FILE --drop test_"):
        async with another():
            pass
    await collection(ServiceStateDocument).delete_many({})


def test_a_fingerprint_says_nothing_of_its_secret() -> None:
    old, new = Keyring([SECRET, NEW]).fingerprints()
    assert (old, new) == (*Keyring([SECRET]).fingerprints(), *Keyring([NEW]).fingerprints())
    assert len({old, new, Keyring([f"{SECRET} "]).fingerprints()[0]}) == 3
    assert len(old) == 32
    assert SECRET[:8] not in old
