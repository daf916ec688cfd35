"""What the parts of one request tell each other: middleware, guards and routes."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Scope

KEY = "taskapi"


@dataclass(slots=True)
class RequestState:
    """Made by the outermost middleware, and shared by all copies of the scope."""

    quota_headers: Sequence[tuple[bytes, bytes]] = ()  # what the request quota adds to the answer
    caller: object = None  # once they are known, as the room that knows callers has them
    account: str | None = None  # the id of the caller's account
    is_unfinished: bool = False  # a repeat under the same Idempotency-Key should try again what failed


def begin_state(scope: Scope) -> RequestState:
    """The state of a request that begins."""
    state = scope.setdefault("state", {})[KEY] = RequestState()
    return state


def state_of(source: Request | Scope) -> RequestState:
    """The state of a request that is being answered."""
    state: RequestState = source["state"][KEY]
    return state
