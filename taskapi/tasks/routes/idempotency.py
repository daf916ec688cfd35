"""Which requests accept an ``Idempotency-Key``, and who owns the key."""

from starlette.requests import Request
from starlette.types import Scope

from taskapi.accounts.dependencies import authenticate
from taskapi.core.errors import NotAuthenticated

ANONYMOUS = "/register"
SEARCH = "/tasks/search"


def takes_key(path: str) -> bool:
    """Whether a POST to ``path`` accepts a key. Responses of other routes contain tokens and codes, which must not be stored.

    A search writes nothing, and a caller who may write may not read: a replay would show them the results.
    """
    return path == ANONYMOUS or (path.startswith("/tasks") and path != SEARCH)


async def caller_of(scope: Scope, path: str) -> str | None:
    """The account that calls, or the IP address of an anonymous caller; None for callers who may not write."""
    if path == ANONYMOUS:
        client = scope.get("client")
        return f"address:{client[0] if client else ''}"
    try:
        caller = await authenticate(Request(scope))
    except NotAuthenticated:
        return None
    return f"user:{caller.user.id}" if "tasks:write" in caller.scopes else None
