"""The secrets that sign what is sent: stored encrypted, for the service must be able to use them."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from taskapi.core.clock import in_utc, utc_now
from taskapi.core.cooperative import CooperativeYield
from taskapi.core.keys import Cipher
from taskapi.db.connection import BSON
from taskapi.webhooks.repository import WebhookRepository

log = logging.getLogger(__name__)

OVERLAP: Final = timedelta(hours=24)  # in which the secret before a rotation signs as well
SECRETS: Final = ("secret", "previous_secret")
LOST: Final = (
    "encrypted with a secret key that is not set: add that key after the current one in TASKAPI_SECRET_KEYS, "
    "or have their owners rotate them"
)


@dataclass(frozen=True, slots=True)
class WebhookSecrets:
    """Encrypts and decrypts secrets."""

    cipher: Cipher

    def encrypt(self, secret: str) -> bytes:
        """The secret as it is stored."""
        return self.cipher.encrypt(secret)

    def current(self, hook: BSON) -> list[str]:
        """The secrets of a stored webhook that sign now; none if its secret is damaged, or encrypted with a key that is lost."""
        until = hook.get("previous_secret_until")
        names = SECRETS if isinstance(until, datetime) and in_utc(until) > utc_now() else SECRETS[:1]
        sealed = [hook.get(name) for name in names]
        secret, *previous = [self.cipher.decrypt(each) if isinstance(each, bytes) else None for each in sealed]
        return [each for each in (secret, *previous) if each is not None] if secret is not None else []

    def renewed(self, hook: BSON) -> BSON | None:
        """Those secrets of a stored webhook that the current key has not encrypted, encrypted with it.

        None if the webhook cannot sign, because its secret was encrypted with a key that is lost.
        """
        sealed = {name: hook[name] for name in SECRETS if isinstance(hook.get(name), bytes)}
        readable = {name: each for name, each in sealed.items() if self.cipher.decrypt(each) is not None}
        if "secret" not in readable:
            return None
        renewed = {name: self.cipher.renewed(each) for name, each in readable.items()}
        return {name: each for name, each in renewed.items() if each != sealed[name]}


async def renew_secrets(hooks: WebhookRepository, secrets: WebhookSecrets) -> None:
    """Has the current key encrypt the secrets of all webhooks, so that a former one can be dropped. Logs how many are lost."""
    turns, lost = CooperativeYield(), 0
    async for hook in hooks.stream_secrets():
        await turns.checkpoint()
        renewed = secrets.renewed(hook)
        if renewed:
            await hooks.replace_secrets(hook, renewed)
        lost += renewed is None
    if lost:
        log.warning("%d webhooks cannot sign: their secrets were %s", lost, LOST)
