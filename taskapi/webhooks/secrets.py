"""The secrets that sign what is sent: stored encrypted, for the service must be able to use them."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from taskapi.core.clock import in_utc, utc_now
from taskapi.core.keys import Cipher
from taskapi.db.connection import BSON

OVERLAP: Final = timedelta(hours=24)  # in which the secret before a rotation signs as well


@dataclass(frozen=True, slots=True)
class WebhookSecrets:
    """Encrypts and decrypts secrets."""

    cipher: Cipher

    def encrypt(self, secret: str) -> bytes:
        """The secret as it is stored."""
        return self.cipher.encrypt(secret)

    def current(self, hook: BSON) -> list[str]:
        """The secrets of a stored webhook that sign now; none if its secret was encrypted with a key that is lost."""
        sealed = [hook["secret"]]
        if (until := hook.get("previous_secret_until")) and in_utc(until) > utc_now():
            sealed.append(hook["previous_secret"])
        secret, *previous = [self.cipher.decrypt(each) for each in sealed]
        return [each for each in (secret, *previous) if each is not None] if secret is not None else []
