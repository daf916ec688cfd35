"""Which requests take an ``Idempotency-Key``, and whose key it is."""

from starlette.requests import Request
from starlette.types import Scope

from taskapi.accounts.dependencies import authenticate
from taskapi.core.errors import NotAuthenticated

ANONYMOUS = "/register"
SEARCH = "/tasks/search"


def takes_key(path: str) -> bool:
    """Whether a POST to ``path`` takes a key. Other answers hold tokens and codes, which must not be stored.

    A search writes nothing, and who may write may not always read: a repeat would show them what was found.
    """
    return path == ANONYMOUS or (path.startswith("/tasks") and path != SEARCH)


async def caller_of(scope: Scope, path: str) -> str | None:
    """The account that calls, or the IP address of a caller without one; None for callers whom the route lets write nothing."""
    if path == ANONYMOUS:
        client = scope.get("client")
        return f"address:{client[0] if client else ''}"
    try:
        caller = await authenticate(Request(scope))
    except NotAuthenticated:
        return None
    return f"user:{caller.user.id}" if "tasks:write" in caller.scopes else None
