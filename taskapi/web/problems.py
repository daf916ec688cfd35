"""Every error as ``application/problem+json`` (RFC 9457): the one place where errors meet HTTP."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from pymongo.errors import PyMongoError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from taskapi.core import errors
from taskapi.core.errors import DomainError, FieldError, InvalidInput, UnsupportedMediaType, describe_errors
from taskapi.core.fields import omittable
from taskapi.core.logs import request_id
from taskapi.db.errors import to_domain_error
from taskapi.web import methods
from taskapi.web.conditional import ETAG_HEADER, NotModified, etag

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
SAMPLE_REQUEST_ID: Final = "0f8fad5bd9cb469fa165b70867728950"

STATUS: Final[Mapping[type[DomainError], int]] = {
    errors.BadRequest: 400,
    errors.NotAuthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.NotAcceptable: 406,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.TargetTooLong: 414,
    errors.Unsupported: 415,
    errors.Unprocessable: 422,
    errors.PreconditionRequired: 428,
    errors.RateLimited: 429,
    errors.NeedsReplicaSet: 501,
    errors.Unavailable: 503,
}
DETAILS: Final[Mapping[int, str]] = {404: "There is nothing at this URL.", 405: "This URL does not support that method."}


class ProblemDetail(BaseModel):
    """One invalid value in the request."""

    field: str = Field(description="The path of the field; nested names are joined by dots.")
    message: str
    type: str = Field(description="The kind of rule that it violates.")


class Problem(BaseModel):
    """An error in the format of RFC 9457."""

    type: str = Field(description="A URN that names the kind of problem.")
    title: str = Field(description="The meaning of the status.")
    status: int
    detail: str = Field(description="A sentence about this occurrence.")
    error: str = Field(description="A stable code for programs.")
    request_id: str
    details: list[ProblemDetail] = omittable(
        description="The invalid values, for status 422; for `bulk_refused`, why the operation failed."
    )


INTERNAL_ERROR: Final = ("internal_error", "Something went wrong on our side. The request id identifies it in the log.")
# What a status stands for in most routes; a route names its other problems by their class.
USUAL: Final[Mapping[int, Sequence[type[DomainError]]]] = {
    400: [errors.MalformedJSON],
    401: [errors.NotAuthenticated, errors.InvalidToken],
    403: [errors.InsufficientScope],
    404: [errors.NotFound],
    406: [errors.NotAcceptable],
    412: [errors.PreconditionFailed],
    413: [errors.BodyTooLarge],
    415: [errors.UnsupportedMediaType, errors.UnsupportedContentCoding],
    422: [errors.InvalidInput],
    428: [errors.PreconditionRequired],
    429: [errors.TooManyRequests],
    501: [errors.TransactionsUnsupported],
    503: [errors.DatabaseUnavailable],
}
RETRY_AFTER: Final = {"Retry-After": {"description": "After how many seconds to retry.", "schema": {"type": "integer"}}}
HEADERS: Final[Mapping[int, dict[str, Any]]] = {
    401: {"WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}}},
    403: {"WWW-Authenticate": {"description": "The missing scope (RFC 6750).", "schema": {"type": "string"}}},
    412: ETAG_HEADER,
    415: {"Accept-Encoding": {"description": "`identity`, if the coding is refused.", "schema": {"type": "string"}}},
    429: RETRY_AFTER,
    503: RETRY_AFTER,
}


def responses(*problems: int | type[DomainError]) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of a route's problems: a status stands for its usual problems, a class for itself.

    Those that every route has are added by ``openapi``.
    """
    codes: dict[int, list[str]] = {}
    for problem in problems:
        if isinstance(problem, int):
            usual = [kind.code for kind in USUAL[problem]] if problem in USUAL else [INTERNAL_ERROR[0]]
            codes.setdefault(problem, []).extend(usual)
        else:
            codes.setdefault(_status_of_kind(problem), []).append(problem.code)
    return {status: _response(status, found) for status, found in codes.items()}


def _response(status: int, codes: Sequence[str]) -> dict[str, Any]:
    examples = {code: {"$ref": f"#/components/examples/{code}"} for code in codes}
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}}
    headers = {"headers": dict(HEADERS[status])} if status in HEADERS else {}
    return {"description": HTTPStatus(status).phrase, **headers, "content": content}


def examples(codes: Set[str]) -> dict[str, dict[str, Any]]:
    """By code: the OpenAPI example of each problem that ``responses`` names."""
    code, detail = INTERNAL_ERROR
    made = {code: {"summary": detail, "value": _body(500, code, detail, None, SAMPLE_REQUEST_ID)}}
    for error in (kind.sample() for kind in _kinds(DomainError) if kind.code in codes):
        value = _body(status_of(error), error.code, error.detail, error.faults, SAMPLE_REQUEST_ID)
        made[error.code] = {"summary": error.detail, "value": value}
    return made


def _kinds(family: type[DomainError]) -> Iterator[type[DomainError]]:
    """All classes below ``family``, those of the domains among them."""
    for kind in family.__subclasses__():
        yield kind
        yield from _kinds(kind)


def status_of(error: DomainError) -> int:
    """The HTTP status of a domain error."""
    return _status_of_kind(type(error))


def _status_of_kind(kind: type[DomainError]) -> int:
    """That of the nearest class in its family that has one."""
    return next(STATUS[family] for family in kind.__mro__ if family in STATUS)


def render(
    status: int,
    code: str,
    detail: str,
    *,
    faults: Sequence[FieldError] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The response for one problem."""
    body = _body(status, code, detail, faults, request_id.get())
    return Response(json.dumps(body, separators=(",", ":")), status, headers, MEDIA_TYPE)


def _body(status: int, code: str, detail: str, faults: Sequence[FieldError] | None, request: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": f"urn:taskapi:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "error": code,
        "request_id": request,
    }
    if faults is not None:
        body["details"] = [asdict(fault) for fault in faults]
    return body


def of_domain(error: DomainError) -> Response:
    """The response for a domain error."""
    headers: dict[str, str] = {}
    if isinstance(error, errors.NotAuthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.Forbidden) and error.scope:
        headers["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{error.scope}"'
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.PreconditionFailed):
        headers["ETag"] = etag(error.version)
    if isinstance(error, errors.UnsupportedContentCoding):
        headers["Accept-Encoding"] = "identity"  # RFC 9110, section 15.5.16
    if isinstance(error, errors.NotAcceptable):
        headers["Vary"] = "Accept"
    return render(status_of(error), error.code, error.detail, faults=error.faults, headers=headers)


def of_driver(error: PyMongoError) -> Response:
    """The response for a database error; raises the error again if it is a bug."""
    known = to_domain_error(error)
    if known is None:
        raise error
    log.warning("%s: %s", known.code, type(error).__name__)
    return of_domain(known)


def of_unexpected() -> Response:
    """The response for a bug; it reveals nothing about it."""
    return render(500, *INTERNAL_ERROR)


def install(app: FastAPI) -> None:
    """Makes ``app`` answer all errors with problems."""

    async def domain(request: Request, error: Exception) -> Response:
        assert isinstance(error, DomainError)
        response = of_domain(error)
        if isinstance(error, UnsupportedMediaType) and request.method == "PATCH":
            response.headers.update(methods.accept_patch(error.expected))  # RFC 5789, section 2.2
        return response

    async def validation(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return of_domain(InvalidInput(describe_errors(error.errors(), skip=1)))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = HTTPStatus(error.status_code).name.lower()
        sentence = DETAILS.get(error.status_code, str(error.detail))
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers |= methods.allow_headers(request, headers.get("Allow", ""))
            if request.method == "OPTIONS":
                return Response(status_code=204, headers=headers)
        return render(error.status_code, code, sentence, headers=headers)

    async def driver(_: Request, error: Exception) -> Response:
        assert isinstance(error, PyMongoError)
        return of_driver(error)

    async def not_modified(_: Request, error: Exception) -> Response:
        assert isinstance(error, NotModified)
        return Response(status_code=304, headers=error.headers)

    app.add_exception_handler(NotModified, not_modified)
    app.add_exception_handler(DomainError, domain)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(PyMongoError, driver)
