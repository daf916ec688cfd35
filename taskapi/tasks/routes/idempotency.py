"""Which requests accept an ``Idempotency-Key``, and who owns the key."""

from starlette.requests import Request
from starlette.types import Scope

from taskapi.accounts.callers import authenticate
from taskapi.accounts.security.throttling import Throttle
from taskapi.core.errors import NotAuthenticated
from taskapi.web.services import services_of

ANONYMOUS = "/register"
SEARCH = "/tasks/search"


def takes_key(path: str) -> bool:
    """Whether a POST to ``path`` accepts a key. Responses of other routes contain tokens and codes, which must not be stored.

    A search writes nothing, and a caller who may write may not read: a replay would show them the results.
    """
    return path == ANONYMOUS or (path.startswith("/tasks") and path != SEARCH)


async def caller_of(scope: Scope, path: str) -> str | None:
    """The account that calls, or the IP address of an anonymous caller; None for callers who may not write.

    Raises TooManyAttempts: an anonymous caller has sent too many keys.
    """
    if path == ANONYMOUS:
        client = scope.get("client")
        ip = client[0] if client else ""
        await services_of(scope)[Throttle].keyed_registration(ip)
        return f"address:{ip}"
    try:
        caller = await authenticate(Request(scope))
    except NotAuthenticated:
        return None
    return f"user:{caller.user.id}" if "tasks:write" in caller.scopes else None
