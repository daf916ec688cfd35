"""The secrets of webhooks when the secret key of the service changes: they move to the new one, and none is lost."""

import asyncio
import time

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from taskapi.core.background import Jobs
from taskapi.core.keys import Keyring
from taskapi.main import create_app
from taskapi.webhooks.repository import WebhookRepository
from taskapi.webhooks.secrets import WebhookSecrets, renew_secrets
from tests.client import Account, signed_in
from tests.conftest import SECRET, another, make_settings, running
from tests.leaks import keep_secret
from tests.stored import service
from tests.tools import PATIENCE_SECONDS
from tests.webhooks.hooks import BSON, add_hook, change_hook, stored_hook
from tests.webhooks.receiver import Receiver
from tests.webhooks.test_signing import ping, verify

pytestmark = pytest.mark.real

NEW = keep_secret("another-secret-of-the-test-suite-0123456789", "secret key")
BOTH = {"secret_key": None, "secret_keys": (SecretStr(NEW), SecretStr(SECRET))}


def secrets_of(*keys: str) -> WebhookSecrets:
    return WebhookSecrets(Keyring(keys).cipher("webhook secrets"))


async def until_renewed(hook: BSON) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not secrets_of(NEW).current(await stored_hook(hook)):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_the_former_key_can_be_dropped(ada: Account, here: Receiver) -> None:
    """As docs/security.md says: the new key first, a restart, then the new one alone."""
    hook = await add_hook(ada, here)
    rotated = (await ada.post(f"/webhooks/{hook['id']}/rotate-secret")).json()
    before = await stored_hook(hook)
    async with another(**BOTH):
        await until_renewed(hook)
    after = await stored_hook(hook)
    assert {name for name in after if after[name] != before.get(name)} == {"secret", "previous_secret"}
    async with another(secret_key=SecretStr(NEW)) as client:
        received = await ping(await signed_in(client, ada), hook, here)
    verify(rotated["secret"], received)
    verify(hook["secret"], received)


async def test_secrets_of_the_current_key_are_left_alone(ada: Account, here: Receiver) -> None:
    hook = await add_hook(ada, here)
    before = await stored_hook(hook)
    await renew_secrets(service(WebhookRepository), secrets_of(SECRET, NEW))
    assert await stored_hook(hook) == before


async def test_a_rotation_meanwhile_is_kept(ada: Account, here: Receiver) -> None:
    hook = await add_hook(ada, here)
    before = await stored_hook(hook)
    rotated = (await ada.post(f"/webhooks/{hook['id']}/rotate-secret")).json()
    renewed = secrets_of(NEW, SECRET).renewed(before)
    assert renewed
    await service(WebhookRepository).replace_secrets(before, renewed)
    assert secrets_of(SECRET).current(await stored_hook(hook)) == [rotated["secret"], hook["secret"]]


async def test_the_start_says_how_many_are_lost(ada: Account, here: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        await add_hook(ada, here)
    await change_hook(await add_hook(ada, here), secret="no bytes")
    application: FastAPI = create_app(make_settings(secret_key=SecretStr(NEW)))
    async with running(application):
        caplog.clear()
        (job,) = [job for job in application.state.services[Jobs] if job.name == "webhook secrets"]
        await job._work()  # as at the start, where nobody waits for it
    (line, *_) = [message for message in caplog.messages if "cannot sign" in message]
    assert line.startswith("3 webhooks cannot sign: their secrets were encrypted with a secret key that is not set")
    assert "TASKAPI_SECRET_KEYS" in line
