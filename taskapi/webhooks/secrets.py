"""The secrets that sign what is sent: stored encrypted, for the service must be able to use them."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from taskapi.core.clock import in_utc, utc_now
from taskapi.core.cooperative import CooperativeYield
from taskapi.core.keys import Cipher
from taskapi.db.connection import BSON
from taskapi.webhooks.repository import WebhookRepository

log = logging.getLogger(__name__)

OVERLAP: Final = timedelta(hours=24)  # in which the secret before a rotation signs as well
MAX_PREVIOUS: Final = 5
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
        secret = self._decrypt(hook.get("secret"))
        return [secret, *(previous for previous, _ in self._previous(hook))] if secret is not None else []

    def retired(self, hook: BSON) -> bytes | None:
        """The ``previous_secret`` that a rotation stores: the secret, and those before it that still sign, each until its end.

        So a rotation can be repeated by a caller who has not got the answer: what the receiver knows goes on to sign.
        """
        sealed = hook.get("secret")
        if (secret := self._decrypt(sealed)) is None:
            return sealed if isinstance(sealed, bytes) else None
        ending = [f"{previous}@{int(end.timestamp())}" for previous, end in self._previous(hook)]
        return self.encrypt(" ".join([secret, *ending][:MAX_PREVIOUS]))

    def _previous(self, hook: BSON) -> Iterator[tuple[str, datetime]]:
        """The secrets before the current one that sign now, and until when."""
        until, now = hook.get("previous_secret_until"), utc_now()
        if not isinstance(until, datetime) or in_utc(until) <= now:
            return
        for each in (self._decrypt(hook.get("previous_secret")) or "").split():
            secret, _, end = each.partition("@")
            ends_at = datetime.fromtimestamp(int(end), UTC) if end else in_utc(until)
            if ends_at > now:
                yield secret, ends_at

    def _decrypt(self, sealed: Any) -> str | None:
        return self.cipher.decrypt(sealed) if isinstance(sealed, bytes) else None

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
