"""Errors of ``Idempotency-Key``."""

from taskapi.core.errors import Conflict, Unprocessable


class IdempotencyInFlight(Conflict):
    """Another run of the request is being answered."""

    code = "idempotency_in_flight"
    detail = "A request with this Idempotency-Key is still running. Try again shortly."
    retry_after = 1


class IdempotencyKeyReused(Unprocessable):
    """The key came with another request before."""

    code = "idempotency_key_reused"
    detail = "This Idempotency-Key was sent with a different request. Use a new key for each request."
