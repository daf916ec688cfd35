"""Signatures of what webhooks send, as the Standard Webhooks specification 1.0 defines them: HMAC-SHA-256 by a shared secret."""

import base64
import hmac
import secrets
from collections.abc import Iterable

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """A secret as receivers keep it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature_headers(message_id: str, timestamp: int, body: bytes, shared: Iterable[str]) -> dict[str, str]:
    """The headers that prove where ``body`` comes from, with a signature by each secret in ``shared``.

    ``timestamp`` is when the attempt is made, in seconds since 1970.
    """
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    signatures = (hmac.digest(base64.b64decode(secret.removeprefix(PREFIX)), signed, "sha256") for secret in shared)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(signature).decode()}" for signature in signatures),
    }
