"""``Idempotency-Key``: a POST that is repeated with its key gets its first response again. Pure ASGI, next to the routes."""

import re
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Final

from pymongo.errors import PyMongoError
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskapi.core.errors import DomainError, FieldError, InvalidInput
from taskapi.core.ids import deterministic_ids
from taskapi.web import problems
from taskapi.web.idempotency.documents import KEY_PATTERN
from taskapi.web.idempotency.fingerprint import FingerprintedBody, FingerprintKeys
from taskapi.web.idempotency.service import Answer, IdempotencyService, KeyedRun, Recorded, require_same
from taskapi.web.negotiation import refuse_codings
from taskapi.web.request_state import state_of
from taskapi.web.services import services_of

HEADER = b"idempotency-key"
REPLAY = ("idempotent-replay", "true")
VISIBLE = re.compile(KEY_PATTERN.encode())
MAX_ANSWER_BYTES = 8_388_608  # bytes; a document of MongoDB holds 16 MiB
NOT_KEPT: Final = frozenset({401, 403, 406, 408, 412, 429})
"""Refusals before anything is done, because of the token, ``Accept``, ``If-Match``, the pace or the time: a repeat may differ."""


class IdempotencyKeys:
    """Runs each POST with a key once.

    Args:
        takes_key: says of a path whether a POST to it takes a key.
        caller_of: gives an id of the caller of that path; None when its route will refuse the request.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        takes_key: Callable[[str], bool],
        caller_of: Callable[[Scope, str], Awaitable[str | None]],
    ) -> None:
        self.app = app
        self.takes_key = takes_key
        self.caller_of = caller_of

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http" or scope["method"] != "POST":
            return self.app(scope, receive, send)
        keys = [value for name, value in scope["headers"] if name == HEADER]
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if not keys or not self.takes_key(path):
            return self.app(scope, receive, send)
        return self._answer(path, keys, scope, receive, send)

    async def _answer(self, path: str, keys: list[bytes], scope: Scope, receive: Receive, send: Send) -> None:
        try:
            caller = await self.caller_of(scope, path)
            if caller is None:  # the route says what is missing
                await self.app(scope, receive, send)
                return
            refuse_codings(scope)  # not under the key: the body may follow as it is
            response = await self._once(caller, _only(keys), scope, receive)
        except DomainError as error:
            response = problems.of_domain(error)
        except PyMongoError as error:
            response = problems.of_driver(error)
        await response(scope, receive, send)

    async def _once(self, caller: str, key: str, scope: Scope, receive: Receive) -> Response:
        """The recorded response, or the response of running the request, which is recorded before it is sent."""
        services = services_of(scope)
        service, body = services[IdempotencyService], FingerprintedBody(scope, receive, services[FingerprintKeys])
        await body.begin()
        found = await service.reserve(caller, key, body.fingerprints)
        if isinstance(found, Recorded):
            require_same(found.fingerprint, await body.finish())
            return _response(found.answer, REPLAY)
        body.on_complete(partial(service.identify, found))
        run = state_of(scope).keyed_run = KeyedRun(found)
        async with service.holding(run):
            with deterministic_ids(found.seed):
                answer = await _capture(self.app, scope, body.receive)
            if answer.status != HTTPStatus.REQUEST_TIMEOUT:  # the rest of the body may never come
                await body.finish()
            if not run.is_recorded:
                final = answer if _is_final(answer) else None
                if final and not state_of(scope).is_unfinished:
                    await service.record(found, final)
                else:
                    await service.release(found, final)
        return _response(answer)


def _only(keys: list[bytes]) -> str:
    if len(keys) > 1 or not VISIBLE.fullmatch(keys[0]):
        message = "must be 1 to 255 visible ASCII characters, and sent once"
        raise InvalidInput([FieldError("Idempotency-Key", message, "idempotency_key")])
    return keys[0].decode("ascii")


async def _capture(app: ASGIApp, scope: Scope, receive: Receive) -> Answer:
    """The whole response of ``app``."""
    status, headers, body = 0, list[tuple[str, str]](), bytearray()

    async def keep(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            headers.extend((name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers", ()))
        elif message["type"] == "http.response.body":
            body.extend(message.get("body", b""))

    await app(scope, receive, keep)
    return Answer(status, headers, bytes(body))


def _is_final(answer: Answer) -> bool:
    """Whether repeats get this response. A server error may be temporary."""
    return answer.status < 500 and answer.status not in NOT_KEPT and len(answer.body) <= MAX_ANSWER_BYTES


def _response(answer: Answer, *more: tuple[str, str]) -> Response:
    response = Response(answer.body, answer.status)
    response.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in (*answer.headers, *more)]
    return response
