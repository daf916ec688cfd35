"""What middleware, guards and routes share during one request."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.types import Scope

KEY = "taskapi"
KEPT: Final = ("type", "asgi", "method", "raw_path", "client", "state")  # of the scope of a request that is answered already


@dataclass(slots=True)
class RequestState:
    """Created by the outermost middleware, and shared by all copies of the scope."""

    quota_headers: Sequence[tuple[bytes, bytes]] = ()  # headers of the request quota, for the response
    caller: object = None  # once authenticated; its type belongs to the package that authenticates
    account: str | None = None  # the id of the caller's account
    authenticated_at: float = 0.0  # by the monotonic clock
    keyed_run: object = None  # if it has an Idempotency-Key; its type belongs to web/idempotency
    is_unfinished: bool = False  # a repeat under the same Idempotency-Key should try again what failed


def begin_state(scope: Scope) -> RequestState:
    """The state of a new request."""
    state = scope.setdefault("state", {})[KEY] = RequestState()
    return state


def state_of(source: Request | Scope) -> RequestState:
    """The state of the current request."""
    state: RequestState = source["state"][KEY]
    return state


def forget_request(scope: Scope) -> None:
    """Drops what an answer that goes on for long does not need of its request, its token above all."""
    state = state_of(scope)
    state.caller, state.quota_headers = None, ()
    kept = {name: scope[name] for name in KEPT if name in scope}
    scope.clear()
    scope.update(kept)
